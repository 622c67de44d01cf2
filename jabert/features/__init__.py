"""Token vectors of texts, computed once and kept on disk."""

import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jabert.config import Settings
from jabert.encoder import (
    Encoder,
    EncoderFolder,
    TokenIds,
    choose,
    load_encoder,
    token_budget,
    vector_origin,
)
from jabert.encoder.batching import token_budget_batches
from jabert.features.store import FeatureStore, Writer, row_keys
from jabert.files import exclusive

__all__ = ["FeatureStore", "Featurized", "Progress", "featurize", "open_store", "row_keys"]

Progress = Callable[[int, int], None]  # rows done, rows to do

_WAITING = "another process computes vectors of the same encoder; waiting, so as not to compute them twice"


@dataclass(frozen=True)
class Featurized:
    """What a featurization did.

    `seconds` runs from token ids in memory to the last row on disk; `setup_seconds` is for finding the device
    and the encoder's fingerprint and, if a row was missing, for loading the encoder.
    """

    texts: int
    tokens: int
    computed: int
    reused: int
    seconds: float
    setup_seconds: float
    engine: str
    precision: str
    device: str
    store: str

    @property
    def tokens_per_second(self) -> float:
        """Tokens of all texts over `seconds`."""
        return self.tokens / max(self.seconds, 1e-9)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {**asdict(self), "tokens_per_second": round(self.tokens_per_second, 1)}


def open_store(folder: EncoderFolder, settings: Settings) -> FeatureStore:
    """The space of the store that holds the vectors of these settings."""
    origin = vector_origin(folder, settings.encoder)
    return FeatureStore(
        Path(settings.features.path), origin, folder.config.hidden_size, settings.features.dtype
    )


def featurize(
    ids: TokenIds,
    folder: EncoderFolder,
    settings: Settings,
    on_progress: Progress | None = None,
) -> Featurized:
    """Compute the vectors that the store lacks and write them to it.

    Args:
        ids: token ids of each text.
        folder: the encoder.
        settings: groups `encoder` and `features` are used.
        on_progress: called with the rows done and the rows to do after each batch.

    Raises:
        JabertError: no such device, an unfit checkpoint, or the disk is full. Batches that were
            finished before stay and are used by the next run.
    """
    beginning = time.perf_counter()
    choice, _ = choose(settings.encoder), folder.fingerprint
    started = time.perf_counter()
    store = open_store(folder, settings)
    keys = row_keys(ids)
    missing, loading_seconds = _missing(store, keys), 0.0
    if len(missing):
        with exclusive(store.path / "lock", _WAITING):
            store.refresh()
            missing = _missing(store, keys)
            if len(missing):
                rows = _Rows(missing, keys, ids)
                loading_seconds = _compute(rows, store, folder, settings, on_progress)
    return Featurized(
        texts=len(ids),
        tokens=len(ids.flat),
        computed=len(missing),
        reused=len(ids) - len(missing),
        seconds=time.perf_counter() - started - loading_seconds,
        setup_seconds=started - beginning + loading_seconds,
        engine=choice.engine,
        precision=choice.precision,
        device=choice.device,
        store=str(store.path),
    )


def _missing(store: FeatureStore, keys: np.ndarray) -> np.ndarray:
    """Numbers of the rows that the store lacks, the first of those that are equal."""
    absent = np.flatnonzero(store.find(keys) < 0)
    as_bytes = np.ascontiguousarray(keys[absent]).view(f"S{keys.shape[1]}").ravel()
    first = np.unique(as_bytes, return_index=True)[1]
    missing: np.ndarray = np.sort(absent[first])
    return missing


@dataclass(frozen=True)
class _Rows:
    """Rows to compute, by their numbers among the keys and token ids of all."""

    numbers: np.ndarray
    keys: np.ndarray
    ids: TokenIds

    def __len__(self) -> int:
        return len(self.numbers)

    def batches(self, budget: int, width_step: int) -> Iterator[tuple[np.ndarray, TokenIds]]:
        """Keys and token ids of what is computed together."""
        for batch in token_budget_batches(self.ids.lengths[self.numbers], budget, width_step):
            numbers = self.numbers[batch]
            yield self.keys[numbers], self.ids.take(numbers)


def _compute(
    rows: _Rows, store: FeatureStore, folder: EncoderFolder, settings: Settings, on_progress: Progress | None
) -> float:
    """Compute and store rows; returns the seconds that loading the encoder took."""
    loading = time.perf_counter()
    encoder = load_encoder(folder, settings.encoder)
    setup_seconds = time.perf_counter() - loading
    batches = rows.batches(token_budget(folder, settings.encoder), encoder.width_step)
    with store.writer() as writer:
        for done in _pipeline(batches, encoder, writer):
            if on_progress:
                on_progress(done, len(rows))
    return setup_seconds


def _pipeline(
    batches: Iterable[tuple[np.ndarray, TokenIds]], encoder: Encoder, writer: Writer
) -> Iterator[int]:
    """Yields the number of rows that are durable after each batch.

    While the engine computes a batch, a thread writes the one before.
    """
    done = 0
    written: Future[None] | None = None
    with ThreadPoolExecutor(1) as thread:
        for keys, ids in batches:
            vectors = encoder(ids)  # (tokens, hidden)
            if written:
                written.result()
                yield done
            written = thread.submit(writer.append, keys, ids, vectors)
            done += len(ids)
        if written:
            written.result()
            yield done
