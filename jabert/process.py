"""What a process needs once: signals that end it, whatever becomes of them, and rare garbage collection."""

import atexit
import gc
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

_NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_SECONDS_TO_END = 4.0  # from a signal; a supervisor or an impatient user waits for five
_SECONDS_TO_TRY_AGAIN = 1.5
_SECONDS_BETWEEN_LOOKS = 0.5
_SECONDS_FOR_LAST_WORDS = 0.7

_received: list[int] = []
_pipe: list[int] = []  # both ends; Python writes the number of each signal there, before any handler runs
_last_words: list[Callable[[], None]] = []
_lock = threading.Lock()
_is_ending = threading.Event()  # the exception of a signal is on its way up


def handle_signals() -> None:
    """Turn SIGINT, SIGTERM and SIGHUP into exceptions, unless another handler is installed already.

    Call it at the start of a command. It forgets signals that were received before.
    """
    remember_signals()
    _take()
    _received.clear()
    _is_ending.clear()
    for number in _NUMBERS:
        # Once more where it is there: a library of C may have taken its place, of which Python knows nothing.
        if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler, _raise):
            signal.signal(number, _raise)


def remember_signals() -> None:
    """Remember signals from now on, whoever handles them and whatever becomes of what a handler raises.

    A handler may be replaced, as Prefect does in a flow, and what it raises may be dropped: in a destructor,
    in a callback of C, in an import that somebody guards. A pipe gets the number of each signal all the same.
    """
    if not _pipe:
        _pipe.extend(os.pipe())
        for end in _pipe:
            os.set_blocking(end, False)
        atexit.register(_leave)  # before all others, so that it is the last to be called
        sys.unraisablehook = _Unraisable(sys.unraisablehook)
        os.register_at_fork(after_in_child=_forget_in_child)
    signal.set_wakeup_fd(_pipe[1], warn_on_full_buffer=False)


class _Unraisable:
    """Says nothing of a signal's exception that Python drops, in a destructor say: the signal is remembered.

    Args:
        other: is told of everything else.
    """

    def __init__(self, other: Callable[["sys.UnraisableHookArgs"], Any]) -> None:
        self._other = other

    def __call__(self, dropped: "sys.UnraisableHookArgs") -> None:
        if not (isinstance(dropped.exc_value, KeyboardInterrupt | SystemExit) and received_signal()):
            self._other(dropped)


def _forget_in_child() -> None:
    """A signal to a forked process is no signal to this one, and the other way round."""
    signal.set_wakeup_fd(-1)
    _pipe.clear()


def _leave() -> None:
    """After a signal, spare the seconds in which Python takes itself apart and nobody watches over it."""
    number = received_signal()
    if number and _is_ending.is_set():
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(128 + number)


def received_signal() -> int | None:
    """The first signal that this process received, None if there was none."""
    _take()
    return _received[0] if _received else None


@contextmanager
def raise_missed_signals() -> Iterator[None]:
    """Raise the exception of a signal at the end of the block if a library dropped or replaced it.

    NumPy asks a Python function whether a type is one of ctypes, and drops what is raised in it (its issue
    20596); Great Expectations makes it ask thousands of times for a suite. Prefect, interrupted while it sets
    up a task, raises a ValueError instead, and TensorFlow, in its nests, a TypeError.

    Raises:
        KeyboardInterrupt: SIGINT was received.
        SystemExit: SIGTERM or SIGHUP was received; the code is 128 plus the signal's number.
        BaseException: what another handler raises that is installed for the signal.
    """
    try:
        yield
    except Exception as error:
        if number := received_signal():
            _is_ending.set()
            try:
                _deliver(number)
            except BaseException as stop:
                raise stop from error
        raise
    except BaseException as error:
        if number := received_signal():
            _is_ending.set()
            # Prefect's own exception, when its handler is no longer there
            if signal.getsignal(number) is _raise and not isinstance(error, KeyboardInterrupt | SystemExit):
                raise _exception_of(number) from error
        raise
    if number := received_signal():
        _is_ending.set()
        _deliver(number)


@contextmanager
def ended_soon_by_signals() -> Iterator[None]:
    """Make sure that a signal within the block ends the process within five seconds.

    What raises its exception may hold that back: a long call of C in the main thread, threads that a pool
    waits for, a server that does not answer. And the exception may be lost; then it is raised once more.
    After four seconds the process ends without further ado, with the exit code of the signal; what is on disk
    is as after a kill -9.
    """
    is_over = threading.Event()
    threading.Thread(target=_watch, args=(is_over,), name="signals", daemon=True).start()
    try:
        yield
    finally:
        is_over.set()


@contextmanager
def with_last_words(say: Callable[[], None]) -> Iterator[None]:
    """Call `say` in a thread of its own, for under a second, if the process is ended within the block."""
    _last_words.append(say)
    try:
        yield
    finally:
        _last_words.remove(say)


def let_signals_kill() -> None:
    """Leave signals to the kernel from now on: the work is done, and exceptions would only be noise."""
    for number in _NUMBERS:
        if signal.getsignal(number) is _raise:
            signal.signal(number, signal.SIG_DFL)


def _raise(number: int, _frame: FrameType | None) -> None:
    _received.append(number)
    if not _is_ending.is_set():
        raise _exception_of(number)


def _deliver(number: int) -> None:
    """Raise the exception of a signal, or have it raised by the handler that somebody else installed."""
    if signal.getsignal(number) is _raise:
        raise _exception_of(number)
    signal.raise_signal(number)


def _exception_of(number: int) -> BaseException:
    return KeyboardInterrupt() if number == signal.SIGINT else SystemExit(128 + number)


def _take() -> None:
    """Take the numbers of the signals out of the pipe."""
    with _lock, suppress(BlockingIOError):
        while _pipe and (taken := os.read(_pipe[0], 512)):
            _received.extend(number for number in taken if number in _NUMBERS)


def _watch(is_over: threading.Event) -> None:
    """Wait for a signal, and see to it that the process ends; without a signal only until all is over."""
    while not (number := received_signal()):
        if is_over.is_set():
            return
        select.select(_pipe[:1], [], [], _SECONDS_BETWEEN_LOOKS)
    due = time.monotonic() + _SECONDS_TO_END
    time.sleep(_SECONDS_TO_TRY_AGAIN)
    main = threading.main_thread().ident
    if main and not _is_ending.is_set():
        signal.pthread_kill(main, number)
    time.sleep(due - _SECONDS_FOR_LAST_WORDS - time.monotonic())
    speaking = [threading.Thread(target=say, daemon=True) for say in _last_words]
    for thread in speaking:
        thread.start()
    for thread in speaking:
        thread.join(max(0.0, due - time.monotonic()))
    os._exit(128 + number)


def collect_garbage_rarely() -> None:
    """Make Python's garbage collector run rarely, and not at all at exit.

    The libraries' million objects live as long as the process, and scanning them again and again took a
    fifth of a short run.
    """
    gc.set_threshold(10_000, 20, 50)
    atexit.register(gc.freeze)
