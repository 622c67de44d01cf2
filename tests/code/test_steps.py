"""Results of steps: found while nothing that they are made of changes, and made again when something does."""

import json
import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import toy
import toy_method
from filelock import FileLock

from jabert.config import load_settings
from jabert.evaluation import Calibration
from jabert.experiments import steps
from jabert.experiments.packaging import build_package, open_package
from jabert.experiments.store import find_or_make, key_of, prune

ALL = ["evaluate", "fit", "read", "tokenize", "validate", "validate"]
SUITE = {
    "expectations": [
        {
            "type": "expect_column_value_lengths_to_be_between",
            "kwargs": {"column": "text", "max_value": 999},
            "description": "No text is long.",
        }
    ]
}


def results(settings):
    return {path.name for path in Path(settings.training.work_path).glob("steps/*/")}


def run(settings, measured_on="test"):
    """Take all steps that the method needs; returns the names of those whose results were made anew."""
    before, needs, tokens = results(settings), steps.method_of(settings).needs, None
    data = steps.read(settings)
    steps.validate(settings, data)
    if "vectors" in needs:
        tokens = steps.tokenize(settings, data)
        steps.validate_pieces(settings, data, tokens)
        steps.featurize(settings, tokens)
    fit = steps.fit(settings, data, tokens, measured_on, on_epoch=lambda _: None)

    def package():
        return build_package(fit.job, Path("package"))

    steps.evaluate(settings, data, tokens, fit, measured_on, package=package)
    return sorted(name.partition("-")[0] for name in results(settings) - before)


@pytest.fixture(scope="module")
def finished(toy_encoder, toy_table, tmp_path_factory):
    """Overrides of an experiment with the Bi-LSTM, all of whose steps are done."""
    root = tmp_path_factory.mktemp("finished")
    suite = root / "own.json"
    suite.write_text(json.dumps(SUITE), encoding="utf-8")
    overrides = [
        *toy.quick_settings(toy_table, toy_encoder),
        "encoder.device=cpu",
        "method.units=2",
        "training.epochs=1",
        f"training.work_path={root}/work",
        f"features.path={root}/features",
        f"encoder.cache_path={root}/engines",
        f"validation.suite={suite}",
    ]
    before = Path.cwd()
    os.chdir(root)
    assert run(load_settings(None, overrides)) == ALL
    os.chdir(before)
    return overrides


@pytest.fixture
def toy_kind(monkeypatch):
    toy_method.install(monkeypatch)
    return toy_method.Toy


# What is found


@pytest.mark.parametrize(
    "changed",
    [
        [],
        ["promotion.min_gain=0.1", "promotion.require_significance=true"],
        ["tracking.experiment=other", "tracking.model_name=other", "tracking.uri=sqlite:///other.db"],
        ["serving.max_texts=7", "pretraining.steps=7", "corpus.licence=CC0", "vocabulary.size=99"],
        ["encoder.token_budget=999"],
        ["data.long_texts=tail", "data.windows=3"],  # no text is long
    ],
    ids=lambda changed: " ".join(changed) or "nothing",
)
def test_nothing_is_made_again_for_settings_that_no_step_reads(finished, changed):
    assert run(load_settings(None, [*finished, *changed])) == []


@pytest.mark.parametrize(
    ("changed", "made"),
    [
        (["method.units=3"], ["evaluate", "fit"]),
        (["training.seed=1"], ["evaluate", "fit"]),
        (["package.max_texts=30"], ["evaluate"]),
        (["encoder.max_tokens=6"], ["evaluate", "fit", "tokenize", "validate"]),
        (["data.seed=1"], ["evaluate", "fit", "read", "validate", "validate"]),
    ],
    ids=str,
)
def test_what_reads_a_setting_is_made_again_when_it_changes_and_nothing_before_it(finished, changed, made):
    settings = load_settings(None, [*finished, *changed])
    assert run(settings) == made
    assert run(settings) == []
    assert run(load_settings(None, finished)) == [], "the results for other settings are still there"


