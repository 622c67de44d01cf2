"""What one connection can do to `jabert serve`: its memory, the other clients, the log, the answers."""

import itertools
import json
import re
import socket
import struct
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest
import requests
from served import Registry, serve

HEAD = b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
ONE = b'{"inputs": ["a"]}'
MEGABYTES = 100  # that one connection may take
SECONDS_OF_A_PING = 2.0  # of another client, on a machine that does other things besides


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    registry = Registry(tmp_path_factory.mktemp("registry"))
    registry.promote(registry.add())
    return registry


@pytest.fixture(scope="module")
def server(registry, tmp_path_factory):
    """A server with the limits that are built in."""
    server = serve(registry, tmp_path_factory.mktemp("log") / "log")
    for _ in range(20):  # what it takes in ordinary work is no attack's
        assert server.post({"inputs": ["京都"] * 100}).ok
    yield server
    assert server.stop() == 0
    assert_all_is_json(server)


def assert_all_is_json(server):
    first, *lines = server.output.splitlines()
    assert "serves version" in first
    for line in lines:
        assert json.loads(line)["event"] in ("request", "version", "trouble"), line


def length(body):
    return HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body


def json_of(part, size=1_990_000, before=b'{"inputs": [', after=b"1]}"):
    """A body that is much larger when it is read than when it is sent."""
    return length(before + part * ((size - len(before) - len(after)) // len(part)) + after)


ENDLESS = {
    "trailers": (CHUNKED + b"0\r\n", b"X: a\r\n"),
    "a trailer": (CHUNKED + b"0\r\nX: ", b"a"),
    "the name of a trailer": (CHUNKED + b"0\r\n", b"a"),
    "the extension of a chunk": (CHUNKED + b"1;", b"a"),
    "an extension in quotes": (CHUNKED + b'1;a="', b"a"),
    "extensions of chunks": (CHUNKED, b"1;" + b"a" * 60_000 + b"\r\nx\r\n"),
    "zeros of a chunk's size": (CHUNKED, b"0"),
    "chunks of one byte": (CHUNKED, b"1\r\nx\r\n"),
    "chunks": (CHUNKED, b"1000\r\n" + b"x" * 4096 + b"\r\n"),
    "a body": (HEAD + b"Content-Length: 999999999\r\n\r\n", b"x"),
    "a body that nobody reads": (b"GET /ping HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999\r\n\r\n", b"x"),
    "chunks that nobody reads": (
        b"GET /ping HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"1\r\nx\r\n",
    ),
    "headers": (HEAD, b"A: b\r\n"),
    "a header": (HEAD + b"A: ", b"b"),
    "the name of a header": (HEAD, b"b"),
    "a path": (b"GET /", b"a"),
    "a query": (b"GET /ping?", b"a=%41&"),
    "a method": (b"", b"A"),
    "empty lines": (b"", b"\r\n"),
    "heads": (b"", b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n"),
    "heads of pages": (b"", b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n"),
    "heads behind chunks": (
        b"",
        b"POST /invocations HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n[\r\n0\r\n\r\n",
    ),
    "requests": (b"", length(ONE)),
    "an upgrade": (
        b"GET /ping HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
        b"a" * 100 + b"\r\n",
    ),
    "bodies of 100 Continue": (b"", HEAD + b"Expect: 100-continue\r\nContent-Length: 1\r\n\r\n1"),
    "noise": (b"", bytes(range(256))),
    # What is short when it is sent.
    "empty lists": (b"", json_of(b"[],")),
    "empty objects": (b"", json_of(b"{},")),
    "objects": (b"", json_of(b'{"":[]},')),
    "numbers": (b"", json_of(b"1.5,")),
    "texts": (b"", json_of(b'"ab",')),
    "rows": (b"", json_of(b"1,", before=b'{"dataframe_split":{"columns":["text"],"data":[', after=b"1]}}")),
    "records": (b"", json_of(b'{"text":1},', before=b'{"dataframe_records":[', after=b'{"text":1}]}')),
    "keys": (
        b"",
        length(b'{"inputs":{' + b",".join(b'"%d":0' % n for n in range(200_000)) + b"}}"),
    ),
    "wide characters": (b"", length(b'{"inputs": ["' + b"a" * 1_990_000 + '😀"]}'.encode())),
    "neighbours": (
        b"",
        json_of(b"1,", before=b'{"inputs":[{"text":"a","before":[', after=b"1]}]}"),
    ),
    "cells": (
        b"",
        length(b"text\n" + b"," * 1_900_000).replace(b"application/json", b"text/csv"),
    ),
}
SHARE = ["trailers", "a trailer", "extensions of chunks", "heads behind chunks", "rows"]  # in `make test`


def kilobytes(server, what):
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(re.search(rf"{what}:\s+(\d+)", status)[1])


def attack(server, start, part, seconds):
    """Send without reading an answer for some seconds, or until the server ends it; returns bytes."""
    sent, until = 0, time.monotonic() + seconds
    parts = part * max(1, 200_000 // len(part))
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.settimeout(0.2)
        with suppress(OSError):
            connection.sendall(start)
            for place in itertools.cycle(range(0, len(parts), 65_536)):
                if time.monotonic() > until:
                    break
                with suppress(TimeoutError):
                    # Part of a block may be gone when the time is over: then the rest is another attack.
                    sent += connection.send(parts[place : place + 65_536])
    return sent


@pytest.mark.parametrize(
    ("what", "seconds"),
    [
        *((what, 0.5) for what in SHARE),
        *(pytest.param(what, 4, marks=pytest.mark.attack) for what in ENDLESS),
    ],
)
def test_one_connection_takes_no_memory_and_no_time(server, what, seconds):
    idle = kilobytes(server, "VmRSS")
    Path(f"/proc/{server.process.pid}/clear_refs").write_text("5")  # the peak is counted anew
    sent = []
    attacking = threading.Thread(target=lambda: sent.append(attack(server, *ENDLESS[what], seconds)))
    attacking.start()
    slowest = 0.0
    while attacking.is_alive():
        started = time.monotonic()
        assert requests.get(f"{server.url}/ping", timeout=20).ok
        slowest = max(slowest, time.monotonic() - started)
        time.sleep(0.02)
    attacking.join()
    took = (kilobytes(server, "VmHWM") - idle) / 1024
    print(f"{what}: {sent[0] / 1e6:.1f} MB sent, {took:.0f} MB taken, slowest ping {slowest:.2f} s")
    assert took < MEGABYTES
    assert slowest < SECONDS_OF_A_PING
    assert server.post({"inputs": ["京都"]}).ok


def exchange(server, sent, *, half_close=True):
    """All that the server answers to bytes, after which the client closes its direction."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.sendall(sent)
        if half_close:
            connection.shutdown(socket.SHUT_WR)
        answers = b""
        while part := connection.recv(65_536):
            answers += part
    return answers


PING = b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n"
WHOLE = {
    "a page": (PING, [200]),
    "a body": (length(ONE), [200]),
    "chunks": (CHUNKED + b"%x\r\n" % len(ONE) + ONE + b"\r\n0\r\n\r\n", [200]),
    "chunks, extensions and trailers": (
        CHUNKED + b"%x;a=b\r\n" % len(ONE) + ONE + b"\r\n0;c\r\nX: y\r\n\r\n",
        [200],
    ),
    "three": (PING + length(ONE) + PING, [200, 200, 200]),
    "three in one chunked part": ((CHUNKED + b"%x\r\n" % len(ONE) + ONE + b"\r\n0\r\n\r\n") * 3, [200] * 3),
    "one that is refused": (length(b"{}") + PING, [400, 200]),
    "a part behind a whole": (PING + b"GET /pi", [200, 400]),
    "a head's part": (b"GET /pi", [400]),
    "a body's part": (HEAD + b"Content-Length: 30\r\n\r\n{", [400]),
    "a chunk's part": (CHUNKED + b"5\r\n{", [400]),
    "a trailer's part": (CHUNKED + b"2\r\n{}\r\n0\r\nX: ", [400]),
    "nothing": (b"", []),
    "a request and noise": (PING + b"noise\r\n\r\n", [200, 400]),
    "a request that ends the connection": (
        b"GET /ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" + PING,
        [200],
    ),
}


@pytest.mark.parametrize("what", WHOLE)
def test_a_client_that_closes_its_direction_gets_its_answers(server, what):
    sent, statuses = WHOLE[what]
    answers = exchange(server, sent)
    assert [int(status) for status in re.findall(rb"HTTP/1.1 (\d+) ", answers)] == statuses


def test_a_client_that_is_gone_before_its_answers_is_no_trouble(server):
    logged = len(server.output.splitlines())
    for _ in range(30):
        with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset
            connection.sendall(length(json.dumps({"inputs": ["京都"] * 50}).encode()) * 3)
            time.sleep(0.002)
    assert server.post({"inputs": ["京都"]}).ok
    events = {json.loads(line)["event"] for line in server.output.splitlines()[logged:]}
    assert events == {"request"}


@pytest.mark.parametrize("cut", [1, 7, 61, 10_000])
def test_how_bytes_arrive_changes_no_answer(server, cut):
    """Two requests sent ahead, in packets of every size; each gets the answer that is its own."""
    texts = ["京都", "電話", "京都" * 500]
    bodies = [json.dumps({"inputs": [text]}, ensure_ascii=False).encode() for text in texts]
    sent = b"".join(CHUNKED + b"%x\r\n" % len(body) + body + b"\r\n0\r\nA: b\r\n\r\n" for body in bodies)
    sent += b"".join(map(length, bodies))
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for place in range(0, len(sent), cut):
            connection.sendall(sent[place : place + cut])
        connection.shutdown(socket.SHUT_WR)
        answers = connection.makefile("rb").read()
    labels = re.findall(rb'"label": "([^"]+)"', answers)
    assert [json.loads(b'"' + label + b'"') for label in labels] == ["京都", "電話", "京都"] * 2


MALFORMED = {
    "no HTTP": b"no HTTP\r\n\r\n",
    "TLS": b"\x16\x03\x01\x00\xa5\x01\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a method that is none": b"GRT /ping HTTP/1.1\r\n\r\n",
    "a path that is none": b"GET \xff HTTP/1.1\r\n\r\n",
    "two lengths": b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n1",
    "length and chunks": b"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n1",
    "a blank in a header's name": b"GET /ping HTTP/1.1\r\nA : b\r\n\r\n",
    "a long head": b"GET /ping HTTP/1.1\r\nA: " + b"b" * 70_000,
}


@pytest.mark.parametrize("what", MALFORMED)
def test_what_is_not_http_is_answered_logged_and_counted_like_all_else(server, what):
    def counted():
        metrics = requests.get(f"{server.url}/metrics").text
        found = re.search(r'jabert_requests_total\{path="malformed",status="400"\} (\S+)', metrics)
        return float(found[1]) if found else 0.0

    before, logged = counted(), len(server.output.splitlines())
    head, _, body = exchange(server, MALFORMED[what], half_close=False).partition(b"\r\n\r\n")
    assert re.match(rb"HTTP/1.1 400 (?s:.*)\r\nconnection: close$", head)
    assert json.loads(body)["error_code"] == "BAD_REQUEST"
    assert counted() == before + 1
    lines = [json.loads(line) for line in server.output.splitlines()[logged:]]
    (line,) = [line for line in lines if line["path"] == "malformed"]
    assert (line["event"], line["method"], line["status"]) == ("request", None, 400)


LIMIT = 2_000_000
TOO_LONG = {
    "declared": (HEAD + b"Content-Length: %d\r\n\r\n" % (LIMIT + 1), 413),
    "in chunks": (CHUNKED + (b"%x\r\n" % LIMIT) + b"x" * LIMIT, 413),
    "trailers": (
        CHUNKED + b"%x\r\n" % (LIMIT - 20_000) + b" " * (LIMIT - 20_000) + b"\r\n0\r\n" + b"X: a\r\n" * 9_000,
        413,
    ),
    "a trailer": (CHUNKED + b"2\r\n{}\r\n0\r\nX: " + b"a" * 90_000, 400),
    "an extension": (CHUNKED + b"2;" + b"a" * 90_000, 400),
    "extensions": (CHUNKED + b"".join(b"1;" + b"a" * 50_000 + b"\r\n \r\n" for _ in range(41)), 413),
}


@pytest.mark.parametrize("what", TOO_LONG)
def test_every_byte_behind_the_head_counts_and_the_connection_ends(server, what):
    sent, status = TOO_LONG[what]
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.sendall(sent)
        answer = connection.makefile("rb").read()
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status)
    assert b"\r\nconnection: close" in head.lower()
    assert "too long" in json.loads(body)["message"]


def test_a_body_of_just_the_limit_is_read(server):
    body = ONE + b" " * (LIMIT - len(ONE))
    assert exchange(server, length(body)).startswith(b"HTTP/1.1 200 ")
    rest = LIMIT - len(b"%x\r\n\r\n0\r\n\r\n" % LIMIT)
    body = ONE + b" " * (rest - len(ONE))
    sent = b"%x\r\n" % len(body) + body + b"\r\n0\r\n\r\n"
    assert len(sent) == LIMIT
    assert exchange(server, CHUNKED + sent).startswith(b"HTTP/1.1 200 ")
    assert exchange(server, CHUNKED + sent.replace(b"\r\n0\r\n", b"\r\n0;a\r\n")).startswith(b"HTTP/1.1 413 ")


def test_health_notices_a_registry_that_is_gone(tmp_path):
    registry = Registry(tmp_path)
    registry.promote(registry.add())
    server = serve(registry, tmp_path / "log")
    try:
        server.wait_for_health(status="ok")
        database = tmp_path / "mlflow.db"
        database.rename(tmp_path / "elsewhere.db")
        server.wait_for_health(status="degraded")
        assert server.health()["trouble"] == (
            "the registry cannot be asked, version 1 goes on serving (FileNotFoundError)"
        )
        assert not database.exists()
        assert server.post({"inputs": ["京都"]}).ok
        (tmp_path / "elsewhere.db").rename(database)
        server.wait_for_health(status="ok", trouble=None)
        (tmp_path / "another.db").write_bytes(database.read_bytes())  # as a backup that is restored
        (tmp_path / "another.db").replace(database)
        registry.client._get_registry_client().store.engine.dispose()
        registry.promote(registry.add())
        server.wait_for_health(status="ok", version="2")
    finally:
        server.stop()
