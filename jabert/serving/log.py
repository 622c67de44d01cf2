"""The log: one JSON object per line on stderr, without any texts of requests."""

import sys
import traceback
from datetime import UTC, datetime
from typing import Any

from jabert.safe import json_text


def write_event(event: str, **fields: Any) -> None:
    """Write a line to the log.

    Args:
        event: kind of the event, e.g. `version`.
        fields: JSON values that describe it.
    """
    print(end=to_line(event, **fields), file=sys.stderr, flush=True)


def write_failure(sentence: str, error: Exception) -> None:
    """Log where an error was raised, but not its message, which may contain a text."""
    frames = traceback.extract_tb(error.__traceback__)
    stack = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
    write_event("failure", sentence=sentence, error=type(error).__name__, frames=stack)


def to_line(event: str, **fields: Any) -> str:
    """A line of the log with its line feed."""
    time = datetime.now(UTC).isoformat(timespec="milliseconds")
    return json_text({"time": time, "event": event, **fields}, indent=None) + "\n"
