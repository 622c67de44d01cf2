"""What a whole process needs once: signals that end it as exceptions, and rare garbage collection."""

import atexit
import gc
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_received: list[int] = []


def handle_signals() -> None:
    """Turn SIGINT, SIGTERM and SIGHUP into exceptions, unless another handler is installed already.

    Call it at the start of a command. It forgets signals that were received before.
    """
    _received.clear()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
            signal.signal(number, _raise)


@contextmanager
def raise_missed_signals() -> Iterator[None]:
    """Raise the exception of a signal at the end of the block if a library swallowed or replaced it.

    NumPy asks a Python function whether a type is one of ctypes, and drops what is raised in it (its issue
    20596); Great Expectations makes it ask thousands of times for a suite. Prefect, interrupted while it sets
    up a task, raises a ValueError instead, and TensorFlow, in its nests, a TypeError.

    Raises:
        KeyboardInterrupt: SIGINT was received.
        SystemExit: SIGTERM or SIGHUP was received; the code is 128 plus the signal's number.
    """
    try:
        yield
    except Exception as error:
        if _received:
            raise _exception_of(_received[0]) from error
        raise
    if _received:
        raise _exception_of(_received[0])


def _raise(number: int, _frame: FrameType | None) -> None:
    _received.append(number)
    raise _exception_of(number)


def _exception_of(number: int) -> BaseException:
    return KeyboardInterrupt() if number == signal.SIGINT else SystemExit(128 + number)


def collect_garbage_rarely() -> None:
    """Make Python's garbage collector run rarely, and not at all at exit.

    The libraries' million objects live as long as the process, and scanning them again and again took a
    fifth of a short run.
    """
    gc.set_threshold(10_000, 20, 50)
    atexit.register(gc.freeze)
