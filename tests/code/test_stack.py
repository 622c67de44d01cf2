"""The stack: members weighted by what they make of rows that they did not learn from."""

import json

import numpy as np
import pytest
from toy_fits import results_of, settings_of

from jabert.config import load_settings, with_method_of
from jabert.errors import JabertError
from jabert.experiments import steps
from jabert.experiments.packaging import build_package, open_package
from jabert.methods import method_of
from jabert.methods._linear import fit_weights
from jabert.training.folds import assign_folds
from jabert.training.rows import Rows, StoredVectors


def stack_of(members, table, encoder, *more):
    return settings_of("stack", table, encoder, f"method.members={json.dumps(members)}", *more)


def rows_of(classes, groups=()):
    return Rows(["あ"] * len(classes), np.array(classes, dtype=np.int32), groups)


def log_probabilities(random, classes, truth, strength):
    """Of a classifier whose probabilities are those that its scores, normal around each truth, leave."""
    scores = strength * (random.normal(size=(len(truth), classes)) + strength * np.eye(classes)[truth])
    return scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))


def test_a_member_that_adds_nothing_gets_no_weight():
    random = np.random.default_rng(0)
    truth = random.integers(3, size=2000).astype(np.int32)
    good, noise, wrong = (log_probabilities(random, 3, of, 2.0) for of in (truth, 0 * truth, (truth + 1) % 3))

    weights, bias = fit_weights(np.stack([good, wrong, noise]), truth, biased=True)

    assert weights[0] == pytest.approx(1, abs=0.1), "its probabilities are calibrated"
    assert weights[1] == 0, "no weight is negative"
    assert weights[2] < 0.1
    assert bias == pytest.approx(np.zeros(3), abs=0.2)


def test_two_independent_members_are_better_than_one():
    random = np.random.default_rng(1)
    truth = random.integers(3, size=4000).astype(np.int32)
    parts = np.stack([log_probabilities(random, 3, truth, strength) for strength in (1.5, 1.0)])
    weights, bias = fit_weights(parts[:, :2000], truth[:2000], biased=True)

    joined = np.tensordot(weights, parts, 1) + bias

    right = [(each[2000:].argmax(axis=1) == truth[2000:]).mean() for each in (joined, *parts)]
    assert right[0] > right[1] + 0.02 and right[1] > right[2]


def test_without_rows_all_members_weigh_the_same():
    weights, bias = fit_weights(np.empty((2, 0, 3)), np.empty(0, dtype=np.int32), biased=True)
    assert weights.tolist() == [0.5, 0.5] and bias.tolist() == [0, 0, 0]


def test_few_rows_may_not_tell_how_often_a_class_stands():
    random = np.random.default_rng(2)
    truth = random.choice(3, size=300, p=[0.8, 0.1, 0.1]).astype(np.int32)
    parts = np.stack([log_probabilities(random, 3, truth, 1.0) for _ in range(2)])

    assert np.ptp(fit_weights(parts, truth, biased=True)[1]) > 0.5
    assert fit_weights(parts, truth, biased=False)[1].tolist() == [0, 0, 0]


@pytest.mark.parametrize(("split", "kept"), [("group", True), ("sentence", False)])
def test_folds_keep_groups_together_where_the_split_does(split, kept, toy_table, toy_encoder):
    settings = settings_of("stack", toy_table, toy_encoder, f"data.split={split}")
    settings = settings.model_copy(update={"method": settings_of("tfidf", toy_table, toy_encoder).method})
    rows = steps.rows_of(settings, steps.read(settings), None, ["train"])

    assert bool(list(rows.groups)) == kept


def test_the_rows_of_a_group_are_in_one_fold_and_every_fold_has_rows():
    classes, groups = [0, 0, 1, 1, 0, 1, 0, 1, 0, 1], ["a", "a", "b", "b", None, None, "c", "d", "e", "f"]

    folds = assign_folds(rows_of(classes, groups), 3, seed=0)

    assert folds[0] == folds[1] and folds[2] == folds[3]
    assert set(folds) == {0, 1, 2}
    assert folds.tolist() == assign_folds(rows_of(classes, groups), 3, seed=0).tolist()


def test_a_class_is_never_missing_from_what_is_learned_from():
    folds = assign_folds(rows_of([0] * 10 + [1] * 10 + [2]), 5, seed=0)
    assert folds[-1] == -1, "the only row of its class is learned from each time"
    folds = assign_folds(rows_of([0, 0, 1, 1, 1], ["a", "a", "b", "c", "d"]), 2, seed=0)
    assert folds[:2].tolist() == [-1, -1], "and so is the only group of one"


