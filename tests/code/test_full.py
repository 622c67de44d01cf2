"""A full disk is told in one sentence, whatever library meets it first; `/dev/full` is one."""

import errno
import os
import sqlite3
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jabert.config import load_settings
from jabert.errors import JabertError
from jabert.tracking import connect, told_if_full, tracked_run
from jabert.tracking.full import is_full

FULL = Path("/dev/full")


def of_sqlite():
    database = sqlite3.connect(":memory:")
    database.execute("pragma max_page_count = 2")
    database.execute("create table a (b)")
    database.execute("insert into a values (?)", ["x" * 100_000])


def of_parquet():
    with FULL.open("wb") as file:  # by its path pyarrow would remove the file after an error
        pq.write_table(pa.table({"a": range(100_000)}), file)


def of_tensorflow():
    from jabert.legacy_keras import import_tensorflow

    tf = import_tensorflow()
    raise tf.errors.ResourceExhaustedError(None, None, "/x/state.data; No space left on device")


def of_openvino():
    from openvino import Model, opset13, save_model

    for ending in ("xml", "bin"):
        Path(f"graph.{ending}").symlink_to(FULL)
    given = opset13.parameter([2_000], np.float32, "x")
    graph = Model([opset13.add(given, np.ones(2_000, np.float32))], [given])
    save_model(graph, "graph.xml", compress_to_fp16=False)


WAYS = {
    "Python": lambda: FULL.write_bytes(b"a" * 100_000),
    "NumPy": lambda: np.arange(100_000).tofile(FULL),
    "Parquet": of_parquet,
    "SQLite": of_sqlite,
    "TensorFlow": of_tensorflow,
    "OpenVINO": of_openvino,
}


@pytest.mark.skipif(not FULL.exists(), reason="there is no /dev/full")
@pytest.mark.parametrize("way", WAYS)
def test_a_full_disk_is_known_by_the_error_of_any_library(way):
    with (
        pytest.raises(JabertError, match=r"^[^\n]+: the disk is full; make room"),
        told_if_full(load_settings()),
    ):
        WAYS[way]()


def test_other_errors_and_those_that_are_told_already_stay():
    assert not is_full(OSError(errno.EACCES, "no"))
    for error in (ValueError("x"), JabertError("a: the disk is full")):
        with pytest.raises(type(error)) as raised, told_if_full(load_settings()):
            raise error
        assert raised.value is error


def test_the_folder_with_the_least_room_is_named(monkeypatch):
    settings = load_settings()
    free = {Path(settings.features.path).parent: 10}
    Path(settings.features.path).parent.mkdir(parents=True)
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": free.get(path, 10**9)}))
    with pytest.raises(JabertError, match=r"^\S+ \S*\.jabert\S*: the disk is full"), told_if_full(settings):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_status_that_cannot_be_told_is_told_by_the_next_run(monkeypatch):
    from mlflow.tracking import MlflowClient

    settings = load_settings()

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with (
        monkeypatch.context() as patched,
        pytest.raises(JabertError, match="disk is full"),
        tracked_run(settings) as run,
    ):
        patched.setattr(MlflowClient, "set_terminated", full)
        full()
    client = connect(settings.tracking)
    assert client.get_run(run.id).info.status == "RUNNING"
    with tracked_run(settings):
        assert client.get_run(run.id).info.status == "FAILED"
    assert not list(Path(settings.training.work_path, "living").iterdir())
