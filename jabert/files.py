"""Writes files so that a reader never sees an incomplete one, and digests contents."""

import errno
import hashlib
import json
import logging
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from jabert.errors import JabertError

log = logging.getLogger("jabert")


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success flush that file to disk and rename it to `path`.

    On an error nothing is left behind. The temporary path keeps the suffix of `path`,
    because many writers choose a format by it.

    Raises:
        JabertError: the file cannot be written; names it and the reason, e.g. that the disk is full.
    """
    if not path.name:
        raise JabertError(f"{path} cannot be written: it is a folder")
    temporary = path.with_name(f".{path.stem}-{uuid.uuid4().hex}{path.suffix}")
    with on_disk(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def exclusive(path: Path, waiting: str) -> Iterator[None]:
    """Hold the lock of the file `path`; if another process holds it, log `waiting` and wait.

    The kernel releases the lock of a killed process.

    Raises:
        JabertError: the file cannot be written.
    """
    lock = FileLock(path)
    with on_disk(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            log.info(waiting)
            lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextmanager
def on_disk(path: Path) -> Iterator[None]:
    """Turn an error of the system in writing `path` into a `JabertError` that names it and the reason."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise JabertError(f"{path}: the disk is full; nothing was written") from error
        raise JabertError(f"{path} cannot be written: {error.strerror or error}") from error


def set_aside(path: Path, why: str) -> None:
    """Rename what an earlier process left and nobody can read, and warn; what was there before is removed."""
    aside = path.with_name(f"{path.name}.damaged")
    with on_disk(aside):
        if aside.is_dir():
            shutil.rmtree(aside)
        path.replace(aside)
    log.warning("%s; it is set aside as %s and made again", why, aside)


def write_text(path: Path, text: str) -> Path:
    """Write `text` as UTF-8, whole or not at all; returns `path`. Errors are those of `atomic_path`."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path


def write_json(path: Path, value: Any) -> Path:
    """Write `value` as indented JSON in UTF-8, whole or not at all; returns `path`."""
    return write_text(path, json.dumps(value, ensure_ascii=False, indent=2) + "\n")


def digest_of_file(path: Path) -> str:
    """SHA-256 of a file's contents, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_of_json(value: Any) -> str:
    """SHA-256 of a JSON value, the same for any order of keys, in hexadecimal."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
