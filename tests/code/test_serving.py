"""`jabert serve`, most of it against the real process."""

import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import hypothesis
import pytest
import requests
from hypothesis import strategies as st
from ports import free_port
from served import Registry, Server, serve

from jabert.config import ServingSettings
from jabert.errors import JabertError
from jabert.serving.errors import RequestError, sentence_of
from jabert.serving.follower import Follower
from jabert.serving.formats import NEIGHBOURS, read_request
from jabert.serving.metrics import Metrics
from jabert.serving.models import Version, address_of

LIMITS = {
    "max_texts": 20,
    "max_characters": 50,
    "max_body_bytes": 20_000,
    "timeout_seconds": 2,
    "queue_texts": 60,
}
ONE = {"inputs": ["京都"]}


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    """Three versions that work, the third on texts alone, and a broken one; the first is champion."""
    registry = Registry(tmp_path_factory.mktemp("registry"))
    for neighbours in (NEIGHBOURS, NEIGHBOURS, ()):
        registry.add(neighbours=neighbours)
    registry.add("open('/no/such/file/of/http://me:secret@host')")
    registry.promote("1")
    return registry


@pytest.fixture(scope="module")
def server(registry, tmp_path_factory):
    server = serve(registry, tmp_path_factory.mktemp("log") / "log", **LIMITS)
    yield server
    assert server.stop() == 0


@pytest.fixture
def champion(registry, server):
    """Version 1 is champion and serves, before and after a test that changes it."""

    def back():
        registry.promote("1")
        server.wait_for_health(status="ok", version="1", trouble=None)

    back()
    yield
    back()


def assert_refused(response, status, pattern):
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    message = response.json()["message"]
    assert re.search(pattern, message), message
    assert_a_sentence(message)


def assert_a_sentence(message):
    assert message.strip() and "\n" not in message and len(message) < 400
    assert not re.search(r"Traceback|File \"|\.py\b|site-packages|/(tmp|root|home|usr|work)/", message)


# Formats


@pytest.mark.parametrize(
    ("body", "texts"),
    [
        ({"dataframe_split": {"columns": ["text"], "data": [["a"], ["b"]]}}, ["a", "b"]),
        (
            {"dataframe_split": {"columns": ["n", "text"], "index": [7, 8], "data": [[1, "a"], [2, "b"]]}},
            ["a", "b"],
        ),
        ({"dataframe_split": {"columns": ["text"], "data": ["a", "b"]}}, ["a", "b"]),
        ({"dataframe_records": [{"text": "a"}, {"text": "b", "n": 1}]}, ["a", "b"]),
        ({"inputs": ["a", "b"]}, ["a", "b"]),
        ({"inputs": {"text": ["a", "b"]}}, ["a", "b"]),
        ({"inputs": {"text": "a"}}, ["a"]),
        ({"inputs": [{"text": "a"}]}, ["a"]),
        ({"instances": ["a", "b"], "signature_name": "x"}, ["a", "b"]),
        ({"instances": [{"text": "a"}, {"text": "b"}]}, ["a", "b"]),
        ({"inputs": []}, []),
        ({"inputs": ["a"], "params": None}, ["a"]),
    ],
)
def test_each_json_format_is_read(body, texts):
    assert read_request(json.dumps(body).encode(), "application/json", ServingSettings()).texts == texts


@pytest.mark.parametrize(
    ("body", "texts"),
    [
        ("text\na\nb\n", ["a", "b"]),
        (",text\r\n0,a\r\n1,b\r\n", ["a", "b"]),
        ('\ufefftext\n"a, ""b""\nc"\n\n', ['a, "b"\nc']),
        ("text,n\na\n", ["a"]),
        ("text\nNA\n", ["NA"]),  # pandas, and so MLflow, would take it for a missing value
        ("text\n", []),
    ],
)
def test_csv_is_read(body, texts):
    assert read_request(body.encode(), "text/csv; charset=utf-8", ServingSettings()).texts == texts


BESIDE = {"before": [["x", "y"], []], "after": [[], ["z"]]}


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (
            {
                "dataframe_split": {
                    "columns": ["after", "text", "before"],
                    "data": [[[], "a", ["x", "y"]], [["z"], "b", None]],
                }
            },
            BESIDE,
        ),
        ({"dataframe_records": [{"text": "a", "before": ["x", "y"]}, {"text": "b", "after": ["z"]}]}, BESIDE),
        ({"inputs": {"text": ["a", "b"], **BESIDE}}, BESIDE),
        ({"inputs": {"text": "a", "before": ["x"]}}, {"before": [["x"]]}),
        (
            {
                "instances": [
                    {"text": "a", "before": ["x", "y"], "after": None},
                    {"text": "b", "after": ["z"]},
                ]
            },
            BESIDE,
        ),
        ({"inputs": [{"text": "a", "before": [], "after": None}]}, {}),
        ('text,before,after\na,"[""x"", ""y""]",\nb,[],"[""z""]"\n', BESIDE),
        ('before,text\n"[""x""]",a\n', {"before": [["x"]]}),
        ("text,before\na\n", {}),
    ],
)
def test_neighbours_are_read_in_each_format(body, found):
    kind, data = ("text/csv", body) if isinstance(body, str) else ("application/json", json.dumps(body))
    inputs = read_request(data.encode(), kind, ServingSettings(), NEIGHBOURS)
    assert inputs.texts == ["a", "b"][: len(inputs.texts)]
    assert inputs.neighbours == found
    ignored = read_request(data.encode(), kind, ServingSettings())
    assert (ignored.texts, ignored.neighbours) == (inputs.texts, {})


