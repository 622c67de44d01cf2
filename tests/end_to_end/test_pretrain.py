"""Pretraining from raw text to an encoder that a retraining uses, with real stores."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import toy
from mlflow.exceptions import MlflowException

import flows.pretrain as flow
from flows.pretrain import pretrain
from flows.retrain import retrain
from jabert.config import load_settings
from jabert.encoder import open_folder
from jabert.errors import JabertError
from jabert.tracking import Run, connect


@pytest.fixture
def settings(tmp_path):
    """Settings of a small, quick pretraining; some sentences of the toy in documents of four."""
    sentences = [*toy.SENTENCES, *toy.toy_rows()["text"]]
    documents = ["\n".join(sentences[i : i + 4]) for i in range(0, len(sentences), 4)]
    (tmp_path / "text.txt").write_text("\n\n".join(documents), encoding="utf-8")
    return [
        "corpus.paths=text.txt",
        "corpus.validation_share=0.2",
        "corpus.licence=CC0",
        "vocabulary.size=320",
        "vocabulary.character_coverage=0.98",
        "pretraining.out=encoder",
        "pretraining.hidden_size=16",
        "pretraining.layers=2",
        "pretraining.heads=2",
        "pretraining.intermediate_size=32",
        "pretraining.positions=64",
        "pretraining.max_tokens=32",
        "pretraining.token_budget=256",
        "pretraining.steps=6",
        "pretraining.warmup_steps=2",
        "pretraining.report_steps=2",
    ]


def runs():
    found = connect(load_settings().tracking).search_runs(["1"], order_by=["attributes.start_time DESC"])
    return [(run.info.status, run) for run in found]


def test_raw_text_becomes_an_encoder_that_a_retraining_takes_from_its_run(settings, overrides):
    result = pretrain("", settings)

    ((status, run),) = runs()
    assert status == "FINISHED"
    metrics = {"masked_lm_loss", "masked_lm_accuracy", "next_sentence_accuracy"}
    sides = {f"{side}/{name}" for side in ("train", "validation") for name in metrics}
    assert sides | {"train/pieces_per_second", "corpus/sentences"} <= run.data.metrics.keys()
    assert run.data.metrics["corpus/sentences"] == 222
    client = connect(load_settings().tracking)
    names = {entry.path for entry in client.list_artifacts(run.info.run_id, "training")}
    assert names == {"training/history.csv", "training/pretraining_curves.png"}
    card = Path("encoder/README.md").read_text(encoding="utf-8")
    assert "CC0" in card and "| sentences | 222 |" in card
    assert [path.name for path in Path(".jabert/work").glob("**/")] == ["work", "living"]
    assert not list(Path(".jabert/work/living").iterdir())

    retrained = retrain("", [*overrides, f"encoder.path={result['encoder_path']}"])
    assert retrained["features"]["computed"] > 0
    again = retrain("", [*overrides, "encoder.path=encoder"])  # the same encoder, told by its contents
    assert again["features"]["computed"] == 0


def test_a_warm_start_and_a_teacher_bring_their_vocabulary(settings, toy_encoder):
    warm = pretrain("", [*settings, f"pretraining.start={toy_encoder}", "pretraining.out=warm"])
    assert json.loads(Path("warm/bert_config.json").read_text())["hidden_size"] == 16
    taught = pretrain(
        "",
        [
            *settings,
            f"pretraining.teacher={toy_encoder}",
            "pretraining.examples=packed",
            "pretraining.masked_lm_weight=0",
            "pretraining.hidden_size=8",
            "pretraining.out=taught",
        ],
    )
    for folder in ("warm", "taught"):
        assert Path(folder, "sentencepiece.model").read_bytes() == (toy_encoder / "toy-ja.model").read_bytes()
    assert warm["at_the_end"]["val_masked_lm_loss"] > 0
    assert "masked_lm_loss" not in taught["at_the_end"]
    (_, last), (_, first) = runs()
    assert last.data.tags["teacher_fingerprint"] == first.data.tags["start_fingerprint"]


def test_what_does_not_fit_is_said_before_anything_is_trained(settings, toy_encoder, cased_encoder):
    wrong = {
        "has another SentencePiece model": [
            f"pretraining.start={toy_encoder}",
            f"vocabulary.path={cased_encoder / 'toy-ja.model'}",
        ],
        "the teacher has 64 positions": [
            f"pretraining.teacher={toy_encoder}",
            "pretraining.max_tokens=65",
            "pretraining.positions=80",
        ],
        "text supports at most": ["vocabulary.size=5000"],
        "heads = 3 do not divide": ["pretraining.heads=3"],
        "has 64 positions": ["pretraining.max_tokens=65"],
        "there is nothing to learn": ["pretraining.masked_lm_weight=0", "pretraining.examples=packed"],
        "there is no SentencePiece model": ["vocabulary.path=none.model"],
    }
    for sentence, extra in wrong.items():
        with pytest.raises(JabertError, match=sentence) as caught:
            pretrain("", [*settings, *extra])
        assert "\n" not in str(caught.value)
    assert {status for status, _ in runs()} == {"FAILED"}
    assert not Path("encoder").exists()


def failing_once(step, error):
    """The step, whose first call raises when its work is done; and its calls."""
    calls = []

    def fail_once(*arguments, **named):
        calls.append(step)
        result = step(*arguments, **named)
        if len(calls) == 1:
            raise error
        return result

    return fail_once, calls


def test_a_store_that_fails_for_a_moment_in_every_stage_costs_another_try_of_it(settings, monkeypatch):
    tasks = {name: getattr(flow, name) for name in ("read", "vocabulary", "tokenize", "train", "write")}
    calls = {}
    for step, task in tasks.items():
        error = MlflowException("API request to http://nowhere failed")
        fail_once, calls[step] = failing_once(getattr(flow.pretraining, step), error)
        monkeypatch.setattr(flow.pretraining, step, fail_once)
        monkeypatch.setattr(task, "retry_delay_seconds", [0, 0])  # nobody waits for the second try

    result = pretrain("", settings)

    assert {step: len(made) for step, made in calls.items()} == dict.fromkeys(tasks, 2)
    ((status, _),) = runs()
    assert status == "FINISHED"
    assert open_folder("encoder").fingerprint == result["fingerprint"]


def test_a_run_that_failed_after_its_encoder_was_written_is_finished_by_the_next(settings, monkeypatch):
    with monkeypatch.context() as patch, pytest.raises(JabertError, match="the disk is full"):
        patch.setattr(Run, "folder", failing_once(lambda *_: None, JabertError("the disk is full"))[0])
        pretrain("", settings)
    written = open_folder("encoder").fingerprint

    shutil.move("encoder", "kept")
    shutil.copytree("kept", "encoder", ignore=shutil.ignore_patterns("encoder.toml"))
    with pytest.raises(JabertError, match=r"pretraining\.out .* is there already"):
        pretrain("", settings)
    shutil.rmtree("encoder")
    shutil.move("kept", "encoder")

    result = pretrain("", settings)

    assert result["fingerprint"] == written
    (status, run), *_ = runs()
    assert status == "FINISHED"
    names = {
        entry.path for entry in connect(load_settings().tracking).list_artifacts(run.info.run_id, "encoder")
    }
    assert "encoder/encoder.toml" in names
    with pytest.raises(JabertError, match=r"pretraining\.out .* is there already"):  # by now it is finished
        pretrain("", settings)


def test_an_encoder_of_a_run_that_is_not_there_is_named(overrides):
    with pytest.raises(JabertError, match=r"encoder\.path runs:/none/encoder cannot be fetched"):
        retrain("", [*overrides, "encoder.path=runs:/none/encoder"])


def curve(run_id):
    client = connect(load_settings().tracking)
    names = ("train/masked_lm_loss", "train/loss", "validation/masked_lm_loss")
    return {
        name: [(point.step, point.value) for point in client.get_metric_history(run_id, name)]
        for name in names
    }


def test_a_killed_pretraining_goes_on_and_has_the_curve_of_an_uninterrupted_one(settings):
    long = [*settings, "pretraining.steps=200", "pretraining.report_steps=2"]
    words = [word for setting in long for word in ("--set", setting)]
    command = [shutil.which("jabert", path=Path(sys.executable).parent), "pretrain", *words]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True) as lost:
        wait_for_measurements(lost, 3)
        os.killpg(lost.pid, signal.SIGKILL)

    result = pretrain("", long)

    (_, resumed), (status, killed) = runs()
    assert status == "KILLED"
    assert resumed.data.tags["resumes"] == killed.info.run_id
    assert 3 <= int(resumed.data.tags["resumed_measurements"]) < 100
    whole = pretrain("", [*long, "pretraining.out=other"])
    assert curve(result["run_id"]) == curve(whole["run_id"])
    assert result["fingerprint"] == whole["fingerprint"]


def wait_for_measurements(process, count):
    for _ in range(1200):
        assert process.poll() is None, "the process ended before it trained"
        for history in Path(".jabert/work").glob("pretrain-*/training/history.json"):
            if len(json.loads(history.read_text())) >= count:
                return
        time.sleep(0.1)
    pytest.fail("nothing was measured in two minutes")
