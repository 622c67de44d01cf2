"""Bounds of a connection without a socket: what is parsed, refused, waited for and closed, and when."""

import asyncio
import json
import re
from inspect import Parameter, Signature
from types import SimpleNamespace

import pytest
import uvicorn
from uvicorn.server import ServerState

from jabert.serving import protocol as module
from jabert.serving.protocol import REFUSAL, BoundedProtocol

LONGEST, SECONDS = 1000, 10


class Clock:
    """The loop that the protocol sees: tasks are real, time goes on only when it is told to."""

    def __init__(self):
        self.now, self.due = 0.0, []

    def create_task(self, *arguments, **options):
        return asyncio.get_running_loop().create_task(*arguments, **options)

    def time(self):
        return self.now

    def call_later(self, seconds, call, *arguments):
        handle = SimpleNamespace(at=self.now + seconds, call=lambda: call(*arguments))
        handle.cancel = lambda: self.due.remove(handle) if handle in self.due else None
        self.due.append(handle)
        return handle

    def advance(self, seconds):
        until = self.now + seconds
        while ready := [handle for handle in self.due if handle.at <= until]:
            first = min(ready, key=lambda handle: handle.at)
            self.due.remove(first)
            self.now = first.at
            first.call()
        self.now = until


class Transport:
    def __init__(self):
        self.sent, self.closed, self.eof, self.reading = b"", False, False, True

    def get_extra_info(self, name, default=None):
        return default

    def write(self, data):
        assert not self.closed
        assert not self.eof
        self.sent += data

    def write_eof(self):
        self.eof = True

    def close(self):
        self.closed = True

    def is_closing(self):
        return self.closed

    def pause_reading(self):
        self.reading = False

    def resume_reading(self):
        self.reading = True


class Talk:
    """A client that talks to the protocol, and the application behind it.

    It answers with the number of bytes of the body: `/hold` when `go` is set, `/early` before it is read.
    """

    def __init__(self):
        self.clock, self.transport, self.go = Clock(), Transport(), asyncio.Event()
        self.seen, self.scopes, self.malformed, self.lost = [], [], [], False
        config = uvicorn.Config(
            self.app,
            interface="asgi3",
            ws="none",
            log_config=None,
            access_log=False,
            timeout_keep_alive=SECONDS,
            lifespan="off",
        )
        state = ServerState()
        self.protocol = BoundedProtocol(
            self.malformed.append, LONGEST, config=config, server_state=state, app_state={}, _loop=self.clock
        )
        self.protocol.connection_made(self.transport)

    async def app(self, scope, receive, send):
        self.scopes.append(scope)
        size, status, headers, complete = 0, 200, {}, scope["path"] == "/early"
        while not complete:
            message = await receive()
            if refusal := scope["state"].get(REFUSAL):
                status, headers = refusal.status_code, refusal.headers
                self.seen.append((scope["path"], refusal.detail))
                break
            if message["type"] == "http.disconnect":
                self.seen.append((scope["path"], "gone"))
                return
            size, complete = size + len(message["body"]), not message["more_body"]
        if scope["path"] == "/hold":
            await self.go.wait()
        content = b"%s %d" % (scope["path"].encode(), size)
        fields = {"content-length": str(len(content)), **headers}
        encoded = [(name.encode(), value.encode()) for name, value in fields.items()]
        await send({"type": "http.response.start", "status": status, "headers": encoded})
        await send({"type": "http.response.body", "body": content})

    async def settle(self):
        for _ in range(12):
            await asyncio.sleep(0)
        if self.transport.closed and not self.lost:
            self.lost = True
            self.protocol.connection_lost(None)
            await asyncio.sleep(0)

    async def send(self, *parts):
        """Send each part as long as it is read; returns how many were."""
        for number, part in enumerate(parts):
            if self.transport.closed or not self.transport.reading:
                return number
            self.protocol.data_received(part)
            await self.settle()
        return len(parts)

    async def end(self):
        """The client sends no more."""
        if not self.protocol.eof_received():
            self.transport.close()
        await self.settle()

    async def wait(self, seconds):
        self.clock.advance(seconds)
        await self.settle()

    @property
    def statuses(self):
        return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d+) ", self.transport.sent)]

    @property
    def message(self):
        return json.loads(self.transport.sent.rpartition(b"\r\n\r\n")[2])["message"]