@pytest.mark.parametrize(
    ("body", "status", "sentence"),
    [
        (
            {"inputs": [{"text": "a"}, {"text": "b", "after": "c"}]},
            400,
            "row 1: after is 'c', not a list of texts",
        ),
        (
            {"inputs": [{"text": "a", "before": ["b", 5]}]},
            400,
            "row 0: before is ['b', 5], not a list of texts",
        ),
        ({"inputs": [{"text": "a", "before": {}}]}, 400, "row 0: before is {}, not a list of texts"),
        ({"inputs": {"text": ["a", "b"], "before": [["c"]]}}, 400, "before must be a list as long as text"),
        ({"inputs": {"text": ["a"], "before": None}}, 400, "before must be a list as long as text"),
        (
            {"inputs": [{"text": "a", "after": ["bcde"]}]},
            400,
            "row 0: a text in after has 4 characters, at most 3",
        ),
        (
            {"inputs": [{"text": "a", "after": ["b"] * 6}]},
            400,
            "row 0: after has 6 texts, at most 5 are taken",
        ),
        (
            {"inputs": [{"text": "a", "before": ["b", "c", "d"], "after": ["e", "f"]}]},
            413,
            "6 texts, those of before and after among them, are too many, at most 5 are taken",
        ),
        ("text,before\na,b\n", 400, "row 0: before is 'b', not a list of texts"),
        ('text,before\na,"""b"""\n', 400, "row 0: before is 'b', not a list of texts"),
        ("text,before\na," + "[" * 100_000, 400, "row 0: before is"),
    ],
)
def test_neighbours_that_are_none_are_refused_in_one_sentence(body, status, sentence):
    kind, data = ("text/csv", body) if isinstance(body, str) else ("application/json", json.dumps(body))
    limits = ServingSettings(max_texts=5, max_characters=3)
    with pytest.raises(RequestError, match=re.escape(sentence)) as refused:
        read_request(data.encode(), kind, limits, NEIGHBOURS)
    assert refused.value.status_code == status
    assert_a_sentence(refused.value.detail)
    assert read_request(data.encode(), kind, limits).neighbours == {}, "a model on texts alone never minds"


def test_a_text_that_stands_beside_many_counts_once():
    rows = [{"text": "ab"[i % 2], "before": ["a", "c"], "after": ["b", "d"]} for i in range(3)]
    inputs = read_request(
        json.dumps({"inputs": rows}).encode(), "application/json", ServingSettings(), NEIGHBOURS
    )
    assert inputs.work == 3 + 2


@pytest.mark.parametrize(
    ("content_type", "body", "status", "sentence"),
    [
        ("application/json", b"{", 400, "the body is not JSON"),
        ("application/json", b"\xff\xfe\x00", 400, "the body is not JSON"),
        ("application/json", b"[" * 100_000, 400, "the body is not JSON"),
        ("application/json", b'{"inputs": ' + b"9" * 5000 + b"}", 400, "the body is not JSON"),
        (
            "application/json",
            b"[]",
            400,
            "exactly one of dataframe_split, dataframe_records, inputs, instances",
        ),
        ("application/json", b"{}", 400, "exactly one of"),
        ("application/json", b'{"inputs": ["a"], "instances": ["a"]}', 400, "exactly one of"),
        ("application/json", b'{"inputs": ["a"], "params": [1]}', 400, "params must be a JSON object"),
        ("application/json", b'{"inputs": "a"}', 400, "must be a list of texts"),
        ("application/json", b'{"inputs": {"texts": ["a"]}}', 400, "must be a list of texts"),
        ("application/json", b'{"inputs": ["a", 5]}', 400, "row 1: text is 5, not a string"),
        ("application/json", b'{"inputs": ["a", null]}', 400, "row 1: text is null"),
        ("application/json", b'{"inputs": ["a", ["b"]]}', 400, "row 1: text is ['b'], not a string"),
        ("application/json", b'{"inputs": [" \\u3000"]}', 400, "row 0: text is blank"),
        ("application/json", b'{"inputs": [""]}', 400, "row 0: text is blank"),
        ("application/json", b'{"inputs": ["\\u3164"]}', 400, "row 0: text is blank"),
        ("application/json", b'{"inputs": ["\\ud800"]}', 400, "row 0: text is not Unicode: it holds half"),
        ("application/json", b'{"dataframe_records": {"text": ["a"]}}', 400, "records must be a list"),
        (
            "application/json",
            b'{"dataframe_records": [{"text": "a"}, {}]}',
            400,
            "row 1: it is no object with 'text'",
        ),
        ("application/json", b'{"dataframe_split": []}', 400, "dataframe_split must be an object"),
        (
            "application/json",
            b'{"dataframe_split": {"data": [["a"]]}}',
            400,
            "columns must be a list that holds 'text'",
        ),
        (
            "application/json",
            b'{"dataframe_split": {"columns": ["text"]}}',
            400,
            "data must be a list of rows",
        ),
        (
            "application/json",
            b'{"dataframe_split": {"columns": ["text"], "data": [["a"], ["b", "c"]]}}',
            400,
            "row 1: it has 2 cells, but there are 1 columns",
        ),
        (
            "application/json",
            b'{"dataframe_split": {"columns": ["text"], "data": [["a"]], "index": [1, 2]}}',
            400,
            "index must be a list as long as data",
        ),
        ("text/csv", b"", 400, "the first line of the CSV must name the column 'text' once"),
        ("text/csv", b"texts\na\n", 400, "the first line of the CSV must name the column 'text' once"),
        ("text/csv", b"text\na,b\n", 400, "row 0: it has 2 cells, the header 1"),
        ("text/csv", b'text\n"a\n', 400, "the body is not CSV"),
        ("text/csv", b"text\n\xff\n", 400, "the body is not UTF-8"),
        ("text/csv; charset=shift_jis", b"text\na\n", 415, "no parameter but charset=utf-8"),
        ("text/plain", b"a", 415, "the content type must be one of application/json and text/csv"),
        ("", b"{}", 415, "the content type must be one of"),
    ],
)
def test_a_malformed_request_is_refused_in_one_sentence(content_type, body, status, sentence):
    with pytest.raises(RequestError, match=re.escape(sentence)) as refused:
        read_request(body, content_type, ServingSettings())
    assert refused.value.status_code == status
    assert_a_sentence(refused.value.detail)


