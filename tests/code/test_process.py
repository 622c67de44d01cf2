"""A signal ends a command, also if a library drops what the handler raised or makes something else of it."""

import signal
import sys
from contextlib import suppress

import numpy as np
import pytest

from jabert.process import handle_signals, raise_missed_signals

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
