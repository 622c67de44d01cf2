"""MLflow's web UI on the store of the settings."""

import os
import signal
import subprocess
import sys
from contextlib import suppress

from jabert.config import TrackingSettings, local_database, revealed
from jabert.errors import JabertError
from jabert.sockets import listen
from jabert.tracking.store import connect

_HOST = "127.0.0.1"
_SECONDS_TO_END = 10.0
_ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # otherwise 15 processes and 3 GB
    "PYTHONWARNINGS": "ignore",  # MLflow imports deprecated modules, which users cannot change
}


def serve(settings: TrackingSettings, port: int) -> None:
    """Serve MLflow's UI at `http://127.0.0.1:<port>` until Ctrl-C; no process outlives this call.

    Args:
        settings: settings of the store, a local file or a database.
        port: port to listen on.

    Raises:
        JabertError: the store is a server, does not exist yet or cannot be reached, the port is taken, or the
            server ended unexpectedly.
    """
    uri = str(settings.uri)
    if uri.startswith(("http://", "https://")):
        raise JabertError(f"tracking.uri {uri} is an MLflow server; open that address for its own UI")
    database = local_database(settings.uri)
    if not database:
        connect(settings)
    elif not database.is_file():
        raise JabertError(f"there is no MLflow store at {database} yet; `jabert retrain` creates it")
    listen(_HOST, port, "give another with --port").close()
    print(f"http://{_HOST}:{port} shows {uri} in a few seconds; Ctrl-C ends it", flush=True)
    # In a session of its own: Ctrl-C reaches only this process, which then ends MLflow's process group.
    server = subprocess.Popen(_command(settings, port), env=_environment(settings), start_new_session=True)
    try:
        code = server.wait()
    except KeyboardInterrupt:
        return
    finally:
        _end(server)
    raise JabertError(f"the MLflow server ended by itself with exit code {code}; its messages are above")


def _command(settings: TrackingSettings, port: int) -> list[str]:
    command = [sys.executable, "-m", "mlflow", "server"]
    command += ["--host", _HOST, "--port", str(port), "--workers", "1"]
    command += ["--uvicorn-opts", "--log-level warning"]
    return command + (["--default-artifact-root", settings.artifacts] if settings.artifacts else [])


def _environment(settings: TrackingSettings) -> dict[str, str]:
    """The environment with the store's URI, whose secrets `ps` must not show."""
    uri = revealed(settings.uri or "")
    return {**os.environ, **_ENVIRONMENT, "MLFLOW_BACKEND_STORE_URI": uri, "MLFLOW_REGISTRY_STORE_URI": uri}


def _end(server: "subprocess.Popen[bytes]") -> None:
    """Terminate the server and the process that it started, then kill them."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(server.pid, number)
        except ProcessLookupError:
            return  # the whole group is gone
        with suppress(subprocess.TimeoutExpired, KeyboardInterrupt):  # after a second Ctrl-C: kill
            server.wait(_SECONDS_TO_END)