def test_there_are_no_folds_of_a_single_group():
    assert assign_folds(rows_of([0, 1, 0], ["a", "a", "a"]), 5, seed=0).tolist() == [-1, -1, -1]


@pytest.fixture
def members():
    return ["tfidf", "mean-pooling", "bi-lstm"]


def test_networks_on_one_encoder_are_heads_of_one_member(members, toy_table, toy_encoder, tmp_path):
    settings = stack_of(members, toy_table, toy_encoder)
    data, tokens, fit = results_of(settings)
    join = fit.job.folder / "join.json"
    join.write_text(json.dumps({"weights": dict.fromkeys(members, 0.5), "bias": [0.1, 0.2, 0.3, 0.4]}))

    package = build_package(fit.job, tmp_path / "package")

    listed = {member["folder"]: member.get("heads") for member in open_package(package).about["members"]}
    assert listed == {
        "stack/tfidf": None,
        "stack/mean-pooling": ["stack/mean-pooling/head.xml", "stack/bi-lstm/head.xml"],
    }
    assert len(list(package.rglob("encoder.bin"))) == 1
    rows = steps.rows_of(settings, data, tokens, ["test"])
    predicted = method_of(settings).predict(fit.job, rows)
    assert predicted == pytest.approx(open_package(package).classify(list(rows.texts)), abs=2e-3)


def test_a_member_without_weight_is_not_packaged(toy_table, toy_encoder, tmp_path):
    *_, fit = results_of(stack_of(["tfidf", "mean-pooling"], toy_table, toy_encoder))
    join = fit.job.folder / "join.json"
    join.write_text(json.dumps({"weights": {"tfidf": 1.5, "mean-pooling": 0.0}, "bias": [0.0] * 4}))

    package = build_package(fit.job, tmp_path / "package")

    assert [member["folder"] for member in open_package(package).about["members"]] == ["stack/tfidf"]
    assert open_package(package).classify(["京都"]).shape == (1, 4)
    described = method_of(fit.job.settings).describe(fit.job, fit.fitted)
    assert "Without a weight, and not part of the model: mean-pooling." in described.protocol


def test_a_stack_without_an_encoder_needs_none(toy_table, toy_encoder):
    (toy_table.parent / "short.toml").write_text('[method]\nkind = "tfidf"\nlongest = 2\n')
    settings = stack_of(["tfidf", str(toy_table.parent / "short.toml")], toy_table, toy_encoder)

    assert method_of(settings).needs == ("texts",)
    *_, fit = results_of(settings)
    assert sorted(name for name in fit.fitted.metrics if name.startswith("f1_")) == [
        "f1_of_tfidf",
        "f1_of_tfidf-2",
    ]


def test_what_a_recipe_of_a_member_says_is_in_the_key(tmp_path):
    recipe = tmp_path / "own.toml"
    settings = load_settings("stack", [f"method.members=['tfidf', '{recipe}']"])
    found = []
    for longest in (2, 3):
        recipe.write_text(f'[method]\nkind = "tfidf"\nlongest = {longest}\n')
        found.append(method_of(settings).decides(settings))
    assert found[0] != found[1]


def test_the_seed_and_the_folder_of_a_run_are_those_of_its_members():
    settings = load_settings(
        "stack", ["training.seed=7", "training.work_path=/somewhere", "data.path=here.csv"]
    )

    member = with_method_of(settings, "knbc")

    assert (member.method.kind, member.training.averaging, member.training.patience) == ("bi-lstm", 0.95, 3)
    assert (member.training.seed, member.training.work_path) == (7, "/somewhere")
    assert member.data == settings.data, "of a recipe only the method counts"


def test_what_cannot_be_a_member_is_refused(toy_table, toy_encoder):
    with pytest.raises(JabertError, match=r"method\.members names 'stack', and a stack cannot hold another"):
        method_of(stack_of(["tfidf", "stack"], toy_table, toy_encoder))
    with pytest.raises(JabertError, match="'tfdf' is neither a file that can be read nor one of:"):
        method_of(stack_of(["tfidf", "tfdf"], toy_table, toy_encoder))
    with pytest.raises(JabertError, match=r"method\.members"):
        stack_of(["tfidf"], toy_table, toy_encoder)


