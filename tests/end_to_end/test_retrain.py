"""The main job on a toy encoder, from text to a registered model, with real stores."""

import errno
import json
import os
import re
from pathlib import Path

import mlflow
import pandas as pd
import pytest

from flows import stages
from flows.featurize import featurize
from flows.retrain import retrain
from jabert.cli import main
from jabert.config import load_settings
from jabert.errors import JabertError
from jabert.experiments import recording, retraining, steps
from jabert.experiments.keys import attempt_key
from jabert.methods import encoder_of
from jabert.registry import open_registry
from jabert.tracking import Attempt, connect

RESULT = {
    "run_id",
    "model_version",
    "weighted_f1",
    "champion_weighted_f1",
    "baselines",
    "promoted",
    "outcome",
    "reason",
    "warnings",
    "rows",
    "features",
    "stages",
    "config_digest",
    "data_digest",
    "evidence",
}
COMPARISON = {
    "comparison.json",
    "comparison.md",
    "confusion_matrix_of_challenger.png",
    "confusion_matrix_of_champion.png",
    "flips.csv",
    "verdict.json",
}
STAGES = {
    "read",
    "validate",
    "tokenize",
    "featurize",
    "train",
    "calibrate",
    "evaluate",
    "baselines",
    "register",
}


def client():
    return connect(load_settings().tracking)


def registry():
    return open_registry(load_settings())


def runs():
    found = client().search_runs(["1"], order_by=["attributes.start_time DESC"])
    return [(run.info.status, run) for run in found]


def artifacts(run, folder=None):
    for entry in client().list_artifacts(run.info.run_id, folder):
        if entry.is_dir:
            yield from artifacts(run, entry.path)
        else:
            yield entry.path


