"""A signal whose exception a library dropped is not lost."""

import signal
import sys
import threading
from contextlib import suppress

import numpy as np
import pytest

from jabert.interrupts import heeded


def lose(number):
    with suppress(KeyboardInterrupt, SystemExit):
        signal.raise_signal(number)


def test_ctrl_c_that_was_dropped_is_raised_at_the_end():
    reached = []
    with pytest.raises(KeyboardInterrupt), heeded():
        lose(signal.SIGINT)
        reached.append(True)
    assert reached


def test_numpy_drops_it():
    def interrupt(frame, event, _):
        if event == "call" and frame.f_code.co_name == "npy_ctypes_check":
            sys.setprofile(None)
            signal.raise_signal(signal.SIGINT)

    reached = []
    with pytest.raises(KeyboardInterrupt), heeded():
        sys.setprofile(interrupt)
        np.issubdtype(dict, np.floating)
        reached.append(True)
    assert reached  # otherwise NumPy has learned it, and `heeded` can go


def test_ctrl_c_that_was_not_dropped_ends_the_block_at_once():
    with pytest.raises(KeyboardInterrupt), heeded():
        signal.raise_signal(signal.SIGINT)
        pytest.fail("the block went on")


def test_so_is_a_handler_of_one_s_own():
    def end(_number, _frame):
        raise SystemExit(143)

    before = signal.signal(signal.SIGTERM, end)
    try:
        with pytest.raises(SystemExit, match="143"), heeded():
            lose(signal.SIGTERM)
        assert signal.getsignal(signal.SIGTERM) is end
    finally:
        signal.signal(signal.SIGTERM, before)


def test_handlers_are_as_before_and_an_error_is_passed_on():
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(ZeroDivisionError), heeded():
        raise ZeroDivisionError
    with heeded():
        pass
    assert signal.getsignal(signal.SIGINT) is before


def test_outside_the_main_thread_nothing_is_handled():
    passed = []

    @heeded()
    def block():
        passed.append(True)

    thread = threading.Thread(target=block)
    thread.start()
    thread.join()
    assert passed
