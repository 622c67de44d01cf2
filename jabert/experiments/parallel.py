"""Calls in this process, or in several local ones."""

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing.context import SpawnContext
from multiprocessing.reduction import ForkingPickler
from threading import Thread
from typing import Any

from jabert.config import Url, revealed
from jabert.errors import JabertError
from jabert.logs import make_logs_safe

# Whole, for a process of one's own opens it, but only here: what others pickle may end in a file. What this
# pickler writes goes through a pipe.
ForkingPickler.register(Url, lambda url: (Url, (revealed(url),)))


@dataclass(frozen=True)
class Pending:
    """A call that was submitted: called itself, it waits for the result, or raises the error.

    Attributes:
        result: waits.
        future: of the process that is at it; None if the call is made when its result is asked for.
    """

    result: Callable[[], Any]
    future: Future[Any] | None = None

    def __call__(self) -> Any:
        """The result."""
        return self.result()


Submit = Callable[..., Pending]
"""Takes a function and its arguments."""


def first_finished(pending: Sequence[Pending]) -> Pending:
    """Wait until one of the calls has ended, or is one that is made when its result is asked for."""
    at_it = {call.future: call for call in pending if call.future}
    if len(at_it) < len(pending):
        return next(call for call in pending if not call.future)
    done = wait(at_it, return_when=FIRST_COMPLETED).done
    return next(call for future, call in at_it.items() if future in done)


@contextmanager
def local_processes(jobs: int) -> Iterator[Submit]:
    """Run calls in so many processes at once; with one, in this process, when their results are asked for.

    A process that dies, e.g. for want of memory, takes with it the calls of all: each of those is made once
    more, in a process of its own, so that only the call that it died of fails.
    """
    if jobs == 1:
        yield lambda function, *arguments, **named: Pending(partial(function, *arguments, **named))
        return
    context = multiprocessing.get_context("spawn")  # TensorFlow does not survive a fork
    pool = _pool(jobs, context)

    def submit(function: Callable[..., Any], *arguments: Any, **named: Any) -> Pending:
        again = partial(_alone, context, function, *arguments, **named)
        try:
            future = pool.submit(function, *arguments, **named)
        except BrokenProcessPool:
            return Pending(again)

        def result() -> Any:
            try:
                return future.result()
            except BrokenProcessPool:
                return again()

        return Pending(result, future)

    try:
        yield submit
    except BaseException:
        for process in multiprocessing.active_children():
            process.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _alone(context: SpawnContext, function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    with _pool(1, context) as pool:
        try:
            return pool.submit(function, *arguments, **named).result()
        except BrokenProcessPool as error:
            raise JabertError(
                "its process died, maybe for want of memory; a lower --jobs takes less"
            ) from error


def _pool(jobs: int, context: SpawnContext) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(jobs, context, initializer=_follow_parent)


def _follow_parent() -> None:
    """End with the parent: a worker waits in a pipe that never ends. Ctrl-C is for the parent to handle."""
    make_logs_safe()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent:
            parent.join()
            os._exit(1)

    Thread(target=watch, daemon=True).start()
