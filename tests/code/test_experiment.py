"""Experiments: a method measured without registering anything, and what is shared between them."""

from pathlib import Path

import pandas as pd
import pytest
import toy
import toy_method

from jabert.config import load_settings
from jabert.errors import JabertError
from jabert.experiments import Experiment, run, steps
from jabert.experiments.promotion import promote
from jabert.registry import open_registry
from jabert.tracking import connect, tracked_run


@pytest.fixture
def toy_kind(monkeypatch):
    toy_method.install(monkeypatch)
    return toy_method.Toy


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """One store for all tests, for it takes seconds to make one."""
    return f"tracking.uri=sqlite:///{tmp_path_factory.mktemp('store')}/mlflow.db"


@pytest.fixture
def tracking(store, request):
    """An experiment and a model of the test's own."""
    names = (f"tracking.{name}={request.node.name}" for name in ("experiment", "model_name"))
    return [store, *names]


def runs_of(settings, wanted=""):
    """The runs of an experiment, the oldest first."""
    client = connect(settings.tracking)
    experiment = client.get_experiment_by_name(settings.tracking.experiment)
    return list(client.search_runs([experiment.experiment_id], wanted, order_by=["start_time ASC"]))


def children_of(settings, parent):
    return runs_of(settings, f"tags.`mlflow.parentRunId` = '{parent}'")


def refuse(*_, **__):
    raise AssertionError("it was made before")


def test_it_measures_on_validation_rows_under_a_parent_and_registers_nothing(toy_kind, tracking, toy_table):
    settings = toy_method.settings_of(toy_table, *tracking)
    with tracked_run(settings) as parent:
        report = run(Experiment(settings, "validation"), parent.id)
    (child,) = children_of(settings, parent.id)
    counts = steps.read(settings).counts
    assert report.rows == counts["validation"]
    assert child.info.status == "FINISHED"
    assert child.data.tags["measured_on"] == "validation"
    assert child.data.metrics["validation/weighted_f1"] == report.weighted_f1
    assert child.data.metrics["train/rows"] == counts["train"], (
        "those that it is measured on taught it nothing"
    )
    assert "test/weighted_f1" not in child.data.metrics
    assert open_registry(settings).listing() == []
    assert connect(settings.tracking).search_logged_models([child.info.experiment_id]) == []


def test_it_measures_on_test_rows_and_learns_from_the_rest(toy_kind, tracking, toy_table):
    settings = toy_method.settings_of(toy_table, *tracking)
    report = run(Experiment(settings))
    (found,) = runs_of(settings)
    counts = steps.read(settings).counts
    assert report.rows == counts["test"]
    assert found.data.metrics["test/weighted_f1"] == report.weighted_f1
    assert found.data.metrics["train/rows"] == counts["train"] + counts["validation"]
    assert "mlflow.parentRunId" not in found.data.tags
    table = steps.read(settings).table
    learned, measured = (table[table["split"].ne("test") == rest]["label"] for rest in (True, False))
    most_frequent = learned.value_counts().reindex(toy.LABELS).idxmax()
    assert report.accuracy == pytest.approx((measured == most_frequent).mean())


def test_the_same_again_computes_nothing_and_says_the_same(toy_kind, monkeypatch, tracking, toy_table):
    settings = toy_method.settings_of(toy_table, *tracking)
    first = run(Experiment(settings))
    for name in ("read_corpus", "check_texts", "open_package"):
        monkeypatch.setattr(steps, name, refuse)
    again = run(Experiment(settings))
    assert again.to_dict() == first.to_dict()
    assert len(toy_kind.fits) == 1
    one, other = runs_of(settings)
    measured = [
        {name: value for name, value in of.data.metrics.items() if not name.startswith("seconds/")}
        for of in (one, other)
    ]
    assert measured[0] == measured[1], "also what was found is recorded"


