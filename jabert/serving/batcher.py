"""Micro-batching: requests that wait at the same time are predicted together."""

import asyncio
import json
import threading
from collections import deque
from dataclasses import dataclass
from itertools import islice
from typing import Any

from jabert.config import ServingSettings
from jabert.serving.errors import RequestError
from jabert.serving.follower import Follower
from jabert.serving.formats import Inputs
from jabert.serving.metrics import Metrics
from jabert.serving.models import LoadedVersion

_SECONDS_TO_END = 5.0
_LATER = {"Retry-After": "1"}


Answer = tuple[list[Any], list[int], str]
"""Of one request: one JSON-ready row per text, which rows were cut, and the version that predicted them."""
_Outcome = tuple[list[Any], list[int]]


@dataclass(frozen=True, eq=False)
class _Waiting:
    inputs: Inputs
    params: str  # as JSON: only requests with the same parameters are predicted together
    answer: "asyncio.Future[Answer]"


class Batcher:
    """A thread that predicts requests from a bounded queue in batches.

    No request waits for a batch to fill: the first is predicted at once, those that arrive in the meantime
    form the next batch. If a batch fails, its requests are predicted one by one, so that only those at fault
    fail.
    """

    def __init__(self, follower: Follower, settings: ServingSettings, metrics: Metrics) -> None:
        self._follower = follower
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
        """End the thread once the queue is empty; gives up after 5 s on a prediction that hangs."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join(_SECONDS_TO_END)

    def submit(self, inputs: Inputs) -> "asyncio.Future[Answer]":
        """Queue a request; cancel the future to withdraw it.

        Raises:
            RequestError: 503 when the queue is full. An empty queue takes a request of any size.
        """
        count = inputs.work
        answer: asyncio.Future[Answer] = self._loop.create_future()
        if not count:
            answer.set_result(([], [], self._follower.served.version.label))
            return answer
        waiting = _Waiting(inputs, json.dumps(inputs.params, sort_keys=True), answer)
        with self._changed:
            if self._is_full(count):
                self._remove_cancelled()
            if self._is_full(count):
                raise RequestError(503, "too many texts are waiting, try again in a second", _LATER)
            self._queue.append(waiting)
            self._change_count(count)
            self._changed.notify()
        return answer

    def _is_full(self, count: int) -> bool:
        return bool(self._queue) and self._texts + count > self._settings.queue_texts

    def _change_count(self, change: int) -> None:
        self._texts += change
        self._metrics.queue_texts.set(self._texts)

    def _remove_cancelled(self) -> None:
        cancelled = [waiting for waiting in self._queue if waiting.answer.cancelled()]
        for waiting in cancelled:
            self._queue.remove(waiting)
            self._change_count(-waiting.inputs.work)

    def _work(self) -> None:
        while batch := self._take():
            served = self._follower.served
            outcomes = _outcomes(served, batch)
            self._metrics.batch_texts.observe(sum(waiting.inputs.work for waiting in batch))
            self._loop.call_soon_threadsafe(_deliver, batch, outcomes, served.version.label)

    def _take(self) -> list[_Waiting]:
        """Wait for a batch; it is empty only when the batcher is closed and the queue empty."""
        batch: list[_Waiting] = []
        with self._changed:
            while not batch and not (self._closed and not self._queue):
                self._changed.wait_for(lambda: self._queue or self._closed)
                self._remove_cancelled()
                batch = self._next_batch()
        return batch

    def _next_batch(self) -> list[_Waiting]:
        """Remove from the queue the oldest request and what fits into a batch with it."""
        batch: list[_Waiting] = []
        left: deque[_Waiting] = deque()
        room = self._settings.batch_texts
        for waiting in self._queue:
            count = waiting.inputs.work
            if not batch or (count <= room and waiting.params == batch[0].params):
                batch.append(waiting)
                room -= count
            else:
                left.append(waiting)
        self._queue = left
        self._change_count(-sum(waiting.inputs.work for waiting in batch))
        return batch


def _outcomes(served: LoadedVersion, batch: list[_Waiting]) -> list[_Outcome | Exception]:
    """The rows of each request and which were cut, or the error that this request alone causes."""
    inputs = [waiting.inputs for waiting in batch]
    texts = [text for each in inputs for text in each.texts]
    neighbours = {
        name: [beside for each in inputs for beside in each.neighbours.get(name, [[]] * len(each.texts))]
        for name in {name for each in inputs for name in each.neighbours}
    }
    try:
        rows = iter(served.predict(texts, inputs[0].params, neighbours))
        cut = iter(served.cut(texts))
    except Exception as error:
        if len(batch) == 1:
            return [error]
        return [outcome for waiting in batch for outcome in _outcomes(served, [waiting])]
    return [
        (
            [next(rows) for _ in waiting.inputs.texts],
            [row for row, part in enumerate(islice(cut, len(waiting.inputs.texts))) if part],
        )
        for waiting in batch
    ]


def _deliver(batch: list[_Waiting], outcomes: list[_Outcome | Exception], version: str) -> None:
    for waiting, outcome in zip(batch, outcomes, strict=True):
        if waiting.answer.done():  # cancelled
            continue
        if isinstance(outcome, Exception):
            waiting.answer.set_exception(outcome)
        else:
            waiting.answer.set_result((*outcome, version))
