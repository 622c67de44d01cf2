"""A signal ends a command, also if a library drops what the handler raised or makes something else of it."""

import logging
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from prefect.exceptions import TerminationSignal

from jabert.logs import _Safe
from jabert.process import handle_signals, raise_missed_signals, received_signal
from jabert.runtime import text_classifier

pytestmark = pytest.mark.usefixtures("listening")


def drop(number):
    with suppress(KeyboardInterrupt, SystemExit):
        signal.raise_signal(number)


@pytest.mark.parametrize(
    ("number", "meaning", "code"),
    [
        (signal.SIGINT, KeyboardInterrupt, None),
        (signal.SIGTERM, SystemExit, "143"),
        (signal.SIGHUP, SystemExit, "129"),
    ],
)
def test_what_was_dropped_is_raised_at_the_end(number, meaning, code):
    reached = []
    with pytest.raises(meaning, match=code), raise_missed_signals():
        drop(number)
        reached.append(True)
    assert reached


def test_what_was_not_dropped_ends_the_block_at_once():
    with pytest.raises(KeyboardInterrupt), raise_missed_signals():
        signal.raise_signal(signal.SIGINT)
        pytest.fail("the block went on")


def test_an_error_that_a_library_made_of_it_is_no_error_of_the_run():
    with pytest.raises(KeyboardInterrupt) as caught, raise_missed_signals():
        drop(signal.SIGINT)
        raise ValueError("Task run is not set")
    assert isinstance(caught.value.__cause__, ValueError)


def test_what_another_handler_raised_becomes_the_exception_of_the_signal():
    with pytest.raises(SystemExit, match="143"), raise_missed_signals():
        drop(signal.SIGTERM)
        raise TerminationSignal(signal.SIGTERM)


def test_an_error_without_a_signal_is_passed_on():
    with pytest.raises(ZeroDivisionError), raise_missed_signals():
        raise ZeroDivisionError


def test_a_handler_of_somebody_else_is_left_alone():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    handle_signals()
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN


def test_numpy_drops_it():
    def interrupt(frame, event, _):
        if event == "call" and frame.f_code.co_name == "npy_ctypes_check":
            sys.setprofile(None)
            signal.raise_signal(signal.SIGINT)

    reached = []
    try:
        with pytest.raises(KeyboardInterrupt), raise_missed_signals():
            sys.setprofile(interrupt)
            np.issubdtype(dict, np.floating)
            reached.append(True)
    finally:
        sys.setprofile(None)
    assert reached  # otherwise NumPy has learned it


def test_a_signal_counts_that_another_handler_took():
    taken = []
    signal.signal(signal.SIGTERM, lambda number, _: taken.append(number))
    with raise_missed_signals():
        signal.raise_signal(signal.SIGTERM)
    assert received_signal() == signal.SIGTERM
    assert taken == [signal.SIGTERM] * 2, "it is delivered once more, to the handler that is there"


def test_a_signal_to_a_forked_process_is_none_of_this_one():
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGTERM, lambda *_: os._exit(0 if received_signal() is None else 1))
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(10)
        os._exit(2)
    assert os.waitpid(child, 0)[1] == 0
    assert received_signal() is None


LOSSES = {
    "a destructor": """
class Collected:
    def __del__(self):
        tell()

Collected()
work()
""",
    "a destructor in a flow": """
from prefect.utilities.engine import capture_sigterm

class Collected:
    def __del__(self):
        tell()

with capture_sigterm():
    Collected()
    work()
""",
    "whoever catches all": """
try:
    tell()
except BaseException:
    pass
work()
""",
    "whoever makes an error of it": """
try:
    tell()
except BaseException:
    raise ImportError
""",
    "a call of C": """
import sqlite3, threading
threading.Timer(0.2, tell).start()
endless = "WITH RECURSIVE endless(x) AS (SELECT 1 UNION ALL SELECT x FROM endless) SELECT sum(x) FROM endless"
sqlite3.connect(":memory:").execute(endless).fetchall()
""",
    "a thread that is waited for": """
import threading
threading.Thread(target=time.sleep, args=(60,)).start()
tell()
""",
    "a pool that is waited for": """
from concurrent.futures import ThreadPoolExecutor
with ThreadPoolExecutor(1) as pool:
    pool.submit(time.sleep, 60)
    tell()
""",
    "whoever catches all, for ever": """
while True:
    try:
        tell()
        work()
    except BaseException:
        pass
""",
    "an end that takes long": """
import atexit
atexit.register(time.sleep, 60)
tell()
""",
}
BEGIN = """
import os, signal, sys, time
from jabert import process
from jabert.process import ended_soon_by_signals, handle_signals, raise_missed_signals, with_last_words

def tell():
    print(time.monotonic(), flush=True)
    os.kill(os.getpid(), int(sys.argv[1]))
    time.sleep(0.05)

def work():
    for _ in range(6000):
        time.sleep(0.01)

def say():
    print("last words", flush=True)

process._SECONDS_TO_TRY_AGAIN, process._SECONDS_TO_END = 0.4, 1.5  # not 1.5 and 4.0
handle_signals()
with ended_soon_by_signals(), with_last_words(say), raise_missed_signals():
"""


