"""Micro-batching without a server: what is predicted together, and who gets what."""

import asyncio
import threading
import time
from types import SimpleNamespace

import pytest

from jabert.config import ServingSettings
from jabert.serving.batcher import Batcher
from jabert.serving.errors import RequestError
from jabert.serving.formats import Inputs
from jabert.serving.metrics import Metrics


class Echo:
    """A version that answers with what it was asked, and waits with the first request until it is let go."""

    version = SimpleNamespace(label="1")

    def __init__(self):
        self.asked, self.go = [], threading.Event()

    def predict(self, texts, params, neighbours):
        if not self.asked:
            assert self.go.wait(10)
        self.asked.append(texts)
        return [{"text": text, **params} for text in texts]

    def cut(self, texts):
        return [False] * len(texts)


def ask_together(echo, asked, **limits):
    """The rows of each request, all of which wait while the first is predicted."""

    async def ask():
        batcher = Batcher(SimpleNamespace(served=echo), ServingSettings(**limits), Metrics())
        batcher.start()
        answers = [batcher.submit(Inputs(["first"], {}))]
        while batcher._queue:
            await asyncio.sleep(0.01)
        answers += [batcher.submit(Inputs(texts, params)) for texts, params in asked]
        echo.go.set()
        try:
            return [rows for rows, _, _ in await asyncio.gather(*answers[1:])]
        finally:
            batcher.stop()

    return asyncio.run(ask())


def test_requests_with_other_parameters_are_predicted_apart_each_with_its_own():
    asked = [
        (["a"], {}),
        (["b"], {"top_k": 1}),
        (["c", "d"], {"top_k": 2}),
        (["e"], {"top_k": 1}),
        (["f"], {"top_k": 1, "threshold": 0.5}),
        (["g"], {"threshold": 0.5, "top_k": 1}),
        (["h"], {"top_k": True}),
        (["i"], {}),
    ]
    rows = ask_together(echo := Echo(), asked)
    assert rows == [[{"text": text, **params} for text in texts] for texts, params in asked]
    assert echo.asked == [["first"], ["a", "i"], ["b", "e"], ["c", "d"], ["f", "g"], ["h"]]


def test_a_batch_takes_what_fits_and_leaves_nobody_behind():
    asked = [(["a"] * 3, {}), (["b"] * 2, {}), (["c"] * 2, {}), (["d"], {}), (["e"] * 9, {}), (["f"], {})]
    rows = ask_together(echo := Echo(), asked, batch_texts=4)
    assert rows == [[{"text": text} for text in texts] for texts, _ in asked]
    assert echo.asked == [["first"], ["a"] * 3 + ["d"], ["b"] * 2 + ["c"] * 2, ["e"] * 9, ["f"]]


async def begun(echo, **limits):
    """A batcher that is busy with a first request, whose answer is the second result."""
    metrics = Metrics()
    batcher = Batcher(SimpleNamespace(served=echo), ServingSettings(**limits), metrics)
    batcher.start()
    first = batcher.submit(Inputs(["first"], {}))
    while batcher._queue:
        await asyncio.sleep(0.01)
    return batcher, first, metrics


def test_cut_rows_neighbours_and_version_come_back_to_whom_they_belong():
    echo = Echo()
    echo.cut = lambda texts: [text.isupper() for text in texts]

    def predict(texts, params, neighbours):
        assert echo.go.wait(10)
        before = neighbours.get("before", [[]] * len(texts))
        return [{"text": text, "before": beside} for text, beside in zip(texts, before, strict=True)]

    echo.predict = predict

    async def ask():
        batcher, first, _ = await begun(echo)
        answers = [
            batcher.submit(Inputs(["a", "B"], {})),
            batcher.submit(Inputs(["C"], {}, {"before": [["x"]]})),
            batcher.submit(Inputs(["d", "e", "F"], {}, {"before": [[], ["y"], []]})),
        ]
        echo.go.set()
        try:
            return await asyncio.gather(first, *answers)
        finally:
            batcher.stop()

    _, *answers = asyncio.run(ask())
    assert [cut for _, cut, _ in answers] == [[1], [0], [2]]
    assert [[row["before"] for row in rows] for rows, _, _ in answers] == [[[], []], [["x"]], [[], ["y"], []]]
    assert {version for _, _, version in answers} == {"1"}


