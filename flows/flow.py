"""What every flow of jabert has in common: neither its parameters nor its errors bring secrets to Prefect."""

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import flows  # noqa: F401  the settings come before Prefect

from prefect import Flow  # isort: skip

from jabert.config import location, recordable
from jabert.redaction import errors_redacted

P = ParamSpec("P")
R = TypeVar("R")


class _Flow(Flow[P, R]):
    """A flow whose parameters its run has in full, and Prefect's database without the secrets of URLs."""

    def serialize_parameters(self, parameters: dict[str, Any]) -> dict[str, Any]:
        """What is sent to Prefect's server."""
        return super().serialize_parameters({name: _shown(value) for name, value in parameters.items()})


def flow(name: str) -> Callable[[Callable[P, R]], Flow[P, R]]:
    """Make a function a Prefect flow of this name."""

    def as_flow(function: Callable[P, R]) -> Flow[P, R]:
        made = _Flow(function, name=name)
        made.fn = errors_redacted()(function)  # only now: Prefect looks for the file of the function itself
        return made

    return as_flow


def _shown(value: Any) -> Any:
    if isinstance(value, list):
        return [recordable(each) if isinstance(each, str) else each for each in value]
    return str(location(value)) if isinstance(value, str) else value