def test_too_many_rows_and_too_long_texts_are_refused():
    limits = ServingSettings(max_texts=2, max_characters=3)
    for body, kind in (
        (b'{"inputs": ["a", "b", "c"]}', "application/json"),
        (b"text\na\nb\nc\nd\n", "text/csv"),
    ):
        with pytest.raises(RequestError, match="rows are too many, at most 2 are taken") as refused:
            read_request(body, kind, limits)
        assert refused.value.status_code == 413
    with pytest.raises(RequestError, match="row 1: text has 4 characters, at most 3 are taken"):
        read_request('{"inputs": ["京都へ", "京都へは"]}'.encode(), "application/json", limits)


@pytest.mark.parametrize(
    ("message", "sentence"),
    [
        ("cannot read /srv/models/a.xml: gone", "cannot read … gone"),
        (r"cannot read C:\models\a.xml", "cannot read …"),
        ("one\ntwo", "one"),
        ("", "no reason is given"),
        ("at most 3/4 and models:/jabert/1", "at most 3/4 and models:/jabert/1"),
        ("x" * 1000, "x" * 300),
    ],
)
def test_a_message_of_a_library_becomes_a_sentence_without_paths(message, sentence):
    assert sentence_of(message) == sentence


@pytest.mark.slow
@pytest.mark.parametrize("version", ["1", "3"])
def test_answers_are_those_of_mlflows_own_server(registry, server, champion, tmp_path, version):
    """Bit by bit, for each format, in its spellings."""
    registry.promote(version)
    server.wait_for_health(version=version)
    port = free_port()
    command = [str(Path(sys.executable).with_name("mlflow")), "models", "serve", "--env-manager", "local"]
    stock = Server(
        [*command, "--model-uri", f"models:/jabert/{version}", "--port", str(port)],
        tmp_path / "log",
        port,
        MLFLOW_TRACKING_URI=registry.uri,
        PATH=f"{Path(sys.executable).parent}:/usr/bin:/bin",
    )
    split = {"columns": ["n", "text"], "index": [3, 4], "data": [[1, "京都"], [2, "電話"]]}
    bodies = [
        {"dataframe_split": split},
        {"dataframe_split": split, "params": {"top_k": 1}},
        {"dataframe_split": {"columns": ["text"], "data": []}},
        {"dataframe_records": [{"text": "京都"}, {"text": "電話"}]},
        {"inputs": ["京都", "電話"]},
        {"inputs": {"text": ["京都", "電話"]}, "params": {"top_k": 1}},
        {"inputs": [{"text": "京都"}]},
        {"instances": ["京都", "電話"]},
        {"instances": [{"text": "京都"}], "params": {}},
    ]
    # For a model of several columns MLflow's server takes neither a bare list of texts nor columns of lists,
    # nor lists among instances, of which it makes arrays of two dimensions, nor CSV.
    beside = [
        *bodies[:4],
        {"dataframe_split": {"columns": ["text", "before"], "data": [["京都", ["電話"]], ["電話", []]]}},
        {"dataframe_records": [{"text": "京都", "before": ["電話"], "after": ["a", "b"]}]},
        {"dataframe_records": [{"text": "京都", "before": ["電話"]}, {"text": "電話", "before": None}]},
        {"inputs": [{"text": "京都", "before": ["電話"]}]},
    ]
    try:
        for body in bodies if version == "3" else beside:
            ours, theirs = server.post(body), stock.post(body)
            assert (ours.status_code, ours.content) == (200, theirs.content), body
            assert ours.headers["content-type"] == theirs.headers["content-type"]
        for table in ("text\n京都\n電話\n", ",text\n0,京都\n") if version == "3" else ():
            request = {"data": table.encode(), "headers": {"content-type": "text/csv"}}
            assert server.post(**request).content == stock.post(**request).content
        for path in ("/ping", "/version"):
            assert requests.get(server.url + path).content == requests.get(stock.url + path).content
    finally:
        stock.stop(signal.SIGKILL)


