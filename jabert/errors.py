"""The exception whose message is for the user, and what is said of others."""

from collections.abc import Iterator
from contextlib import contextmanager

from jabert.redaction import redacted

_LONGEST = 4000  # characters of a message


class JabertError(Exception):
    """An error that the user can correct.

    The message is one sentence that names the file, row, column or setting and the remedy. The command line
    prints it without a traceback and exits with code 1. Of a URL only scheme, host and path are said, since
    Prefect, MLflow and a webhook get the message too. Of a very long message, such as
    one with a cell of a megabyte, the middle is left out.

    Example:
        >>> raise jabert.JabertError("data.path ftp://me:secret@host/x.csv cannot be read")
        Traceback (most recent call last):
        ...
        jabert.errors.JabertError: data.path ftp://host/x.csv cannot be read
    """

    def __init__(self, message: str) -> None:
        super().__init__(_shortened(redacted(message)))


class DamagedError(JabertError):
    """What an earlier process left cannot be read; whoever finds it sets it aside and makes it again."""


@contextmanager
def refusing(what: str, kind: type[JabertError] = JabertError) -> Iterator[None]:
    """Turn whatever a library raises on a damaged file into a `JabertError`: `what`, and the reason.

    Libraries in Rust (tokenizers, calamine) raise `PanicException`, which is no `Exception`.

    Example:
        >>> with refusing("a.json is not JSON"):
        ...     json.loads("{")
        Traceback (most recent call last):
        ...
        jabert.errors.JabertError: a.json is not JSON: Expecting property name enclosed in double quotes: …
    """
    try:
        yield
    except JabertError:
        raise
    except BaseException as error:
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        raise kind(f"{what}: {reason_of(error)}") from error


def reason_of(error: BaseException, longest: int = 200) -> str:
    """The message of an error in one line, or its type, cut to `longest` characters, without secrets."""
    said = " ".join(str(error)[: 10 * longest].split())
    return redacted(said or type(error).__name__)[:longest]


def causes_of(error: BaseException | None) -> Iterator[BaseException]:
    """An error and those that led to it, the last first."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        yield error
        seen.add(id(error))
        error = error.__cause__ or error.__context__


def _shortened(message: str) -> str:
    if len(message) <= _LONGEST:
        return message
    return f"{message[: _LONGEST // 2]} … {message[-_LONGEST // 2 :]}"
