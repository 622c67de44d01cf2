"""Running a flow as a command: no tracebacks on the console, and a server that ends with the command."""

import functools
import logging
import os
import signal
import sys
from importlib import import_module
from threading import Thread
from typing import Any

import flows  # noqa: F401  the settings come before Prefect

from prefect.logging.configuration import setup_logging  # isort: skip
from prefect.logging.handlers import PrefectConsoleHandler  # isort: skip
from prefect.settings import PREFECT_API_URL, PREFECT_SERVER_EPHEMERAL_ENABLED  # isort: skip

from jabert.errors import JabertError
from jabert.logs import is_quiet, is_verbose
from jabert.process import (
    ended_soon_by_signals,
    raise_missed_signals,
    received_signal,
    with_last_words,
)
from jabert.validation.suites import import_great_expectations

_STOPPED = "Crash detected! Execution was aborted by"  # a signal
_ADDRESSES = ("Starting temporary server", "View at")


def run_flow(name: str, *arguments: Any, **options: Any) -> Any:
    """Run the flow `name` of the module `flows.<name>`, and return its result.

    Raises:
        JabertError: PREFECT_API_URL is not set, and a temporary server is forbidden or does not start.
    """
    setup_logging()  # which adds the handlers
    for handler in logging.getLogger().handlers:
        if isinstance(handler, PrefectConsoleHandler):
            handler.addFilter(_is_news)
    with ended_soon_by_signals(), with_last_words(_say_how_to_go_on):
        try:
            with raise_missed_signals():
                if not PREFECT_API_URL.value():
                    _start_temporary_server(name)
                flow = getattr(import_module(f"flows.{name}"), name)
                return flow(*arguments, **options)
        finally:
            if received_signal():
                _say_how_to_go_on()


@functools.cache  # once
def _say_how_to_go_on() -> None:
    print("jabert: stopped; the same command goes on where this one was", file=sys.stderr, flush=True)


def _start_temporary_server(name: str) -> None:
    """Start the server that Prefect would start with the flow, and import what takes seconds meanwhile.

    The imports are in the main thread: after a Ctrl-C in the middle of an import Python's import lock can
    stay locked, and then every other thread that imports would wait forever.
    """
    if not PREFECT_SERVER_EPHEMERAL_ENABLED.value():
        raise JabertError(
            "PREFECT_API_URL names no server, and Prefect's settings forbid a temporary one; set the first, "
            "or PREFECT_SERVER_EPHEMERAL_ENABLED=true"
        )
    from flows.temporary_server import TemporaryServer

    server = TemporaryServer()  # a singleton, which Prefect will find running
    failures: list[Exception] = []

    def start() -> None:
        # The server inherits this thread's signal mask. A terminal sends Ctrl-C to the server too; without a
        # server this process would try for minutes to report its end.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            server.start()
        except Exception as failure:
            failures.append(failure)

    starting = Thread(target=start, daemon=True)  # a daemon, so that Ctrl-C does not wait for it
    starting.start()
    import_module(f"flows.{name}")
    if name in ("featurize", "leaderboard", "retrain", "sweep"):
        import_great_expectations()
    if name == "retrain":
        import_module("mlflow.pyfunc")
        import_module("sklearn.metrics")
    starting.join()
    if failures:
        raise JabertError(
            f"Prefect's temporary server does not start: {failures[0]}; PREFECT_API_URL can name another"
        ) from failures[0]


def _is_news(record: logging.LogRecord) -> bool:
    """Keep off the console what the command line says itself, in a sentence; the API gets it all.

    That is a `JabertError`, whose traceback Prefect logs for the task and again for its flow, and that a
    signal ends the flow, which Prefect calls a crash. What Prefect tells of its work is shown where its level
    or `--verbose` was asked for; otherwise only the addresses of its server and pages are.
    """
    error = record.exc_info[1] if record.exc_info else None
    if isinstance(error, JabertError) or (is_quiet() and record.levelno < logging.ERROR):
        return False
    if not record.name.startswith("prefect"):
        return True
    # The number of a signal may arrive a moment after what Prefect's handler has raised.
    if received_signal() or record.getMessage().startswith(_STOPPED):
        return False
    if record.levelno > logging.INFO or "PREFECT_LOGGING_LEVEL" in os.environ or is_verbose():
        return True
    address = record.getMessage().partition("\n")[0]  # the next line is an advertisement
    if not address.startswith(_ADDRESSES):
        return False  # as it is: other handlers get the same record
    record.msg, record.args = address, None
    return True
