"""Work that is under way: its folder, which a killed run leaves and the next one finds."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from jabert.files import exclusive, write_text


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
        """Note which run works here now; returns the run before, which did not finish."""
        note = self.path / "run_id"
        before = note.read_text(encoding="utf-8") if note.exists() else None
        write_text(note, run_id)
        return before

    def remove(self) -> None:
        """The work is finished: nothing of it is needed any more."""
        shutil.rmtree(self.path, ignore_errors=True)
