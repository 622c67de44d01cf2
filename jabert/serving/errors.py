"""Error responses: a status and one sentence."""

import json
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
CLOSE = {"Connection": "close"}
"""Header of an answer to a request that is not read to its end."""

_PATH = re.compile(r"(?:[A-Za-z]:\\|(?<![\w/:])/)[\w.~-]+[/\\][^\s'\"]*")
_LONGEST = 300


class RequestError(HTTPException):
    """An error that is the response to a request.

    Attributes:
        status_code: HTTP status.
        detail: message for the client, one sentence without paths and texts.
        headers: additional headers of the response.
    """


def too_long(longest: int) -> RequestError:
    """What a request gets that has more than `longest` bytes behind its head."""
    return RequestError(413, f"the body is too long, at most {longest} bytes are taken", CLOSE)


def ended_early() -> RequestError:
    """What a request gets whose client closed the connection before its end."""
    return RequestError(400, "the body ended early", CLOSE)


def to_json(error: RequestError) -> str:
    """The body of the response."""
    name = NAMES.get(error.status_code, "INTERNAL_ERROR")
    return json.dumps({"error_code": name, "message": error.detail})


def sentence_of(message: str) -> str:
    """The first line of a library's error message, shortened, with `…` in place of paths."""
    first = (message.strip() or "no reason is given").splitlines()[0]
    return _PATH.sub("…", first)[:_LONGEST]