def said(capsys, *words):
    """What a command prints."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert not ended.value.code
    return capsys.readouterr().out


def leftovers():
    """Names that only an interrupted writer leaves."""
    return [path for path in Path().rglob(".*-*") if path.is_file()]


def test_a_first_run_trains_registers_and_promotes(overrides):
    result = retrain("", overrides)

    assert set(result) == RESULT
    assert set(result["stages"]) == STAGES
    assert result["outcome"] == "promoted" and result["promoted"]
    assert result["features"]["computed"] > 0
    assert sum(result["rows"].values()) == 160
    ((status, run),) = runs()
    assert status == "FINISHED"
    assert run.info.run_id == result["run_id"]
    assert re.fullmatch(r"own [a-z-]+ 0\.\d{3} promoted v1", run.info.run_name)
    assert client().get_experiment(run.info.experiment_id).tags["mlflow.experimentKind"]
    assert run.data.params["training.epochs"] == "3"
    assert run.data.params["resolved.lower_case"] == "True"
    assert run.data.tags["prefect.flow_run_id"]
    assert run.data.metrics["test/weighted_f1"] == result["weighted_f1"]
    assert list(result["baselines"]) == ["tfidf", "majority"]
    for kind, measured in result["baselines"].items():
        assert run.data.metrics[f"baseline/{kind}_weighted_f1"] == measured["weighted_f1"]
        assert measured["gain"] == result["weighted_f1"] - measured["weighted_f1"]
        assert measured["gain_low"] <= measured["gain"] <= measured["gain_high"]
    assert len(client().get_metric_history(run.info.run_id, "validation/weighted_f1")) == 3
    assert {dataset.tags[0].value for dataset in run.inputs.dataset_inputs} == {"train", "validation", "test"}
    written = set(artifacts(run))
    assert written >= {
        "card/card.html",
        "card/card.md",
        "config.toml",
        "report.html",
        "report/confusion_matrix.png",
        "report/coverage.png",
        "report/reliability.png",
        "report/classification_report.txt",
        "report/predictions.csv",
        "report/report.json",
        "training/history.csv",
        "training/learning_curves.png",
        "training/model_structure.png",
        "validation/texts/result.json",
        "validation/texts/data_docs/index.html",
        "validation/pieces/result.json",
    }
    assert any(name.startswith("tensorboard/") for name in written)
    assert registry().champion() == "1"
    predicted = registry().load_champion().predict(pd.DataFrame({"text": ["京都のお寺", "野球の試合"]}))
    assert predicted["probabilities"].map(lambda of: sum(of.values())).round(5).eq(1).all()
    left = sorted(path.name for path in Path(".jabert/work").glob("*/"))
    assert left == ["living", "steps"], "no unfinished work is left behind"
    assert not list(Path(".jabert/work/living").iterdir())
    assert not leftovers()


def test_a_second_run_reuses_every_feature_and_a_tie_keeps_the_champion(overrides):
    first = retrain("", overrides)
    second = retrain("", overrides)

    assert second["features"] == {"computed": 0, "reused": first["features"]["computed"]}
    assert second["weighted_f1"] == first["weighted_f1"] == second["champion_weighted_f1"]
    assert second["outcome"] == "kept"
    assert "tie" in second["reason"]
    assert registry().champion() == "1"
    assert [version["aliases"] for version in registry().listing()] == [[], ["champion"]]


def test_nothing_new_is_nothing_done_unless_it_is_forced(cheap, toy_table):
    promoted = retrain("", cheap, skip_unchanged=True, return_state=True)
    first = promoted.result()
    assert (promoted.name, promoted.message) == ("Promoted", first["reason"]) and promoted.is_completed()
    state = retrain("", cheap, skip_unchanged=True, return_state=True)
    second = state.result()

    assert state.name == "Unchanged" and state.is_completed()
    assert set(second) == RESULT
    assert (second["outcome"], second["run_id"]) == ("unchanged", first["run_id"])
    assert second["baselines"] == first["baselines"]
    assert "judged the same data, encoder and settings (promoted: there was no champion" in second["reason"]
    assert len(runs()) == 1
    assert retrain("", cheap)["outcome"] == "kept", "by hand it always trains"
    rows = pd.read_csv(toy_table)
    Path("days").mkdir()
    rows[:150].to_csv("days/1.csv", index=False)
    assert retrain("", [*cheap, "data.path=days"], skip_unchanged=True)["outcome"] != "unchanged"
    rows[150:].to_csv("days/2.csv", index=False)
    grown = retrain("", [*cheap, "data.path=days"], skip_unchanged=True)
    assert grown["outcome"] == "unchanged", "the same rows, from another place"
    seen = pd.read_csv(
        mlflow.artifacts.download_artifacts(run_id=first["run_id"], artifact_path="data/rows.csv")
    )
    assert seen["split"].value_counts().to_dict() == first["rows"]
    assert seen["digest"].is_unique


def test_a_better_model_becomes_champion_and_the_old_one_is_remembered(overrides, capsys):
    retrain("", [*overrides, "training.epochs=1", "method.units=1"])
    better = retrain("", [*overrides, "training.epochs=12", "method.units=24", "training.batch_size=8"])

    assert better["weighted_f1"] > better["champion_weighted_f1"]
    assert better["outcome"] == "promoted"
    chance, judged = better["evidence"]
    assert "chance (95 % interval" in chance and f"{better['rows']['test']} texts" in chance
    assert judged.startswith("1 other version was judged on these test rows before")
    assert registry().get("2").tags["judged_before"] == "1"
    aliases = {version["version"]: version["aliases"] for version in registry().listing()}
    assert aliases == {"1": ["previous"], "2": ["champion"]}
    (_, run), _ = runs()
    assert run.data.tags["promotion"] == "promoted"
    note = run.data.tags["mlflow.note.content"]
    assert all(sentence[1:] in note for sentence in better["evidence"])
    assert run.data.metrics["test/gain"] == better["weighted_f1"] - better["champion_weighted_f1"]
    written = set(artifacts(run, "promotion"))
    assert {f"promotion/{name}" for name in COMPARISON} <= written
    history = client().load_table("1", "promotion/history.json", [run.info.run_id])
    assert history["version"].astype(str).tolist() == ["1", "2"]

    card = said(capsys, "models", "card", "2")
    assert "**Promoted**: better" in card and "compared with | champion 1" in card
    assert "**Promoted**: better" in registry().get("2").description
    assert said(capsys, "models", "card", "2", "--html", "card.html") == "card.html\n"
    assert "data:image/png;base64," in Path("card.html").read_text(encoding="utf-8")
    found = json.loads(said(capsys, "models", "diff", "1", "2", "--json"))
    assert found["settings"]["method.units"] == [1, 24]
    assert found["metrics"]["weighted F1"] == [better["champion_weighted_f1"], better["weighted_f1"]]
    assert found["common"]["rows"] == better["rows"]["test"]
    flips = len(found["common"]["only_b_right"]) - len(found["common"]["only_a_right"])
    before, after = found["metrics"]["accuracy"]
    assert flips == round((after - before) * better["rows"]["test"])


def test_a_version_can_be_taken_back_and_promoted_again_by_hand(cheap, capsys):
    retrain("", [*cheap, "method.kind=majority"])
    retrain("", cheap)
    options = [word for override in cheap for word in ("--set", override)]

    def jabert(*words):
        with pytest.raises(SystemExit) as ended:
            main(["models", *words, *options, "--json"])
        output, errors = capsys.readouterr()
        return json.loads(output) if ended.value.code == 0 else errors.strip()

    assert jabert("rollback")["version"] == "1"
    assert jabert("rollback") == "jabert: there is nothing to go back to: version 1 of 'jabert' has no " + (
        "champion before it"
    )
    assert jabert("promote", "01") == "jabert: version 1 of 'jabert' is the champion already"
    assert jabert("promote", "7") == (
        "jabert: there is no version '7' of 'jabert'; `jabert models` lists them"
    )
    again = jabert("promote", "2")
    assert again["promoted"] and again["champion"] == "1" and again["gain"] > 0
    assert registry().champion() == "2"
    by_hand = [name for name in artifacts(runs()[0][1], "promotion") if "by hand" in name]
    assert len(by_hand) == len(COMPARISON)
    assert [move.action for move in registry().history()] == [
        "promoted",
        "promoted",
        "rolled back",
        "promoted",
    ]


def test_a_gate_that_fails_leaves_a_version_that_a_rerun_judges(cheap, monkeypatch):
    class Broken:
        def __init__(self, *_, **__):
            raise OSError("the store is gone")

    with monkeypatch.context() as patched:
        patched.setattr(retraining, "Gate", Broken)
        with pytest.raises(OSError, match="the store is gone"):
            retrain("", cheap)
    assert registry().get("1").tags["promotion"] == "not judged"

    again = retrain("", cheap)

    assert again["model_version"] == "1"
    assert again["outcome"] == "promoted"
    assert [line["promotion"] for line in registry().listing()] == ["promoted"]


def test_a_verdict_stands_whatever_fails_after_it(cheap, monkeypatch):
    def fail(name, *_):
        if name == "verdict":
            raise OSError("no page today")

    with monkeypatch.context() as patched:
        patched.setattr(stages, "show_table", fail)
        with pytest.raises(OSError, match="no page today"):
            retrain("", cheap)
    assert registry().get("1").tags["promotion"] == "promoted"

    again = retrain("", cheap)

    assert (again["model_version"], again["outcome"]) == ("1", "promoted")
    assert registry().champion() == "1"


def test_a_run_can_be_repeated_from_the_settings_it_logged(overrides):
    first = retrain("", overrides)
    path = mlflow.artifacts.download_artifacts(run_id=first["run_id"], artifact_path="config.toml")
    again = retrain(path)

    for same in ("config_digest", "data_digest", "weighted_f1", "rows"):
        assert again[same] == first[same]


def test_data_that_fail_validation_stop_the_run_and_keep_their_report(overrides, toy_table):
    rows = pd.read_csv(toy_table)
    rows.loc[7, "text"] = "  "
    rows.to_csv("blank.csv", index=False)

    with pytest.raises(JabertError, match=r"blank\.csv line 9"):
        retrain("", [*overrides, "data.path=blank.csv"])

    ((status, run),) = runs()
    assert status == "FAILED"
    assert "blank.csv line 9" in run.data.tags["error"]
    assert {"validation/texts/result.json", "validation/texts/data_docs/index.html"} <= set(artifacts(run))
    assert registry().listing() == []


def test_a_suite_of_one_s_own_decides_and_is_kept_with_the_run(overrides):
    expectation = {
        "type": "expect_column_value_lengths_to_be_between",
        "kwargs": {"column": "text", "max_value": 1},
        "description": "No text is long.",
    }
    Path("labelled_texts.json").write_text(json.dumps({"expectations": [expectation]}), encoding="utf-8")

    with pytest.raises(JabertError, match="No text is long"):
        retrain("", [*overrides, "validation.suite=./labelled_texts.json"])

    ((_, run),) = runs()
    kept = client().download_artifacts(run.info.run_id, "validation/texts/labelled_texts.json")
    assert json.loads(Path(kept).read_bytes()) == {"expectations": [expectation]}


def test_an_interrupted_run_is_killed_and_the_next_goes_on_from_its_last_epoch(overrides, monkeypatch):
    elsewhere = ["tracking.model_name=other", "training.work_path=elsewhere"]
    uninterrupted = retrain("", [*overrides, *elsewhere])

    def interrupt(epoch, monitor, run):
        record(epoch, monitor, run)
        if epoch["epoch"] == 2:
            raise KeyboardInterrupt

    record = recording.record_epoch
    with monkeypatch.context() as ctrl_c, pytest.raises(KeyboardInterrupt):
        ctrl_c.setattr(recording, "record_epoch", interrupt)
        retrain("", overrides)
    (status, killed), *_ = runs()
    assert status == "KILLED"
    assert registry().listing() == []

    resumed = retrain("", overrides)

    (_, run), *_ = runs()
    assert run.data.tags["resumed_epochs"] == "2"
    assert run.data.tags["resumes"] == killed.info.run_id
    assert resumed["weighted_f1"] == uninterrupted["weighted_f1"]
    assert resumed["features"]["computed"] == 0


def test_a_run_whose_process_vanished_is_closed_by_the_next(cheap):
    settings = load_settings("", cheap)
    key = attempt_key(settings, steps.read(settings).digest, encoder_of(settings))
    lost = client().create_run(client().create_experiment("jabert"))
    Attempt(Path(settings.training.work_path) / key).resume(lost.info.run_id)

    retrain("", cheap)

    assert client().get_run(lost.info.run_id).info.status == "KILLED"


def test_a_full_disk_while_writing_features_registers_nothing(overrides, monkeypatch):
    def no_space(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def featurize_on_a_full_disk(*arguments):
        with monkeypatch.context() as full:
            full.setattr(os, "fsync", no_space)
            return featurize_ids(*arguments)

    featurize_ids = steps.featurize_ids
    monkeypatch.setattr(steps, "featurize_ids", featurize_on_a_full_disk)
    with pytest.raises(JabertError, match="disk is full"):
        retrain("", overrides)

    assert [status for status, _ in runs()] == ["FAILED"]
    assert registry().listing() == []
    assert not leftovers()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda rows: rows.assign(label="京都"), "class|label"),
        (lambda rows: rows.assign(label=[*rows["label"][:-1], "旅行"]), "旅行"),
        (lambda rows: rows.assign(label=[None, *rows["label"][1:]]), "line 2"),
        (lambda rows: rows.drop(columns="label"), "no column 'label'|label"),
        (lambda rows: rows.iloc[:0], "no rows|empty"),
    ],
    ids=["one class only", "a class with a single row", "null label", "missing header", "no rows"],
)
def test_unfit_data_are_refused_in_one_sentence(overrides, toy_table, change, sentence):
    change(pd.read_csv(toy_table)).to_csv("unfit.csv", index=False)

    with pytest.raises(JabertError, match=sentence) as caught:
        retrain("", [*overrides, "data.path=unfit.csv"])

    assert "\n" not in str(caught.value)
    assert [status for status, _ in runs()] == ["FAILED"]
    assert registry().listing() == []


def test_emoji_widths_control_characters_and_very_long_texts_are_good_input(overrides, toy_table):
    rows = pd.read_csv(toy_table)
    odd = ["🍣🍶おいしい", "ＡＢＣ　全角とｶﾀｶﾅ", "制御\x07文字", "とても長い話。" * 15_000]
    rows = pd.concat([rows, pd.DataFrame({"text": odd, "label": "グルメ", "group": "odd"})])
    rows.to_csv("odd.csv", index=False)

    result = retrain("", [*overrides, "data.path=odd.csv"])

    assert sum(result["rows"].values()) == 164
    ((_, run),) = runs()
    assert run.data.metrics["pieces/truncated_texts"] >= 1


def test_the_article_s_literal_padding_runs_end_to_end(overrides):
    result = retrain("", [*overrides, "encoder.pad_to=32"])
    assert result["promoted"]


def test_the_seed_recipe_warns_and_chooses_the_epoch_on_test_rows(overrides):
    settings = ["data.test_rows=40", "data.test_share=0", "data.validation_share=0", "training.epochs=2"]
    retrain("seed", [*overrides, *settings])
    ((_, run),) = runs()
    assert "mistakes included" in run.data.tags["mlflow.note.content"]
    assert run.data.params["training.watch"] == "test"


def test_featurize_fills_the_store_for_a_later_retraining(overrides):
    first = featurize("", overrides)
    assert first["computed"] == first["texts"] - first["reused"] > 0
    assert featurize("", overrides)["computed"] == 0
    assert retrain("", overrides)["features"]["computed"] == 0


@pytest.mark.shared
def test_a_slice_of_the_real_corpus_with_the_real_encoder(shared):
    from jabert.dataset import import_knbc

    import_knbc(str(shared / "data/knbc"), Path("knbc.csv"), strip_topic_tag=True)
    pd.read_csv("knbc.csv").groupby("label").head(120).to_csv("slice.csv", index=False)
    result = retrain(
        "",
        [
            "data.path=slice.csv",
            "data.split=sentence",
            f"encoder.path={shared / 'models/e5-small-ja'}",
            "data.test_share=0.2",
            "training.epochs=3",
        ],
    )
    assert result["weighted_f1"] > 0.4  # chance is 0.25
