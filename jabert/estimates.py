"""How long work will take, told while it has just begun."""

import logging
import time

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


def duration(seconds: float) -> str:
    """Seconds as people say them.

    Example:
        >>> duration(34), duration(90), duration(9000)
        ('34 seconds', '2 minutes', '2.5 hours')
    """
    if seconds < 60:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"
