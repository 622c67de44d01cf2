"""What a stage does when a store fails: time may heal that, and nothing is done twice for it."""

import io
import json
import logging
import signal
from contextlib import suppress
from pathlib import Path

import pytest
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST
from prefect.states import Failed

from flows import stages
from flows.retrain import retrain
from flows.stage import is_worth_another_try
from jabert.config import TrackingSettings, load_settings
from jabert.errors import JabertError
from jabert.experiments import recording, retraining, steps
from jabert.registry import Verdict, open_registry
from jabert.tracking import Run, connect

TASKS = {
    (steps, "read"): stages.read,
    (steps, "validate"): stages.validate,
    (steps, "tokenize"): stages.tokenize,
    (steps, "validate_pieces"): stages.validate_pieces,
    (steps, "featurize"): stages.featurize,
    (steps, "fit"): stages.train,
    (steps, "calibrate"): stages.calibrate,
    (steps, "evaluate"): stages.evaluate,
    (retraining, "measure_baselines"): stages.baselines,
    (retraining, "register"): stages.register,
    (retraining, "promote"): stages.promote,
    (retraining, "describe"): stages.describe,
}
"""The tasks of a retraining by the module and name of what they do first."""

RECORDED = {
    (recording, "record_data"): stages.read,
    (recording, "record_validation"): stages.validate,
    (recording, "record_tokens"): stages.tokenize,
    (recording, "record_features"): stages.featurize,
    (recording, "record_fit"): stages.train,
    (recording, "record_evaluation"): stages.evaluate,
    (recording, "record_baselines"): stages.baselines,
    (retraining, "register"): stages.register,
    (retraining, "promote"): stages.promote,
    (retraining, "describe"): stages.describe,
}
"""The same by what they do last."""


def failing_once(step, error, when="before"):
    calls = []

    def fail_once(*arguments, **named):
        calls.append(step)
        if len(calls) > 1 or when == "after":
            result = step(*arguments, **named)
        if len(calls) == 1:
            raise error
        return result

    return fail_once, calls


@pytest.mark.parametrize(("when", "tasks"), [("before", TASKS), ("after", RECORDED)])
def test_a_store_that_fails_for_a_moment_in_every_stage_costs_another_try_of_it(
    overrides, monkeypatch, when, tasks
):
    error = MlflowException("API request to http://nowhere failed")
    calls = {}
    for (module, step), task in tasks.items():
        fail_once, calls[step] = failing_once(getattr(module, step), error, when)
        monkeypatch.setattr(module, step, fail_once)
        monkeypatch.setattr(task, "retry_delay_seconds", [0, 0])  # nobody waits for the second try

    result = retrain("", overrides)

    assert result["promoted"]
    again = {"record_validation": 3, "fit": 4}  # the second suite's, too, and those of two baselines
    assert {step: len(made) for step, made in calls.items()} == {step: again.get(step, 2) for step in calls}
    settings = load_settings()
    (version,) = open_registry(settings).listing()
    assert version["promotion"] == "promoted"
    client = connect(settings.tracking)
    run = client.get_run(result["run_id"])
    assert run.info.status == "FINISHED"
    epochs = [metric.step for metric in client.get_metric_history(run.info.run_id, "train/loss")]
    assert epochs == list(range(1, len(epochs) + 1))
    assert sorted(each.dataset.name for each in run.inputs.dataset_inputs) == ["test", "train", "validation"]
    table = client.download_artifacts(run.info.run_id, "promotion/history.json")
    assert len(json.loads(Path(table).read_text(encoding="utf-8"))["data"]) == 1


@pytest.mark.usefixtures("listening")
@pytest.mark.parametrize("error", [None, ValueError("Task run is not set")])
def test_ctrl_c_of_which_a_library_made_something_else_ends_the_run_after_the_stage(
    overrides, monkeypatch, error
):
    step = steps.tokenize

    def dropping(*arguments, **named):
        with suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        if error:
            raise error
        return step(*arguments, **named)

    monkeypatch.setattr(steps, "tokenize", dropping)
    with pytest.raises(KeyboardInterrupt):
        retrain("", overrides)
    settings = load_settings()
    client = connect(settings.tracking)
    recorded = client.get_experiment_by_name(settings.tracking.experiment)
    (run,) = client.search_runs([recorded.experiment_id])
    assert run.info.status == "KILLED"
    assert run.data.tags["stage"] == "tokenize"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MlflowException("API request to http://nowhere failed"), True),
        (ConnectionResetError(), True),
        (MlflowException("no such model", RESOURCE_DOES_NOT_EXIST), False),
        (JabertError("the data are wrong"), False),
        (TimeoutError("the stage took a day"), False),
    ],
)
def test_only_what_time_may_heal_is_tried_again(error, expected):
    assert is_worth_another_try(None, None, Failed(data=error)) == expected


def test_a_password_in_a_url_is_not_in_the_state_that_prefect_keeps(overrides):
    url = "http://me:secret@127.0.0.1:1/x.csv"
    state = retrain("", [*overrides, f"data.path={url}"], return_state=True)
    assert url.replace("me:secret@", "") in state.message
    assert "secret" not in state.message


def test_a_password_in_the_error_of_a_library_is_not_in_the_log_that_prefect_keeps(overrides, monkeypatch):
    fail_once, _ = failing_once(steps.read, OSError("http://me:secret@host/x.csv"))
    monkeypatch.setattr(steps, "read", fail_once)
    said = io.StringIO()
    handler = logging.StreamHandler(said)
    for name in ("prefect.flow_runs", "prefect.task_runs"):
        monkeypatch.setattr(logging.getLogger(name), "handlers", [handler])
    retrain("", overrides, return_state=True)
    assert "Traceback" in said.getvalue() and "OSError: http://host/x.csv" in said.getvalue()
    assert "secret" not in said.getvalue()


def test_a_password_of_the_store_is_not_in_what_is_told_of_a_champion(monkeypatch):
    told = {}
    monkeypatch.setattr("flows.stages.emit_event", lambda event, **facts: told.update(facts))
    tracking = TrackingSettings(uri="http://me:secret@mlflow:5000")
    stages._announce(tracking, Verdict("3", "promoted", "better", 0.5, 10), Run(None, "7", "1"))
    links = told["payload"]["links"].splitlines()
    assert links[-1] == "http://mlflow:5000/#/models/jabert/versions/3"
    assert "secret" not in str(told)


def test_wrong_data_are_not_read_twice(overrides, monkeypatch):
    fail_once, calls = failing_once(steps.tokenize, JabertError("the data are wrong"))
    monkeypatch.setattr(steps, "tokenize", fail_once)
    with pytest.raises(JabertError, match="the data are wrong"):
        retrain("", overrides)
    assert len(calls) == 1
