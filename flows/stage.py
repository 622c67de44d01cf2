"""What every stage has in common as a Prefect task: how long it may take and what is tried again."""

from typing import Any, TypedDict

from prefect import Task
from prefect.cache_policies import NO_CACHE, CachePolicy
from prefect.client.schemas.objects import State, TaskRun

__all__ = ["LONG_STAGE", "STAGE"]

_DAY = 24 * 60 * 60


def is_worth_another_try(_task: Task[..., Any], _run: TaskRun, state: State[Any]) -> bool:
    """Whether a store or a connection failed, which time may heal; what the user must put right never is.

    Every stage may be run again: it finds what it did before.
    """
    from mlflow.exceptions import MlflowException

    error = state.data
    if isinstance(error, MlflowException):
        return error.error_code in ("INTERNAL_ERROR", "TEMPORARILY_UNAVAILABLE")
    return isinstance(error, ConnectionError)


class _Options(TypedDict):
    cache_policy: CachePolicy
    retries: int
    retry_delay_seconds: list[float]
    retry_condition_fn: Any
    timeout_seconds: float


STAGE: _Options = {
    "cache_policy": NO_CACHE,
    "retries": 2,
    "retry_delay_seconds": [10, 60],
    "retry_condition_fn": is_worth_another_try,
    "timeout_seconds": _DAY,
}
LONG_STAGE: _Options = {**STAGE, "timeout_seconds": 30 * _DAY}