def talk(function):
    """Run a test that talks."""

    def test(**arguments):
        async def run():
            await function(Talk(), **arguments)

        asyncio.run(run())

    test.__name__ = function.__name__
    names = [
        name for name in function.__code__.co_varnames[: function.__code__.co_argcount] if name != "talk"
    ]
    test.__signature__ = Signature([Parameter(name, Parameter.KEYWORD_ONLY) for name in names])
    return test


def head(path, *fields, method=b"POST"):
    lines = [method + b" " + path.encode() + b" HTTP/1.1", b"Host: x", *fields]
    return b"\r\n".join([*lines, b"", b""])


def post(path, size):
    return head(path, b"Content-Length: %d" % size) + b"x" * size


CHUNKED = b"Transfer-Encoding: chunked"


@talk
async def test_requests_are_answered_one_after_another_and_the_connection_stays(talk):
    await talk.send(post("/a", 5), post("/b", 0), head("/c", method=b"GET"))
    assert [body in talk.transport.sent for body in (b"/a 5", b"/b 0", b"/c 0")] == [True] * 3
    assert (talk.statuses, talk.transport.closed, talk.malformed) == ([200] * 3, False, [])


@talk
async def test_a_request_may_come_byte_by_byte(talk):
    sent = post("/a", 3) + head("/b", CHUNKED) + b"3\r\nabc\r\n0\r\n\r\n"
    assert await talk.send(*(bytes([byte]) for byte in sent)) == len(sent)
    assert (talk.statuses, talk.transport.closed) == ([200, 200], False)
    assert talk.transport.sent.endswith(b"/b 3")


@talk
async def test_what_is_sent_ahead_waits_for_its_turn_in_order(talk):
    await talk.send(post("/hold", 1) + post("/a", 2) + post("/b", 3))
    assert [scope["path"] for scope in talk.scopes] == ["/hold"]
    talk.go.set()
    await talk.settle()
    await talk.settle()
    assert [scope["path"] for scope in talk.scopes] == ["/hold", "/a", "/b"]
    sent = talk.transport.sent
    assert sent.index(b"/hold 1") < sent.index(b"/a 2") < sent.index(b"/b 3")
    assert talk.transport.reading


@talk
async def test_no_more_is_read_than_was_sent_ahead_until_the_answer(talk):
    assert await talk.send(post("/hold", 1)) == 1
    assert talk.transport.reading
    assert await talk.send(post("/a", 2), post("/b", 2)) == 1
    assert not talk.transport.reading
    talk.go.set()
    await talk.settle()
    assert talk.transport.reading
    assert talk.statuses == [200, 200]


# Bounds in memory


@pytest.mark.parametrize("size", [LONGEST, LONGEST + 1])
@talk
async def test_a_body_may_have_just_so_many_bytes(talk, size):
    await talk.send(post("/a", size))
    if size == LONGEST:
        assert (talk.statuses, talk.transport.closed, talk.transport.eof) == ([200], False, False)
    else:
        assert talk.seen == [("/a", f"the body is too long, at most {LONGEST} bytes are taken")]
        assert (talk.statuses, talk.malformed) == ([413], [])


@talk
async def test_each_request_of_a_connection_may_have_so_many_bytes(talk):
    await talk.send(*[post("/a", LONGEST)] * 3)
    assert talk.statuses == [200] * 3


@pytest.mark.parametrize("more", [0, 1])
@talk
async def test_chunk_sizes_and_trailers_count_like_the_body(talk, more):
    chunk, end = b"1\r\nx\r\n", b"0\r\nA: %s\r\n\r\n"
    count = 100
    rest = LONGEST - count * len(chunk) - len(end % b"") + more
    await talk.send(head("/a", CHUNKED), chunk * count, end % (b"y" * rest))
    assert talk.statuses == ([413] if more else [200])


@talk
async def test_a_body_that_ends_after_its_bound_in_the_same_part_is_refused(talk):
    await talk.send(head("/a", CHUNKED) + b"%x\r\n" % (LONGEST + 1) + b"x" * (LONGEST + 1) + b"\r\n0\r\n\r\n")
    assert talk.statuses == [413]
    assert talk.seen[0][1].startswith("the body is too long")
    assert f"{LONGEST}" in talk.seen[0][1]


