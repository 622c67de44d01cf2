"""Artifacts of a stage in the Prefect UI: its progress, and a page when it is done.

They are optional: when Prefect's server is away, the stage continues without them.
"""

import functools
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, cast
from uuid import UUID

import httpx
from prefect.artifacts import (
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)

from jabert.safe import printable

log = logging.getLogger("jabert")

_SECONDS_BETWEEN_UPDATES = 2.0
_SHARE_OF_UPDATES = 0.1  # of the time, since Prefect's client waits for minutes when the server is away


def show_markdown(key: str, markdown: str, flow: str = "retrain") -> None:
    """Publish a page with the key `<flow>-<key>`."""
    with _unless_prefect_is_away():
        create_markdown_artifact(printable(markdown), key=f"{flow}-{key}")


def show_table(key: str, values: Mapping[str, Any], flow: str = "retrain") -> None:
    """Publish a table of names and values with the key `<flow>-<key>`."""
    rows = [
        {"what": name, "value": printable(value) if isinstance(value, str) else value}
        for name, value in values.items()
    ]
    with _unless_prefect_is_away():
        create_table_artifact(rows, key=f"{flow}-{key}")


def progress(key: str, flow: str = "retrain") -> Callable[[int, int], None]:
    """Publish a progress bar `<flow>-<key>`; returns a function that updates it, given done and total."""
    artifact: UUID | None = None
    with _unless_prefect_is_away():
        # A coroutine only where an event loop runs.
        artifact = cast(UUID, create_progress_artifact(0.0, key=f"{flow}-{key}"))
    due = time.monotonic() + _SECONDS_BETWEEN_UPDATES

    def update(done: int, total: int) -> None:
        nonlocal due
        started = time.monotonic()
        if artifact is None or (done != total and started < due):
            return
        share = done / total if total else 1.0  # a table may have no rows
        with _unless_prefect_is_away():
            update_progress_artifact(artifact, 100.0 * share)
        ended = time.monotonic()
        due = ended + max(_SECONDS_BETWEEN_UPDATES, (ended - started) / _SHARE_OF_UPDATES)

    return update


@contextmanager
def _unless_prefect_is_away() -> Iterator[None]:
    try:
        yield
    except httpx.HTTPError as error:
        _warn(f"{type(error).__name__}: {error}")


@functools.cache
def _warn(reason: str) -> None:
    """Log the warning once for each reason."""
    log.warning("Prefect's server does not take pages and progress, so some are missing (%s)", reason)