# Answers


def test_each_answer_tells_the_version(server, champion):
    answers = [
        server.post(ONE),
        server.post({}),
        *(requests.get(server.url + path) for path in ("/ping", "/x")),
    ]
    assert [answer.status_code for answer in answers] == [200, 400, 200, 404]
    for answer in answers:
        assert answer.headers["x-jabert-version"] == "1"
        assert answer.headers["x-jabert-model"] == "models:/jabert@champion"
    assert answers[0].json()["predictions"][0]["label"] == "京都"


def test_rows_that_the_model_sees_only_in_part_are_named(server, champion):
    with ThreadPoolExecutor(9) as pool:  # also if others wait together with them
        asked = [["京都", "電話" * (17 + row), "a" * 41][: 1 + row % 3] for row in range(9)]
        answers = list(pool.map(lambda texts: server.post({"inputs": texts}), asked))
    for texts, answer in zip(asked, answers, strict=True):
        cut = [str(row) for row, text in enumerate(texts) if len(text) > 40]
        assert answer.headers.get("x-jabert-cut") == (",".join(cut) or None)
    assert "x-jabert-cut" not in server.post({"inputs": []}).headers


def test_parameters_reach_the_model(server, champion):
    predicted = server.post({"inputs": ["京都"], "params": {"top_k": 1}}).json()["predictions"]
    assert predicted[0]["probabilities"] == {"京都": 0.75}
    assert_refused(server.post({"inputs": ["京都"], "params": {"top_k": "x"}}), 400, "top_k")


@pytest.mark.parametrize(
    ("name", "hint"),
    [("topk", "the nearest is top_k"), ("京都", "there are: top_k"), ("", "there are: top_k")],
)
def test_a_parameter_that_the_model_does_not_have_is_refused_with_the_nearest(server, champion, name, hint):
    """MLflow's own server would answer without it."""
    refused = server.post({"inputs": ["京都"], "params": {name: 2}})
    assert_refused(refused, 400, f"the model has no parameter {name!r}; {hint}")


def test_requests_that_wait_together_are_predicted_together(server, champion):
    """While one text takes longer than it may, others gather; each request gets its own rows."""
    with ThreadPoolExecutor(20) as pool:
        slow = pool.submit(server.post, {"inputs": ["眠る"]})
        time.sleep(0.3)
        asked = [["京都"] * (number % 3) + [f"電話{number}"] for number in range(9)]
        answers = list(pool.map(lambda texts: server.post({"inputs": texts}), asked))
    assert_refused(slow.result(), 504, "the prediction did not end in time")
    assert {answer.status_code for answer in answers} == {504}  # they waited as long
    answers = []
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda texts: server.post({"inputs": texts}), asked * 20))
    rows = [answer.json()["predictions"] for answer in answers]
    for texts, predicted in zip(asked * 20, rows, strict=True):
        assert [row["label"] for row in predicted] == ["京都" if "京都" in text else "電話" for text in texts]
    assert max(row["texts"] for predicted in rows for row in predicted) > 3


def test_neighbours_reach_the_model_beside_their_row(server, champion):
    """Also if others wait together with rows that have none."""
    asked = [
        [{"text": f"{number}", "before": ["a"] * (number % 4)}, {"text": "b", "after": ["c"] * (number % 3)}]
        for number in range(12)
    ]
    with ThreadPoolExecutor(12) as pool:  # 60 texts may wait
        plain = [pool.submit(server.post, ONE) for _ in range(12)]
        answers = list(pool.map(lambda rows: server.post({"inputs": rows}), asked * 4))
    for number, answer in enumerate(answers):
        found = [(row["before"], row["after"]) for row in answer.json()["predictions"]]
        assert found == [(number % 12 % 4, 0), (0, number % 12 % 3)]
    assert {row["before"] for of in plain for row in of.result().json()["predictions"]} == {0}
    assert_refused(server.post({"inputs": [{"text": "a", "before": 3}]}), 400, "row 0: before is 3, not a")


def test_a_model_on_texts_alone_ignores_neighbours(registry, server, champion):
    registry.promote("3")
    server.wait_for_health(version="3")
    for before in (["a"], 3):
        answer = server.post({"inputs": [{"text": "京都", "before": before}]})
        assert answer.json()["predictions"][0]["before"] == 0


def test_a_request_that_the_model_fails_on_fails_alone(server, champion):
    asked = ["京都", "壊れる", "電話"] * 12
    with ThreadPoolExecutor(36) as pool:
        answers = list(pool.map(lambda text: server.post({"inputs": [text]}), asked))
    for text, answer in zip(asked, answers, strict=True):
        if text == "壊れる":
            assert_refused(answer, 500, "^the model failed on this request$")
        else:
            assert answer.json()["predictions"][0]["label"] == text


