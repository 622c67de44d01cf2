"""What a client is told when it gets no prediction: a status and one sentence."""

import re

__all__ = ["RequestError", "sentence_of"]

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
    """A request that is answered with an error.

    Attributes:
        status: of HTTP.
        sentence: for the client, without paths or texts.
        headers: to send along.
    """

    def __init__(self, status: int, sentence: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence
        self.headers = headers or {}

    @property
    def content(self) -> dict[str, str]:
        """The body of the answer, in the form of MLflow's scoring server."""
        return {"error_code": _NAMES.get(self.status, "INTERNAL_ERROR"), "message": self.sentence}


def sentence_of(message: str) -> str:
    """The first line of a library's message, shortened, with `…` for each path."""
    first = (message.strip() or "no reason is given").splitlines()[0]
    return _PATH.sub("…", first)[:_LONGEST]
