"""A full disk: whatever library meets it first, one sentence names the folder."""

import errno
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from jabert.config import Settings, local_database, local_path
from jabert.errors import JabertError, causes_of

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_WORDS = (  # of libraries that raise errors of their own: TensorFlow, Arrow, SQLite, OpenVINO
    "No space left on device",
    "Disk quota exceeded",
    "File too large",
    "database or disk is full",
    "iostream error",  # whatever a C++ stream could not write; the folder is there and can be written to
    " requested and ",  # NumPy: "100 requested and 0 written"
)
_LITTLE = 4_000_000  # bytes


@contextmanager
def told_if_full(settings: Settings) -> Iterator[None]:
    """Turn an error that a full disk caused into a `JabertError` that names the folder.

    Args:
        settings: name the folders that a run writes to.
    """
    try:
        yield
    except JabertError:
        raise
    except Exception as error:
        if not is_full(error):
            raise
        raise JabertError(
            f"{_place(error, settings)}: the disk is full; make room, and the next run goes on from here"
        ) from error


def is_full(error: BaseException | None) -> bool:
    """Whether an error, or one that led to it, was that a disk or a quota is full."""
    return any(
        (isinstance(each, OSError) and each.errno in _FULL) or any(word in str(each) for word in _WORDS)
        for each in causes_of(error)
    )


def _place(error: BaseException, settings: Settings) -> str:
    """The file that could not be written if that is known, or the folder whose disk has no room."""
    if isinstance(error, OSError) and error.filename:
        return str(error.filename)
    database = local_database(str(settings.tracking.uri))
    folders = {
        "tracking.artifacts": local_path(settings.tracking.artifacts),
        "training.work_path": Path(settings.training.work_path),
        "features.path": Path(settings.features.path),
        "encoder.cache_path": Path(settings.encoder.cache_path),
        "the folder for temporary files": Path(tempfile.gettempdir()),
    }
    if database:
        folders = {"tracking.uri": database.parent, **folders}
    free = {f"{name} {folder}": _room(folder) for name, folder in folders.items() if folder}
    return min(free, key=lambda name: free[name]) if min(free.values()) < _LITTLE else " or ".join(free)


def _room(folder: Path) -> int:
    """Bytes that are free on the disk of a folder, or of that which is to hold it."""
    with suppress(OSError):
        there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
        return shutil.disk_usage(there).free
    return 0
