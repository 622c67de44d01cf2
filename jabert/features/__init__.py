"""Token vectors of texts, computed once and stored on disk."""

import logging
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from jabert.config import Settings
from jabert.encoder import (
    EncoderFolder,
    TokenIds,
    Tokenizer,
    choice_for,
    load_encoder,
    longest_row,
    token_budget,
    vector_origin,
)
from jabert.encoder.batching import token_budget_batches
from jabert.errors import JabertError
from jabert.estimates import estimating
from jabert.features.store import FeatureStore, row_keys
from jabert.files import exclusive
from jabert.logs import is_quiet

log = logging.getLogger("jabert")

__all__ = ["FeatureStore", "Featurized", "Progress", "featurize", "open_store", "row_keys"]

Progress = Callable[[int, int], None]  # rows done, rows to do in all

_WAITING = "another process computes vectors of the same encoder; waiting, in order not to compute them twice"


@dataclass(frozen=True)
class Featurized:
    """What a featurization did.

    Attributes:
        texts: number of texts.
        tokens: tokens of all texts.
        computed: texts of which vectors were computed.
        reused: texts whose vectors were in the store, or equal another text's.
        seconds: from token ids in memory to the last row on disk, without `setup_seconds`.
        setup_seconds: to find the device and the encoder's fingerprint, and to load the encoder if a row was
            missing.
        engine: as in `Choice`.
        precision: as in `Choice`.
        device: as in `Choice`.
        store: folder of the store's partition.
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
        """Tokens of all texts, computed or reused, per second."""
        return self.tokens / max(self.seconds, 1e-9)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {**asdict(self), "tokens_per_second": round(self.tokens_per_second, 1)}


def open_store(folder: EncoderFolder, settings: Settings) -> FeatureStore:
    """The partition of the store that holds the vectors of these settings."""
    layers, root = settings.features.layers, Path(settings.features.path)
    origin, hidden_size = vector_origin(folder, settings.encoder, layers), layers * folder.config.hidden_size
    return FeatureStore(root, origin, hidden_size, settings.features.dtype)


def featurize(
    ids: TokenIds, folder: EncoderFolder, settings: Settings, on_progress: Progress | None = None
) -> Featurized:
    """Compute the vectors that the store lacks and write them to it.

    Args:
        ids: token ids of each text; the windows of a text are rows of the store.
        folder: the encoder folder.
        settings: the groups `encoder` and `features` are used.
        on_progress: called after each batch with the rows done and all rows to do.

    Raises:
        JabertError: the device does not exist, the encoder has fewer layers than asked for, the checkpoint
            does not fit its configuration, the vectors are more than `features.max_bytes`, or the disk is
            full. Batches written before the error stay, and the next run reuses them.
    """
    beginning = time.perf_counter()
    choice, _ = choice_for(folder, settings.encoder), folder.fingerprint
    started = time.perf_counter()
    store = open_store(folder, settings)
    longest = longest_row(folder, settings.encoder)
    windows = ids.divided(longest)
    keys = row_keys(windows)
    missing, loading_seconds = _missing(store, keys), 0.0
    if len(missing):
        with exclusive(store.path / "lock", _WAITING):
            store.refresh()
            missing = _missing(store, keys)
            if len(missing):
                wanted = keys[missing], windows.take(missing)
                loading_seconds = _compute(*wanted, store, folder, settings, on_progress=on_progress)
    text_of = np.repeat(np.arange(len(ids)), ids.windows(longest))  # of each window
    computed = len(np.unique(text_of[missing]))
    return Featurized(
        texts=len(ids),
        tokens=len(ids.flat),
        computed=computed,
        reused=len(ids) - computed,
        seconds=time.perf_counter() - started - loading_seconds,
        setup_seconds=started - beginning + loading_seconds,
        store=str(store.path),
        **vars(choice),
    )


def _missing(store: FeatureStore, keys: npt.NDArray[np.uint8]) -> npt.NDArray[np.intp]:
    """Indices of the rows that the store lacks, once for each distinct key."""
    absent = np.flatnonzero(store.find(keys) < 0)
    as_bytes = np.ascontiguousarray(keys[absent]).view(f"S{keys.shape[1]}").ravel()
    return np.sort(absent[np.unique(as_bytes, return_index=True)[1]])


def _compute(
    keys: npt.NDArray[np.uint8],
    ids: TokenIds,
    store: FeatureStore,
    folder: EncoderFolder,
    settings: Settings,
    *,
    on_progress: Progress | None,
) -> float:
    """Compute and store rows; return the seconds that loading the encoder took.

    While the engine computes a batch, a thread writes the previous one.
    """
    _tell_size(ids, store, settings)
    loading = time.perf_counter()
    encoder = load_encoder(folder, settings.encoder, settings.features.layers)
    setup_seconds = time.perf_counter() - loading
    budget = token_budget(folder, settings.encoder)
    done, writing = 0, Future[None]()
    work, total = f"featurizing {len(ids.flat):,} tokens", len(ids.flat)
    writing.set_result(None)
    with (
        estimating(work, total, "tokens", quiet=is_quiet()) as estimate,
        store.writer() as writer,
        ThreadPoolExecutor(1) as thread,
    ):
        for batch in token_budget_batches(ids.lengths, budget, encoder.width_step):
            texts = ids.take(batch)
            vectors = encoder(texts)  # (tokens, hidden)
            _refuse_infinite(vectors, texts, folder, settings)
            writing.result()
            if done and on_progress:
                on_progress(done, len(ids))
            writing = thread.submit(writer.append, keys[batch], texts, vectors)
            done += len(texts)
            estimate.add(len(texts.flat))
        writing.result()
        if on_progress:
            on_progress(done, len(ids))
    return setup_seconds


def _tell_size(ids: TokenIds, store: FeatureStore, settings: Settings) -> None:
    """Say how large the vectors will be, and refuse those that are larger than `features.max_bytes`."""
    size, most = len(ids.flat) * store.hidden_size * store.dtype.itemsize, settings.features.max_bytes
    layers = settings.features.layers
    what = f"token vectors of {layers} layers" if layers > 1 else "token vectors"
    if size > most:
        raise JabertError(
            f"the {what} of {len(ids):,} rows would take {size / 1e6:,.1f} MB in {store.path}, more than "
            f"features.max_bytes = {most:,}: raise it, or lower data.windows or encoder.max_tokens; "
            "method.kind = 'tfidf' and 'finetune' store none"
        )
    log.info("%s: about %s MB in %s", what, f"{size / 1e6:,.1f}", store.path)


def _refuse_infinite(
    vectors: npt.NDArray[np.floating], texts: TokenIds, folder: EncoderFolder, settings: Settings
) -> None:
    """Refuse vectors (tokens, hidden) that are no numbers, or none of the store's dtype."""
    dtype = settings.features.dtype
    with np.errstate(over="ignore"):  # what is too large becomes infinite
        finite = np.isfinite(vectors.astype(dtype, copy=False)).all(axis=1)
    if finite.all():
        return
    token = int(np.argmin(finite))
    row = int(np.searchsorted(texts.offsets, token, side="right")) - 1
    shown = Tokenizer(folder, settings.encoder).text(texts[row])[:40]
    if np.isfinite(vectors[token]).all():
        largest = float(np.abs(vectors[token]).max())
        why = f"up to {largest:.3g}, beyond features.dtype {dtype}: set features.dtype = 'float32'"
    else:
        why = (
            "that are no numbers (NaN or infinite): its weights may be damaged, or not fit its "
            "configuration; fetch it anew"
        )
    raise JabertError(f"the encoder {folder.path} gives vectors for the text {shown!r} {why}")
