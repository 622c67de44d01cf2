"""uvicorn's HTTP/1.1 protocol with limits on all that is received, and a close that loses no answer."""

import asyncio
from collections.abc import Callable
from typing import Any

from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from jabert.serving.errors import CLOSE, RequestError, ended_early, to_json, too_long

REFUSAL = "refusal"
"""Name in the state of a request: the error that its application answers with, once it is there."""

_PART = 16_384  # bytes that are parsed at a time
# Bytes between two events of the parser: a head, the line before a chunk with its extensions, all trailers.
_LONGEST_HEAD = 65_536
_END_OF_HEAD = b"\r\n\r\n"
# Of a request that is answered before it has ended: seconds in all and without a byte, as nginx has them, and
# bytes, more than a body that is sent in one go.
_LINGER_SECONDS, _LINGER_IDLE_SECONDS, _LINGER_BYTES = 30.0, 5.0, 4 << 30
_LOOK_SECONDS = 0.5


class _Flow(FlowControl):
    """Reads no more while requests wait that were sent ahead: each answer would make room for a thousand.

    Args:
        transport: of the connection.
        ahead: what has arrived and is not parsed yet; the request under way needs none of it.
    """

    def __init__(self, transport: asyncio.Transport, ahead: bytearray) -> None:
        super().__init__(transport)
        self._ahead = ahead

    def resume_reading(self) -> None:
        """Go on reading, unless it is not needed."""
        if not self._ahead:
            super().resume_reading()


