"""Calls in this process, or in several local ones."""

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from multiprocessing.context import SpawnContext
from threading import Thread
from typing import Any

from jabert.errors import JabertError

Submit = Callable[..., Callable[[], Any]]
"""Takes a function and its arguments; returns a function that waits for the result, or raises the error."""


@contextmanager
def local_processes(jobs: int) -> Iterator[Submit]:
    """Run calls in so many processes at once; with one, in this process, when their results are asked for.

    A process that dies, e.g. for want of memory, takes with it the calls of all: each of those is made once
    more, in a process of its own, so that only the call that it died of fails.
    """
    if jobs == 1:
        yield partial
        return
    context = multiprocessing.get_context("spawn")  # TensorFlow does not survive a fork
    pool = _pool(jobs, context)

    def submit(function: Callable[..., Any], *arguments: Any, **named: Any) -> Callable[[], Any]:
        again = partial(_alone, context, function, *arguments, **named)
        try:
            future = pool.submit(function, *arguments, **named)
        except BrokenProcessPool:
            return again

        def wait() -> Any:
            try:
                return future.result()
            except BrokenProcessPool:
                return again()

        return wait

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
            raise JabertError("its process died, maybe for want of memory") from error


def _pool(jobs: int, context: SpawnContext) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(jobs, context, initializer=_follow_parent)


def _follow_parent() -> None:
    """End with the parent: a worker waits in a pipe that never ends. Ctrl-C is for the parent to handle."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent:
            parent.join()
            os._exit(1)

    Thread(target=watch, daemon=True).start()