@pytest.mark.parametrize(("size", "status"), [(60_000, 200), (90_000, 400)])
@talk
async def test_a_head_may_have_64_kilobytes(talk, size, status):
    await talk.send(head("/a", b"A: " + b"x" * size, method=b"GET"))
    assert talk.statuses == [status]
    if status == 400:
        assert talk.message == "the head of the request is too long, at most 65536 bytes are taken"
        assert talk.malformed == [400]
        assert b"connection: close" in talk.transport.sent


@talk
async def test_each_head_of_a_connection_may_have_64_kilobytes(talk):
    await talk.send(*[head("/a", b"A: " + b"x" * 40_000, method=b"GET")] * 3)
    assert talk.statuses == [200] * 3


@talk
async def test_a_head_that_never_ends_is_refused_before_more_is_kept(talk):
    parts = [b"POST /a HTTP/1.1\r\n", *[b"A: " + b"x" * 9997] * 20]
    taken = 0
    for part in parts:
        if talk.statuses:
            break
        taken += await talk.send(part)
    assert talk.statuses == [400]
    assert taken <= 9


@pytest.mark.parametrize("what", [b"5;a=", b"0\r\nA: "])
@talk
async def test_the_line_before_a_chunk_and_the_trailers_may_have_64_kilobytes(talk, what):
    talk.protocol._longest = 10**6
    await talk.send(head("/a", CHUNKED), what + b"x" * 60_000)
    assert talk.statuses == []
    await talk.send(b"x" * 40_000)
    sentence = "a chunk's size or the trailers of the request is too long, at most 65536 bytes are taken"
    assert talk.seen == [("/a", sentence)]
    assert talk.statuses == [400]


@talk
async def test_many_chunks_are_no_long_line(talk):
    talk.protocol._longest = 10**6
    await talk.send(head("/a", CHUNKED), *[b"5;a=" + b"x" * 30_000 + b"\r\nabcde\r\n"] * 5, b"0\r\n\r\n")
    assert talk.statuses == [200]


@talk
async def test_trailers_are_read_by_nobody(talk):
    await talk.send(head("/a", CHUNKED, b"B: 1") + b"0\r\nC: 2\r\n\r\n")
    assert [name for name, _ in talk.scopes[0]["headers"]] == [b"host", b"transfer-encoding", b"b"]


# What is not HTTP


@pytest.mark.parametrize("sent", [b"no HTTP\r\n\r\n", b"\x16\x03\x01\x00\xa5\x01\r\n\r\n"])
@talk
async def test_what_is_not_http_is_refused_in_json(talk, sent):
    await talk.send(sent)
    first, _, rest = talk.transport.sent.partition(b"\r\n")
    fields, _, content = rest.partition(b"\r\n\r\n")
    assert first == b"HTTP/1.1 400 Bad Request"
    assert fields.split(b"\r\n") == [
        b"content-type: application/json",
        b"content-length: %d" % len(content),
        b"connection: close",
    ]
    assert json.loads(content) == {
        "error_code": "BAD_REQUEST",
        "message": "this is no HTTP/1.1 that can be understood",
    }
    assert (talk.malformed, talk.scopes) == ([400], [])


@talk
async def test_chunks_that_are_none_are_refused_by_the_application(talk):
    await talk.send(head("/a", CHUNKED) + b"no number\r\n")
    assert talk.seen == [("/a", "this is no HTTP/1.1 that can be understood")]
    assert (talk.statuses, talk.malformed) == ([400], [])


@talk
async def test_what_is_no_http_behind_a_request_ends_the_connection_after_the_answer(talk):
    await talk.send(post("/hold", 1) + b"no HTTP\r\n\r\n")
    assert talk.statuses == []
    talk.go.set()
    await talk.settle()
    await talk.settle()
    assert (talk.statuses, talk.malformed) == ([200], [400])
    assert talk.transport.eof


@talk
async def test_an_upgrade_is_answered_as_if_it_had_not_been_asked_for_and_closes(talk):
    await talk.send(head("/a", b"Connection: Upgrade", b"Upgrade: h2c", method=b"GET"))
    assert talk.statuses == [200]
    assert b"connection: close" in talk.transport.sent
    assert talk.transport.closed


