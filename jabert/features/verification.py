"""What a feature store holds, and whether the encoder still computes the same."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from jabert.config import Settings
from jabert.encoder import EncoderFolder, TokenIds, Tokenizer, load_encoder, token_budget
from jabert.encoder.batching import token_budget_batches
from jabert.errors import JabertError
from jabert.features import open_store
from jabert.features.store import DESCRIPTION, STORE_FORMAT, FeatureStore, row_keys

# Smallest cosine similarity of a token's stored vector with the one computed again in another batch. Those of
# KNBC are above 0.999999 and 0.99997.
_SMALLEST_COSINE = {"float32": 0.99999, "bfloat16": 0.999}


@dataclass(frozen=True)
class Difference:
    """A row whose stored vectors are not those computed now.

    Attributes:
        text: the text of its token ids.
        cosine: smallest cosine similarity between the stored and the computed vector of a token.
        difference: largest absolute difference of an element.
    """

    text: str
    cosine: float
    difference: float


@dataclass(frozen=True)
class Verified:
    """What a verification found.

    Attributes:
        store: folder of the partition.
        rows: rows in it.
        checked: rows that were computed again.
        damaged: a sentence for each batch that does not match its checksum.
        unread: a sentence for each file that ends in an incomplete batch. Its rows count as missing and are
            computed again when they are needed, so this is not an error.
        differing: the rows that differ.
    """

    store: str
    rows: int
    checked: int
    damaged: list[str]
    unread: list[str]
    differing: list[Difference]

    @property
    def ok(self) -> bool:
        """Whether every batch matches its checksum and no row differs."""
        return not (self.damaged or self.differing)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {**asdict(self), "ok": self.ok}


def list_partitions(root: Path) -> list[dict[str, Any]]:
    """The partitions of a store, JSON-ready: the origin of the vectors, rows, tokens, bytes and path of each.

    Rows and tokens are None in a partition of another format version, whose vectors are never read.

    Raises:
        JabertError: the store is not a folder, or the description of a partition cannot be read.
    """
    if root.exists() and not root.is_dir():
        raise JabertError(f"features.path {root} is not a folder")
    partitions = []
    for description in sorted(root.glob(f"*/{DESCRIPTION}")):
        path, store = description.parent, None
        try:
            origin = json.loads(description.read_text(encoding="utf-8"))
            if origin["format"] == STORE_FORMAT:
                store = FeatureStore(root, origin, int(origin["hidden_size"]), origin["dtype"])
        except Exception:  # of JSON, or of what stands in it
            raise JabertError(
                f"{description} does not describe vectors; delete {path}, and they are computed again"
            ) from None
        rows, tokens = (None, None) if store is None else (len(store), store.tokens)
        size = sum(file.stat().st_size for file in path.iterdir())
        partitions.append({**origin, "rows": rows, "tokens": tokens, "bytes": size, "path": str(path)})
    return partitions


def verify(folder: EncoderFolder, settings: Settings, rows: int = 100, seed: int = 0) -> Verified:
    """Check all batches against their checksums, and compute a random sample of rows again.

    A row differs if its key is not that of its token ids, or if the cosine similarity of a token's vector
    with the one computed now is too small. The last digits depend on the batch and are not compared.

    Args:
        folder: the encoder folder.
        settings: the groups `encoder` and `features` are used.
        rows: size of the sample.
        seed: of the sample.

    Raises:
        JabertError: the store has no row of this encoder, precision and dtype.
    """
    store = open_store(folder, settings)
    unread = [
        f"{path}: the last {size:,} bytes are not a complete batch: it is being written, was cut off by a "
        "kill, or is damaged"
        for path, size in store.unread().items()
    ]
    if not len(store):
        nothing = (
            f"{store.path} holds no vectors of this encoder, precision and dtype; `jabert featurize` "
            "computes them"
        )
        raise JabertError("; ".join([nothing, *unread]))
    chosen = np.random.default_rng(seed).permutation(len(store))[:rows]
    differing = _differing(store, chosen, folder, settings)
    return Verified(str(store.path), len(store), len(chosen), store.damaged(), unread, differing)


def _differing(
    store: FeatureStore, chosen: npt.NDArray[np.int64], folder: EncoderFolder, settings: Settings
) -> list[Difference]:
    ids = TokenIds.of(store.token_ids(index) for index in chosen)
    encoder = load_encoder(folder, settings.encoder, settings.features.layers)
    tokenizer = Tokenizer(folder, settings.encoder)
    budget = token_budget(folder, settings.encoder)
    differing: list[Difference] = []
    for batch in token_budget_batches(ids.lengths, budget, encoder.width_step):
        texts = ids.take(batch)
        for i, computed in zip(batch, texts.parts(encoder(texts)), strict=True):
            a = store.vectors(chosen[i]).astype(np.float64)  # (tokens, hidden)
            b = computed.astype(store.dtype).astype(np.float64)
            lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
            cosine = float(((a * b).sum(axis=1) / np.maximum(lengths, 1e-30)).min())
            has_its_key = store.key(chosen[i]) == row_keys([ids[i]]).tobytes()
            if not (has_its_key and cosine >= _SMALLEST_COSINE[store.origin["precision"]]):
                differing.append(Difference(tokenizer.text(ids[i]), cosine, float(np.abs(a - b).max())))
    return differing
