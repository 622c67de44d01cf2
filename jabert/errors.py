"""The exception whose message is for the user, and redaction of passwords in messages and records."""

import re

# In "://user:password@host". A password may contain any character, though some should be escaped in a URL;
# "host:port/" and "[::1]" are not matched.
_PASSWORD = re.compile(r"(?<=://)([^/?#@:\[\s]*):(?!:|\d+[/?#])(?:[^/?#\s]*|[^@\s]*)@")


class JabertError(Exception):
    """An error that the user can correct.

    The message is one sentence that names the file, row, column or setting and the remedy. The command line
    prints it without a traceback and exits with code 1. Passwords in URLs are replaced by `***`, since
    Prefect, MLflow and a webhook get the message too.

    Example:
        >>> raise jabert.JabertError("data.path ftp://me:secret@host/x.csv cannot be read")
        Traceback (most recent call last):
        ...
        jabert.errors.JabertError: data.path ftp://me:***@host/x.csv cannot be read
    """

    def __init__(self, message: str) -> None:
        super().__init__(redacted(message))


def redacted(text: str) -> str:
    """Replace each password in the URLs of a text by `***`."""
    return _PASSWORD.sub(r"\1:***@", text)


def reason_of(error: Exception, longest: int = 200) -> str:
    """The message of an error in one line, cut to `longest` characters, without passwords."""
    return redacted(" ".join(str(error).split()))[:longest]