def test_a_killed_fit_goes_on_from_the_folds_that_were_predicted(toy_table, toy_encoder, monkeypatch):
    settings = stack_of(["tfidf", "mean-pooling"], toy_table, toy_encoder)
    mean_pooling = type(method_of(settings_of("mean-pooling", toy_table, toy_encoder)))
    truly, calls = mean_pooling.fit, []

    def fit(self, *given):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return truly(self, *given)

    monkeypatch.setattr(mean_pooling, "fit", fit)
    with pytest.raises(KeyboardInterrupt):
        results_of(settings)
    *_, fit = results_of(settings)

    assert len(calls) == 2 + 1 + 3 + 1, "two folds were there, three were made, and the fit on all rows"
    assert not list(fit.job.folder.glob("folds/*/mean-pooling"))


def test_members_that_chose_nothing_learn_from_the_validation_rows_at_last(
    toy_table, toy_encoder, monkeypatch
):
    settings = stack_of(["tfidf", "bi-lstm"], toy_table, toy_encoder, "training.epochs=1")
    learned = {}
    for kind in ("tfidf", "bi-lstm"):
        method = type(method_of(settings_of(kind, toy_table, toy_encoder)))

        def fit(self, job, train, validation, on_epoch, *, kind=kind, truly=method.fit):
            learned.setdefault(kind, []).append(len(train))
            return truly(self, job, train, validation, on_epoch)

        monkeypatch.setattr(method, "fit", fit)

    data, tokens, fit = results_of(settings)

    train, validation = data.counts["train"], data.counts["validation"]
    assert learned == {"tfidf": [train, train + validation], "bi-lstm": [train]}, "no network for each fold"
    assert fit.learned_from == ["train", "validation"]
    known = method_of(settings).out_of_fold(fit.job)
    assert known.shape == (validation, 4) and np.isfinite(known).all()
    assert steps.calibrate(settings, data, tokens, fit).rows == validation
    learned.clear()
    *_, measured = results_of(settings, "validation")
    assert measured.learned_from == ["train"] and learned == {"tfidf": [train], "bi-lstm": [train]}


def test_the_teacher_of_a_member_learns_nothing_from_the_rows_that_weigh_it(
    toy_table, toy_encoder, tmp_path, monkeypatch
):
    recipe = tmp_path / "taught.toml"
    recipe.write_text('[method]\nkind = "bi-lstm"\nunits = 8\nteacher = "stack"\n')
    settings = stack_of(["majority", str(recipe)], toy_table, toy_encoder, "training.epochs=1")
    method, learned = type(method_of(settings_of("tfidf", toy_table, toy_encoder))), []

    def fit(self, job, train, validation, on_epoch, *, truly=method.fit):
        learned.append(len(train))
        return truly(self, job, train, validation, on_epoch)

    monkeypatch.setattr(method, "fit", fit)
    data, *_ = results_of(settings)

    assert learned and max(learned) == data.counts["train"]


def test_vectors_are_read_once_however_many_folds_are_made_of_them(toy_table, toy_encoder, monkeypatch):
    settings = settings_of("mean-pooling", toy_table, toy_encoder)
    data, tokens, _ = results_of(settings)
    rows = steps.rows_of(settings, data, tokens, ["train"])
    numbers, reads, truly = np.array([5, 2, 3]), [], StoredVectors.read
    monkeypatch.setattr(
        StoredVectors, "read", lambda self, number: reads.append(number) or truly(self, number)
    )

    parts = [rows.take(numbers).vectors.means, rows.take(numbers[::-1]).take(np.array([0])).vectors.means]

    assert len(reads) == len(rows)
    expected = [truly(rows.vectors, number).mean(axis=0, dtype=np.float64) for number in numbers]
    assert np.array_equal(parts[0], expected) and np.array_equal(parts[1], expected[2:])
    short = rows.take(numbers).vectors.shortened(2)
    assert np.array_equal(short.means[0], short.read(0).mean(axis=0, dtype=np.float64))


def test_rows_of_two_splits_are_joined_with_all_that_came_with_them(toy_table, toy_encoder):
    settings = settings_of("mean-pooling", toy_table, toy_encoder)
    data, tokens, _ = results_of(settings)
    train, validation = (steps.rows_of(settings, data, tokens, [split]) for split in ("train", "validation"))
    joined = train.joined(validation)
    assert len(joined) == len(train) + len(validation)
    assert joined.groups == [*train.groups, *validation.groups]
    last = len(joined) - 1
    assert np.array_equal(joined.vectors.read(last), validation.vectors.read(len(validation) - 1))
    assert joined.ids[last].tolist() == validation.ids[len(validation) - 1].tolist()