@pytest.mark.parametrize("kind", ["toy", "mean-pooling", "tfidf"])
def test_another_method_reads_validates_tokenizes_and_featurizes_nothing_again(
    finished, toy_kind, monkeypatch, kind
):
    monkeypatch.setattr("jabert.features.load_encoder", refuse)
    others = [override for override in finished if not override.startswith("method.")]
    assert run(load_settings(None, [*others, f"method.kind={kind}"])) == ["evaluate", "fit"]


@pytest.mark.parametrize("changed", ["training.seed=1", "training.epochs=7", "features.dtype=float32"])
def test_a_method_is_not_fitted_again_for_settings_that_it_does_not_read(toy_kind, toy_table, changed):
    assert run(toy_method.settings_of(toy_table)) == ["evaluate", "fit", "read", "validate"]
    assert run(toy_method.settings_of(toy_table, changed)) == []
    assert run(toy_method.settings_of(toy_table, "method.smoothing=2")) == ["evaluate", "fit"]


def test_a_method_that_does_not_choose_learns_from_validation_rows_unless_measured_on_them(
    toy_kind, toy_table
):
    settings = toy_method.settings_of(toy_table)
    counts = steps.read(settings).counts
    assert run(settings) == ["evaluate", "fit", "validate"]
    assert run(settings, "validation") == ["evaluate", "fit"]
    assert toy_kind.fits == [counts["train"] + counts["validation"], counts["train"]]


def test_a_changed_file_is_read_again_and_so_is_all_that_comes_after(toy_kind, toy_table):
    table = pd.read_csv(toy_table)
    table.to_csv("own.csv", index=False)
    settings = toy_method.settings_of("own.csv")
    run(settings)
    os.utime("own.csv", (0, 0))
    assert run(settings) == [], "it is the content that counts"
    table.assign(label=table["label"].replace("京都", "大阪")).to_csv("own.csv", index=False)
    assert run(settings) == ["evaluate", "fit", "read", "validate"]
    assert "大阪" in steps.read(settings).labels


def test_a_column_that_no_step_after_reading_looks_at_costs_only_the_reading(toy_kind, toy_table):
    table = pd.read_csv(toy_table)
    table.to_csv("own.csv", index=False)
    settings = toy_method.settings_of("own.csv")
    run(settings)
    table.assign(remark="x").to_csv("own.csv", index=False)
    assert run(settings) == ["read", "validate"]


def test_the_content_of_a_suite_decides_and_not_where_it_lies(toy_kind, toy_table):
    suite = Path("own.json")
    suite.write_text(json.dumps(SUITE), encoding="utf-8")
    run(toy_method.settings_of(toy_table, "validation.suite=./own.json"))
    moved = Path("elsewhere/own.json")
    moved.parent.mkdir()
    suite.rename(moved)
    there = toy_method.settings_of(toy_table, "validation.suite=./elsewhere/own.json")
    assert run(there) == []
    report = steps.validate(there, steps.read(there))
    assert report.suite_file == moved.absolute(), "the run keeps a copy of this file"
    moved.write_text(json.dumps(SUITE, indent=1), encoding="utf-8")
    assert run(there) == ["validate"]


def test_findings_are_found_again_as_they_were(toy_kind, toy_table):
    strict = json.loads(json.dumps(SUITE).replace("999", "5"))
    Path("own.json").write_text(json.dumps(strict), encoding="utf-8")
    settings = toy_method.settings_of(toy_table, "validation.suite=./own.json")
    data = steps.read(settings)
    first, again = steps.validate(settings, data), steps.validate(settings, data)
    assert not first.success and first.findings[0].examples
    assert again == first
    assert again.page.is_file() and (again.folder / "result.json").is_file()


