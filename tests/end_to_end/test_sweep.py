"""The sweep as a flow: its recipe, which retrain takes, its processes, its failures, a kill."""

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from flows.retrain import retrain
from flows.sweep import sweep
from jabert.config import load_settings
from jabert.experiments.leaderboard import ChildrenFailedError
from jabert.methods.tfidf import Tfidf
from jabert.registry import open_registry
from jabert.tracking import connect

C = 'sweep.method.c=[0.01, 30.0, "log"]'


@pytest.fixture
def tfidf(overrides):
    """Settings of a sweep that takes no encoder."""
    own = [each for each in overrides if not each.startswith(("method.", "encoder."))]
    return [*own, "method.kind=tfidf", C, "sweep.method.longest=[1, 3]"]


def test_the_best_recipe_is_retrained_to_the_honest_figure(tfidf):
    found = sweep("", [*tfidf, "sweep.trials=4"])
    assert set(found) >= {"run_id", "verdict", "best", "test", "trials", "recipe"}
    scores = [trial["weighted_f1"] for trial in found["trials"]]
    assert len(scores) == 4 and max(scores) == found["best"]["weighted_f1"]
    assert open_registry(load_settings()).listing() == [], "a sweep registers nothing"
    best = load_settings("best.toml")
    assert best.method.c == found["best"]["values"]["method.c"]
    client = connect(load_settings().tracking)
    parent = client.get_run(found["run_id"])
    assert parent.data.tags["verdict"] == found["verdict"]
    wanted = f"tags.`mlflow.parentRunId` = '{found['run_id']}'"
    assert len(client.search_runs([parent.info.experiment_id], wanted)) == 4 + 1

    again = sweep("", [*tfidf, "sweep.trials=4"], out="again.toml")
    assert again["trials"] == found["trials"] and again["test"] == found["test"]
    assert load_settings("again.toml").method == best.method
    assert retrain("best.toml")["weighted_f1"] == pytest.approx(found["test"]["weighted_f1"])


def test_several_processes_share_the_trials(tfidf):
    found = sweep("", [*tfidf, "sweep.trials=4", "sweep.folds=2"], jobs=2)
    assert [trial["number"] for trial in found["trials"]] == [0, 1, 2, 3]
    assert {trial["state"] for trial in found["trials"]} <= {"complete", "pruned"}
    assert found["protocol"].startswith("chosen on 2 inner folds")


def test_a_trial_that_fails_is_named_and_the_flow_fails_at_the_end(tfidf, monkeypatch):
    fit, calls = Tfidf.fit, []

    def fails_once(*given):
        calls.append(1)
        if len(calls) == 2:
            raise RuntimeError("out of luck")
        return fit(*given)

    monkeypatch.setattr(Tfidf, "fit", fails_once)
    with pytest.raises(ChildrenFailedError, match=r"^trial 1 failed: out of luck$") as caught:
        sweep("", [*tfidf, "sweep.trials=3"])
    result = caught.value.result
    assert [trial["state"] for trial in result["trials"]] == ["complete", "failed", "complete"]
    assert result["test"]["rows"] and Path("best.toml").exists()


def histories():
    return list(Path(".jabert/work").glob("steps/fit-*/history.json"))


@pytest.mark.slow
def test_a_killed_sweep_goes_on_at_the_epoch(overrides):
    own = [*overrides, "training.epochs=40", "training.patience=40", "sweep.trials=2"]
    settings = [word for each in [*own, "sweep.method.dropout=[0.0, 0.5]"] for word in ("--set", each)]
    command = [shutil.which("jabert", path=Path(sys.executable).parent), "sweep", *settings, "--json"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as lost:
        for _ in range(1200):
            assert lost.poll() is None, "the process ended before it trained"
            if any(len(json.loads(each.read_text())) > 3 for each in histories()):
                break
            time.sleep(0.1)
        lost.kill()
    (history,) = histories()
    before = json.loads(history.read_text())
    again = subprocess.run(command, capture_output=True, text=True, check=True)
    found = json.loads(again.stdout)
    assert [trial["number"] for trial in found["trials"]] == [0, 1]
    assert json.loads(history.read_text())[: len(before)] == before, "seconds included: not trained again"
    assert len(histories()) == 2, "what is measured on test rows is the fit of the best trial"
