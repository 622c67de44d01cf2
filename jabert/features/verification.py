"""What lies in a feature store, and whether it is still what the encoder computes."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jabert.config import Settings
from jabert.encoder import EncoderFolder, TokenIds, Tokenizer, load_encoder, token_budget
from jabert.encoder.batching import token_budget_batches
from jabert.errors import JabertError
from jabert.features import open_store
from jabert.features.store import STORE_FORMAT, FeatureStore, row_keys

__all__ = ["Verified", "list_spaces", "verify"]

# Of a token's vector with the same computed again, in a batch of another size and company: KNBC's are above
# 0.999999 and 0.99997.
_SMALLEST_COSINE = {"float32": 0.99999, "bfloat16": 0.999}


@dataclass(frozen=True)
class Verified:
    """What a verification found.

    Attributes:
        store: folder of the space.
        rows: rows in it.
        checked: rows that were computed again.
        damaged: a sentence for each batch whose bytes are not those that were written.
        unread: a sentence for each file with bytes that are no whole batch. Rows that are not there are
            computed again, so nothing is wrong with the others.
        differing: of each row that differs the text, its smallest cosine of a token and largest difference.
    """

    store: str
    rows: int
    checked: int
    damaged: list[str]
    unread: list[str]
    differing: list[dict[str, Any]]

    @property
    def ok(self) -> bool:
        """Whether all that is read is right."""
        return not (self.damaged or self.differing)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {**asdict(self), "ok": self.ok}


def list_spaces(root: Path) -> list[dict[str, Any]]:
    """The spaces of a store, JSON-ready: what each holds the vectors of, its rows, tokens, bytes and path.

    Raises:
        JabertError: the store is no folder, or a space's description cannot be read.
    """
    if root.exists() and not root.is_dir():
        raise JabertError(f"features.path {root} is not a folder")
    return [_described(path.parent) for path in sorted(root.glob("*/space.json"))]


def verify(folder: EncoderFolder, settings: Settings, rows: int = 100, seed: int = 0) -> Verified:
    """Check all batches against their checksums, and compute a random sample of rows again.

    A row differs if its token ids do not have its key, or if a token's vector points elsewhere than the one
    computed now; the last digits of a vector are decided by its company in a batch and don't count.

    Args:
        folder: the encoder.
        settings: groups `encoder` and `features` are used.
        rows: size of the sample.
        seed: chooses it.

    Raises:
        JabertError: there is no row.
    """
    store = open_store(folder, settings)
    damaged = store.damaged()
    unread = [
        f"{path}: {size:,} bytes are no whole batch: being written, left by a kill, or damaged"
        for path, size in store.unread().items()
    ]
    if not len(store):
        nothing = f"{store.path} holds no vectors of this encoder, precision and dtype"
        raise JabertError("; ".join([nothing, *unread]))
    chosen = np.random.default_rng(seed).permutation(len(store))[:rows]
    differing = _differing(store, chosen, folder, settings)
    return Verified(str(store.path), len(store), len(chosen), damaged, unread, differing)


def _differing(
    store: FeatureStore, chosen: np.ndarray, folder: EncoderFolder, settings: Settings
) -> list[dict[str, Any]]:
    ids = TokenIds.of(store.token_ids(place) for place in chosen)
    encoder, tokenizer = load_encoder(folder, settings.encoder), Tokenizer(folder, settings.encoder)
    budget = token_budget(folder, settings.encoder)
    differing = []
    for batch in token_budget_batches(ids.lengths, budget, encoder.width_step):
        texts = ids.take(batch)
        for i, computed in zip(batch, texts.parts(encoder(texts)), strict=True):
            stored = store.vectors(chosen[i])
            cosine, difference = _compare(stored, computed.astype(store.dtype))
            is_of_key = store.key(chosen[i]) == row_keys([ids[i]]).tobytes()
            if not (is_of_key and cosine >= _SMALLEST_COSINE[store.origin["precision"]]):
                text = tokenizer.text(ids[i])
                differing.append({"text": text, "cosine": cosine, "difference": difference})
    return differing


def _compare(stored: np.ndarray, computed: np.ndarray) -> tuple[float, float]:
    """Smallest cosine of a token and largest difference of a number."""
    a, b = stored.astype(np.float64), computed.astype(np.float64)
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    cosines = (a * b).sum(axis=1) / np.maximum(lengths, 1e-30)
    return float(cosines.min()), float(np.abs(a - b).max())


def _described(path: Path) -> dict[str, Any]:
    try:
        origin = json.loads((path / "space.json").read_text(encoding="utf-8"))
        store = FeatureStore.at(path, origin) if origin["format"] == STORE_FORMAT else None
    except (ValueError, LookupError, TypeError):
        raise JabertError(
            f"{path / 'space.json'} does not describe vectors; delete {path}, and they are computed again"
        ) from None
    return {
        **origin,
        # None: written by another version, which counts as not there
        "rows": None if store is None else len(store),
        "tokens": None if store is None else store.tokens,
        "bytes": sum(file.stat().st_size for file in path.iterdir()),
        "path": str(path),
    }