def test_the_table_and_its_labels_are_found_as_they_were(toy_kind, toy_table):
    settings = toy_method.settings_of(toy_table)
    first, again = steps.read(settings), steps.read(settings)
    pd.testing.assert_frame_equal(first.table, again.table)
    assert first == again
    assert again.labels == toy.LABELS


# Damage

FILES = {
    "read": "table.parquet",
    "tokenize": "tokens.parquet",
    "fit": "best.npz",
    "evaluate": "probabilities.npy",
}


def last_used(folder):
    return (folder / "done.json").stat().st_mtime


@pytest.mark.parametrize("damage", ["deleted", "shortened", "changed", "no record", "broken record"])
@pytest.mark.parametrize("step", ["read", "tokenize", "fit", "evaluate"])
def test_a_result_with_a_damaged_file_is_made_again(finished, tmp_path, step, damage):
    settings = load_settings(None, [*finished, "training.seed=2"])
    run(settings)
    folder = max(Path(settings.training.work_path).glob(f"steps/{step}-*/"), key=last_used)
    file = folder / FILES[step]
    before = file.read_bytes()
    if damage == "deleted":
        file.unlink()
    elif damage == "shortened":
        file.write_bytes(before[:-1])
    elif damage == "changed":
        file.write_bytes(bytes([*before[:-1], before[-1] ^ 1]))
    elif damage == "no record":
        (folder / "done.json").unlink()
    else:
        (folder / "done.json").write_text("{", encoding="utf-8")
    run(settings)
    assert (folder / "done.json").exists()
    if step != "fit":  # h5 files hold the time of writing
        assert file.read_bytes() == before
    assert len(file.read_bytes()) == len(before)


# The store itself


def write_one(text="result"):
    def make(folder):
        (folder / "file.txt").write_text(text, encoding="utf-8")
        return {"n": 1}

    return make


def refuse(*_):
    raise AssertionError("it is there already")


def test_a_result_is_made_once_and_found_with_its_record(tmp_path):
    folder, record = find_or_make(tmp_path, "read", "k", write_one())
    assert (folder / "file.txt").read_text(encoding="utf-8") == "result"
    assert record == {"n": 1}
    assert find_or_make(tmp_path, "read", "k", refuse) == (folder, record)


def test_keys_are_those_of_their_parts():
    assert key_of(1, "a", {"x": 1, "y": [2]}) == key_of(1, "a", {"y": [2], "x": 1})
    assert len({key_of(1), key_of(2), key_of("1"), key_of(1, None), key_of([1])}) == 5


@pytest.mark.parametrize("resumes", [False, True])
def test_what_a_killed_call_left_is_removed_unless_the_step_goes_on_from_it(tmp_path, resumes):
    def killed(folder):
        (folder / "half.txt").touch()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        find_or_make(tmp_path, "fit", "k", killed, resumes)
    folder, _ = find_or_make(tmp_path, "fit", "k", write_one(), resumes)
    left = {"half.txt"} if resumes else set()
    assert {path.name for path in folder.iterdir()} == {"file.txt", "done.json"} | left


def test_a_finished_result_that_was_damaged_is_made_from_nothing_also_where_a_step_resumes(tmp_path):
    folder, _ = find_or_make(tmp_path, "fit", "k", write_one(), resumes=True)
    (folder / "file.txt").unlink()
    (folder / "stray.txt").touch()
    find_or_make(tmp_path, "fit", "k", write_one(), resumes=True)
    assert {path.name for path in folder.iterdir()} == {"file.txt", "done.json"}


