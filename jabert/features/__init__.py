"""Token vectors of texts, computed once and kept on disk."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jabert.config import Settings
from jabert.encoder import Encoder, EncoderFolder, load_encoder, vector_origin
from jabert.encoder.batching import pad, token_budget_batches
from jabert.features.store import FeatureStore, row_key

__all__ = ["FeatureStore", "Featurized", "Progress", "featurize", "open_store", "row_key"]

Progress = Callable[[int, int], None]  # rows done, rows to do

_SHARD_TOKENS = 16_384  # 12 MB at 384 columns and float16: what a kill can lose


@dataclass(frozen=True)
class Featurized:
    """What a featurization did.

    `seconds` runs from token ids in memory to the last row on disk; `setup_seconds` is loading the
    encoder, 0 if no row was missing.
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
    ids: Sequence[np.ndarray],
    folder: EncoderFolder,
    settings: Settings,
    on_progress: Progress | None = None,
) -> Featurized:
    """Compute the vectors that the store lacks and write them to it.

    Args:
        ids: token ids of each text, int32 (tokens,).
        folder: the encoder.
        settings: groups `encoder` and `features` are used.
        on_progress: called with the rows done and the rows to do after each batch.

    Raises:
        JabertError: no such device, an unfit checkpoint, or the disk is full. Shards that were
            finished before stay and are used by the next run.
    """
    started = time.perf_counter()
    store = open_store(folder, settings)
    keys = [row_key(row) for row in ids]
    missing = [row for key, row in {key: i for i, key in enumerate(keys)}.items() if key not in store]
    setup_seconds = 0.0
    if missing:
        loading = time.perf_counter()
        encoder = load_encoder(folder, settings.encoder)
        setup_seconds = time.perf_counter() - loading
        rows = [(keys[i], ids[i]) for i in missing]
        for done in _compute(rows, encoder, store, settings.encoder.token_budget):
            if on_progress:
                on_progress(done, len(missing))
    return Featurized(
        texts=len(ids),
        tokens=sum(len(row) for row in ids),
        computed=len(missing),
        reused=len(ids) - len(missing),
        seconds=time.perf_counter() - started - setup_seconds,
        setup_seconds=setup_seconds,
        engine=store.origin["engine"],
        precision=store.origin["precision"],
        device=encoder.device if missing else "none",
        store=str(store.path),
    )


def _compute(
    rows: Sequence[tuple[bytes, np.ndarray]], encoder: Encoder, store: FeatureStore, token_budget: int
) -> Iterator[int]:
    """Compute and store rows of (key, token ids); yields the number done after each batch."""
    lengths = np.array([len(ids) for _, ids in rows])
    pending: list[tuple[bytes, np.ndarray]] = []
    pending_tokens = done = 0
    for batch in token_budget_batches(lengths, token_budget):
        vectors = encoder(*pad([rows[i][1] for i in batch]))  # (batch, tokens, hidden)
        pending += [
            (rows[i][0], vectors[place, : lengths[i]].astype(store.dtype)) for place, i in enumerate(batch)
        ]
        pending_tokens += int(lengths[batch].sum())
        done += len(batch)
        if pending_tokens >= _SHARD_TOKENS or done == len(rows):
            store.append(*zip(*pending, strict=True))
            pending, pending_tokens = [], 0
        yield done
