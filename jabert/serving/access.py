"""Version headers, access log and metrics of each request."""

import asyncio
import sys
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from jabert.serving.follower import Follower
from jabert.serving.log import to_line
from jabert.serving.metrics import Metrics

_PATHS = {"/invocations", "/ping", "/health", "/version", "/metrics", "/docs", "/openapi.json"}
_UNESCAPED = " @:/"  # kept in a header; everything else but letters, digits and _.-~ is percent-encoded
_CLIENT_CLOSED = 499  # as in nginx: the client closed the connection before the answer


class AccessLog:
    """ASGI middleware around the whole application, so that it sees every response.

    The application stores `rows` and `version` in the state of a request. A response without a `version`
    gets the one that is served when the response starts.
    """

    def __init__(self, app: ASGIApp, follower: Follower, metrics: Metrics) -> None:
        self._app = app
        self._follower = follower
        self._metrics = metrics
        self._model = quote(follower.address.uri, _UNESCAPED).encode()
        self._lines: list[str] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request, or the lifespan of the server."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        state: dict[str, Any] = scope.setdefault("state", {})
        status = _CLIENT_CLOSED

        async def send_with_version(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                label = state.setdefault("version", self._follower.served.version.label)
                version = (b"x-jabert-version", quote(label, _UNESCAPED).encode())
                message["headers"] = [*message["headers"], (b"x-jabert-model", self._model), version]
            await send(message)

        try:
            await self._app(scope, receive, send_with_version)
        finally:
            seconds = time.perf_counter() - started
            path = scope["path"] if scope["path"] in _PATHS else "other"
            if path == "/invocations":
                self._metrics.seconds.observe(seconds)
            self._note(scope["method"], path, status, seconds, state)

    def note_malformed(self, status: int) -> None:
        """Note what was answered without the application: it is no request of HTTP."""
        self._note(None, "malformed", status, 0.0, {})

    def _note(
        self, method: str | None, path: str, status: int, seconds: float, state: Mapping[str, Any]
    ) -> None:
        self._metrics.requests.labels(path, str(status)).inc()
        if not self._lines:  # requests of a batch end together: one write for all of them
            asyncio.get_running_loop().call_soon(self._write_lines)
        line = {"method": method, "path": path, "status": status, "rows": state.get("rows")}
        line |= {"milliseconds": round(1000 * seconds, 2), "version": state.get("version")}
        self._lines.append(to_line("request", **line))

    def _write_lines(self) -> None:
        print(end="".join(self._lines), file=sys.stderr, flush=True)
        self._lines.clear()
