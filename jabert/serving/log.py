"""The log: one JSON object a line on stderr, without texts."""

import json
import sys
import traceback
from datetime import UTC, datetime
from typing import Any

__all__ = ["to_line", "write_event", "write_failure"]


def write_event(event: str, **fields: Any) -> None:
    """Write a line.

    Args:
        event: its kind, e.g. `version`.
        fields: JSON values.
    """
    print(end=to_line(event, **fields), file=sys.stderr, flush=True)


def write_failure(sentence: str, error: Exception) -> None:
    """Write a line about an error in code: where it came from, but not its message, which may hold a text."""
    frames = traceback.extract_tb(error.__traceback__)
    places = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
    write_event("failure", sentence=sentence, error=type(error).__name__, frames=places)


def to_line(event: str, **fields: Any) -> str:
    """A line, its end included."""
    time = datetime.now(UTC).isoformat(timespec="milliseconds")
    return json.dumps({"time": time, "event": event, **fields}, ensure_ascii=False) + "\n"
