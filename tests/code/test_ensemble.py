"""Several fits of a method as one model, or distilled into one."""

import numpy as np
import pytest
from toy_fits import results_of, settings_of

from jabert.config import load_settings
from jabert.errors import JabertError
from jabert.experiments import steps
from jabert.experiments.packaging import build_package, open_package
from jabert.methods import method_of
from jabert.methods._ensemble import Ensemble

TEXTS = ["京都のお寺を歩いた。", "電話の電池が切れた。"]


@pytest.fixture
def ensemble_of(toy_table, toy_encoder):
    def make(*more):
        quick = ["training.epochs=2", "training.averaging=0"]
        return settings_of("bi-lstm", toy_table, toy_encoder, *quick, *more)

    return make


def learned_by(learner, monkeypatch):
    """Classes and targets of the rows of each fit of a method, filled as it is fitted."""
    truly, targets = learner.fit, []

    def fit(self, job, train, validation, on_epoch):
        targets.append((train.classes, train.targets))
        return truly(self, job, train, validation, on_epoch)

    monkeypatch.setattr(learner, "fit", fit)
    return targets


def test_fits_with_other_seeds_are_heads_of_one_network(ensemble_of, tmp_path):
    settings = ensemble_of("method.ensemble=2", "training.seed=3")
    data, tokens, fit = results_of(settings)

    classifier = open_package(build_package(fit.job, tmp_path / "package"))

    (member,) = classifier.about["members"]
    assert member["heads"] == ["bi-lstm/fit-1/head.xml", "bi-lstm/fit-2/head.xml"]
    singles = []
    for seed in (3, 4):
        *_, single = results_of(ensemble_of(f"training.seed={seed}"))
        package = build_package(single.job, tmp_path / f"single-{seed}")
        singles.append(np.log(open_package(package).classify(TEXTS)))
    mean = np.exp(np.mean(singles, axis=0))
    assert classifier.classify(TEXTS) == pytest.approx(mean / mean.sum(axis=1, keepdims=True), abs=1e-5)
    rows = steps.rows_of(settings, data, tokens, ["test"])
    predicted = method_of(settings).predict(fit.job, rows)
    assert predicted == pytest.approx(classifier.classify(list(rows.texts)), abs=2e-3)


def test_a_distilled_one_is_served_at_the_cost_of_one(ensemble_of, tmp_path, monkeypatch):
    settings = ensemble_of("method.ensemble=3", "method.distill=true")
    targets = learned_by(type(method_of(ensemble_of())), monkeypatch)
    data, _, fitted = results_of(settings)

    assert [found is None for _, found in targets] == [True, True, True, False]
    classes, found = targets[-1]
    assert len(classes) == data.counts["train"]
    assert found.sum(axis=1) == pytest.approx(1)
    assert (found[np.arange(len(classes)), classes] >= 0.5).all(), "half of it is the label"
    assert all(len(learned) < len(classes) for learned, _ in targets[:3]), "the others learn from folds"
    classifier = open_package(build_package(fitted.job, tmp_path / "package"))
    (member,) = classifier.about["members"]
    assert "heads" not in member and "join" not in classifier.about
    described = method_of(settings).describe(fitted.job, fitted.fitted)
    assert "3 fits on other folds" in described.protocol[0]


def test_an_ensemble_is_another_fit_than_a_single_one(ensemble_of):
    one, several = ensemble_of(), ensemble_of("method.ensemble=2")
    assert not isinstance(method_of(one), Ensemble) and isinstance(method_of(several), Ensemble)
    assert method_of(several).chooses and method_of(several).needs == method_of(one).needs
    assert method_of(one).decides(one) != method_of(several).decides(several)


def test_files_that_decide_a_fit_decide_an_ensemble_of_it(tmp_path):
    vectors = tmp_path / "vectors.txt"
    settings = load_settings("word2vec", [f"method.vectors_path={vectors}", "method.ensemble=2"])
    found = []
    for number in (1, 2):
        vectors.write_text(f"1 1\nword {number}\n")
        found.append(method_of(settings).decides(settings))
    assert found[0] != found[1]
    assert found[0]["method.ensemble"] == 2


def test_an_ensemble_is_a_member_like_any_other(toy_table, toy_encoder, tmp_path):
    recipe = tmp_path / "several.toml"
    recipe.write_text('[method]\nkind = "bi-lstm"\nunits = 8\nensemble = 2\n[training]\nepochs = 1\n')
    settings = settings_of("stack", toy_table, toy_encoder, f"method.members=['tfidf', '{recipe}']")
    settings = settings.model_copy(update={"training": settings.training.model_copy(update={"epochs": 1})})
    data, tokens, fit = results_of(settings)
    join = fit.job.folder / "join.json"
    join.write_text('{"weights": {"tfidf": 0.4, "bi-lstm": 0.8}, "bias": [0.0, 0.1, 0.0, 0.2]}')

    classifier = open_package(build_package(fit.job, tmp_path / "package"))

    assert len(classifier.about["members"]) == 2
    rows = steps.rows_of(settings, data, tokens, ["test"])
    predicted = method_of(settings).predict(fit.job, rows)
    assert predicted == pytest.approx(classifier.classify(list(rows.texts)), abs=2e-3)


@pytest.mark.parametrize("teacher", ["majority", "stack"])
def test_a_taught_one_learns_half_of_each_label_from_its_teacher(ensemble_of, tmp_path, monkeypatch, teacher):
    settings = ensemble_of(f"method.teacher={teacher}")
    targets = learned_by(type(method_of(ensemble_of())), monkeypatch)
    data, _, fitted = results_of(settings)

    ((classes, found),) = targets
    assert len(classes) == data.counts["train"]
    assert found.sum(axis=1) == pytest.approx(1)
    assert (found[np.arange(len(classes)), classes] >= 0.5).all(), "half of it is the label"
    assert (np.sort(found, axis=1)[:, -2] > 0).all(), "the other half is the teacher's, who is never sure"
    assert [epoch["epoch"] for epoch in fitted.fitted.history] == [1, 2]
    classifier = open_package(build_package(fitted.job, tmp_path / "package"))
    (member,) = classifier.about["members"]
    assert member["runtime"] == "network" and "join" not in classifier.about
    described = method_of(settings).describe(fitted.job, fitted.fitted)
    assert f"what {teacher} made" in described.protocol[0]


def test_a_teacher_decides_what_it_needs_and_what_is_fitted(ensemble_of):
    alone, taught = ensemble_of(), ensemble_of("method.teacher=tfidf")
    assert method_of(taught).needs == ("texts", "vectors") and method_of(alone).needs == ("vectors",)
    assert method_of(taught).chooses
    assert method_of(alone).decides(alone) != method_of(taught).decides(taught)
    other = ensemble_of("method.teacher=majority")
    assert method_of(other).decides(other) != method_of(taught).decides(taught)


def test_a_teacher_that_chooses_on_validation_rows_is_refused(ensemble_of):
    with pytest.raises(JabertError, match=r"method\.teacher names 'bi-lstm', which chooses .* such as stack"):
        method_of(ensemble_of("method.teacher=bi-lstm"))
