"""A sweep whose trials are in PostgreSQL, by several processes, with a password that nobody is told."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import sqlalchemy
import toy

from jabert.config import load_settings

pytestmark = [pytest.mark.servers, pytest.mark.timeout(900)]
PASSWORD = "s3cr3t0Zw8Kq"
RECIPE = """\
[method]
kind = "tfidf"

[sweep]
storage = "{storage}"
"method.c" = [0.01, 30.0, "log"]
"method.longest" = [1, 3]
"""


@pytest.fixture
def sweep(postgresql_server, toy_table, toy_encoder, tmp_path):
    """Runs `jabert sweep` in two processes; returns its JSON, and the command lines seen."""
    place = postgresql_server.database_of("trials", PASSWORD)
    Path("mine.toml").write_text(RECIPE.format(storage=place), encoding="utf-8")
    own = [each for each in toy.quick_settings(toy_table, toy_encoder) if not each.startswith("method.")]

    def run(*more):
        settings = [word for each in (*own, *more) for word in ("--set", each)]
        command = [shutil.which("jabert", path=Path(sys.executable).parent), "sweep", "--recipe", "mine.toml"]
        home = os.environ | {"PREFECT_HOME": str(tmp_path / "prefect")}
        seen = set()
        with Path("out").open("w") as out, Path("err").open("w") as err:
            running = subprocess.Popen(
                [*command, *settings, "--jobs", "2", "--json"], stdout=out, stderr=err, env=home
            )
            while running.poll() is None:
                seen |= arguments_of(running.pid)
                time.sleep(0.1)
        assert running.returncode == 0, Path("err").read_text(encoding="utf-8")
        return json.loads(Path("out").read_text(encoding="utf-8")), seen

    run.place = place
    return run


def arguments_of(pid):
    """The command lines of a process and all below it."""
    try:
        process = psutil.Process(pid)
        return {tuple(each.cmdline()) for each in [process, *process.children(recursive=True)]}
    except psutil.Error:  # one has ended meanwhile
        return set()


def test_two_processes_share_trials_in_postgresql_and_the_password_is_nowhere(sweep, tmp_path):
    first, seen = sweep("sweep.trials=4")
    assert [trial["number"] for trial in first["trials"]] == [0, 1, 2, 3]
    assert {trial["state"] for trial in first["trials"]} == {"complete"}
    assert sum("spawn_main" in " ".join(words) for words in seen) >= 2, "each trial in a process of its own"
    again, more = sweep("sweep.trials=5")
    assert again["study"] == first["study"] and again["trials"][:4] == first["trials"]

    words = [word for line in seen | more for word in line]
    assert not [word for word in words if PASSWORD in word]
    files = [path for path in tmp_path.rglob("*") if path.is_file() and path.name != "mine.toml"]
    assert len(files) > 50 and any(path.name == "prefect.db" for path in files)
    assert not [path for path in files if PASSWORD.encode() in path.read_bytes()]
    engine = sqlalchemy.create_engine(sweep.place)
    with engine.connect() as connection:
        tables = sqlalchemy.inspect(engine).get_table_names()
        dump = [str(connection.exec_driver_sql(f"SELECT * FROM {table}").all()) for table in tables]
    engine.dispose()
    assert "trials" in tables and not [rows for rows in dump if PASSWORD in rows]
    assert load_settings("best.toml").sweep.storage is None
