"""The exception whose message is for the user."""

from jabert.redaction import redacted


class JabertError(Exception):
    """An error that the user can correct.

    The message is one sentence that names the file, row, column or setting and the remedy. The command line
    prints it without a traceback and exits with code 1. Of a URL only scheme, host and path are said, since
    Prefect, MLflow and a webhook get the message too.

    Example:
        >>> raise jabert.JabertError("data.path ftp://me:secret@host/x.csv cannot be read")
        Traceback (most recent call last):
        ...
        jabert.errors.JabertError: data.path ftp://host/x.csv cannot be read
    """

    def __init__(self, message: str) -> None:
        super().__init__(redacted(message))


def reason_of(error: Exception, longest: int = 200) -> str:
    """The message of an error in one line, cut to `longest` characters, without secrets."""
    return redacted(" ".join(str(error).split()))[:longest]
