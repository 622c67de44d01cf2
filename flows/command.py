"""Running a flow as a command: no tracebacks on the console, and a server that ends with the command."""

import atexit
import logging
import signal
import subprocess
import time
from importlib import import_module
from threading import Thread
from typing import TYPE_CHECKING, Any

import flows  # noqa: F401  the settings come before Prefect

from prefect.logging.configuration import setup_logging  # isort: skip
from prefect.logging.handlers import PrefectConsoleHandler  # isort: skip
from prefect.settings import PREFECT_API_URL, PREFECT_SERVER_EPHEMERAL_ENABLED  # isort: skip

from jabert.errors import JabertError
from jabert.process import raise_missed_signals
from jabert.validation.suites import import_great_expectations

if TYPE_CHECKING:
    from prefect.server.api.server import SubprocessASGIServer


def run_flow(name: str, *arguments: Any) -> Any:
    """Run the flow `name` of the module `flows.<name>`, and return its result.

    Raises:
        JabertError: PREFECT_API_URL is not set, and a temporary server is forbidden or does not start.
    """
    _quiet_console()
    if not PREFECT_API_URL.value():
        _start_temporary_server(name)
    flow = getattr(import_module(f"flows.{name}"), name)
    with raise_missed_signals():
        return flow(*arguments)


def _start_temporary_server(name: str) -> None:
    """Start the server that Prefect would start with the flow, and import libraries in the meantime.

    The imports are in the main thread: after a Ctrl-C in the middle of an import Python's import lock can
    stay locked, and then every other thread that imports would wait forever.
    """
    if not PREFECT_SERVER_EPHEMERAL_ENABLED.value():
        raise JabertError("PREFECT_API_URL names no server, and Prefect's settings forbid a temporary one")
    from prefect.server.api.server import SubprocessASGIServer

    server = SubprocessASGIServer()  # a singleton, which Prefect will find running
    failures: list[Exception] = []
    # A daemon, so that Ctrl-C does not wait for it.
    starting = Thread(target=_start, args=[server, failures], daemon=True)
    starting.start()
    while starting.is_alive() and not server.server_process:
        time.sleep(0.01)
    if server.server_process:
        _end_with_this_process(server.server_process)
    _import_for(name)
    starting.join()
    if failures:
        raise JabertError(f"Prefect's temporary server does not start: {failures[0]}") from failures[0]


def _start(server: "SubprocessASGIServer", failures: list[Exception]) -> None:
    # The server inherits this thread's signal mask. A terminal sends Ctrl-C to the server too; without a
    # server this process would try for minutes to report its end.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        server.start()
    except Exception as failure:
        failures.append(failure)


def _import_for(name: str) -> None:
    """Import the flow, and the libraries that it imports later and that take seconds."""
    import_module(f"flows.{name}")
    if name in ("featurize", "retrain"):
        import_great_expectations()
    if name == "retrain":
        import_module("mlflow.pyfunc")
        import_module("sklearn.metrics")


def _end_with_this_process(server: subprocess.Popen[Any]) -> None:
    """Make the server end with this process, even if this process is killed.

    Prefect stops the server at exit, which SIGKILL and the out-of-memory killer prevent. So a shell waits
    until a pipe is closed that only this process holds open, and then stops the server.
    """
    script = f"read nothing; kill {server.pid}"
    watch = subprocess.Popen(["sh", "-c", script], stdin=subprocess.PIPE, start_new_session=True)

    @atexit.register
    def end_watch() -> None:
        watch.kill()
        watch.communicate()


class _OneSentence(logging.Filter):
    """Keeps tracebacks of `JabertError` off the console.

    Prefect logs each exception of a task and again of its flow; the API gets the tracebacks.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        return not (record.exc_info and isinstance(record.exc_info[1], JabertError))


def _quiet_console() -> None:
    """Keep tracebacks of `JabertError` off the console; the command line prints the message."""
    setup_logging()  # which adds the handlers
    for handler in logging.getLogger().handlers:
        if isinstance(handler, PrefectConsoleHandler):
            handler.addFilter(_OneSentence())