# Bounds in time


@pytest.mark.parametrize("sent", [b"", b"\r\n", b"POST /a HTTP/1.1\r\nHost"])
@talk
async def test_a_head_has_its_time_from_the_beginning_of_the_connection(talk, sent):
    await talk.wait(SECONDS / 2)
    if sent:
        await talk.send(sent)
    await talk.wait(SECONDS / 2 - 0.1)
    assert not talk.transport.closed
    await talk.wait(0.1)
    assert (talk.transport.closed, talk.transport.sent) == (True, b"")
    assert talk.clock.due == []


@talk
async def test_a_later_head_has_its_time_from_the_answer_before_it(talk):
    await talk.wait(SECONDS / 2)
    await talk.send(post("/a", 1))
    await talk.wait(SECONDS - 0.1)
    assert not talk.transport.closed
    await talk.send(post("/a", 1), b"POST /b")
    await talk.wait(SECONDS - 0.1)
    assert not talk.transport.closed
    await talk.wait(0.2)
    assert talk.transport.closed


@talk
async def test_a_later_head_that_comes_slowly_gains_no_time(talk):
    await talk.send(post("/a", 1))
    for _ in range(4):
        await talk.send(b"POST" if not talk.transport.closed else b"")
        await talk.wait(SECONDS / 2)
    assert talk.transport.closed


@talk
async def test_body_and_answer_are_not_bound_by_the_time_of_a_head(talk):
    await talk.send(head("/hold", b"Content-Length: 2"))
    await talk.wait(10 * SECONDS)
    await talk.send(b"xy")
    await talk.wait(10 * SECONDS)
    assert not talk.transport.closed
    talk.go.set()
    await talk.settle()
    assert talk.statuses == [200]


# The end


@talk
async def test_a_client_that_sends_no_more_gets_all_its_answers(talk):
    await talk.send(post("/hold", 1) + post("/a", 2))
    await talk.end()
    assert (talk.statuses, talk.transport.closed) == ([], False)
    talk.go.set()
    await talk.settle()
    await talk.settle()
    assert talk.statuses == [200, 200]
    assert talk.transport.closed
    assert talk.seen == []


@talk
async def test_a_client_that_has_its_answers_is_left_when_it_ends(talk):
    await talk.send(post("/a", 1))
    await talk.end()
    assert (talk.statuses, talk.transport.closed, talk.malformed) == ([200], True, [])


@pytest.mark.parametrize("sent", [b"", b"POST /a HT"])
@talk
async def test_half_a_head_that_ends_is_refused_and_none_is_not(talk, sent):
    if sent:
        await talk.send(sent)
    await talk.end()
    assert talk.transport.closed
    assert talk.statuses == ([400] if sent else [])
    assert talk.malformed == talk.statuses
    if sent:
        assert talk.message == "the head of the request ended early"
        assert b"connection: close" in talk.transport.sent


@talk
async def test_half_a_body_that_ends_is_refused_by_the_application(talk):
    await talk.send(head("/a", b"Content-Length: 5") + b"xy")
    await talk.end()
    assert talk.seen == [("/a", "the body ended early")]
    assert (talk.statuses, talk.transport.closed) == ([400], True)


@talk
async def test_a_client_that_goes_away_is_told_to_the_application(talk):
    await talk.send(head("/a", b"Content-Length: 5") + b"xy")
    talk.protocol.connection_lost(ConnectionResetError())
    await talk.settle()
    assert talk.seen == [("/a", "gone")]
    assert talk.clock.due == []
    assert talk.protocol.is_closing()


@talk
async def test_nobody_waits_for_the_head_of_a_connection_that_is_lost(talk):
    talk.protocol.connection_lost(ConnectionResetError())
    assert talk.clock.due == []


async def too_long(talk):
    await talk.send(head("/a", b"Content-Length: 5000") + b"x" * 2000)
    assert talk.statuses == [413]


async def early(talk):
    await talk.send(head("/early", b"Content-Length: 500", b"Connection: close") + b"x")
    assert talk.statuses == [200]


async def malformed(talk):
    await talk.send(b"no HTTP\r\n\r\n")
    assert talk.statuses == [400]


