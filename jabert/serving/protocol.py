"""uvicorn's HTTP/1.1 protocol with limits on the head of a request."""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_LONGEST_HEAD = 65_536  # bytes


class BoundedProtocol(HttpToolsProtocol):
    """Limits time and length of a request's head, which uvicorn (0.54) does not.

    A connection is closed when a head, the first or a later one, does not arrive within `timeout_keep_alive`
    seconds, and a head of more than 64 KiB is refused.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._head_due: asyncio.TimerHandle | None = None
        self._head_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start waiting for the first head of a connection."""
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting when the connection is closed."""
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse bytes; they count towards the length of the head until it is complete."""
        super().data_received(data)
        if self.transport.is_closing() or not (self.cycle is None or self.cycle.response_complete):
            return
        self._head_bytes += len(data)
        if self._head_bytes > _LONGEST_HEAD:
            self.send_400_response("The head of the request is too long.")
        elif self._head_due is None:
            self._await_head()

    def on_headers_complete(self) -> None:
        """Stop waiting when the head is complete; the application limits the body."""
        self._stop_waiting()
        super().on_headers_complete()

    def _await_head(self) -> None:
        self._head_bytes = 0
        self._head_due = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def _stop_waiting(self) -> None:
        if self._head_due is not None:
            self._head_due.cancel()
            self._head_due = None
