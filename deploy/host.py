"""Prefect's server, MLflow's server and workers on one host, run by supervisor: `make up`, `status`, `down`.

Settings are environment variables, with the defaults below. Databases, artifacts and logs are in
JABERT_FOLDER; its `logs/` has a file for each process.
"""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import psutil
import requests

from jabert.errors import JabertError, reason_of
from jabert.sockets import listen, reach_directly

ROOT = Path(__file__).resolve().parents[1]
CONFIG = Path(__file__).with_name("supervisord.conf")
POOL = "jabert"
DEFAULTS = {
    "JABERT_FOLDER": "mlruns/host",
    "JABERT_HOST": "127.0.0.1",  # address that the servers listen on
    "JABERT_PREFECT_PORT": "4200",
    "JABERT_MLFLOW_PORT": "5000",
    "JABERT_DATABASE": "",  # postgresql://user@host:port, where two databases are created; empty: SQLite
    "JABERT_WORKERS": "1",
    "JABERT_RUNS_AT_ONCE": "1",  # of each worker
    "JABERT_WEBHOOK": "",  # URL that is notified of promotions, failures and lost runs
}
_SECONDS_TO_START = 600  # for the first start on a very busy machine; it usually takes 30 s
_SECONDS_TO_STOP = 180
_SECONDS_TO_END = 30  # for a run to end after SIGTERM
_MARK = "JABERT_STARTED_FOR"  # in the environment of all processes started here, and only of these
_DATABASES = {"prefect": "jabert_prefect", "mlflow": "jabert_mlflow"}


def main(command: str) -> None:
    """Run `up`, `down` or `status`; a failure is one sentence and exit code 1."""
    try:
        {"up": up, "down": down, "status": status}[command](environment())
    except JabertError as error:
        sys.exit(f"jabert: {error}")


def environment() -> dict[str, str]:
    """The environment of all processes of this host, with the settings."""
    given = {name: os.environ.get(name) or default for name, default in DEFAULTS.items()}
    folder = Path(given["JABERT_FOLDER"]).absolute()
    reach_directly(given["JABERT_HOST"])
    return {
        **os.environ,
        **given,
        "JABERT_FOLDER": str(folder),
        _MARK: str(folder),
        "JABERT_PYTHON": sys.executable,
        "JABERT_WORKER_NAME": socket.gethostname(),
        "PREFECT_HOME": str(folder / "prefect"),
        "PREFECT_API_URL": f"{_prefect(given)}/api",
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": _database(given, "prefect", "postgresql+asyncpg")
        or f"sqlite+aiosqlite:///{folder}/prefect.db",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "MLFLOW_BACKEND_STORE_URI": _database(given, "mlflow", "postgresql")
        or f"sqlite:///{folder}/mlflow.db",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }


def up(given: Mapping[str, str]) -> None:
    """Start what is not running yet, deploy the flows, and wait until servers and workers are ready."""
    folder = Path(given["JABERT_FOLDER"])
    if _supervisor(given) is None:
        for name in ("JABERT_PREFECT_PORT", "JABERT_MLFLOW_PORT"):
            remedy = f"set {name} to a free port, or `make down`"
            listen(given["JABERT_HOST"], given[name], remedy).close()
        (folder / "logs").mkdir(parents=True, exist_ok=True)
        if given["JABERT_DATABASE"]:
            _make_databases(given)
        _run(given, "supervisor.supervisord", "-c", str(CONFIG))
    _wait_while(_server_failures, given)
    look = [sys.executable, "-m", "prefect", "work-pool", "inspect", POOL]
    if subprocess.run(look, env=given, capture_output=True, check=False).returncode:
        _run(given, "prefect", "work-pool", "create", POOL, "--type", "process")
    _run(given, "deploy.deployments")
    _supervisorctl(given, "start", "worker:*")
    _wait_while(_worker_failures, given)
    print(f"Prefect  {_prefect(given)}\nMLflow   {_mlflow(given)}\nlogs     {folder / 'logs'}")


def down(given: Mapping[str, str]) -> None:
    """Stop the workers, then the servers, then remaining processes, such as runs of a killed worker."""
    supervisor = _supervisor(given)
    if supervisor is not None:
        _supervisorctl(given, "shutdown")
        try:
            with suppress(psutil.NoSuchProcess):
                psutil.Process(supervisor).wait(_SECONDS_TO_STOP)
        except psutil.TimeoutExpired:
            raise JabertError(f"supervisor does not stop; see {given['JABERT_FOLDER']}/logs") from None
    remaining = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):  # it has ended, or belongs to another user
            if process.environ().get(_MARK) == given[_MARK]:
                remaining.append(process)
    if supervisor is None and not remaining:
        print("nothing runs")
    for stop in (psutil.Process.terminate, psutil.Process.kill):
        for process in remaining:
            with suppress(psutil.NoSuchProcess):
                stop(process)
        _, remaining = psutil.wait_procs(remaining, _SECONDS_TO_END)


