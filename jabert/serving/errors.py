"""Error responses: a status and one sentence."""

import re

_NAMES = {  # as MLflow's scoring server names them
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


class RequestError(Exception):
    """An error that is the response to a request.

    Attributes:
        status: HTTP status.
        sentence: message for the client, without paths and texts.
        headers: additional headers of the response.
    """

    def __init__(self, status: int, sentence: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence
        self.headers = headers or {}

    @property
    def content(self) -> dict[str, str]:
        """The body of the response, in the form of MLflow's scoring server."""
        return {"error_code": _NAMES.get(self.status, "INTERNAL_ERROR"), "message": self.sentence}


def sentence_of(message: str) -> str:
    """The first line of a library's error message, shortened, with `…` in place of paths."""
    first = (message.strip() or "no reason is given").splitlines()[0]
    return _PATH.sub("…", first)[:_LONGEST]
