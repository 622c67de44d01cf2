"""Log records that may be shown and kept anywhere: without secrets, without what a terminal would obey."""

import logging
from typing import Any

from jabert.errors import causes_of
from jabert.redaction import redacted
from jabert.safe import printable

_chosen = {"verbose": False, "quiet": False}


def make_logs_safe() -> None:
    """Make every record safe that is logged in this process from now on, libraries' included."""
    made = logging.getLogRecordFactory()
    if not isinstance(made, _Safe):
        logging.setLogRecordFactory(_Safe(made))


class _Safe:
    """Makes records as another factory does, then changes those whose message or traceback is not safe."""

    def __init__(self, made: Any) -> None:
        self._made = made

    def __call__(self, *arguments: Any, **more: Any) -> logging.LogRecord:
        record: logging.LogRecord = self._made(*arguments, **more)
        message = record.getMessage()
        if (safe := shown(message)) != message:  # others keep their arguments, which some handlers read
            record.msg, record.args = safe, None
        if record.exc_info and _was_stopped(record.exc_info[1]):
            record.levelno, record.levelname, record.exc_info = logging.DEBUG, "DEBUG", None
        if record.exc_info:
            record.exc_text = shown(logging.Formatter().formatException(record.exc_info))
        return record


def _was_stopped(error: BaseException | None) -> bool:
    """Whether Ctrl-C or another signal led to an error: what libraries log of it is no error of theirs."""
    return any(isinstance(each, KeyboardInterrupt | SystemExit) for each in causes_of(error))


def choose_loudness(*, verbose: bool = False, quiet: bool = False) -> None:
    """Choose what the console shows from now on; what is kept of a run elsewhere is always whole.

    Args:
        verbose: all that is told, also what Prefect tells of its own work.
        quiet: errors only, whatever `verbose` says.
    """
    _chosen.update(verbose=verbose and not quiet, quiet=quiet)
    if logging.lastResort:  # what shows records where nobody has set up a handler, as Prefect does
        level = logging.ERROR if quiet else logging.INFO if verbose else logging.WARNING
        logging.lastResort.setLevel(level)
    if verbose:
        logging.getLogger("jabert").setLevel(logging.INFO)


def is_verbose() -> bool:
    """Whether the console shows all that is told."""
    return _chosen["verbose"]


def is_quiet() -> bool:
    """Whether the console shows errors only."""
    return _chosen["quiet"]


def shown(text: str) -> str:
    """A text as a terminal or a log may have it."""
    return printable(redacted(text))
