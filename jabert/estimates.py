"""How long work will take: a bar with rate and remaining time on a terminal, and one line in the log."""

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress

log = logging.getLogger("jabert")

_MEASURED = 5.0  # seconds of work that an estimate rests on
_WORTH_TELLING = 30.0


class Estimate:
    """Tells once, in the log, how long a piece of work will take, if it takes long.

    Args:
        work: what is done, as the line begins, e.g. `featurizing 2,900,000 tokens`.
        total: units of the work, e.g. tokens.
    """

    def __init__(self, work: str, total: int) -> None:
        self._work, self._total, self._done = work, total, 0
        self._first: tuple[float, int] | None = None
        self._told = False

    def add(self, units: int) -> None:
        """Count what was done, and tell, if now is the time to. The first call starts the clock: what runs
        first is slow.
        """
        now = time.monotonic()
        self._done += units
        started, before = self._first = self._first or (now, self._done)
        if self._told or now - started < _MEASURED or self._done == before:
            return
        self._told = True
        left = (self._total - self._done) * (now - started) / (self._done - before)
        if left >= _WORTH_TELLING:
            log.info("%s: about %s to go", self._work, duration(left))


class Bar(Estimate):
    """The same, and a bar on the terminal.

    Args:
        work, total: as for `Estimate`.
        progress: that draws it.
        unit: plural noun, e.g. `tokens`.
    """

    def __init__(self, work: str, total: int, progress: "Progress", unit: str) -> None:
        super().__init__(work, total)
        self._progress, self._unit = progress, unit
        self._bar = progress.add_task(work, total=total, rate="")

    def add(self, units: int) -> None:
        """As `Estimate.add`."""
        super().add(units)
        speed = self._progress.tasks[self._bar].speed
        rate = f"{speed:,.0f} {self._unit}/s" if speed else ""
        self._progress.update(self._bar, advance=units, rate=rate)


@contextmanager
def estimating(work: str, total: int, unit: str, *, quiet: bool = False) -> Iterator[Estimate]:
    """What tells how long work will take; a bar is removed at the end, also after an error.

    Args:
        work, total: as for `Estimate`.
        unit: of the total, a plural noun, e.g. `tokens`.
        quiet: whether no bar is shown, also on a terminal.
    """
    if quiet or not sys.stderr.isatty():
        yield Estimate(work, total)
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[rate]}"))
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True) as progress:
        yield Bar(work, total, progress, unit)


def duration(seconds: float) -> str:
    """Seconds as people say them.

    Example:
        >>> duration(34), duration(90), duration(9000)
        ('34 seconds', '2 minutes', '2.5 hours')
    """
    if seconds < 60:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"
