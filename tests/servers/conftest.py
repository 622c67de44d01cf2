"""Real servers for the tests in this folder, on ports and in folders of their own; nothing is skipped."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def binary(name):
    """A program of PostgreSQL, which Debian keeps off the path."""
    found = shutil.which(name) or next(
        (str(path) for path in sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))), None
    )
    assert found, f"{name} is missing: install PostgreSQL (Debian: apt-get install postgresql)"
    return found


@contextmanager
def process(command, **options):
    """A process that ends with the block, with all its children."""
    running = subprocess.Popen(command, start_new_session=True, **options)
    try:
        yield running
    finally:
        os.killpg(running.pid, signal.SIGTERM)
        try:
            running.wait(timeout=30)
        except subprocess.TimeoutExpired:
            os.killpg(running.pid, signal.SIGKILL)
            running.wait()


def wait_until(ready, what, seconds=120):
    """Wait for `ready` to return without an error."""
    end = time.monotonic() + seconds
    while True:
        try:
            return ready()
        except Exception:
            assert time.monotonic() < end, f"{what} did not come up within {seconds} s"
            time.sleep(0.2)


@pytest.fixture(scope="session")
def postgresql():
    """URL of an empty database on a server of its own; PostgreSQL refuses to run as root."""
    import sqlalchemy

    user = {"user": "nobody"} if os.geteuid() == 0 else {}
    with tempfile.TemporaryDirectory(prefix="jabert-pg-") as folder:
        if user:
            shutil.chown(folder, "nobody")
        data, port = Path(folder) / "data", free_port()
        command = [binary("initdb"), "-D", str(data), "-U", "jabert", "--auth=trust", "-E", "UTF8"]
        subprocess.run(command, check=True, capture_output=True, cwd=folder, **user)
        options = ["-c", "listen_addresses=127.0.0.1", "-c", f"unix_socket_directories={folder}"]
        command = [binary("postgres"), "-D", str(data), "-p", str(port), *options]
        url = f"postgresql://jabert@127.0.0.1:{port}/postgres"
        with process(command, cwd=folder, stderr=subprocess.DEVNULL, **user):
            engine = sqlalchemy.create_engine(url)
            wait_until(lambda: engine.connect().close(), "PostgreSQL")
            engine.dispose()
            yield url


@pytest.fixture(scope="session")
def mlflow_server(postgresql, tmp_path_factory):
    """URL of an MLflow server on that database, which keeps the artifacts as well."""
    port, folder = free_port(), tmp_path_factory.mktemp("mlflow")
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", postgresql]
    command += ["--artifacts-destination", str(folder / "artifacts"), "--port", str(port), "--workers", "1"]
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with (folder / "log").open("w") as log, process(command, env=environment, stdout=log, stderr=log):
        url = f"http://127.0.0.1:{port}"
        wait_until(lambda: requests.get(f"{url}/health", timeout=1).raise_for_status(), "MLflow")
        yield url
