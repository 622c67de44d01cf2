"""The one exception that a user is meant to read, and passwords kept out of what is said and recorded."""

import re

__all__ = ["JabertError", "reason_of", "redacted"]

# In "://user:password@host". A password may hold any sign, though in a URL some should be escaped; what
# looks like "host:port/" or "[::1]" is none.
_PASSWORD = re.compile(r"(?<=://)([^/?#@:\[\s]*):(?!:|\d+[/?#])(?:[^/?#\s]*|[^@\s]*)@")


class JabertError(Exception):
    """Something the user can put right.

    The message is one sentence that names the file, row, column or setting. The command
    line prints it without a traceback and exits with 1. Prefect, MLflow and a webhook get it too, so a
    password in a URL is `***` in it.
    """

    def __init__(self, message: str) -> None:
        super().__init__(redacted(message))


def redacted(text: str) -> str:
    """`text`, a URL or a sentence with URLs, with `***` for each password before a host."""
    return _PASSWORD.sub(r"\1:***@", text)


def reason_of(error: Exception, longest: int = 200) -> str:
    """What an error says, in one line of at most so many characters, without passwords."""
    return redacted(" ".join(str(error).split()))[:longest]