def test_limits_are_told(server):
    assert_refused(server.post({"inputs": ["a"] * 21}), 413, "21 rows are too many, at most 20 are taken")
    assert_refused(server.post({"inputs": ["a" * 51]}), 400, "row 0: text has 51 characters, at most 50")
    long = json.dumps({"inputs": ["a"], "params": {"x": "y" * 20_000}}).encode()
    kind = {"content-type": "application/json"}
    chunks = (long[start : start + 1000] for start in range(0, len(long), 1000))  # without Content-Length
    refused = [server.post(data=long, headers=kind), server.post(data=chunks, headers=kind)]
    for answer in refused:
        assert_refused(answer, 413, "the body is too long, at most 20000 bytes")
        assert answer.headers["connection"] == "close"
    assert server.post(ONE).ok


def test_a_full_queue_refuses_more_and_says_when_to_come_back(server, champion):
    with ThreadPoolExecutor(60) as pool:
        slow = pool.submit(server.post, {"inputs": ["眠る"]})
        time.sleep(0.3)
        answers = list(pool.map(lambda _: server.post({"inputs": ["a"] * 5}), range(20)))
        slow.result()
    refused = [answer for answer in answers if answer.status_code == 503]
    assert len(refused) == 8  # 60 texts may wait
    for answer in refused:
        assert_refused(answer, 503, "try again")
        assert answer.headers["retry-after"] == "1"
    assert server.post(ONE).ok


HEAD = b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"


def connect(server, sent):
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=20)
    connection.sendall(sent)
    return connection


def read_all(connection):
    parts = []
    with connection:
        while part := connection.recv(65536):
            parts.append(part)
    return b"".join(parts)


