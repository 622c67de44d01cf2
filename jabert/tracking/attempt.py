"""Work that is under way: its folder, which a killed run leaves and the next one finds."""

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from jabert.files import exclusive, set_aside, write_text

_RUN_ID = re.compile("[0-9A-Za-z_-]{1,64}")


@dataclass(frozen=True)
class Attempt:
    """A folder named by a key of the work, which the same settings and data have again."""

    path: Path

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Wait until no other process works on the same."""
        waiting = "another run works on the same data with the same settings; waiting for it to end"
        with exclusive(self.path.with_suffix(".lock"), waiting):
            self.path.mkdir(parents=True, exist_ok=True)
            yield

    def resume(self, run_id: str) -> str | None:
        """Note which run works here now; returns the run before, which did not finish, if it is known."""
        note = self.path / "run_id"
        before = _run_id(note)
        if note.exists() and before is None:
            set_aside(note, f"{note} is damaged")
        write_text(note, run_id)
        return before

    def remove(self) -> None:
        """The work is finished: nothing of it is needed any more."""
        shutil.rmtree(self.path, ignore_errors=True)


def _run_id(note: Path) -> str | None:
    with suppress(OSError, UnicodeDecodeError):
        if _RUN_ID.fullmatch(found := note.read_text(encoding="utf-8")):
            return found
    return None