def test_an_error_is_of_the_request_alone_that_causes_it():
    echo = Echo()
    usual = echo.predict

    def predict(texts, params, neighbours):
        rows = usual(texts, params, neighbours)
        if "bad" in texts:
            raise ZeroDivisionError(texts)
        return rows

    echo.predict = predict

    async def ask():
        batcher, first, _ = await begun(echo)
        answers = [batcher.submit(Inputs([text], {})) for text in ("a", "bad", "b")]
        echo.go.set()
        found = await asyncio.gather(first, *answers, return_exceptions=True)
        batcher.stop()
        return found[1:]

    a, bad, b = asyncio.run(ask())
    assert [rows for rows, _, _ in (a, b)] == [[{"text": "a"}], [{"text": "b"}]]
    assert isinstance(bad, ZeroDivisionError)
    assert bad.args == (["bad"],)


def test_the_queue_is_full_at_its_limit_and_what_was_withdrawn_makes_room():
    async def ask():
        batcher, first, metrics = await begun(echo := Echo(), queue_texts=4)

        def waiting():
            return metrics._registry.get_sample_value("jabert_queue_texts")

        one = batcher.submit(Inputs(["a"] * 3, {}))
        two = batcher.submit(Inputs(["b"], {}))
        assert waiting() == 4
        with pytest.raises(RequestError, match="too many texts") as refused:
            batcher.submit(Inputs(["c"], {}))
        assert (refused.value.status_code, refused.value.headers) == (503, {"Retry-After": "1"})
        assert refused.value.detail == "too many texts are waiting, try again in a second"
        two.cancel()
        three = batcher.submit(Inputs(["d"], {}))
        assert waiting() == 4
        assert await batcher.submit(Inputs([], {})) == ([], [], "1")
        echo.go.set()
        answers = await asyncio.gather(first, one, three)
        assert waiting() == 0
        batches = metrics._registry.get_sample_value
        assert batches("jabert_batch_texts_sum") == 1 + 4
        assert batches("jabert_batch_texts_count") == 2
        batcher.stop()
        assert not batcher._thread.is_alive()
        return [len(rows) for rows, _, _ in answers], echo.asked

    assert asyncio.run(ask()) == ([1, 3, 1], [["first"], ["a", "a", "a", "d"]])


def test_who_goes_away_while_a_batch_is_predicted_takes_no_answer_from_the_others():
    async def ask():
        def predict(texts, *given):
            if texts != ["first"]:
                loop.call_soon_threadsafe(leaves.cancel)  # before the answers are given out
            return Echo.predict(echo, texts, *given)

        loop, echo = asyncio.get_running_loop(), Echo()
        echo.predict = predict
        batcher, first, _ = await begun(echo)
        leaves, stays = (batcher.submit(Inputs([text], {})) for text in "ab")
        echo.go.set()
        found = await asyncio.wait_for(asyncio.gather(first, stays), 10)
        batcher.stop()
        assert leaves.cancelled()
        return echo.asked, [rows for rows, _, _ in found]

    assert asyncio.run(ask()) == ([["first"], ["a", "b"]], [[{"text": "first"}], [{"text": "b"}]])


def test_an_empty_queue_takes_a_request_of_any_size():
    async def ask():
        batcher, first, _ = await begun(echo := Echo(), queue_texts=2, batch_texts=2)
        answer = batcher.submit(Inputs(["a"] * 5, {}))
        echo.go.set()
        await first
        try:
            return (await answer)[0]
        finally:
            batcher.stop()

    assert len(asyncio.run(ask())) == 5


def test_what_waits_at_the_end_is_answered():
    async def ask():
        batcher, first, _ = await begun(echo := Echo(), batch_texts=1)
        answers = [batcher.submit(Inputs([text], {})) for text in "abc"]
        threading.Timer(0.2, echo.go.set).start()
        await asyncio.get_running_loop().run_in_executor(None, batcher.stop)
        return [rows for rows, _, _ in await asyncio.gather(first, *answers)]

    assert asyncio.run(ask()) == [[{"text": text}] for text in ("first", "a", "b", "c")]


def test_the_end_does_not_wait_for_a_prediction_that_hangs(monkeypatch):
    monkeypatch.setattr("jabert.serving.batcher._SECONDS_TO_END", 0.1)

    async def ask():
        batcher, first, _ = await begun(echo := Echo())
        started = time.monotonic()
        batcher.stop()
        assert time.monotonic() - started < 5
        assert batcher._thread.is_alive()
        assert batcher._thread.daemon, "nor does the process"
        echo.go.set()
        await first

    asyncio.run(ask())
