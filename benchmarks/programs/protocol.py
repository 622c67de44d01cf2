"""What the programs share: lines of JSON on stdin and stdout, reading the texts, timing passes on request.

Each program is a process of its own, so that its memory can be measured. This module needs NumPy but not
jabert, since the peers run in another environment.
"""

import argparse
import json
import os
import resource
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

__all__ = [
    "Compute",
    "Loaded",
    "arguments",
    "open_answers",
    "peak_bytes",
    "read_texts",
    "send",
    "serve",
    "write_texts",
]

Compute = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""From ids int32 `(batch, tokens)` and lengths int32 `(batch,)` to vectors float32, `(batch, tokens, hidden)`
or without padding `(tokens, hidden)`."""


@dataclass(frozen=True)
class Loaded:
    """A loaded model. `facts` go into the results; `token_budget` is the one that it prefers, if any."""

    compute: Compute
    facts: dict[str, Any]
    token_budget: int | None = None


def arguments() -> argparse.Namespace:
    """The command line of every program that computes vectors."""
    parser = argparse.ArgumentParser()
    parser.add_argument("texts", type=Path, help="token ids, as `write_texts` wrote them")
    parser.add_argument("model", type=Path, help="folder of the model")
    parser.add_argument("--precision", default="float32", choices=["float32", "bfloat16", "int8"])
    parser.add_argument("--variant", default="", help="device, engine or graph, if the program has several")
    return parser.parse_args()


def write_texts(path: Path, texts: Sequence[np.ndarray]) -> None:
    """Write token ids of texts as one flat array and the length of each text."""
    np.savez(path, ids=np.concatenate(texts), lengths=[len(ids) for ids in texts])


def read_texts(path: Path) -> list[np.ndarray]:
    """Read token ids int32 `(tokens,)` of each text."""
    with np.load(path) as arrays:
        return np.split(arrays["ids"].astype(np.int32), np.cumsum(arrays["lengths"])[:-1])


def serve(load: Callable[[argparse.Namespace], Loaded]) -> None:
    """Load a model and answer requests until stdin ends.

    A request `{"rows": STEP, "budget": B}` computes every STEP-th text in batches of at most B tokens,
    longest texts first, or if B is null in batches of 32 texts in their order; the answer has `seconds`. With
    `"write": PATH` the vectors, float32 `(tokens, hidden)`, are written there; the answer has `peak_bytes`.
    """
    options, answers = arguments(), open_answers()
    texts = read_texts(options.texts)
    loaded = load(options)
    send(answers, {**loaded.facts, "budget": loaded.token_budget})
    for line in sys.stdin:
        request = json.loads(line)
        chosen = texts[:: request["rows"]]
        if "write" in request:
            np.save(request["write"], np.concatenate(_vectors(loaded.compute, chosen, request["budget"])))
            send(answers, {"peak_bytes": peak_bytes()})
        else:
            send(answers, {"seconds": _seconds(loaded.compute, chosen, request["budget"])})


def peak_bytes() -> int:
    """Peak resident memory of this process, bytes.

    On Linux not by getrusage, whose value survives exec: a small child would report the peak of its parent.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def open_answers() -> IO[str]:
    """Return the real stdout; from here on, what libraries print goes to stderr."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return answers


def send(answers: IO[str], answer: dict[str, Any]) -> None:
    """Write one line of JSON."""
    print(json.dumps(answer), file=answers, flush=True)


def _seconds(compute: Compute, texts: list[np.ndarray], budget: int | None) -> float:
    started = time.perf_counter()
    for numbers in _batches([len(ids) for ids in texts], budget):
        compute(*_pad([texts[i] for i in numbers]))
    return time.perf_counter() - started


def _vectors(compute: Compute, texts: list[np.ndarray], budget: int | None) -> list[np.ndarray]:
    found: dict[int, np.ndarray] = {}
    for numbers in _batches([len(ids) for ids in texts], budget):
        ids, lengths = _pad([texts[i] for i in numbers])
        vectors = compute(ids, lengths)
        if vectors.ndim == 3:
            vectors = vectors[np.arange(vectors.shape[1]) < lengths[:, None]]
        found |= zip(numbers, np.split(vectors, np.cumsum(lengths)[:-1]), strict=True)
    return [found[i] for i in range(len(texts))]


def _batches(lengths: list[int], budget: int | None) -> Iterator[list[int]]:
    if budget is None:
        yield from (list(range(i, min(i + 32, len(lengths)))) for i in range(0, len(lengths), 32))
        return
    order = sorted(range(len(lengths)), key=lambda i: -lengths[i])
    while order:
        size = max(1, budget // lengths[order[0]])
        yield order[:size]
        order = order[size:]


def _pad(texts: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    lengths = np.array([len(ids) for ids in texts], dtype=np.int32)
    ids = np.zeros((len(texts), lengths.max()), dtype=np.int32)
    for row, text in zip(ids, texts, strict=True):
        row[: len(text)] = text
    return ids, lengths
