"""What every flow of jabert has in common: neither its parameters nor its errors bring secrets to Prefect."""

from collections.abc import Callable
from datetime import date
from functools import partial
from pathlib import PurePath
from typing import Any, ParamSpec, TypeVar

import flows  # noqa: F401  the settings come before Prefect

from prefect import Flow  # isort: skip
from prefect.runtime import flow_run  # isort: skip

from jabert.config import location, recordable
from jabert.redaction import errors_redacted

_DATA = "data.path="
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
        made = _Flow(function, name=name, flow_run_name=partial(_name_of_run, name))
        made.fn = errors_redacted()(function)  # only now: Prefect looks for the file of the function itself
        return made

    return as_flow


def _name_of_run(flow_name: str) -> str:
    """The name of a run in Prefect's lists: flow, recipe, data and day, e.g. `retrain knbc 2026-11-28`."""
    given = flow_run.parameters
    paths = [each for each in given.get("overrides") or () if each.startswith(_DATA)]
    source = given.get("source") or ""
    data = [*([source] if isinstance(source, str) else source), *(path.removeprefix(_DATA) for path in paths)]
    words = [PurePath(str(location(each))).stem for each in (given.get("recipe") or "", data[-1])]
    return " ".join(filter(None, [flow_name, *words, date.today().isoformat()]))


def _shown(value: Any) -> Any:
    if isinstance(value, list):
        return [recordable(each) if isinstance(each, str) else each for each in value]
    return str(location(value)) if isinstance(value, str) else value
