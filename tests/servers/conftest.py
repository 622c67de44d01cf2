"""Servers that the tests in this folder share; nothing is skipped."""

import os
import sys
import tempfile

import pytest
import requests
from hosts import PostgreSQL, process, receiver, running_host, wait_until
from ports import free_port


@pytest.fixture(scope="session")
def postgresql_server():
    with tempfile.TemporaryDirectory(prefix="jabert-pg-") as folder:
        server = PostgreSQL(folder)
        server.start()
        yield server
        server.stop()


@pytest.fixture(scope="session")
def postgresql(postgresql_server):
    """URL of an empty database."""
    return postgresql_server.url


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


@pytest.fixture(scope="session")
def host(postgresql, webhook, tmp_path_factory):
    """A host on PostgreSQL with two workers, and a webhook that is told."""
    folder = tmp_path_factory.mktemp("host")
    settings = {"JABERT_DATABASE": postgresql, "JABERT_WORKERS": "2", "JABERT_WEBHOOK": webhook[0]}
    with running_host(folder, **settings) as host:
        yield host


@pytest.fixture(scope="session")
def webhook():
    """A receiver of notifications: its URL, and the list of what it received."""
    with receiver() as found:
        yield found
