"""The order in which rows are learned from, in batches."""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

_POOL = 16  # batches that are sorted by length together: similar lengths, yet random company


def shuffled_buckets(
    lengths: npt.NDArray[np.integer], batch_size: int, seed: Sequence[int]
) -> Iterator[npt.NDArray[np.int64]]:
    """Row numbers in batches of similar length, in random order; every row is in one batch.

    Args:
        lengths: (rows,), tokens.
        batch_size: rows of a batch; one batch may be smaller.
        seed: decides the order, e.g. the training seed and the epoch.
    """
    random = np.random.default_rng(seed)
    order = random.permutation(len(lengths))
    batches: list[npt.NDArray[np.int64]] = []
    for start in range(0, len(order), batch_size * _POOL):
        pool = order[start : start + batch_size * _POOL]
        pool = pool[np.argsort(lengths[pool], kind="stable")]
        batches += [pool[i : i + batch_size] for i in range(0, len(pool), batch_size)]
    return (batches[i] for i in random.permutation(len(batches)))


def in_order(rows: int, batch_size: int) -> Iterator[npt.NDArray[np.int64]]:
    """Row numbers in batches, in the order of the rows."""
    return (np.arange(start, min(start + batch_size, rows)) for start in range(0, rows, batch_size))


def bounded(
    batches: Iterable[npt.NDArray[np.int64]], lengths: npt.NDArray[np.integer], most: int
) -> Iterator[npt.NDArray[np.int64]]:
    """The batches, those with more than `most` tokens in parts; a row that has more is a part of its own.

    Args:
        batches: row numbers.
        lengths: (rows,), tokens.
        most: tokens of a batch, padding included.
    """
    for numbers in batches:
        rows = max(1, most // int(lengths[numbers].max()))
        yield from (numbers[start : start + rows] for start in range(0, len(numbers), rows))
