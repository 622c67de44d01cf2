"""uvicorn's HTTP/1.1 protocol with limits on the head of a request, and a close that loses no answer."""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_LONGEST_HEAD = 65_536  # bytes
# Of a request that is answered before it has ended: seconds in all and without a byte, as nginx has them, and
# bytes, more than a body that is sent in one go.
_LINGER_SECONDS, _LINGER_IDLE_SECONDS, _LINGER_BYTES = 30.0, 5.0, 4 << 30
_LOOK_SECONDS = 0.5


class BoundedProtocol(HttpToolsProtocol):
    """Limits time and length of a request's head, and lingers when it closes, which uvicorn (0.54) does not.

    A connection is closed when a head, the first or a later one, does not arrive within `timeout_keep_alive`
    seconds, and a head of more than 64 KiB is refused.

    Where a request is answered before all of it has arrived (its body is too long, comes too late or is not
    HTTP), the answer ends the connection in one direction only, and what still comes is read and dropped for
    a while. Otherwise the kernel would answer it with a reset, which takes the answer away from a client that
    is still sending: https://nginx.org/en/docs/http/ngx_http_core_module.html#lingering_close
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._head_due: asyncio.TimerHandle | None = None
        self._head_bytes = 0
        self._connection: asyncio.Transport | None = None
        self._lingering = False
        self._dropped = 0
        self._last_data = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start waiting for the first head of a connection."""
        self._connection = transport
        super().connection_made(_Lingering(transport, self))  # type: ignore[arg-type]
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting when the connection is closed."""
        self._stop_waiting()
        self._connection = None
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse bytes; they count towards the length of the head until it is complete."""
        if self._lingering:
            self._dropped += len(data)
            self._last_data = self.loop.time()
            return
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

    def timeout_keep_alive_handler(self) -> None:
        """Close a connection on which no head came in time; there is no answer to be lost."""
        self._close_at_once()

    def shutdown(self) -> None:
        """Close the connection, or let the request that is under way be answered first."""
        if self._lingering or self.cycle is None:
            self._close_at_once()
        else:
            super().shutdown()

    def close(self) -> None:
        """Close the connection after an answer: at once if the request was read to its end, or linger."""
        connection, cycle = self._connection, self.cycle
        if connection is None or connection.is_closing():
            return
        if cycle is not None and cycle.response_complete and not cycle.more_body:
            connection.close()
        elif not self._lingering:
            self._lingering, self._last_data = True, self.loop.time()
            self._stop_waiting()
            if cycle is not None and not cycle.response_complete:  # its answer has been given for it
                cycle.disconnected = True
                cycle.message_event.set()
            connection.write_eof()  # once all is written
            self.flow.resume_reading()
            self._linger(self.loop.time() + _LINGER_SECONDS)

    def is_closing(self) -> bool:
        """Whether nothing is read from the connection, or written to it, any more."""
        return self._lingering or self._connection is None or self._connection.is_closing()

    def _linger(self, until: float) -> None:
        now = self.loop.time()
        is_idle = now - self._last_data >= _LINGER_IDLE_SECONDS
        if is_idle or now >= until or self._dropped >= _LINGER_BYTES:
            self._close_at_once()
        elif self._connection is not None:
            self._head_due = self.loop.call_later(_LOOK_SECONDS, self._linger, until)

    def _close_at_once(self) -> None:
        if self._connection is not None:
            self._connection.close()

    def _await_head(self) -> None:
        self._head_bytes = 0
        self._head_due = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def _stop_waiting(self) -> None:
        if self._head_due is not None:
            self._head_due.cancel()
            self._head_due = None


class _Lingering:
    """A transport whose `close` is left to its protocol; all else is the transport's own."""

    def __init__(self, transport: asyncio.Transport, protocol: BoundedProtocol) -> None:
        self._transport = transport
        self.close = protocol.close
        self.is_closing = protocol.is_closing

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)