@pytest.mark.parametrize(
    ("loss", "number"), [*((loss, signal.SIGTERM) for loss in LOSSES), ("whoever catches all", signal.SIGINT)]
)
def test_whoever_loses_a_signal_the_process_ends_soon(loss, number):
    body = LOSSES[loss].replace("\n", "\n    ")
    done = subprocess.run(
        [sys.executable, "-c", BEGIN + body, str(int(number))],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    ended = time.monotonic()
    assert done.returncode in (128 + number, -number), done.stderr  # Python ends by SIGINT after Ctrl-C
    begun = float(done.stdout.split()[0])
    assert ended - begun < 2.5
    is_forced = loss in ("a call of C", "whoever catches all, for ever")
    assert ("last words" in done.stdout) == is_forced


LET_GO = """
import runpy, signal, threading
import numpy as np, openvino
from openvino import opset13 as ops
from jabert.encoder.openvino import core
from jabert.runtime import text_classifier

signal.signal(signal.SIGUSR1, lambda *_: print("heard"))
given = ops.parameter([1, 4], dtype=np.float32)
model = openvino.Model([ops.relu(given)], [given])
{how}
held = [of_a_kind().compile_model(model, "CPU")]
del of_a_kind
thread = threading.Thread(target=held.clear)
thread.start()
thread.join()
signal.raise_signal(signal.SIGUSR1)
"""


@pytest.mark.parametrize(
    "how",
    [
        pytest.param("of_a_kind = core", id="features"),
        pytest.param(
            "of_a_kind = runpy.run_path(text_classifier.__file__)['_openvino']", id="a registered model"
        ),
    ],
)
def test_a_signal_is_heard_though_another_thread_let_go_of_the_last_network(how):
    script = [sys.executable, "-c", LET_GO.format(how=how)]
    done = subprocess.run(script, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "heard\n"), done.stderr


@pytest.mark.parametrize(
    "loaded",
    [
        "import jabert, openvino",
        "import runpy; runpy.run_path({path!r})['_openvino']()",
    ],
    ids=["features", "a registered model"],
)
def test_openvino_tells_nobody_that_it_is_imported(loaded):
    path = str(Path(text_classifier.__file__))
    told = "import sys; print([n for n in sys.modules if n.startswith('openvino_telemetry.')])"
    script = [sys.executable, "-c", f"{loaded.format(path=path)}; {told}"]
    assert subprocess.run(script, capture_output=True, text=True, check=True).stdout == "[]\n"


def test_a_signal_in_a_destructor_is_remembered_and_no_traceback_is_printed():
    program = """
import signal
from jabert.process import handle_signals, received_signal

class Dropping:
    def __del__(self):
        signal.raise_signal(signal.SIGINT)

class Wrong:
    def __del__(self):
        raise ValueError("another error is told")

handle_signals()
Wrong()
Dropping()
print(received_signal())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "2\n"
    assert "another error is told" in done.stderr and "KeyboardInterrupt" not in done.stderr


@pytest.mark.parametrize(("stopped", "level"), [(True, "DEBUG"), (False, "ERROR")])
def test_what_a_library_logs_of_being_stopped_is_no_error(stopped, level):
    try:
        try:
            raise KeyboardInterrupt if stopped else ValueError("x")
        except BaseException:
            raise OSError("the database is closed")  # noqa: B904  as libraries raise while they handle another
    except OSError:
        information = sys.exc_info()
    record = _Safe(logging.LogRecord)("sqlalchemy", logging.ERROR, "", 1, "closing", (), information)
    assert record.levelname == level
    assert bool(record.exc_info) is not stopped
