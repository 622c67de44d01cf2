"""Ctrl-C, SIGTERM and SIGHUP end a command as exceptions, whatever a library makes of these."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["heeded", "listen"]

_came: list[int] = []


def listen() -> None:
    """Make the signals exceptions, as far as nobody else has; for the beginning of a command."""
    _came.clear()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
            signal.signal(number, _end)


@contextmanager
def heeded() -> Iterator[None]:
    """End the block as the signal would have that came in it and of which something else was made.

    NumPy asks a Python function whether a type is one of ctypes, and drops what is raised in it (its issue
    20596); Great Expectations makes it ask thousands of times for a suite. Prefect, interrupted while it sets
    up a task, raises a ValueError instead, and TensorFlow, in its nests, a TypeError.
    """
    try:
        yield
    except Exception as error:
        if _came:
            raise _meaning(_came[0]) from error
        raise
    if _came:
        raise _meaning(_came[0])


def _end(number: int, _frame: FrameType | None) -> None:
    _came.append(number)
    raise _meaning(number)


def _meaning(number: int) -> BaseException:
    return KeyboardInterrupt() if number == signal.SIGINT else SystemExit(128 + number)