def status(given: Mapping[str, str]) -> None:
    """Print whether each process runs, and whether servers and workers answer."""
    if _supervisor(given) is None:
        raise JabertError("nothing runs here; `make up` starts it")
    processes = _supervisorctl(given, "status").stdout
    print(processes, end="")
    lines = [line.split() for line in processes.splitlines()]
    failures = [f"{name} is not running" for name, state, *_ in lines if state != "RUNNING"]
    failures += _server_failures(given) or _worker_failures(given)
    if failures:
        raise JabertError("; ".join(failures))
    print(f"Prefect  {_prefect(given)} answers\nMLflow   {_mlflow(given)} answers\nworker   is online")


def _prefect(given: Mapping[str, str]) -> str:
    return f"http://{given['JABERT_HOST']}:{given['JABERT_PREFECT_PORT']}"


def _mlflow(given: Mapping[str, str]) -> str:
    return f"http://{given['JABERT_HOST']}:{given['JABERT_MLFLOW_PORT']}"


def _database(given: Mapping[str, str], name: str, driver: str) -> str:
    """URL of the PostgreSQL database of the server `name`, empty if SQLite is used."""
    if not given["JABERT_DATABASE"]:
        return ""
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    where, url = given["JABERT_DATABASE"], None
    with suppress(ArgumentError):
        url = make_url(where)
    if url is None or not url.drivername.startswith("postgresql"):
        raise JabertError(f"JABERT_DATABASE {where} is not of the form postgresql://user@host:port")
    return url.set(drivername=driver, database=_DATABASES[name]).render_as_string(hide_password=False)


def _make_databases(given: Mapping[str, str]) -> None:
    from sqlalchemy import NullPool, create_engine, make_url, text
    from sqlalchemy.exc import SQLAlchemyError

    where = given["JABERT_DATABASE"]
    try:
        url = make_url(where)
        url = url.set(drivername="postgresql", database=url.database or "postgres")
        engine = create_engine(url, isolation_level="AUTOCOMMIT", poolclass=NullPool)
        with engine.connect() as connection:
            known = set(connection.scalars(text("SELECT datname FROM pg_database")))
            for name in set(_DATABASES.values()) - known:
                connection.execute(text(f"CREATE DATABASE {name} ENCODING 'UTF8' TEMPLATE template0"))
    except ModuleNotFoundError as error:
        reason = f"{error.name} is missing; install jabert[host,postgresql]"
        raise JabertError(f"JABERT_DATABASE {where}: {reason}") from None
    except SQLAlchemyError as error:
        reason = f"the databases cannot be created ({reason_of(error)})"
        raise JabertError(f"JABERT_DATABASE {where}: {reason}") from error


def _wait_while(failures_of: Callable[[Mapping[str, str]], list[str]], given: Mapping[str, str]) -> None:
    end = time.monotonic() + _SECONDS_TO_START
    while failures := failures_of(given):
        if time.monotonic() > end:
            raise JabertError(f"{failures[0]}; see {given['JABERT_FOLDER']}/logs")
        time.sleep(0.5)


def _server_failures(given: Mapping[str, str]) -> list[str]:
    failures = []
    for name, url in (("Prefect", f"{_prefect(given)}/api/health"), ("MLflow", f"{_mlflow(given)}/health")):
        try:
            requests.get(url, timeout=5).raise_for_status()
        except requests.RequestException:
            failures.append(f"the {name} server does not answer at {url}")
    return failures


def _worker_failures(given: Mapping[str, str]) -> list[str]:
    url = f"{_prefect(given)}/api/work_pools/{POOL}/workers/filter"
    try:
        answer = requests.post(url, json={}, timeout=30)
        answer.raise_for_status()
    except requests.RequestException as error:
        return [f"the Prefect server does not list its workers ({error})"]
    online = [worker for worker in answer.json() if worker["status"] == "ONLINE"]
    return [] if online else [f"no worker of pool {POOL!r} is online"]


def _supervisor(given: Mapping[str, str]) -> int | None:
    """Process id of the supervisor of JABERT_FOLDER, None if it is not running."""
    answer = _supervisorctl(given, "pid").stdout.strip()
    return int(answer) if answer.isdigit() else None


def _supervisorctl(given: Mapping[str, str], *words: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "supervisor.supervisorctl", "-c", str(CONFIG), *words]
    return subprocess.run(command, env=given, cwd=ROOT, capture_output=True, text=True, check=False)


def _run(given: Mapping[str, str], module: str, *words: str) -> None:
    """Run a module of this Python as a program; its output is shown."""
    done = subprocess.run([sys.executable, "-m", module, *words], env=given, cwd=ROOT, check=False)
    if done.returncode:
        raise JabertError(f"`{module} {' '.join(words)}` failed with exit code {done.returncode}, see above")


if __name__ == "__main__":
    main(sys.argv[1])
