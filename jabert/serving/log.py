"""The log: one JSON object a line on stderr, without texts."""

import json
import sys
import traceback
from datetime import UTC, datetime
from typing import Any

__all__ = ["write_event", "write_failure"]


def write_event(event: str, **fields: Any) -> None:
    """Write a line.

    Args:
        event: its kind, e.g. `request`.
        fields: JSON values.
    """
    time = datetime.now(UTC).isoformat(timespec="milliseconds")
    sys.stderr.write(json.dumps({"time": time, "event": event, **fields}, ensure_ascii=False) + "\n")
    sys.stderr.flush()


def write_failure(sentence: str, error: Exception) -> None:
    """Write a line about an error in code: where it came from, but not its message, which may hold a text."""
    frames = [
        f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(error.__traceback__)
    ]
    write_event("failure", sentence=sentence, error=type(error).__name__, frames=frames)
