"""Bucketing by length: batches of similar lengths under a token budget, with little padding."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt


def token_budget_batches(
    lengths: npt.NDArray[np.integer[Any]], budget: int, width_step: int = 1
) -> Iterator[npt.NDArray[np.intp]]:
    """Indices of the rows of each batch, with at most `budget` tokens in it, padding included.

    The longest texts come first, so that a machine with too little memory fails at once. A text that is
    longer than the budget is a batch of its own.

    Args:
        lengths: tokens of each row, (rows,).
        budget: tokens of a batch.
        width_step: the engine pads a batch to a multiple of this many tokens.
    """
    order = np.argsort(-lengths, kind="stable")
    start = 0
    while start < len(order):
        width = -(-int(lengths[order[start]]) // width_step) * width_step
        size = max(1, budget // width)
        yield order[start : start + size]
        start += size


def real_tokens(lengths: npt.NDArray[np.integer[Any]], width: int | None = None) -> npt.NDArray[np.bool_]:
    """The mask (batch, width) of a right-padded batch: true for a token, false for padding.

    Args:
        lengths: tokens of each row, (batch,).
        width: of the batch; None: that of the longest row.
    """
    mask: npt.NDArray[np.bool_] = (
        np.arange(int(lengths.max(initial=0)) if width is None else width) < lengths[:, None]
    )
    return mask
