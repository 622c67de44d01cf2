"""Requests that wait together are predicted together."""

import asyncio
import json
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from jabert.config import ServingSettings
from jabert.serving.errors import RequestError
from jabert.serving.formats import Asked
from jabert.serving.metrics import Metrics
from jabert.serving.models import Served

__all__ = ["Answer", "Batcher"]

_SECONDS_TO_END = 5.0
_LATER = {"Retry-After": "1"}


@dataclass(frozen=True)
class Answer:
    """Predictions of one request, a JSON-ready row a text, and the version that made them."""

    rows: list[Any]
    version: str


@dataclass(frozen=True, eq=False)
class _Waiting:
    asked: Asked
    params: str  # as JSON: requests under the same parameters can be predicted together
    answer: "asyncio.Future[Answer]"


class Batcher:
    """One thread that predicts, on the union of the requests that wait when it is free.

    No request waits for company: the first is predicted at once, those that come meanwhile form the next
    batch. The queue is bounded; a request that a batch fails on fails alone.
    """

    def __init__(self, served: Callable[[], Served], settings: ServingSettings, metrics: Metrics) -> None:
        self._served = served
        self._settings = settings
        self._metrics = metrics
        self._queue: deque[_Waiting] = deque()
        self._texts = 0  # in the queue
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="batcher", daemon=True)

    def start(self) -> None:
        """Start the thread; answers are delivered to the running event loop."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    def stop(self) -> None:
        """End the thread once the queue is empty; a prediction that hangs is left behind."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join(_SECONDS_TO_END)

    def submit(self, asked: Asked) -> "asyncio.Future[Answer]":
        """Queue a request; who no longer wants the answer cancels the future.

        Raises:
            RequestError: 503 when the queue is full; a request longer than the queue fits an empty one.
        """
        count = len(asked.texts)
        answer: asyncio.Future[Answer] = self._loop.create_future()
        if not count:
            answer.set_result(Answer([], self._served().version.label))
            return answer
        waiting = _Waiting(asked, json.dumps(asked.params, sort_keys=True) if asked.params else "", answer)
        with self._changed:
            if self._is_full(count):
                self._forget_cancelled()
            if self._is_full(count):
                raise RequestError(503, "too many texts are waiting, try again in a second", _LATER)
            self._queue.append(waiting)
            self._count(count)
            self._changed.notify()
        return answer

    def _is_full(self, count: int) -> bool:
        return bool(self._queue) and self._texts + count > self._settings.queue_texts

    def _count(self, change: int) -> None:
        self._texts += change
        self._metrics.queue_texts.set(self._texts)

    def _forget_cancelled(self) -> None:
        cancelled = [waiting for waiting in self._queue if waiting.answer.cancelled()]
        for waiting in cancelled:
            self._queue.remove(waiting)
            self._count(-len(waiting.asked.texts))

    def _work(self) -> None:
        while batch := self._take():
            served = self._served()
            outcomes = _outcomes(served, batch)
            self._metrics.batch_texts.observe(sum(len(waiting.asked.texts) for waiting in batch))
            self._loop.call_soon_threadsafe(_deliver, batch, outcomes, served.version.label)

    def _take(self) -> list[_Waiting]:
        """The oldest request and others under the same parameters, none once the batcher is closed."""
        batch: list[_Waiting] = []
        with self._changed:
            while not batch and not (self._closed and not self._queue):
                self._changed.wait_for(lambda: self._queue or self._closed)
                self._forget_cancelled()
                batch = self._together()
        return batch

    def _together(self) -> list[_Waiting]:
        batch: list[_Waiting] = []
        left: deque[_Waiting] = deque()
        room = self._settings.batch_texts
        for waiting in self._queue:
            count = len(waiting.asked.texts)
            if not batch or (count <= room and waiting.params == batch[0].params):
                batch.append(waiting)
                room -= count
            else:
                left.append(waiting)
        self._queue = left
        self._count(-sum(len(waiting.asked.texts) for waiting in batch))
        return batch


def _outcomes(served: Served, batch: list[_Waiting]) -> list[list[Any] | Exception]:
    """Rows of each request, or the error that it alone is to blame for."""
    texts = [text for waiting in batch for text in waiting.asked.texts]
    try:
        rows = iter(served.predict(texts, batch[0].asked.params))
    except Exception as error:
        if len(batch) == 1:
            return [error]
        return [outcome for waiting in batch for outcome in _outcomes(served, [waiting])]
    return [[next(rows) for _ in waiting.asked.texts] for waiting in batch]


def _deliver(batch: list[_Waiting], outcomes: list[list[Any] | Exception], version: str) -> None:
    for waiting, outcome in zip(batch, outcomes, strict=True):
        if waiting.answer.done():  # cancelled: nobody waits any more
            continue
        if isinstance(outcome, Exception):
            waiting.answer.set_exception(outcome)
        else:
            waiting.answer.set_result(Answer(outcome, version))
