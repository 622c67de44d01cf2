"""Error responses: a status and one sentence."""

import re

from starlette.exceptions import HTTPException

NAMES = {  # as MLflow's scoring server names them
    400: "BAD_REQUEST",
    404: "ENDPOINT_NOT_FOUND",
    405: "BAD_REQUEST",
    408: "REQUEST_TIMEOUT",
    413: "REQUEST_TOO_LARGE",
    415: "UNSUPPORTED_MEDIA_TYPE",
    503: "TEMPORARILY_UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
_PATH = re.compile(r"(?:[A-Za-z]:\\|(?<![\w/:])/)[\w.~-]+[/\\][^\s'\"]*")
_LONGEST = 300


class RequestError(HTTPException):
    """An error that is the response to a request.

    Attributes:
        status_code: HTTP status.
        detail: message for the client, one sentence without paths and texts.
        headers: additional headers of the response.
    """


def sentence_of(message: str) -> str:
    """The first line of a library's error message, shortened, with `…` in place of paths."""
    first = (message.strip() or "no reason is given").splitlines()[0]
    return _PATH.sub("…", first)[:_LONGEST]
