"""How a run ends."""

import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from ports import free_port

from jabert.config import load_settings, local_database
from jabert.errors import JabertError
from jabert.tracking import connect, list_runs, tracked_run, ui, with_local_encoder

FETCHES_TWICE = """
from pathlib import Path
import mlflow.artifacts
from jabert.config import load_settings
from jabert.tracking import connect, with_local_encoder

fetched = []

def fetch(artifact_uri, dst_path=None):
    fetched.append(artifact_uri)
    folder = Path(dst_path or "copy", "encoder")
    folder.mkdir(parents=True)
    return str(folder)

mlflow.artifacts.download_artifacts = fetch
client = connect(load_settings().tracking)
run = client.create_run(client.create_experiment("jabert", "s3://bucket/artifacts"))
for _ in range(2):
    settings = with_local_encoder(load_settings(None, [f"encoder.path=runs:/{run.info.run_id}/encoder"]))
    assert Path(settings.encoder.path).is_dir()
    print(settings.encoder.path)
print(len(fetched))
"""


def fail(settings):
    with pytest.raises(ZeroDivisionError), tracked_run(settings) as run:
        print(1 / 0)
    return run


def last_run(settings):
    (found,) = list_runs(connect(settings.tracking), settings.tracking.experiment, 1)
    return found


def test_a_run_that_is_interrupted_in_the_middle_of_a_query_ends_all_the_same():
    settings = load_settings()

    def query(run):
        database = sqlite3.connect(local_database(settings.tracking.uri))
        rows = database.execute("SELECT key FROM params WHERE run_uuid = ?", [run.id])
        next(rows)  # until the cursor is gone, nobody can write
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), tracked_run(settings) as run:
        query(run)
    assert last_run(settings)["status"] == "KILLED"


def test_a_run_that_fails_keeps_its_error_and_the_traceback():
    settings = load_settings()

    run = fail(settings)

    assert last_run(settings)["status"] == "FAILED"
    assert last_run(settings)["reason"] == "ZeroDivisionError: division by zero"
    text = Path(settings.tracking.artifacts, run.id, "artifacts", "error.txt").read_text(encoding="utf-8")
    assert text.startswith("Traceback ")
    assert "print(1 / 0)" in text


@pytest.mark.parametrize("error", [MlflowException, OSError])
@pytest.mark.parametrize("method", ["set_tag", "log_text"])
def test_a_run_whose_error_cannot_be_written_has_failed_all_the_same(monkeypatch, method, error):
    settings = load_settings()
    works = getattr(MlflowClient, method)

    def refuse(self, run_id, *words):
        if "error" in words or "error.txt" in words:
            raise error("no")
        return works(self, run_id, *words)

    monkeypatch.setattr(MlflowClient, method, refuse)

    fail(settings)

    assert last_run(settings)["status"] == "FAILED"


def test_an_encoder_among_a_run_s_artifacts_is_used_where_it_lies(toy_encoder):
    with tracked_run(load_settings()) as run:
        run.folder(toy_encoder, "encoder")
    uri = f"runs:/{run.id}/encoder"
    settings = with_local_encoder(load_settings(None, [f"encoder.path={uri}", f"pretraining.start={uri}"]))
    there = str(Path(settings.tracking.artifacts, run.id, "artifacts", "encoder"))
    assert (settings.encoder.path, settings.pretraining.start) == (there, uri)
    assert with_local_encoder(settings, "pretraining.start").pretraining.start == there


def test_an_encoder_elsewhere_is_fetched_once_by_a_process_and_removed_at_its_end():
    done = subprocess.run([sys.executable, "-c", FETCHES_TWICE], capture_output=True, text=True, check=True)
    first, second, fetched = done.stdout.split()
    assert (first, fetched) == (second, "1")
    assert first.endswith("/encoder")
    assert not Path(first).parent.exists()


def test_a_place_of_artifacts_with_a_secret_is_refused_as_mlflow_would_record_it():
    for place in ("ftp://me:pa55word@host/x", "https://host/x?sig=pa55word", "sftp://pa55word@host/x"):
        settings = load_settings(None, [f"tracking.artifacts={place}"])
        with (
            pytest.raises(JabertError, match=r"^tracking\.artifacts \w+://host/x holds a secret") as error,
            tracked_run(settings),
        ):
            pass
        assert "pa55word" not in str(error.value)


def test_no_password_is_recorded():
    settings = load_settings(None, ["data.path=https://me:secret@host/x.csv"])

    with tracked_run(settings) as run:
        pass

    assert run.client.get_run(run.id).data.params["data.path"] == "https://host/x.csv"
    folder = Path(settings.tracking.artifacts, run.id)
    assert [path.name for path in folder.rglob("*.*")] == ["config.toml"]
    assert "secret" not in (folder / "artifacts" / "config.toml").read_text(encoding="utf-8")


def test_a_store_whose_maker_was_killed_is_made_anew():
    program = """
import os, signal
from sqlalchemy import event
from sqlalchemy.engine import Engine
from jabert.config import load_settings
from jabert.tracking import connect

@event.listens_for(Engine, "before_cursor_execute")
def kill(connection, cursor, statement, *_):
    if "CREATE TABLE tags" in statement:
        os.kill(os.getpid(), signal.SIGKILL)

connect(load_settings().tracking)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert Path("mlruns/mlflow.db").stat().st_size

    with tracked_run(load_settings()) as run:
        pass

    assert run.client.get_run(run.id).info.status == "FINISHED"
    assert list(Path("mlruns").glob("*unfinished*")) == [Path("mlruns/unfinished-mlflow.db")]


def test_two_first_commands_make_one_store():
    program = "from jabert.cli import main; main(['runs', '--json'])"
    both = [subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) for _ in range(2)]
    assert [(process.communicate()[0], process.returncode) for process in both] == [(b"[]\n", 0)] * 2


@pytest.mark.parametrize("moment", ["create_run", "set_tag", "log_batch"])
def test_a_run_whose_process_was_killed_is_ended_by_the_next_one(moment):
    program = f"""
import os, signal
from mlflow.tracking import MlflowClient
from jabert.config import load_settings
from jabert.tracking import connect, tracked_run
connect(load_settings().tracking)
whole = MlflowClient.{moment}
def killed_after(*arguments, **named):
    whole(*arguments, **named)
    os.kill(os.getpid(), signal.SIGKILL)
MlflowClient.{moment} = killed_after
with tracked_run(load_settings()):
    pass
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert last_run(load_settings())["status"] == "RUNNING", "nobody was left to say otherwise"

    with tracked_run(load_settings()) as first, tracked_run(load_settings()):
        assert first.client.get_run(first.id).info.status == "RUNNING", "it lives"

    statuses = [run.info.status for run in first.client.search_runs([first.experiment_id])]
    assert sorted(statuses) == ["FINISHED", "FINISHED", "KILLED"]
    assert not list(Path(".jabert/work/living").iterdir())


def test_a_server_of_the_ui_that_ends_by_itself_is_one_sentence(monkeypatch):
    connect(load_settings().tracking)
    monkeypatch.setattr(ui, "_command", lambda *_: [sys.executable, "-c", "raise SystemExit(3)"])
    with pytest.raises(
        JabertError, match=r"^the MLflow server ended by itself with exit code 3; its messages"
    ):
        ui.serve(load_settings().tracking, free_port())
