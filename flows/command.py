"""Running a flow as a command: no tracebacks on the console, and a server that ends with the command."""

import atexit
import logging
import signal
import subprocess
import time
from importlib import import_module
from threading import Thread
from typing import Any

import flows  # noqa: F401  the settings come before Prefect

from prefect.logging.configuration import setup_logging  # isort: skip
from prefect.logging.handlers import PrefectConsoleHandler  # isort: skip
from prefect.settings import PREFECT_API_URL, PREFECT_SERVER_EPHEMERAL_ENABLED  # isort: skip

from jabert.errors import JabertError
from jabert.process import raise_missed_signals
from jabert.validation.suites import import_great_expectations


def run_flow(name: str, *arguments: Any, **options: Any) -> Any:
    """Run the flow `name` of the module `flows.<name>`, and return its result.

    Raises:
        JabertError: PREFECT_API_URL is not set, and a temporary server is forbidden or does not start.
    """
    setup_logging()  # which adds the handlers
    for handler in logging.getLogger().handlers:
        if isinstance(handler, PrefectConsoleHandler):
            handler.addFilter(_has_no_jabert_error)
    if not PREFECT_API_URL.value():
        _start_temporary_server(name)
    flow = getattr(import_module(f"flows.{name}"), name)
    with raise_missed_signals():
        return flow(*arguments, **options)


def _start_temporary_server(name: str) -> None:
    """Start the server that Prefect would start with the flow, and import what takes seconds meanwhile.

    The imports are in the main thread: after a Ctrl-C in the middle of an import Python's import lock can
    stay locked, and then every other thread that imports would wait forever.
    """
    if not PREFECT_SERVER_EPHEMERAL_ENABLED.value():
        raise JabertError("PREFECT_API_URL names no server, and Prefect's settings forbid a temporary one")
    from prefect.server.api.server import SubprocessASGIServer

    server = SubprocessASGIServer()  # a singleton, which Prefect will find running
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
    while starting.is_alive() and not server.server_process:
        time.sleep(0.01)
    if server.server_process:
        _end_with_this_process(server.server_process)
    import_module(f"flows.{name}")
    if name in ("featurize", "leaderboard", "retrain"):
        import_great_expectations()
    if name == "retrain":
        import_module("mlflow.pyfunc")
        import_module("sklearn.metrics")
    starting.join()
    if failures:
        raise JabertError(f"Prefect's temporary server does not start: {failures[0]}") from failures[0]


def _end_with_this_process(server: subprocess.Popen[Any]) -> None:
    """Make the server end with this process, even if this process is killed.

    Prefect stops the server at exit, which SIGKILL and the out-of-memory killer prevent. So a shell waits
    until a pipe is closed that only this process holds open, and then stops the server.
    """
    script = f"read nothing; kill {server.pid}"
    watch = subprocess.Popen(["sh", "-c", script], stdin=subprocess.PIPE, start_new_session=True)
    atexit.register(watch.communicate)
    atexit.register(watch.kill)  # runs first


def _has_no_jabert_error(record: logging.LogRecord) -> bool:
    """Keep tracebacks of `JabertError` off the console; the command line prints the message.

    Prefect logs each exception of a task and again of its flow; the API gets the tracebacks.
    """
    return not (record.exc_info and isinstance(record.exc_info[1], JabertError))