def test_two_processes_at_the_same_result_wait_for_each_other(tmp_path):
    program = textwrap.dedent("""
        import logging, sys, time
        from pathlib import Path
        from jabert.experiments.store import find_or_make

        logging.basicConfig(level="INFO")
        work = Path(sys.argv[1])

        def make(folder):
            with (work / "made").open("a") as made:
                made.write("x")
            while len(list(work.glob("ready-*"))) < 2:
                time.sleep(0.01)
            time.sleep(0.5)
            return {"by": sys.argv[2]}

        (work / f"ready-{sys.argv[2]}").touch()
        print(find_or_make(work, "read", "k", make)[1]["by"])
    """)
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(tmp_path), name],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for name in ("a", "b")
    ]
    said, errors = zip(*(process.communicate(timeout=120) for process in processes), strict=True)
    assert (tmp_path / "made").read_text() == "x"
    assert len(set(said)) == 1
    assert "another run makes the same result of the step read; waiting for it" in "".join(errors)


# Upkeep of the folder


def age(folder, days):
    then = time.time() - days * 24 * 60 * 60
    for path in [*folder.iterdir(), folder]:
        os.utime(path, (then, then))


def test_only_what_no_run_has_used_for_30_days_is_removed(tmp_path):
    keys = ("old", "used", "young", "unfinished")
    folders = {key: tmp_path / "steps" / f"read-{key}" for key in keys}
    for key in keys[:3]:
        find_or_make(tmp_path, "read", key, write_one())
    folders["unfinished"].mkdir()
    (folders["unfinished"] / "half.txt").touch()
    for key, days in (("old", 31), ("used", 31), ("young", 29), ("unfinished", 31)):
        age(folders[key], days)
    find_or_make(tmp_path, "read", "used", refuse)
    prune(tmp_path)
    left = {path.name for path in (tmp_path / "steps").glob("*/")}
    assert left == {"read-used", "read-young"}
    assert {path.stem for path in (tmp_path / "steps").glob("*.lock")} <= left


def test_what_another_process_is_at_is_not_removed(tmp_path):
    folder, _ = find_or_make(tmp_path, "read", "k", write_one())
    age(folder, 31)
    with FileLock(folder.with_suffix(".lock")):
        prune(tmp_path)
    assert folder.exists()
    prune(tmp_path)
    assert not folder.exists()


def test_there_may_be_nothing_to_remove(tmp_path):
    prune(tmp_path / "nowhere")


# A fit that is killed


class Killed(Exception):  # noqa: N818
    """What a test raises in the middle of a fit."""


def test_a_killed_fit_goes_on_from_its_last_epoch_and_ends_as_if_it_had_not_been(finished, tmp_path):
    longer = [*finished, "training.epochs=3", "method.dropout=0.3", "training.precision=float32"]
    told = []

    def fit(*overrides, kill_after=None):
        def tell(epoch):
            told.append(epoch["epoch"])
            if epoch["epoch"] == kill_after:
                raise Killed

        settings = load_settings(None, [*longer, *overrides])
        data = steps.read(settings)
        return steps.fit(settings, data, steps.tokenize(settings, data), "test", on_epoch=tell)

    whole = fit(f"training.work_path={tmp_path}/whole")
    with pytest.raises(Killed):
        fit(kill_after=2)
    resumed = fit()
    assert resumed.fitted.resumed == 2
    assert told == [1, 2, 3, 1, 2, 1, 2, 3]
    assert timeless(resumed) == timeless(whole)
    found = fit()
    assert found == resumed
    assert told[-3:] == [1, 2, 3], "whoever finds it is told of its epochs, too"


def timeless(fit):
    return [
        {name: value for name, value in epoch.items() if name != "seconds"} for epoch in fit.fitted.history
    ]


def test_the_probabilities_of_an_evaluation_are_found_as_they_were(toy_kind, toy_table):
    settings = toy_method.settings_of(toy_table)
    data = steps.read(settings)
    fit = steps.fit(settings, data, None, "test", on_epoch=lambda _: None)

    def package():
        return build_package(fit.job, Path("package"))

    first = steps.evaluate(settings, data, None, fit, "test", package=package)
    again = steps.evaluate(settings, data, None, fit, "test", package=refuse)
    np.testing.assert_array_equal(first.probabilities, again.probabilities)
    assert again.report.to_dict() == first.report.to_dict()
    assert len(first.rows) == data.counts["test"] == first.report.rows


