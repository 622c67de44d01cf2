"""Real servers for tests, each with its own ports and folders; all of them end with the test."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psutil
import requests
import sqlalchemy
import toy
from ports import free_port
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from jabert.sockets import listen

CHECKOUT = Path(__file__).resolve().parents[1]
ENDS = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}
WORK_PATHS = ("features.path", "training.work_path", "encoder.cache_path")


def binary(name):
    """Path of a program of PostgreSQL, which Debian does not put on PATH."""
    found = shutil.which(name) or next(
        (str(path) for path in sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))), None
    )
    assert found, f"{name} is missing: install PostgreSQL (Debian: apt-get install postgresql)"
    return found


@contextmanager
def process(command, **options):
    """A process that ends, together with its children, at the end of the block."""
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


def wait_until(ready, what, seconds=400):
    """Wait until `ready` returns without an error."""
    end = time.monotonic() + seconds
    while True:
        try:
            return ready()
        except Exception:
            assert time.monotonic() < end, f"{what} did not come up within {seconds} s"
            time.sleep(0.2)


class PostgreSQL:
    """A server on an empty data folder; it refuses to run as root, so then it runs as nobody.

    Its superuser needs no password, another role does.
    """

    def __init__(self, folder):
        self.folder, self.port = folder, free_port()
        self.user = {"user": "nobody"} if os.geteuid() == 0 else {}
        if self.user:
            shutil.chown(folder, "nobody")
        command = [binary("initdb"), "-D", f"{folder}/data", "-U", "jabert", "--auth=trust", "-E", "UTF8"]
        subprocess.run(command, check=True, capture_output=True, cwd=folder, **self.user)
        rules = Path(folder, "data/pg_hba.conf")
        others = "host all jabert all trust\nhost all all all scram-sha-256\n"  # the first that fits counts
        rules.write_text(others + rules.read_text(encoding="utf-8"), encoding="utf-8")
        self.url = f"postgresql://jabert@127.0.0.1:{self.port}/postgres"

    def start(self):
        options = ["-c", "listen_addresses=127.0.0.1", "-c", f"unix_socket_directories={self.folder}"]
        command = [binary("postgres"), "-D", f"{self.folder}/data", "-p", str(self.port), *options]
        self.running = subprocess.Popen(
            command, cwd=self.folder, stderr=subprocess.DEVNULL, start_new_session=True, **self.user
        )
        engine = sqlalchemy.create_engine(self.url)
        wait_until(lambda: engine.connect().close(), "PostgreSQL")
        engine.dispose()

    def database_of(self, role, password):
        """URL of a new, empty database of a new role."""
        engine = sqlalchemy.create_engine(self.url, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.exec_driver_sql(f"CREATE ROLE {role} LOGIN PASSWORD '{password}'")
            connection.exec_driver_sql(f"CREATE DATABASE {role} OWNER {role}")
        engine.dispose()
        return f"postgresql://{role}:{password}@127.0.0.1:{self.port}/{role}"

    def stop(self):
        self.running.send_signal(signal.SIGINT)  # its fast shutdown: connections are cut
        self.running.wait(timeout=60)


class Host:
    """What `make up` starts, with its own ports and folder, and what a user does with it."""

    def __init__(self, folder, **settings):
        self.ports = free_port(), free_port()
        self.folder = folder
        self.prefect, self.mlflow = (f"http://127.0.0.1:{port}" for port in self.ports)
        # Prefect answers 503 when SQLite is busy; its own client retries.
        again = Retry(total=8, backoff_factor=1, status_forcelist=[503], allowed_methods=None)
        self.session = requests.Session()
        self.session.mount("http://", HTTPAdapter(max_retries=again))
        names = ("JABERT_PREFECT_PORT", "JABERT_MLFLOW_PORT")
        self.environment = {
            **os.environ,
            **dict(zip(names, map(str, self.ports), strict=True)),
            "JABERT_FOLDER": str(folder / "host"),
            # So that a new schedule and a queued run are noticed at once.
            "PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS": "5",
            "PREFECT_WORKER_QUERY_SECONDS": "2",
            **settings,
        }

    def make(self, command, **more):
        """Run `make up`, `status` or `down` without its check of the environment."""
        words = [sys.executable, "-m", "deploy.host", command]
        options = {"cwd": CHECKOUT, "env": self.environment | more, "timeout": 900}
        return subprocess.run(words, capture_output=True, text=True, check=False, **options)

    def supervisorctl(self, *words):
        command = [sys.executable, "-m", "supervisor.supervisorctl"]
        command += ["--serverurl", f"unix://{self.folder}/host/supervisor.sock", *words]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout

    def settings(self, table, encoder, *more):
        """Overrides for a quick retraining whose files are in the folder of the test."""
        work = [f"{name}={self.folder / name}" for name in WORK_PATHS]
        return [*toy.quick_settings(table, encoder), *work, *more]

    def api(self, path, **body):
        answer = self.session.request(
            "POST" if body else "GET", f"{self.prefect}/api/{path}", json=body, timeout=60
        )
        answer.raise_for_status()
        return answer.json()

    def deployment(self, flow="retrain"):
        return self.api(f"deployments/name/{flow}/{flow}")

    def queue(self, overrides, flow="retrain", **parameters):
        """Queue a run of a flow now; returns its id."""
        given = {"recipe": "", "overrides": overrides, **parameters}
        path = f"deployments/{self.deployment(flow)['id']}/create_flow_run"
        return self.api(path, state={"type": "SCHEDULED"}, parameters=given, enforce_parameter_schema=True)[
            "id"
        ]

    def schedule(self, overrides, slug, **parameters):
        """Let a schedule fire once, in a few seconds; returns the id of its flow run."""
        for attempt in range(5):  # a busy server may notice a new schedule too late
            at = datetime.now(UTC) + timedelta(seconds=20)
            new = {
                "schedule": {"interval": 365 * 24 * 3600, "anchor_date": at.isoformat()},
                "slug": f"{slug}-{attempt}",
                "active": True,
                "parameters": {"recipe": "", "overrides": overrides, **parameters},
            }
            url = f"{self.prefect}/api/deployments/{self.deployment()['id']}/schedules"
            self.session.post(url, json=[new], timeout=60).raise_for_status()
            while datetime.now(UTC) < at + timedelta(seconds=40):
                if run := self.fired(overrides):
                    return run
                time.sleep(1)
        raise AssertionError(f"the schedule {slug} did not fire")

    def fired(self, overrides):
        """The id of the run that a schedule has started, if any."""
        now = datetime.now(UTC).isoformat()
        due = [run for run in self.runs() if run["expected_start_time"] <= now]
        return next((run["id"] for run in due if run["parameters"]["overrides"] == overrides), None)

    def runs(self):
        return self.api("flow_runs/filter", sort="EXPECTED_START_TIME_DESC", limit=100)

    def state(self, run):
        return self.api(f"flow_runs/{run}")["state"]

    def wait(self, run, seconds=600):
        """Wait for the end of a run; returns its final state."""
        end = time.monotonic() + seconds
        while (state := self.state(run))["type"] not in ENDS:
            assert time.monotonic() < end, f"run {run} is still {state['name']} after {seconds} s"
            time.sleep(0.5)
        return state

    def processes(self):
        """All processes of this host: servers, workers and flow runs."""
        mark = str(self.ports[0])
        return [process for process in psutil.process_iter() if mark in environment_of(process)]

    def workers(self):
        return [process for process in self.processes() if "worker" in process.cmdline()]

    def logs(self):
        return "".join(path.read_text(encoding="utf-8") for path in (self.folder / "host/logs").iterdir())


def environment_of(process):
    try:
        return process.environ().get("JABERT_PREFECT_PORT", "")
    except psutil.Error:
        return ""


@contextmanager
def running_host(folder, **settings):
    """A host that is up; checks at the end that no process and no used port is left."""
    host = Host(folder, **settings)
    try:
        up = host.make("up")
        assert up.returncode == 0, up.stdout + up.stderr
        yield host
        down = host.make("down")
        assert down.returncode == 0, down.stdout + down.stderr
        wait_until(lambda: nothing_left(host), "the end of all processes", 60)
    finally:
        for process in host.processes():
            process.kill()


def nothing_left(host):
    assert not host.processes()
    for port in host.ports:
        listen("127.0.0.1", port, "the host is down").close()


@contextmanager
def receiver():
    """A webhook: its URL, and the list of the notifications it received."""
    received = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self):
            received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/", received
        server.shutdown()