BEGINNINGS = [too_long, early, malformed]


@pytest.mark.parametrize("begin", BEGINNINGS)
@talk
async def test_after_an_early_answer_what_still_comes_is_read_and_dropped(talk, begin):
    await begin(talk)
    assert (talk.transport.eof, talk.transport.closed, talk.transport.reading) == (True, False, True)
    assert talk.protocol.is_closing()
    sent = talk.transport.sent
    for _ in range(5):
        assert await talk.send(b"GET /b HTTP/1.1\r\n\r\n" * 1000) == 1
        await talk.wait(4)
    assert (talk.transport.sent, len(talk.scopes)) == (sent, 0 if begin is malformed else 1)
    assert not talk.transport.closed
    await talk.wait(0.9)
    assert not talk.transport.closed, "a byte came 4.9 seconds ago"


@pytest.mark.parametrize("begin", BEGINNINGS)
@talk
async def test_a_silent_client_is_left_after_five_seconds(talk, begin):
    await talk.wait(3)
    await begin(talk)
    await talk.wait(4.9)
    assert not talk.transport.closed
    await talk.wait(0.2)
    assert talk.transport.closed
    assert talk.clock.due == []


@talk
async def test_a_client_that_sends_slowly_is_left_after_thirty_seconds(talk):
    await talk.wait(3)
    await too_long(talk)
    for _ in range(29):
        await talk.wait(1)
        await talk.send(b"x")
    assert not talk.transport.closed
    await talk.wait(1.1)
    assert talk.transport.closed


@talk
async def test_a_client_that_sends_without_end_is_left_after_so_many_bytes(talk):
    module._LINGER_BYTES, usual = 1000, module._LINGER_BYTES
    try:
        await too_long(talk)
        await talk.send(b"x" * 500, b"x" * 499)
        await talk.wait(1)
        assert not talk.transport.closed
        await talk.send(b"x")
        await talk.wait(0.5)
        assert talk.transport.closed
    finally:
        module._LINGER_BYTES = usual
    assert usual == 4 * 2**30


@talk
async def test_an_answered_request_whose_body_turns_out_to_be_none_is_closed(talk):
    await talk.send(head("/early", CHUNKED))
    assert (talk.statuses, talk.transport.closed, talk.transport.eof) == ([200], False, False)
    await talk.send(b"no number\r\n")
    assert (talk.statuses, talk.transport.eof, talk.malformed) == ([200], True, [])


@talk
async def test_a_body_that_comes_after_its_answer_is_bound_too(talk):
    await talk.send(head("/early", b"Content-Length: 5000"))
    await talk.send(b"x" * 400, b"x" * 600)
    assert not talk.transport.eof
    await talk.send(b"x")
    assert talk.transport.eof
    assert talk.statuses == [200]


@talk
async def test_a_body_that_ends_after_its_answer_lets_the_connection_go_on(talk):
    await talk.send(head("/early", b"Content-Length: 3"), b"xyz", post("/a", 1))
    assert talk.statuses == [200, 200]


# Shutdown


@talk
async def test_at_the_end_of_the_server_a_connection_without_a_request_is_closed(talk):
    talk.protocol.shutdown()
    assert talk.transport.closed


@talk
async def test_at_the_end_of_the_server_a_connection_that_was_answered_is_closed(talk):
    await talk.send(post("/a", 1))
    talk.protocol.shutdown()
    assert talk.transport.closed


@talk
async def test_at_the_end_of_the_server_a_request_under_way_is_answered(talk):
    await talk.send(post("/hold", 1))
    talk.protocol.shutdown()
    assert not talk.transport.closed
    talk.go.set()
    await talk.settle()
    assert (talk.statuses, talk.transport.closed) == ([200], True)


@talk
async def test_at_the_end_of_the_server_nobody_lingers(talk):
    await too_long(talk)
    talk.protocol.shutdown()
    assert talk.transport.closed


@talk
async def test_a_closed_connection_is_closed_once(talk):
    await talk.send(post("/a", 1))
    talk.protocol.close()
    assert (talk.transport.closed, talk.transport.eof) == (True, False)
    talk.protocol.close()
    await talk.settle()
    talk.protocol.close()
    talk.protocol.timeout_keep_alive_handler()
