"""The promotion lock without a server: where it is, what it excludes, and how a failure is told."""

import logging
import re
import tempfile
import threading
from pathlib import Path

import pytest
import sqlalchemy
from sqlalchemy.exc import OperationalError

from jabert.config import Url, load_settings
from jabert.errors import JabertError
from jabert.registry.lock import lock_location, promotion_lock

DATABASE = Url("postgresql://me:secret@host/db")


def location(*overrides):
    return lock_location(load_settings(None, list(overrides)))


def test_the_lock_is_beside_a_local_database(tmp_path):
    store = f"tracking.uri=sqlite:///{tmp_path}/mlflow.db"
    assert location(store) == str(tmp_path / "promotion.lock")
    assert location(store, f"promotion.lock={tmp_path}/other") == str(tmp_path / "other")


def test_all_processes_of_a_machine_have_one_lock_for_a_server_and_another_for_another():
    one, same, other = (location(f"tracking.uri=http://{host}:5000") for host in ("a", "a", "b"))
    assert one == same != other
    assert Path(one).parent == Path(tempfile.gettempdir())
    assert re.fullmatch(r"jabert-promotion-[0-9a-f]{16}\.lock", Path(one).name)


def test_a_file_excludes_another_process_and_says_who_waits_for_what(tmp_path, caplog):
    lock, entered = str(tmp_path / "new" / "lock"), threading.Event()

    def second():
        with promotion_lock(lock, "jabert"):
            entered.set()

    caplog.set_level(logging.INFO)
    with promotion_lock(lock, "jabert"):
        thread = threading.Thread(target=second)
        thread.start()
        assert not entered.wait(0.3)
        assert "another process changes the champion of 'jabert'; waiting for it" in caplog.text
    thread.join(5)
    assert entered.is_set()


class Connection:
    def __init__(self):
        self.asked, self.is_open = [], True

    def execute(self, statement, values):
        self.asked.append((str(statement), values))

    def close(self):
        self.is_open = False


@pytest.fixture
def database(monkeypatch):
    """The connection that is opened, and the arguments with which."""
    connection, opened = Connection(), []

    def create_engine(url, **options):
        opened.append((url, options))
        return type("Engine", (), {"connect": lambda self: connection})()

    monkeypatch.setattr(sqlalchemy, "create_engine", create_engine)
    return connection, opened


def test_a_database_locks_by_a_number_of_the_model_that_all_releases_agree_on(database):
    connection, opened = database
    with promotion_lock(DATABASE, "jabert"):
        assert connection.is_open
        [(statement, values)] = connection.asked
        assert statement == "SELECT pg_advisory_lock(:key)"
        assert values == {"key": -7273972642582829443}, "of SHA-256, 8 bytes, signed"
    assert not connection.is_open
    [(url, options)] = opened
    assert url == "postgresql://me:secret@host/db"
    assert options == {"poolclass": sqlalchemy.NullPool, "isolation_level": "AUTOCOMMIT"}


def test_the_lock_of_another_model_is_another(database):
    connection, _ = database
    for name in ("jabert", "other", "jabert"):
        with promotion_lock(DATABASE, name):
            pass
    first, other, again = (values["key"] for _, values in connection.asked)
    assert first == again != other
    assert all(-(2**63) <= key < 2**63 for key in (first, other))


def test_the_lock_is_freed_where_what_it_protects_fails(database):
    with pytest.raises(ZeroDivisionError), promotion_lock(DATABASE, "jabert"):
        raise ZeroDivisionError
    assert not database[0].is_open


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (
            ModuleNotFoundError("No module named 'psycopg2'", name="psycopg2"),
            "promotion.lock postgresql://host/db: psycopg2 is missing; install jabert[postgresql]",
        ),
        (
            OperationalError("SELECT", {}, OSError("refused")),
            "promotion.lock postgresql://host/db: the database cannot be reached (",
        ),
    ],
)
def test_a_database_that_cannot_be_used_is_named_with_the_remedy(monkeypatch, error, sentence):
    def create_engine(*_, **__):
        raise error

    monkeypatch.setattr(sqlalchemy, "create_engine", create_engine)
    with pytest.raises(JabertError) as told, promotion_lock(DATABASE, "jabert"):
        raise AssertionError
    assert str(told.value).startswith(sentence)
    if isinstance(error, OperationalError):
        assert "refused" in str(told.value)
