"""What every stage has in common as a Prefect task: how long it may take, what is tried again, Ctrl-C."""

import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from prefect import Task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun

from jabert.config import Settings
from jabert.process import raise_missed_signals
from jabert.redaction import errors_redacted
from jabert.tracking import told_if_full

P = ParamSpec("P")
R = TypeVar("R")


def stage(name: str, *, days: int = 1) -> Callable[[Callable[P, R]], Task[P, R]]:
    """Make a function a Prefect task that may take so many days."""

    def as_task(function: Callable[P, R]) -> Task[P, R]:
        made: Task[P, R] = Task(
            errors_redacted()(raise_missed_signals()(_told_if_full(function))),
            name=name,
            cache_policy=NO_CACHE,
            retries=2,
            retry_delay_seconds=[10, 60],
            retry_condition_fn=is_worth_another_try,
            timeout_seconds=days * 24 * 60 * 60,
        )
        made.task_key = f"{function.__module__}.{function.__qualname__}"  # Prefect's own is of the wrapper
        return made

    return as_task


def _told_if_full(function: Callable[P, R]) -> Callable[P, R]:
    """The function, one of whose arguments is the settings or has them, with a sentence for a full disk."""

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        given = (getattr(each, "settings", each) for each in (*args, *kwargs.values()))
        settings = next(each for each in given if isinstance(each, Settings))
        with told_if_full(settings):
            return function(*args, **kwargs)

    return run


def is_worth_another_try(_task: Task[..., Any], _run: TaskRun, state: State[Any]) -> bool:
    """Whether a store or a connection failed, which time may heal; what the user must put right never is.

    Every stage may be run again: it finds what it did before.
    """
    from mlflow.exceptions import MlflowException

    error = state.data
    if isinstance(error, MlflowException):
        return error.error_code in ("INTERNAL_ERROR", "TEMPORARILY_UNAVAILABLE")
    return isinstance(error, ConnectionError)
