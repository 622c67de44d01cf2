"""The result of one check."""

from dataclasses import dataclass

from jabert.redaction import redacted


@dataclass(frozen=True)
class Check:
    """The result of one check.

    Attributes:
        what: what was checked.
        ok: whether it passed.
        found: what was found.
        remedy: what the user can do about a failure; empty if the check passed.
        absent: whether there was nothing to check yet, which is no failure.
    """

    what: str
    ok: bool
    found: str
    remedy: str
    absent: bool = False


def checked(what: str, found: str, remedy: str = "") -> Check:
    """A check that passed if there is no remedy; what it says has no secret."""
    return Check(what, not remedy, redacted(found), redacted(remedy))


def absent(what: str, found: str) -> Check:
    """That there is nothing to check yet, and what would be there."""
    return Check(what, ok=True, found=redacted(found), remedy="", absent=True)
