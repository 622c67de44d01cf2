"""Python's garbage collector in processes that hold the libraries' million objects."""

import atexit
import gc

__all__ = ["collect_rarely"]


def collect_rarely() -> None:
    """Let the collector run rarely, and at exit not at all.

    The objects of the libraries live as long as the process, and looking through them again and again took a
    fifth of a short run.
    """
    gc.set_threshold(10_000, 20, 50)
    atexit.register(gc.freeze)
