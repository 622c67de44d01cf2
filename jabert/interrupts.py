"""Ctrl-C and SIGTERM in code that loses exceptions."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["heeded"]


@contextmanager
def heeded() -> Iterator[None]:
    """Send a signal again at the end if what its handler raised did not end the block.

    NumPy asks a Python function whether a type is one of ctypes, and drops whatever is raised in it (NumPy's
    issue 20596); Great Expectations makes it ask thousands of times for a suite.
    """
    if threading.current_thread() is not threading.main_thread():  # signals are handled there
        yield
        return
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    handlers = {int(number): handler for number in numbers if callable(handler := signal.getsignal(number))}
    came: list[int] = []

    def handle(number: int, frame: FrameType | None) -> None:
        came.append(number)
        handlers[number](number, frame)

    for number in handlers:
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    if came:
        signal.raise_signal(came[0])
