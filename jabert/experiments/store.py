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

from jabert.files import digest_of_file, digest_of_json, exclusive, write_json

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
            was killed, it is called again.
        resumes: whether it goes on from what a killed call left; otherwise that is removed first.
    """
    folder = work / "steps" / f"{step}-{key}"
    if not _is_whole(folder):
        with exclusive(folder.with_suffix(".lock"), _WAITING % step):
            if not _is_whole(folder):
                if not resumes or (folder / _DONE).exists():  # what was finished and damaged has no use
                    shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir(parents=True, exist_ok=True)
                record = make(folder)
                write_json(folder / _DONE, {"record": record, "files": _digests(folder)})
    os.utime(folder / _DONE)  # it is in use
    found: Record = json.loads((folder / _DONE).read_text(encoding="utf-8"))["record"]
    return folder, found


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


def _is_whole(folder: Path) -> bool:
    """Whether the result was finished, and its files are there as they were."""
    try:
        expected = json.loads((folder / _DONE).read_text(encoding="utf-8"))["files"]
    except (OSError, ValueError, LookupError):
        return False
    return bool(expected == _digests(folder))


def _digests(folder: Path) -> dict[str, str]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and path != folder / _DONE)
    return {path.relative_to(folder).as_posix(): digest_of_file(path) for path in files}
