"""What all tests share: a toy encoder and corpus, the real ones, and a wall around the user's own state."""

import atexit
import contextlib
import functools
import logging
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path

import hypothesis
import pytest

sys.path.insert(0, str(Path(__file__).parent))  # --import-mode=importlib leaves it out
import toy

from jabert import redaction

# SQLite waits for the disk at each commit, up to half of the time of a test, so tests write to memory
# where there is enough. The processes of pytest-xdist inherit the folder.
_MEMORY, _ENOUGH = Path("/dev/shm"), 8 << 30
if "TMPDIR" not in os.environ and os.access(_MEMORY, os.W_OK) and shutil.disk_usage(_MEMORY).free > _ENOUGH:
    _ROOM = tempfile.TemporaryDirectory(prefix="jabert-", dir=_MEMORY, ignore_cleanup_errors=True)
    atexit.register(_ROOM.cleanup)
    os.environ["TMPDIR"] = tempfile.tempdir = _ROOM.name

# Read when the libraries are first imported, so they are set before any test module is.
_STATE = tempfile.TemporaryDirectory(prefix="jabert-tests-")
atexit.register(_STATE.cleanup)
for _name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI", "MLFLOW_EXPERIMENT_NAME", "PREFECT_API_URL"):
    os.environ.pop(_name, None)
os.environ |= {
    "GX_ANALYTICS_ENABLED": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MPLBACKEND": "agg",
    "PREFECT_HOME": f"{_STATE.name}/prefect",
    "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",  # as flows sets it, too late here
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "TF_USE_LEGACY_KERAS": "1",
}

# Under nohup, or behind `&` in a script, they are ignored, and the commands under test would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

# The same examples everywhere, so that a pass on one machine is a pass on all; TensorFlow's first call of
# a function is slow, which is no fault of the example.
hypothesis.settings.register_profile("jabert", database=None, deadline=None, derandomize=True)
hypothesis.settings.load_profile("jabert")


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    """Each test runs in a folder of its own, where default paths lead, and knows no secret of others."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("jabert.redaction._known", redaction._Known())
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)  # mlflow.set_tracking_uri sets it


@pytest.fixture(scope="session")
def shared():
    """The folder with the real corpus and encoder, beside the checkout."""
    folder = Path(__file__).resolve().parents[2] / "shared"
    if not folder.is_dir():
        pytest.skip(f"there is no real corpus and encoder in {folder}")
    return folder


@pytest.fixture(scope="session")
def toy_encoder(tmp_path_factory):
    """An encoder folder in the published form: lower-cased, 2 layers, 16 columns, 64 positions."""
    return toy.make_encoder(tmp_path_factory.mktemp("encoders") / "toy")


@pytest.fixture(scope="session")
def cased_encoder(tmp_path_factory):
    """The same with upper-case Latin pieces and other weights."""
    return toy.make_encoder(tmp_path_factory.mktemp("encoders") / "cased", cased=True, seed=1)


@pytest.fixture(scope="session")
def toy_table(tmp_path_factory):
    """A CSV file with the columns text, label and group: 160 texts, 4 topics, 40 articles."""
    path = tmp_path_factory.mktemp("data") / "toy.csv"
    toy.toy_rows().to_csv(path, index=False)
    return path


@pytest.fixture(scope="session")
def prefect_server():
    """One temporary Prefect server for all tests of a process that run flows."""
    _start_prefect()


@functools.cache
def _start_prefect():
    """Start a server that runs until the process ends.

    A worker of pytest-xdist that waits for more tests ends its session's fixtures, and a second server in the
    same process is not found by Prefect's clients.
    """
    import flows

    assert flows  # its settings must be there before Prefect is imported
    from prefect.testing.utilities import prefect_test_harness

    running = contextlib.ExitStack()
    running.enter_context(prefect_test_harness(server_startup_timeout=90))

    @atexit.register
    def stop():
        logging.disable()  # pytest has closed what Prefect's log would be written to
        running.close()


@pytest.fixture
def listening():
    """Signals are heard as in a command, and forgotten afterwards."""
    from jabert.process import handle_signals

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in numbers}
    handle_signals()
    yield
    handle_signals()  # forgets what came
    for number, handler in before.items():
        signal.signal(number, handler)
