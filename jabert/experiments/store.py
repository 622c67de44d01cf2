"""Results of steps on disk: a folder each, named by a key, written once and found again."""

import json
import logging
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from jabert.errors import DamagedError, JabertError, reason_of
from jabert.files import digest_of_file, digest_of_json, exclusive, on_disk, set_aside, write_json

log = logging.getLogger("jabert")

Record = dict[str, Any]  # of JSON values

_DONE = "done.json"
_KEPT_SECONDS = 30 * 24 * 60 * 60
_WAITING = "another run makes the same result of the step %s; waiting for it"


def key_of(*parts: Any) -> str:
    """The key of a result: a digest of all that decides it, as JSON values."""
    return digest_of_json(parts)[:16]


def find_or_make(
    work: Path, step: str, key: str, make: Callable[[Path], Record], resumes: bool = False
) -> tuple[Path, Record]:
    """The folder of a result and its record; made if it is not there, or not whole.

    Args:
        work: folder of all results, `training.work_path`.
        step: name of the step.
        key: of the result; the same key means the same result.
        make: writes the files of the result to the folder that it is given and returns its record. Where it
            was killed, it is called again, and if it fails on what is left, once more in an empty folder.
        resumes: whether it goes on from what a killed call left; otherwise that is removed first.
    """
    folder = work / "steps" / f"{step}-{key}"
    record = _whole_record(folder)
    if record is None:
        with exclusive(folder.with_suffix(".lock"), _WAITING % step):
            record = _whole_record(folder)
            if record is None:
                _make(folder, make, resumes)
                record = _whole_record(folder)
    if record is None:
        raise JabertError(f"{folder} was changed while it was made; run the command again")
    with on_disk(folder):
        os.utime(folder / _DONE)  # it is in use
    return folder, record


def _make(folder: Path, make: Callable[[Path], Record], resumes: bool) -> None:
    if (folder / _DONE).exists() or (folder.exists() and not folder.is_dir()):
        set_aside(folder, f"{folder} is damaged")
    elif not resumes:
        shutil.rmtree(folder, ignore_errors=True)
    with on_disk(folder):
        folder.mkdir(parents=True, exist_ok=True)
    is_left = any(folder.iterdir())
    try:
        record = make(folder)
    except Exception as error:
        # What was left may make any library fail; what jabert says of settings, data and disk stands.
        if not is_left or (isinstance(error, JabertError) and not isinstance(error, DamagedError)):
            raise
        set_aside(folder, f"{folder} is damaged ({reason_of(error)})")
        with on_disk(folder):
            folder.mkdir()
        record = make(folder)
    files = _digests(folder)
    write_json(folder / _DONE, {"record": record, "files": files, "digest": digest_of_json(record)})


def prune(work: Path) -> None:
    """Remove results that no run has used for 30 days; those that another process is at are left."""
    for folder in (work / "steps").glob("*/"):
        newest = max((path.stat().st_mtime for path in [folder, *folder.glob("*")]), default=0.0)
        if time.time() - newest < _KEPT_SECONDS:
            continue
        lock = FileLock(folder.with_suffix(".lock"))
        try:
            with lock.acquire(timeout=0):
                shutil.rmtree(folder, ignore_errors=True)
        except Timeout:
            continue
        folder.with_suffix(".lock").unlink(missing_ok=True)
        log.info("removed the result %s, which was not used for 30 days", folder.name)


def _whole_record(folder: Path) -> Record | None:
    """The record of a result that was finished, if that and its files are as they were written."""
    try:
        done = json.loads((folder / _DONE).read_text(encoding="utf-8"))
        record: Record = done["record"]
        is_whole = done["files"] == _digests(folder)
        # Versions up to 0.1 noted no digest of the record.
        return record if is_whole and done.get("digest") in (None, digest_of_json(record)) else None
    except Exception:  # of a missing or damaged file: it is made again
        return None


def _digests(folder: Path) -> dict[str, str]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and path != folder / _DONE)
    return {path.relative_to(folder).as_posix(): digest_of_file(path) for path in files}