class BoundedProtocol(HttpToolsProtocol):
    """What uvicorn (0.54) does not: bounds of each request and of the connection, in memory and in time.

    - A head, the extensions of a chunk, and all trailers are at most 64 KiB each, not counting the part of
      16 KiB in which they end. What comes after the head is at most `longest` bytes, whatever it is.
    - A connection is closed when a head, the first or a later one, does not arrive within
      `timeout_keep_alive` seconds.
    - What a client sends ahead waits, at most some 256 KiB of it, until its request has been answered.
    - A client that closes its own direction only, half of the connection, gets its answers.
    - Where a request is answered before all of it has arrived (it is too long, comes too late or is not
      HTTP), the answer ends the connection in one direction only, and what still comes is read and dropped
      for a while. Otherwise the kernel would answer it with a reset, which takes the answer away from a
      client that is still sending: https://nginx.org/en/docs/http/ngx_http_core_module.html#lingering_close

    Args:
        note_malformed: called with the status of each answer that is given without the application.
        longest: bytes of a request behind its head, chunk sizes, extensions and trailers among them.
        arguments: as uvicorn gives them.
        options: as uvicorn gives them.
    """

    def __init__(
        self, note_malformed: Callable[[int], None], longest: int, *arguments: Any, **options: Any
    ) -> None:
        super().__init__(*arguments, **options)
        self._note_malformed = note_malformed
        self._longest = longest
        self._connection: asyncio.Transport | None = None
        self._head_due: asyncio.TimerHandle | None = None
        self._ahead = bytearray()  # received, not parsed
        self._since_event = 0  # bytes
        self._in_body = False
        self._behind_head = 0  # bytes of this request
        self._is_refused = False  # nothing is parsed any more
        self._has_ended = False  # the client sends no more
        self._lingering = False
        self._dropped = 0
        self._last_data = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start waiting for the first head of a connection."""
        self._connection = transport
        lingering = _Lingering(transport, self)
        super().connection_made(lingering)  # type: ignore[arg-type]
        self.flow = _Flow(lingering, self._ahead)  # type: ignore[arg-type]
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting when the connection is closed."""
        self._stop_waiting()
        self._ahead.clear()
        self._connection = None
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse bytes as far as it is their turn."""
        if self._lingering:
            self._dropped += len(data)
            self._last_data = self.loop.time()
            return
        self._ahead += data
        self._parse()
        if self._ahead:
            self.flow.pause_reading()

    def eof_received(self) -> bool:  # type: ignore[override]
        """Answer what is complete; returns whether there still is an answer to be given."""
        self._has_ended = True
        self._parse()
        return not self.is_closing()

    def _parse(self) -> None:
        """Parse what has arrived until a request is complete, whose answer comes first."""
        while self._ahead and not self.is_closing() and not self._answers_first():
            end = _PART
            if not self._in_body:  # its end is where counting begins, and perhaps that of the request
                end = self._ahead.find(_END_OF_HEAD, 0, _PART) + len(_END_OF_HEAD)
                end = _PART if end < len(_END_OF_HEAD) else end
            part = bytes(self._ahead[:end])
            del self._ahead[:end]
            self._parse_part(part)
        if self._has_ended and not self._ahead and not self.is_closing():
            self._close_after_the_end()

    def _answers_first(self) -> bool:
        """Whether a request waits for its answer, all of it that counts having been parsed."""
        under_way = self.cycle is not None and not self.cycle.response_complete
        return self._is_refused or bool(self.pipeline) or (under_way and not self._in_body)

    def _parse_part(self, part: bytes) -> None:
        self._since_event += len(part)
        if self._in_body:
            self._behind_head += len(part)
        super().data_received(part)
        if self.is_closing() or self._is_refused:
            return
        if self._behind_head > self._longest:
            self._refuse(too_long(self._longest))
        elif self._since_event > _LONGEST_HEAD:
            what = "a chunk's size or the trailers" if self._in_body else "the head"
            sentence = f"{what} of the request is too long, at most {_LONGEST_HEAD} bytes are taken"
            self._refuse(RequestError(400, sentence, CLOSE))
        elif self._head_due is None and (self.cycle is None or self.cycle.response_complete):
            self._await_head()

    def _close_after_the_end(self) -> None:
        """Close as soon as all is answered; the client sends no more, and a part of a request is refused."""
        if self._answers_first():
            self.cycle.keep_alive = False
        elif self._in_body and not self.cycle.response_complete:
            self._refuse(ended_early())
        elif self._since_event and not self._in_body:
            self._refuse(RequestError(400, "the head of the request ended early", CLOSE))
        else:
            self._close_at_once()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002
        """Refuse what uvicorn could not parse."""
        self._refuse(RequestError(400, "this is no HTTP/1.1 that can be understood", CLOSE))

    def _refuse(self, error: RequestError) -> None:
        """Let the application answer with an error where it has the request, or answer without it."""
        self._is_refused, cycle = True, self.cycle
        if cycle is not None and not cycle.response_complete:
            cycle.keep_alive = False
            if self._in_body:
                cycle.scope["state"][REFUSAL] = error
                cycle.message_event.set()
            else:  # it was sent ahead: what is before it is answered, and the connection closes
                self._note_malformed(error.status_code)
        elif self._in_body:  # it has been answered
            self.transport.close()
        else:
            self._note_malformed(error.status_code)
            content = to_json(error).encode()
            head = b"content-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n"
            self.transport.write(STATUS_LINE[error.status_code] + head % len(content) + content)
            self.transport.close()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header, but no trailer, which nobody reads."""
        if not self._in_body:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Stop waiting when the head is complete; the application limits the time of the body."""
        self._stop_waiting()
        self._since_event = self._behind_head = 0
        super().on_headers_complete()
        self._in_body = True
        if self.parser.should_upgrade():  # to nothing that is spoken here
            self.cycle.keep_alive = False

    def on_chunk_header(self) -> None:
        """Count anew: the line before a chunk has ended."""
        self._since_event = 0

    def on_body(self, body: bytes) -> None:
        """Count anew: a part of the body."""
        self._since_event = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Count anew: the request has ended, in a part that may hold more, which counted too."""
        if self._behind_head > self._longest:
            self._refuse(too_long(self._longest))
        self._in_body, self._since_event, self._behind_head = False, 0, 0
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Go on with what was sent ahead."""
        super().on_response_complete()
        if self._ahead or self._has_ended:
            self._parse()
            self.flow.resume_reading()

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
        connection = self._connection
        if connection is None or connection.is_closing():
            return
        if self._has_ended or not (self._is_refused or self._in_body or self._ahead):
            connection.close()
        elif not self._lingering:
            self._lingering, self._last_data = True, self.loop.time()
            self._ahead.clear()
            self._stop_waiting()
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
        self._head_due = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def _stop_waiting(self) -> None:
        if self._head_due is not None:
            self._head_due.cancel()
            self._head_due = None


class _Lingering:
    """A transport whose `close` is left to its protocol, and that is not written to once it is lost.

    uvicorn tells only the last of the requests that were sent ahead that the connection is lost, so that the
    one under way goes on writing, which uvloop answers with an error.
    """

    def __init__(self, transport: asyncio.Transport, protocol: BoundedProtocol) -> None:
        self._transport = transport
        self.close = protocol.close
        self.is_closing = protocol.is_closing

    def write(self, data: bytes) -> None:
        """Write, if there still is a connection."""
        if not self._transport.is_closing():
            self._transport.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)