def test_half_sent_requests_time_out_and_block_nobody(server, champion):
    halves = [
        (HEAD + b"Content-Length: 30\r\n\r\n{", rb"^HTTP/1.1 408 .*the body did not arrive in time"),
        (
            HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\n{",
            rb"^HTTP/1.1 408 .*the body did not arrive in time",
        ),
        (HEAD, b"^$"),
        (b"", b"^$"),
        (b"\r\n", b"^$"),
        (b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\nPOST /inv", rb"^HTTP/1.1 200 OK\r\n.*\n$"),
    ]
    connections = [(connect(server, sent), answer) for sent, answer in halves for _ in range(10)]
    started = time.monotonic()
    assert server.post(ONE).ok
    assert time.monotonic() - started < 1.9
    for connection, answer in connections:
        assert re.search(answer, read_all(connection), re.DOTALL)


def test_what_is_not_http_is_refused(server):
    assert read_all(connect(server, b"\x16\x03\x01\x00\xa5\x01\r\n\r\n")).startswith(b"HTTP/1.1 400 ")
    assert b"head of the request is too long" in read_all(connect(server, HEAD + b"A: " + b"b" * 70_000))


MEGABYTES = [4, 20]
CLIENTS = {
    "urllib": """
import sys, urllib.error, urllib.request
size = int(sys.argv[2])
request = urllib.request.Request(sys.argv[1], b"x" * size, {"content-type": "application/json"})
try:
    urllib.request.urlopen(request, timeout=30)
except urllib.error.HTTPError as error:
    print(error.code, error.read().decode())
""",
    "urllib, chunked": """
import sys, urllib.error, urllib.request
size = int(sys.argv[2])
parts = (b"x" * 100_000 for _ in range(size // 100_000))
request = urllib.request.Request(sys.argv[1], parts, {"content-type": "application/json"})
try:
    urllib.request.urlopen(request, timeout=30)
except urllib.error.HTTPError as error:
    print(error.code, error.read().decode())
""",
    "requests": """
import sys, requests
answer = requests.post(sys.argv[1], data=b"x" * int(sys.argv[2]), timeout=30)
print(answer.status_code, answer.text)
""",
    "httpx": """
import sys, httpx
answer = httpx.post(sys.argv[1], content=b"x" * int(sys.argv[2]), timeout=30)
print(answer.status_code, answer.text)
""",
    "httpx, chunked": """
import sys, httpx
parts = (b"x" * 100_000 for _ in range(int(sys.argv[2]) // 100_000))
answer = httpx.post(sys.argv[1], content=parts, timeout=30)
print(answer.status_code, answer.text)
""",
}


@pytest.mark.parametrize("megabytes", MEGABYTES)
@pytest.mark.parametrize("client", CLIENTS)
def test_an_ordinary_client_reads_that_its_body_is_too_long(server, client, megabytes):
    command = [sys.executable, "-c", CLIENTS[client], f"{server.url}/invocations", str(megabytes * 10**6)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith('413 {"error_code": "REQUEST_TOO_LARGE", "message": "the body is too long')
    assert server.post(ONE).ok


@pytest.mark.skipif(not shutil.which("curl"), reason="there is no curl")
@pytest.mark.parametrize(
    "more", [[], ["-H", "Expect:"], ["-H", "Transfer-Encoding: chunked", "-H", "Expect:"]]
)
def test_curl_reads_that_its_body_is_too_long(server, tmp_path, more):
    (tmp_path / "body").write_bytes(b"x" * 20_000_000)
    command = ["curl", "-sS", "-w", " %{http_code}", "--data-binary", f"@{tmp_path}/body", *more]
    done = subprocess.run(
        [*command, f"{server.url}/invocations"], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "the body is too long" in done.stdout
    assert done.stdout.endswith(" 413")


@pytest.mark.parametrize(
    ("sent", "answer"),
    [
        (HEAD + b"Content-Length: 2147483648\r\n\r\n", b"HTTP/1.1 413 "),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"186a0\r\n" + b"x" * 100_000, b"HTTP/1.1 413 "),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\nno number\r\n", b"HTTP/1.1 400 "),
        (b"no HTTP\r\n\r\n", b"HTTP/1.1 400 "),
        (HEAD + b"A: " + b"b" * 70_000, b"HTTP/1.1 400 "),
        (b"POST /nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: 90000000\r\n\r\n", b"HTTP/1.1 404 "),
        (HEAD + b"Content-Length: 15000\r\n\r\n{", b"HTTP/1.1 408 "),
    ],
)
def test_what_is_sent_after_an_early_answer_takes_it_from_nobody(server, champion, sent, answer):
    """The client goes on sending until it has sent 3 MB, and reads only then."""
    with connect(server, sent) as connection:
        if b"15000" in sent:
            time.sleep(2.5)  # the server waits for 2 s
        for _ in range(30):
            connection.sendall(b"x" * 100_000)
        time.sleep(0.2)
        connection.sendall(b"x")
        assert read_all(connection).startswith(answer)
    assert server.post(ONE).ok


def test_whoever_sends_without_end_is_cut_off_and_no_memory_is_kept(server, champion):
    def kilobytes():
        return int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{server.process.pid}/status").read_text())[1])

    before = kilobytes()
    with connect(server, HEAD + b"Content-Length: 2147483648\r\n\r\n") as connection:
        for _ in range(2000):
            connection.sendall(b"x" * 100_000)
        assert kilobytes() - before < 30_000
        assert connection.recv(20).startswith(b"HTTP/1.1 413 ")
        started = time.monotonic()  # now the client is silent, and does not close
        with suppress(ConnectionError):
            while time.monotonic() < started + 12:
                time.sleep(0.5)
                connection.sendall(b"x") if time.monotonic() > started + 8 else None
            raise AssertionError("the server does not end the connection")


def test_a_client_that_goes_away_is_noted(server, champion):
    connect(server, HEAD + b"Content-Length: 30\r\n\r\n{").close()
    assert server.post(ONE).ok
    assert "Traceback" not in server.output


def test_metrics_and_log_hold_no_texts(server, champion):
    secret = "秘密の京都"
    assert server.post({"inputs": [secret, secret]}).ok
    assert server.post({"inputs": [secret, ""]}).status_code == 400
    requests.get(f"{server.url}/{secret}?{secret}")
    server.post({"inputs": [secret, "壊れる"]})
    metrics = requests.get(f"{server.url}/metrics").text
    for name in (
        'jabert_requests_total{path="/invocations",status="200"}',
        'jabert_requests_total{path="other",status="404"}',
        "jabert_request_seconds_bucket",
        "jabert_batch_texts_sum",
        "jabert_queue_texts 0.0",
        "jabert_load_failures_total",
        'jabert_model_info{version="1"} 1.0',
        "process_resident_memory_bytes",
    ):
        assert name in metrics
    lines = [json.loads(line) for line in server.output.splitlines() if line.startswith("{")]
    request = next(line for line in reversed(lines) if line["event"] == "request" and line["rows"] == 2)
    assert request.keys() == {"time", "event", "method", "path", "status", "rows", "milliseconds", "version"}
    failure = next(line for line in reversed(lines) if line["event"] == "failure")
    assert failure["error"] == "ZeroDivisionError"
    assert not re.search(r"秘密|壊れる|%E7%A7%98", server.output + metrics)


def test_the_openapi_page_has_an_example_and_nothing_from_elsewhere(server):
    page = requests.get(f"{server.url}/docs").text
    assert not re.search(r"(src|href)=\"(https?:)?//", page)
    for path in re.findall(r"(?:src|href)=\"([^\"]+)\"", page):
        assert requests.get(server.url + path).ok
    described = requests.get(f"{server.url}/openapi.json").json()["paths"]["/invocations"]["post"]
    examples = described["requestBody"]["content"]["application/json"]["examples"]
    assert set(examples) == {"dataframe_split", "dataframe_records", "inputs", "instances"}
    for example in examples.values():
        assert server.post(example["value"]).ok


# Malformed requests, by the hundred

TEXTS = st.text(max_size=60)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS | st.just("text"), inner, max_size=4),
    max_leaves=12,
)
NAMES = st.sampled_from(["dataframe_split", "dataframe_records", "inputs", "instances", "params", "text"])
BODIES = st.one_of(
    st.binary(max_size=200),
    JSON.map(lambda value: json.dumps(value).encode()),
    st.dictionaries(NAMES, JSON, min_size=1, max_size=3).map(lambda value: json.dumps(value).encode()),
    st.builds(
        lambda columns, data: json.dumps({"dataframe_split": {"columns": columns, "data": data}}).encode(),
        st.lists(st.just("text") | TEXTS, max_size=3),
        st.lists(st.lists(JSON, max_size=3), max_size=3) | JSON,
    ),
    TEXTS.map(lambda text: f"text\n{text}".encode("utf-8", "surrogatepass")),
)
KINDS = st.sampled_from(
    ["application/json"] * 5 + ["text/csv"] * 2 + ["text/plain", "application/json; charset=x"]
)


def test_malformed_requests_get_a_sentence_and_the_next_good_one_an_answer(server, champion):
    """500 of them, each followed by nothing worse; those that happen to be well-formed do not count."""
    session = requests.Session()
    refused = 0

    @hypothesis.settings(max_examples=700, suppress_health_check=list(hypothesis.HealthCheck))
    @hypothesis.given(body=BODIES, kind=KINDS)
    def send(body, kind):
        nonlocal refused
        answer = session.post(
            f"{server.url}/invocations", data=body, headers={"content-type": kind}, timeout=5
        )
        if answer.status_code != 200:
            assert 400 <= answer.status_code < 500, (answer.text, body)
            assert_a_sentence(answer.json()["message"])
            refused += 1
        if refused % 20 == 0:
            assert session.post(f"{server.url}/invocations", json=ONE, timeout=5).ok

    send()
    assert refused >= 500
    assert server.post(ONE).ok


@pytest.mark.slow
def test_the_server_is_as_its_openapi_says(server, champion, tmp_path):
    command = [str(Path(sys.executable).with_name("schemathesis")), "run", f"{server.url}/openapi.json"]
    command += ["--max-examples", "300", "--seed", "0", "--generation-database", ":memory:", "--no-color"]
    command += ["--exclude-checks", "positive_data_acceptance"]  # a text may be longer than a server's limit
    done = subprocess.run(command, capture_output=True, text=True, timeout=500, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert server.post(ONE).ok


# Following the alias


def test_a_promotion_and_a_rollback_are_taken_up(registry, server, champion):
    for version in ("2", "1", "3"):
        registry.promote(version)
        assert server.wait_for_health(version=version, status="ok") < 10
        answer = server.post(ONE)
        assert answer.headers["x-jabert-version"] == answer.json()["predictions"][0]["version"] == version


def follow_under_load(registry, server, changes):
    """Change the alias again and again while 8 clients ask; returns answers, and who was champion when."""
    ended = threading.Event()
    champions = [(time.monotonic(), "1")]

    def ask():
        answers = []
        with requests.Session() as session:
            while not ended.is_set():
                asked = time.monotonic()
                answer = session.post(f"{server.url}/invocations", json=ONE, timeout=10)
                answers.append((asked, time.monotonic(), answer))
        return answers

    with ThreadPoolExecutor(8) as pool:
        asking = [pool.submit(ask) for _ in range(8)]
        try:
            for change in range(changes):
                version = str(1 + (change + 1) % 3)
                champions.append((time.monotonic(), version))
                registry.promote(version)
                server.wait_for_health(version=version)
        finally:
            ended.set()
        return [answer for future in asking for answer in future.result()], champions


def assert_nobody_noticed(answers, champions):
    """No request failed, and each was answered by a version that was champion while it was under way.

    A change is followed after a look and a load, before which `follow_under_load` makes no further one:
    so the version may be the champion before as well.
    """
    assert {answer.status_code for _, _, answer in answers} == {200}
    for asked, answered, answer in answers:
        version = answer.headers["x-jabert-version"]
        assert answer.json()["predictions"][0]["version"] == version
        before = [of for since, of in champions if since <= asked][-2:]
        meanwhile = [of for since, of in champions if asked < since <= answered]
        assert version in before + meanwhile
    assert {answer.headers["x-jabert-version"] for _, _, answer in answers} == {"1", "2", "3"}


def test_nobody_notices_a_change_of_champion(registry, server, champion):
    assert_nobody_noticed(*follow_under_load(registry, server, 5))


@pytest.mark.slow
def test_nobody_notices_twenty_changes_of_champion(registry, server, champion):
    answers, champions = follow_under_load(registry, server, 20)
    assert len(champions) == 21
    assert_nobody_noticed(answers, champions)


def test_a_version_that_cannot_be_loaded_leaves_the_old_one_serving(registry, server, champion):
    registry.promote("4")
    server.wait_for_health(status="degraded")
    told = server.health()
    assert told["version"] == "1"
    assert told["trouble"] == "version 4 cannot be loaded, version 1 goes on serving (FileNotFoundError)"
    assert server.post(ONE).headers["x-jabert-version"] == "1"
    assert requests.get(f"{server.url}/health").status_code == 200  # it does serve
    assert "jabert_load_failures_total 1.0" in requests.get(f"{server.url}/metrics").text
    assert "/no/such/file" in server.output  # the log has the reason, once
    time.sleep(0.5)
    assert server.output.count("/no/such/file") == 1
    assert "secret" not in server.output
    registry.promote("2")
    server.wait_for_health(status="ok", version="2", trouble=None)
    registry.promote("4")  # tried again, and told again
    server.wait_for_health(status="degraded", version="2")


def test_without_the_alias_or_the_registry_the_old_version_serves(registry, server, champion):
    registry.client.delete_registered_model_alias("jabert", "champion")
    server.wait_for_health(
        status="degraded", trouble="alias 'champion' of 'jabert' is gone, version 1 goes on serving"
    )
    registry.promote("1")
    server.wait_for_health(status="ok")
    database = registry.root / "mlflow.db"
    content = database.read_bytes()
    database.write_bytes(b"no database")
    try:
        server.wait_for_health(status="degraded")
        assert server.health()["trouble"].startswith(
            "the registry cannot be asked, version 1 goes on serving"
        )
        assert_a_sentence(server.health()["trouble"])
        assert server.post(ONE).ok
    finally:
        database.write_bytes(content)


def test_health_tells_of_a_registry_that_does_not_answer(monkeypatch):
    asked, answer = threading.Event(), threading.Event()

    def find(client, address):
        if asked.is_set():
            answer.wait(10)
        return Version("7", "models:/jabert/7")

    monkeypatch.setattr("jabert.serving.follower.find_version", find)
    monkeypatch.setattr("jabert.serving.follower.load", lambda version, *_: SimpleNamespace(version=version))
    monkeypatch.setattr("jabert.serving.follower._SECONDS_TO_ANSWER", 0.1)
    client = SimpleNamespace(tracking_uri="http://localhost")
    address = address_of("models:/jabert@champion")
    follower = Follower(client, address, ServingSettings(poll_seconds=0.01), Metrics())
    asked.set()
    follower.start()
    time.sleep(0.5)
    assert follower.trouble == "the registry has not answered for 0 s, version 7 goes on serving"
    answer.set()
    time.sleep(0.5)
    assert follower.trouble is None
    follower.stop()


# Start and end


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_what_was_accepted_is_answered_before_the_end(registry, tmp_path, number):
    server = serve(registry, tmp_path / "log", "--model", "models:/jabert/2")
    with ThreadPoolExecutor(4) as pool:
        slow = [pool.submit(server.post, {"inputs": ["眠る"]}) for _ in range(3)]
        half = connect(server, HEAD + b"Content-Length: 20\r\n\r\n")
        time.sleep(0.5)
        assert server.process.poll() is None
        server.process.send_signal(number)
        time.sleep(0.5)
        with pytest.raises(requests.ConnectionError):  # new ones are not
            server.post(ONE)
        half.sendall(b'{"inputs": ["a"]}   ')
        assert {answer.result().headers["x-jabert-version"] for answer in slow} == {"2"}
        assert read_all(half).startswith(b"HTTP/1.1 200 OK")
    assert server.process.wait(20) == 0
    assert "Traceback" not in server.output


def test_a_signal_right_after_the_line_that_says_it_serves_ends_it(registry):
    jabert = str(Path(sys.executable).with_name("jabert"))
    command = [jabert, "serve", "--port", str(free_port()), "--set", f"tracking.uri={registry.uri}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert "serves version" in process.stdout.readline()
        process.terminate()
        try:
            _, errors = process.communicate(timeout=20)
        finally:
            process.kill()
    assert (process.returncode, errors) == (0, "")


@pytest.mark.parametrize(
    ("uri", "alias"),
    [
        ("models:/jabert@champion", "champion"),
        ("models:/jabert/3", ""),
        ("models:/m-0123abcd", ""),
        ("runs:/0123abcd/model", ""),
    ],
)
def test_forms_of_a_models_uri(uri, alias):
    assert address_of(uri).alias == alias


@pytest.mark.parametrize(
    "uri", ["jabert", "models:/jabert", "models:/a/b/c", "models:/@champion", "/some/path", ""]
)
def test_another_form_is_refused(uri):
    with pytest.raises(JabertError, match="is none of models:/NAME@ALIAS"):
        address_of(uri)


def run(*arguments):
    command = [str(Path(sys.executable).with_name("jabert")), "serve", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--model", "jabert"], "jabert: --model 'jabert' is none of models:/NAME@ALIAS"),
        (
            ["--host", "192.0.2.1"],
            "jabert: 192.0.2.1 port 8000 cannot be used (Cannot assign requested address)",
        ),
        (["--host", "no.such.invalid"], "jabert: no.such.invalid port 8000 cannot be used"),
        (["--model", "models:/nobody@champion"], "jabert: the registered model 'nobody' has no champion yet"),
        (["--model", "models:/jabert@nobody"], "jabert: the registered model 'jabert' has no nobody yet"),
        (["--model", "models:/jabert/99"], "jabert: models:/jabert/99: version 99 cannot be loaded"),
        (["--model", "models:/jabert/4"], "jabert: models:/jabert/4: version 4 cannot be loaded"),
        (["--set", "serving.max_texts=0"], "jabert: setting serving.max_texts cannot be '0'"),
    ],
)
def test_what_cannot_be_served_is_said_in_one_sentence(registry, arguments, sentence):
    done = run("--set", f"tracking.uri={registry.uri}", *arguments)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(sentence)
    assert done.stderr.count("\n") == 1


def test_a_port_in_use_is_said_before_anything_heavy(server):
    started = time.monotonic()
    done = run("--port", str(server.port))
    assert time.monotonic() - started < 3
    assert done.returncode == 1
    assert done.stderr == (
        f"jabert: 127.0.0.1 port {server.port} cannot be used (Address already in use); "
        "give others with --host and --port\n"
    )
