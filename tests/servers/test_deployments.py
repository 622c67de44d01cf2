"""A leaderboard and a sweep as Prefect's UI starts them: what is seen of them there and in MLflow."""

import json
from pathlib import Path

import pandas as pd
import pytest

from jabert.config import load_settings
from jabert.markdown import as_sentence
from jabert.tracking import connect

pytestmark = [pytest.mark.servers, pytest.mark.timeout(1800)]
MARKS = {"period": "。", "exclamation": "！"}
WORDS = '{name = "words", kind = "tfidf", words = true}'


@pytest.fixture
def settings_for(host, toy_encoder, request):
    """Overrides for a run on a table, in an experiment of the test's own."""

    def settings(table, *more):
        given = [each for each in host.settings(table, toy_encoder) if not each.startswith("method.")]
        return [*given, f"tracking.experiment={request.node.name}", *more]

    return settings


@pytest.fixture
def wordless(tmp_path):
    """A table of texts without a content word: of all methods only `tfidf` with words fails on it."""
    texts = [
        (mark * n + "を" * m, label)
        for label, mark in MARKS.items()
        for n in range(1, 6)
        for m in range(1, 9)
    ]
    pd.DataFrame(texts, columns=["text", "label"]).to_csv(tmp_path / "wordless.csv", index=False)
    return tmp_path / "wordless.csv"


class Seen:
    """What Prefect and MLflow show of a run of a deployment, once that has ended.

    Attributes:
        run: the flow run, with its state.
        tasks: its task runs by name.
        pages: its artifacts in Prefect by key.
        parent: its run in MLflow.
        children: the child runs of that by name.
    """

    def __init__(self, host, flow, overrides, **parameters):
        run = host.queue(overrides, flow, **parameters)
        host.wait(run)
        self.run = host.api(f"flow_runs/{run}")
        of_run = {"flow_runs": {"id": {"any_": [run]}}}
        self.tasks = {each["name"]: each for each in host.api("task_runs/filter", **of_run)}
        self.pages = {each["key"]: each["data"] for each in host.api("artifacts/filter", **of_run)}
        settings = load_settings("", [f"tracking.uri={host.mlflow}", *overrides]).tracking
        self._client = connect(settings)
        experiment = self._client.get_experiment_by_name(settings.experiment)
        runs = self._client.search_runs([experiment.experiment_id])
        (self.parent,) = [each for each in runs if each.data.tags.get("prefect.flow_run_id") == run]
        own = ("mlflow.parentRunId", self.parent.info.run_id)
        self.children = {each.info.run_name: each for each in runs if own in each.data.tags.items()}

    def tasks_named(self, sign):
        """The states of the tasks that have a sign in their names."""
        return {name: task["state_type"] for name, task in self.tasks.items() if sign in name}

    def artifact(self, path, folder):
        """An artifact of the parent in MLflow as text."""
        found = self._client.download_artifacts(self.parent.info.run_id, path, str(folder))
        return Path(found).read_text(encoding="utf-8")


def test_a_leaderboard_shows_its_children_in_prefect_and_in_mlflow(host, settings_for, toy_table, tmp_path):
    overrides = settings_for(toy_table, 'leaderboard.methods=["majority", "tfidf"]', "leaderboard.folds=2")
    seen = Seen(host, "leaderboard", overrides)
    assert seen.run["state"]["name"] == "Completed", seen.run["state"]["message"]
    assert seen.run["name"].startswith("leaderboard toy 20")
    names = {f"{method}, seed 0, fold {fold}" for method in ("majority", "tfidf") for fold in (1, 2)}
    assert seen.tasks_named("fold") == dict.fromkeys(names, "COMPLETED")
    assert {name: child.info.status for name, child in seen.children.items()} == dict.fromkeys(
        names, "FINISHED"
    )
    board = json.loads(seen.artifact("leaderboard/leaderboard.json", tmp_path))
    assert [each["method"] for each in board["methods"]] == ["tfidf", "majority"]
    assert (seen.parent.info.status, seen.parent.data.tags["verdict"]) == ("FINISHED", board["verdict"])
    said = as_sentence(board["verdict"])
    assert said in seen.pages["leaderboard-report"]
    assert said in seen.artifact("leaderboard/leaderboard.html", tmp_path)


def test_a_leaderboard_with_a_method_that_fails_has_the_others_and_ends_as_failed(
    host, settings_for, wordless, tmp_path
):
    methods = f'leaderboard.methods=["majority", {WORDS}, "tfidf"]'
    seen = Seen(host, "leaderboard", settings_for(wordless, methods, "leaderboard.folds=2"), jobs=2)
    assert seen.run["state"]["type"] == "FAILED"
    assert "words failed: seed 0, fold 1: method.words: no text" in seen.run["state"]["message"]
    assert set(seen.tasks_named("words").values()) == {"FAILED"}
    assert set(seen.tasks_named("majority").values()) == {"COMPLETED"}
    assert {child.info.status for name, child in seen.children.items() if "words" in name} == {"FAILED"}
    assert seen.parent.info.status == "FAILED"
    board = json.loads(seen.artifact("leaderboard/leaderboard.json", tmp_path))
    measured = {each["method"]: len(each["folds"]) for each in board["methods"] if not each.get("error")}
    assert measured == {"majority": 2, "tfidf": 2}
    assert "no text that is learned from" in seen.pages["leaderboard-report"]


def test_a_sweep_shows_its_trials_and_one_that_fails_ends_it_as_failed_with_a_recipe(
    host, settings_for, wordless, tmp_path
):
    space = ["sweep.method.words=[true, false]", 'sweep.method.c=[0.1, 30.0, "log"]', "sweep.trials=5"]
    out = tmp_path / "best.toml"
    seen = Seen(host, "sweep", settings_for(wordless, "method.kind=tfidf", *space), out=str(out))
    found = json.loads(seen.artifact("sweep/sweep.json", tmp_path))
    ended = {f"trial {trial['number']}": trial["state"] for trial in found["trials"]}
    assert set(ended.values()) == {"complete", "failed"}
    assert seen.run["name"].startswith("sweep wordless 20")
    assert seen.run["state"]["type"] == "FAILED"
    assert "failed: method.words: no text" in seen.run["state"]["message"]
    shown = {"complete": "COMPLETED", "failed": "FAILED"}
    assert seen.tasks_named("trial") == {name: shown[state] for name, state in ended.items()}
    assert seen.children.keys() == {*ended, "best recipe on test rows"}
    assert as_sentence(found["verdict"]) in seen.pages["sweep-report"]
    assert load_settings(out).method.words is False
    assert out.read_text(encoding="utf-8") == seen.artifact("sweep/best.toml", tmp_path)


def test_a_sweep_ends_as_completed_where_every_trial_did(host, settings_for, toy_table, tmp_path):
    space = ['sweep.method.c=[0.1, 30.0, "log"]', "sweep.trials=2"]
    given = settings_for(toy_table, "method.kind=tfidf", *space)
    seen = Seen(host, "sweep", given, out=str(tmp_path / "best.toml"))
    assert seen.run["state"]["name"] == "Completed", seen.run["state"]["message"]
    assert seen.parent.info.status == "FINISHED"
    assert seen.tasks_named("trial") == {"trial 0": "COMPLETED", "trial 1": "COMPLETED"}
