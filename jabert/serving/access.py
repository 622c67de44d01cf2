"""What is noted of each request: the version in its headers, a line of the log, metrics."""

import asyncio
import sys
import time
from typing import Any
from urllib.parse import quote

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from jabert.serving.follower import Follower
from jabert.serving.log import to_line
from jabert.serving.metrics import Metrics

__all__ = ["Observed"]

_PATHS = {"/invocations", "/ping", "/health", "/version", "/metrics", "/docs", "/openapi.json"}
_UNESCAPED = " @:/"  # allowed in a header as they are; all else outside ASCII is percent-encoded
_GONE = 499  # nginx's status of a request whose client went away before the answer


class Observed:
    """ASGI middleware around the whole application, so that no answer gets past it.

    The application leaves `rows` and `version` of a request in its state; without the latter an answer
    bears the version that serves when it begins.
    """

    def __init__(self, app: ASGIApp, follower: Follower, metrics: Metrics) -> None:
        self._app = app
        self._follower = follower
        self._metrics = metrics
        self._model = quote(follower.address.uri, _UNESCAPED).encode()
        self._lines: list[str] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request, or the start and end of the server."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        state: dict[str, Any] = scope.setdefault("state", {})
        seen = {"status": _GONE}

        async def send_with_version(message: Message) -> None:
            if message["type"] == "http.response.start":
                seen["status"] = message["status"]
                version = state.setdefault("version", self._follower.served.version.label)
                names = (
                    (b"x-jabert-model", self._model),
                    (b"x-jabert-version", quote(version, _UNESCAPED).encode()),
                )
                message["headers"] = [*message["headers"], *names]
            await send(message)

        try:
            await self._app(scope, receive, send_with_version)
        finally:
            self._note(scope, state, seen["status"], time.perf_counter() - started)

    def _note(self, scope: Scope, state: dict[str, Any], status: int, seconds: float) -> None:
        path = scope["path"] if scope["path"] in _PATHS else "other"
        self._metrics.requests.labels(path, str(status)).inc()
        if path == "/invocations":
            self._metrics.seconds.observe(seconds)
        line = to_line(
            "request",
            method=scope["method"],
            path=path,
            status=status,
            rows=state.get("rows"),
            milliseconds=round(1000 * seconds, 2),
            version=state.get("version"),
        )
        if not self._lines:  # the requests of a batch end at once, and are written at once
            asyncio.get_running_loop().call_soon(self._write_lines)
        self._lines.append(line)

    def _write_lines(self) -> None:
        print(end="".join(self._lines), file=sys.stderr, flush=True)
        self._lines.clear()
