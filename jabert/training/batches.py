"""Training batches, read from the feature store as they are needed."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from jabert.errors import JabertError
from jabert.features.store import FeatureStore

__all__ = ["Batch", "LabelledRows", "StoredRows", "in_order", "read_batch", "shuffled_buckets"]

_POOL = 16  # batches that are sorted by length together: similar lengths, yet random company


@dataclass(frozen=True)
class LabelledRows:
    """The rows of one side of the split, vectors left in the store.

    Attributes:
        keys: uint8 (rows, 16), keys of the rows in the feature store.
        lengths: int32 (rows,), tokens.
        classes: int32 (rows,), index of the label.
    """

    keys: np.ndarray
    lengths: np.ndarray
    classes: np.ndarray

    def __len__(self) -> int:
        return len(self.keys)

    def find_in(self, store: FeatureStore) -> "StoredRows":
        """The same rows, found in the store.

        Raises:
            JabertError: the store lacks some of them.
        """
        places = store.find(self.keys)
        if (places < 0).any():
            raise JabertError(
                f"the feature store {store.path} lacks {(places < 0).sum()} of {len(self)} rows; "
                "`jabert featurize` computes them"
            )
        return StoredRows(store, places, self.lengths, self.classes)


@dataclass(frozen=True)
class StoredRows:
    """Rows with the places of their vectors, int64 (rows,); lengths and classes as in `LabelledRows`."""

    store: FeatureStore
    places: np.ndarray
    lengths: np.ndarray
    classes: np.ndarray

    def __len__(self) -> int:
        return len(self.places)


@dataclass(frozen=True)
class Batch:
    """Vectors (batch, tokens, hidden), right-padded with 0; lengths and classes int32 (batch,).

    The vectors are in the store's dtype, which the model casts: NumPy turns float16 into float32 more slowly
    than it copies.
    """

    vectors: np.ndarray
    lengths: np.ndarray
    classes: np.ndarray


def shuffled_buckets(lengths: np.ndarray, batch_size: int, seed: Sequence[int]) -> Iterator[np.ndarray]:
    """Row numbers in batches of similar length, in random order; every row stands in one batch.

    Args:
        lengths: int (rows,), tokens.
        batch_size: rows of a batch; one batch may be smaller.
        seed: decides the order, e.g. the training seed and the epoch.
    """
    random = np.random.default_rng(seed)
    order = random.permutation(len(lengths))
    batches: list[np.ndarray] = []
    for start in range(0, len(order), batch_size * _POOL):
        pool = order[start : start + batch_size * _POOL]
        pool = pool[np.argsort(lengths[pool], kind="stable")]
        batches += [pool[i : i + batch_size] for i in range(0, len(pool), batch_size)]
    return (batches[i] for i in random.permutation(len(batches)))


def in_order(rows: int, batch_size: int) -> Iterator[np.ndarray]:
    """Row numbers in batches as they come."""
    return (np.arange(start, min(start + batch_size, rows)) for start in range(0, rows, batch_size))


def read_batch(rows: StoredRows, numbers: np.ndarray) -> Batch:
    """The vectors of some rows as one padded batch."""
    store, lengths = rows.store, rows.lengths[numbers]
    longest, shortest = int(lengths.max()), int(lengths.min())
    padding = np.zeros((longest - shortest, store.hidden_size), dtype=store.dtype)
    pieces = []
    for place in rows.places[numbers].tolist():
        vectors = store.vectors(place)
        pieces += [vectors, padding[: longest - len(vectors)]]
    # Joined in one call, for NumPy assigns row by row at two thirds of the speed.
    joined = np.concatenate(pieces).reshape(len(numbers), longest, store.hidden_size)
    return Batch(joined, lengths, rows.classes[numbers])
