"""The log: one JSON object per line on stderr, without any texts of requests."""

import logging
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
    write_event("failure", sentence=sentence, **_place_of(error))


class JsonHandler(logging.Handler):
    """Writes what libraries log as lines of the log; of an exception no message, as of a failure."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record."""
        error = record.exc_info[1] if record.exc_info else None
        place = _place_of(error) if error else {}
        sentence = record.getMessage().strip()
        write_event("log", level=record.levelname, logger=record.name, sentence=sentence, **place)


def take_over_logging() -> None:
    """Let all that is logged from now on be lines of the log, warnings of Python among it."""
    logging.captureWarnings(True)
    # What is not HTTP is noted with the requests, as an answer.
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
    for name in (None, "mlflow"):
        logger = logging.getLogger(name)
        logger.handlers = [JsonHandler()]


def _place_of(error: BaseException) -> dict[str, Any]:
    frames = traceback.extract_tb(error.__traceback__)
    stack = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
    return {"error": type(error).__name__, "frames": stack}


def to_line(event: str, **fields: Any) -> str:
    """A line of the log with its line feed."""
    time = datetime.now(UTC).isoformat(timespec="milliseconds")
    return json_text({"time": time, "event": event, **fields}, indent=None) + "\n"
