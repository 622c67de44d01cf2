"""What a stage does when a store fails: time may heal that, and nothing is done twice for it."""

import io
import logging

import pytest
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST
from prefect.states import Failed

from flows import judging
from flows.retrain import retrain
from flows.stage import is_worth_another_try
from jabert import steps
from jabert.config import TrackingSettings, load_settings
from jabert.errors import JabertError
from jabert.registry import Verdict, open_registry
from jabert.tracking import Run


def failing_once(step, error):
    calls = []

    def fail_once(*arguments, **named):
        calls.append(step)
        if len(calls) == 1:
            raise error
        return step(*arguments, **named)

    return fail_once, calls


@pytest.fixture
def at_once(monkeypatch):
    """Nobody waits for the second try."""
    for task in ("register", "promote"):
        monkeypatch.setattr(f"flows.judging.{task}.retry_delay_seconds", [0, 0])


@pytest.mark.parametrize("step", ["register", "promote"])
def test_a_store_that_fails_for_a_moment_costs_another_try(overrides, monkeypatch, at_once, step):
    error = MlflowException("API request to http://nowhere failed")
    fail_once, calls = failing_once(getattr(steps, step), error)
    monkeypatch.setattr(steps, step, fail_once)

    assert retrain("", overrides)["promoted"]

    assert len(calls) == 2
    (version,) = open_registry(load_settings()).listing()
    assert version["promotion"] == "promoted"


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
    assert url.replace("secret", "***") in state.message
    assert "secret" not in state.message


def test_a_password_in_the_error_of_a_library_is_not_in_the_log_that_prefect_keeps(overrides, monkeypatch):
    fail_once, _ = failing_once(steps.read, OSError("http://me:secret@host/x.csv"))
    monkeypatch.setattr(steps, "read", fail_once)
    said = io.StringIO()
    handler = logging.StreamHandler(said)
    for name in ("prefect.flow_runs", "prefect.task_runs"):
        monkeypatch.setattr(logging.getLogger(name), "handlers", [handler])
    retrain("", overrides, return_state=True)
    assert "Traceback" in said.getvalue() and "OSError: http://me:***@host/x.csv" in said.getvalue()
    assert "secret" not in said.getvalue()


def test_a_password_of_the_store_is_not_in_what_is_told_of_a_champion(monkeypatch):
    told = {}
    monkeypatch.setattr("flows.judging.emit_event", lambda event, **facts: told.update(facts))
    tracking = TrackingSettings(uri="http://me:secret@mlflow:5000")
    judging._announce(tracking, Verdict("3", "promoted", "better", 0.5, 10), Run(None, "7", "1"))
    links = told["payload"]["links"].splitlines()
    assert links[-1] == "http://me:***@mlflow:5000/#/models/jabert/versions/3"
    assert "secret" not in str(told)


def test_wrong_data_are_not_read_twice(overrides, monkeypatch):
    fail_once, calls = failing_once(steps.tokenize, JabertError("the data are wrong"))
    monkeypatch.setattr(steps, "tokenize", fail_once)
    with pytest.raises(JabertError, match="the data are wrong"):
        retrain("", overrides)
    assert len(calls) == 1
