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
    """

    what: str
    ok: bool
    found: str
    remedy: str


def checked(what: str, found: str, remedy: str = "") -> Check:
    """A check that passed if there is no remedy; what it says has no secret."""
    return Check(what, not remedy, redacted(found), redacted(remedy))
