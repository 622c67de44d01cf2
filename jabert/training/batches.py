"""The order in which rows are learned from, in batches."""

from collections.abc import Iterator, Sequence

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