# Calibration


def test_a_classifier_that_learned_from_validation_rows_is_calibrated_by_one_that_did_not(
    toy_kind, toy_table, monkeypatch
):
    settings = toy_method.settings_of(toy_table)
    data, seen = steps.read(settings), []
    fit = steps.fit(settings, data, None, "test", on_epoch=lambda _: None)
    calibrate = steps.calibrate_predictions

    def spy(true, probabilities, min_precision, **context):
        seen.append((true, probabilities, min_precision))
        return calibrate(true, probabilities, min_precision, **context)

    monkeypatch.setattr(steps, "calibrate_predictions", spy)
    first = steps.calibrate(settings, data, None, fit)
    (true, probabilities, wish) = seen[0]
    table = data.table
    assert [toy.LABELS[each] for each in true] == table.loc[table["split"] == "validation", "label"].tolist()
    counts = table.loc[table["split"] == "train", "label"].value_counts().reindex(toy.LABELS) + 1
    np.testing.assert_allclose(probabilities, np.tile(counts / counts.sum(), (len(true), 1)))
    assert (first.rows, first.threshold, wish) == (len(true), None, None)

    assert steps.calibrate(settings, data, None, fit) == first
    steps.calibrate(toy_method.settings_of(toy_table, "package.min_precision=0.1"), data, None, fit)
    assert [each[2] for each in seen] == [None, 0.1], "the first was found again"
    assert len(toy_kind.fits) == 2, "so was the classifier"
    steps.fit(settings, data, None, "validation", on_epoch=lambda _: None)
    assert len(toy_kind.fits) == 2, "it is the one of an experiment on validation rows"


def test_a_classifier_that_spared_the_validation_rows_is_calibrated_itself(finished, monkeypatch):
    settings = load_settings(None, finished)
    run(settings)
    data = steps.read(settings)
    tokens = steps.tokenize(settings, data)
    fit = steps.fit(settings, data, tokens, "test", on_epoch=lambda _: None)
    monkeypatch.setattr(steps, "fit", refuse)
    assert steps.calibrate(settings, data, tokens, fit).rows == data.counts["validation"]


def test_without_validation_rows_nothing_is_calibrated(toy_kind, toy_table):
    settings = toy_method.settings_of(toy_table, "data.validation_share=0", "package.min_precision=0.5")
    data = steps.read(settings)
    fit = steps.fit(settings, data, None, "test", on_epoch=lambda _: None)
    found = steps.calibrate(settings, data, None, fit)
    assert (found.rows, found.temperature, found.threshold) == (0, 1, None)
    assert found.note.startswith("0 rows are too few")


def test_the_report_tells_what_the_package_answers(toy_kind, toy_table):
    settings = toy_method.settings_of(toy_table)
    data = steps.read(settings)
    fit = steps.fit(settings, data, None, "test", on_epoch=lambda _: None)
    calibration = Calibration(40, 2.0, 0.3)
    package = build_package(fit.job, Path("package"), calibration)
    evaluated = steps.evaluate(
        settings, data, None, fit, "test", package=lambda: package, calibration=calibration
    )
    plain = steps.evaluate(settings, data, None, fit, "test", package=refuse)
    answers = open_package(package).predict(None, evaluated.rows)
    assert evaluated.report.calibration == calibration
    np.testing.assert_array_equal(evaluated.probabilities, plain.probabilities)
    np.testing.assert_array_equal(plain.answers, plain.probabilities)
    given = [[of[label] for label in toy.LABELS] for of in answers["probabilities"]]
    np.testing.assert_array_equal(evaluated.answers, given)
    assert evaluated.report.weighted_f1 == plain.report.weighted_f1
    assert evaluated.report.mistakes[0].probability == pytest.approx(answers["score"].max())
    assert evaluated.report.answered.share == answers["label"].notna().mean()
