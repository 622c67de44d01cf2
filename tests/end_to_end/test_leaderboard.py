"""The leaderboard as a flow: its JSON, what is found again, processes, failures, the winner's gate."""

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from flows.leaderboard import leaderboard
from jabert.config import load_settings
from jabert.encoder import Tokenizer
from jabert.experiments import leaderboard as boards
from jabert.experiments.leaderboard import ChildrenFailedError
from jabert.methods.tfidf import Tfidf
from jabert.registry import open_registry
from jabert.tracking import connect

OWN = {
    "weighted_f1",
    "interval",
    "difference_to_best",
    "p_value",
    "fit_seconds",
    "serve_ms",
    "bytes",
    "folds",
}


@pytest.fixture
def board(overrides):
    """Runs the flow with 3 folds."""
    own = [override for override in overrides if not override.startswith("method.")]

    def call(*methods, **options):
        named = [f"leaderboard.methods=[{', '.join(map(as_toml, methods))}]", "leaderboard.folds=3"]
        return leaderboard("", [*own, *named], **options)

    return call


def as_toml(method):
    if isinstance(method, str):
        return json.dumps(method)
    return f"{{{', '.join(f'{key} = {json.dumps(value)}' for key, value in method.items())}}}"


def figures(result):
    return {key: value for key, value in result.items() if key != "run_id"}


def test_methods_are_compared_texts_tokenized_once_and_one_more_costs_only_itself(board, monkeypatch):
    tokenized, measured = [], []
    call, measure = Tokenizer.__call__, boards.measure
    monkeypatch.setattr(Tokenizer, "__call__", lambda *given: tokenized.append(1) or call(*given))
    first = board("majority", "tfidf", "mean-pooling")
    assert len(tokenized) == 1
    assert set(first) >= {"run_id", "verdict", "methods"} and isinstance(first["verdict"], str)
    methods = {each["method"]: each for each in first["methods"]}
    assert set(methods) == {"majority", "tfidf", "mean-pooling"}
    best = first["methods"][0]
    assert (best["p_value"], best["difference_to_best"]) == (None, 0)
    for each in first["methods"]:
        assert set(each) >= OWN
        low, high = each["interval"]
        assert low <= each["weighted_f1"] <= high
        folds = [fold["weighted_f1"] for fold in each["folds"]]
        assert each["weighted_f1"] == pytest.approx(sum(folds) / 3)
        assert [fold["fold"] for fold in each["folds"]] == [1, 2, 3]
        assert each["serve_ms"] > 0 and each["bytes"] > 0 and each["fit_seconds"] > 0
    assert methods["tfidf"]["weighted_f1"] > 0.8 > methods["majority"]["weighted_f1"]
    assert methods["majority"]["p_value"] < 0.05

    again = board("majority", "tfidf", "mean-pooling")
    assert figures(again) == figures(first), "times included, in the same order"

    def count(settings, data):
        measured.append(settings.method.kind)
        return measure(settings, data)

    monkeypatch.setattr(boards, "measure", count)
    fits = []
    monkeypatch.setattr(Tfidf, "fit", lambda *_: fits.append(1))
    more = board("majority", "tfidf", "mean-pooling", {"name": "sharp", "kind": "mean-pooling", "alpha": 3})
    assert len(measured) == 12 and not fits
    assert {each["method"]: each["folds"] for each in more["methods"]}["tfidf"] == methods["tfidf"]["folds"]
    assert open_registry(load_settings()).listing() == []
    client = connect(load_settings().tracking)
    parent = client.get_run(more["run_id"])
    wanted = f"tags.`mlflow.parentRunId` = '{more['run_id']}'"
    assert len(client.search_runs([parent.info.experiment_id], wanted)) == 12
    assert parent.data.tags["verdict"] == more["verdict"]


def test_several_processes_say_the_same(board):
    alone = board("majority", "tfidf")
    together = board("majority", "tfidf", jobs=2)
    assert figures(together) == figures(alone)
    new = board("majority", {"kind": "tfidf", "c": 0.3}, jobs=2)
    assert {each["method"] for each in new["methods"]} == {"majority", "tfidf (c 0.3)"}


def test_a_child_that_fails_is_named_and_the_flow_fails_at_the_end(board, monkeypatch):
    def fails(*_):
        raise RuntimeError("out of luck")

    monkeypatch.setattr(Tfidf, "fit", fails)
    with pytest.raises(ChildrenFailedError, match=r"^tfidf failed: seed 0, fold 1: out of luck$") as caught:
        board("tfidf", "majority")
    result = caught.value.result
    (good, bad) = result["methods"]
    assert (good["method"], bad["method"]) == ("majority", "tfidf")
    assert "out of luck" in bad["error"] and bad["weighted_f1"] is None
    assert "tfidf failed" in result["verdict"]


def test_the_winner_is_retrained_on_all_but_the_test_rows_and_judged(board):
    result = board("majority", {"kind": "tfidf", "c": 3.5}, promote=True)
    promotion = result["promotion"]
    assert (result["winner"], promotion["outcome"]) == ("tfidf (c 3.5)", "promoted")
    rows = promotion["rows"]
    in_folds = sum(fold["rows"] for fold in result["methods"][0]["folds"])
    assert in_folds == rows["train"] + rows["validation"] == 160 - rows["test"]
    run = open_registry(load_settings()).run(promotion["model_version"])
    assert (run.data.params["method.kind"], run.data.params["method.c"]) == ("tfidf", "3.5")


def measured():
    """What each finished measurement of a method on a fold left, by its folder."""
    return {path: path.read_text() for path in Path(".jabert/work").glob("steps/measure-*/done.json")}


@pytest.mark.slow
def test_after_a_kill_only_the_folds_that_were_not_measured_are_computed(overrides):
    own = [each for each in overrides if not each.startswith("method.")]
    named = 'leaderboard.methods=["tfidf", "mean-pooling", {kind = "bi-lstm", units = 8}]'
    settings = [word for each in (*own, named, "leaderboard.folds=3") for word in ("--set", each)]
    command = [shutil.which("jabert", path=Path(sys.executable).parent), "leaderboard", *settings, "--json"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as lost:
        for _ in range(1200):
            assert lost.poll() is None, "the process ended before it was killed"
            if len(measured()) >= 4:
                break
            time.sleep(0.05)
        lost.kill()
    before = measured()
    assert 4 <= len(before) < 9
    again = subprocess.run(command, capture_output=True, text=True, check=True)
    after = measured()
    assert len(after) == 9
    assert {path: after[path] for path in before} == before, "times included: nothing was measured again"
    seconds = {fold["fit_seconds"] for each in json.loads(again.stdout)["methods"] for fold in each["folds"]}
    assert {json.loads(done)["record"]["fit_seconds"] for done in before.values()} <= seconds