def test_a_second_experiment_on_the_same_data_tokenizes_and_featurizes_nothing(
    toy_kind, monkeypatch, tracking, toy_encoder, toy_table
):
    overrides = [
        *tracking,
        *toy.quick_settings(toy_table, toy_encoder),
        "encoder.device=cpu",
        "training.epochs=1",
    ]
    first = load_settings(None, [*overrides, "method.units=2"])
    with tracked_run(first) as parent:
        run(Experiment(first, "validation"), parent.id)
        for name in ("read_corpus", "check_texts", "check_pieces", "Tokenizer"):
            monkeypatch.setattr(steps, name, refuse)
        run(Experiment(load_settings(None, [*overrides, "method.units=3"]), "validation"), parent.id)
    one, other = children_of(first, parent.id)
    assert (one.data.metrics["features/computed"], one.data.metrics["features/reused"]) == (160, 0)
    assert (other.data.metrics["features/computed"], other.data.metrics["features/reused"]) == (0, 160)
    assert {of.data.metrics["rows/validation"] for of in (one, other)} == {
        steps.read(first).counts["validation"]
    }
    assert open_registry(first).listing() == []


def test_data_that_fail_validation_stop_it_and_keep_their_report(toy_kind, tracking, toy_table):
    rows = pd.read_csv(toy_table)
    rows.loc[7, "text"] = "  "
    rows.to_csv("blank.csv", index=False)
    settings = toy_method.settings_of("blank.csv", *tracking)
    for _ in range(2):  # also when the report is found
        with pytest.raises(JabertError, match=r"blank\.csv line 9"):
            run(Experiment(settings))
    client = connect(settings.tracking)
    found = runs_of(settings)
    assert [of.info.status for of in found] == ["FAILED", "FAILED"]
    for of in found:
        kept = {entry.path for entry in client.list_artifacts(of.info.run_id, "validation/texts")}
        assert {"validation/texts/result.json", "validation/texts/data_docs"} <= kept
    assert toy_kind.fits == []


def test_without_rows_to_measure_on_there_is_a_sentence(toy_kind, tracking, toy_table):
    Path("own.json").write_text('{"expectations": []}', encoding="utf-8")
    more = ["data.validation_share=0", "validation.suite=./own.json"]
    settings = toy_method.settings_of(toy_table, *tracking, *more)
    with pytest.raises(
        JabertError, match=r"^there are no validation rows to evaluate on; raise data\.validation_share"
    ):
        run(Experiment(settings, "validation"))


def test_a_version_that_no_run_made_is_not_judged_by_hand(toy_kind, toy_table, tracking):
    settings = toy_method.settings_of(toy_table, *tracking)
    client = connect(settings.tracking)
    client.create_registered_model(settings.tracking.model_name)
    client.create_model_version(settings.tracking.model_name, "file:///nowhere")
    with pytest.raises(
        JabertError, match=r"^version 1 of .* was not made by a run, .* `jabert retrain` makes one"
    ):
        promote(settings, "1", force=True)


def test_a_row_without_a_text_is_refused_by_the_validation_and_by_nothing_before(toy_kind, tracking):
    rows = toy.toy_rows(40, 10).to_dict("records")
    rows[3]["text"] = None
    pd.DataFrame(rows).to_json("null.jsonl", orient="records", lines=True, force_ascii=False)
    settings = toy_method.settings_of("null.jsonl", *tracking)
    with pytest.raises(JabertError, match="Every row has a text"):
        run(Experiment(settings, "validation"))


def test_what_was_left_out_is_told_on_the_terminal_and_in_the_run(toy_kind, tracking, toy_table, caplog):
    rows = toy.toy_rows().to_dict("records")
    rows += [{**rows[0], "text": f"{rows[0]['text']}\u200b"}, rows[1]]
    pd.DataFrame(rows).to_csv("twice.csv", index=False)
    settings = toy_method.settings_of("twice.csv", *tracking)
    with caplog.at_level("INFO", "jabert"):
        run(Experiment(settings, "validation"))
    told = "2 rows repeat an earlier text, 1 of them in another width or composition, and were left out"
    assert told in caplog.text
    assert "162 rows read, 160 kept: train " in caplog.text
    (found,) = runs_of(settings)
    written = connect(settings.tracking).download_artifacts(found.info.run_id, "data/notes.txt")
    assert told in Path(written).read_text(encoding="utf-8")
