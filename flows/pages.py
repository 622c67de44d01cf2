"""What a stage shows in the Prefect UI: an artifact when it is done, progress on the way."""

import time
from collections.abc import Callable, Mapping
from typing import Any, cast
from uuid import UUID

from prefect.artifacts import (
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)

__all__ = ["progress", "show_markdown", "show_table"]

_SECONDS_BETWEEN_UPDATES = 2.0


def show_markdown(key: str, markdown: str, flow: str = "retrain") -> None:
    """Publish a page under `<flow>-<key>`."""
    create_markdown_artifact(markdown, key=f"{flow}-{key}")


def show_table(key: str, values: Mapping[str, Any], flow: str = "retrain") -> None:
    """Publish names and values under `<flow>-<key>`."""
    rows = [{"what": name, "value": value} for name, value in values.items()]
    create_table_artifact(rows, key=f"{flow}-{key}")


def progress(key: str, flow: str = "retrain") -> Callable[[int, int], None]:
    """A progress bar `<flow>-<key>`, as a function of what is done and what there is to do."""
    artifact = cast(UUID, create_progress_artifact(0.0, key=f"{flow}-{key}"))  # no coroutine here
    shown = time.monotonic()

    def update(done: int, total: int) -> None:
        nonlocal shown
        if done == total or time.monotonic() - shown >= _SECONDS_BETWEEN_UPDATES:
            shown = time.monotonic()
            share = done / total if total else 1.0  # a table may have no rows
            update_progress_artifact(artifact, 100.0 * share)

    return update
