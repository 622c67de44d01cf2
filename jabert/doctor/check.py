"""One thing that was looked at."""

from dataclasses import dataclass

__all__ = ["Check", "checked"]


@dataclass(frozen=True)
class Check:
    """One thing that was looked at. `remedy` is empty when it is as it should be."""

    what: str
    ok: bool
    found: str
    remedy: str


def checked(what: str, found: str, remedy: str = "") -> Check:
    """A check that is in order exactly when there is nothing to remedy."""
    return Check(what, not remedy, found, remedy)
