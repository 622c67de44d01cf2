"""Batches of similar length under a token budget, so that little of a batch is padding."""

from collections.abc import Iterator

import numpy as np

__all__ = ["real_tokens", "token_budget_batches"]


def token_budget_batches(
    lengths: np.ndarray, budget: int, width_step: int | None = 1
) -> Iterator[np.ndarray]:
    """Row numbers in batches, longest texts first, at most `budget` tokens each with padding.

    Longest first, because a machine that is too small for a batch then says so at once. A text that
    is longer than the budget is a batch of its own.

    Args:
        lengths: integer (rows,), tokens of each row.
        budget: tokens.
        width_step: the engine pads a batch to a multiple of so many tokens. None: it pads in attention only;
            then few texts are one batch, if they have no more than `budget` real tokens and twice as many
            with padding, for an engine gets ready for each shape that it meets.
    """
    order = np.argsort(-lengths, kind="stable")
    tokens_left = int(lengths.sum())
    start = 0
    while start < len(order):
        longest, rows_left = int(lengths[order[start]]), len(order) - start
        width = longest if width_step is None else -(-longest // width_step) * width_step
        size = max(1, budget // width)
        if width_step is None and tokens_left <= budget and rows_left * longest <= 2 * budget:
            size = rows_left
        batch = order[start : start + size]
        yield batch
        tokens_left -= int(lengths[batch].sum())
        start += size


def real_tokens(lengths: np.ndarray, width: int | None = None) -> np.ndarray:
    """Bool (batch, width): true where a right-padded batch holds a token and not padding.

    Without `width` the batch is as wide as its longest text.
    """
    mask: np.ndarray = np.arange(int(lengths.max(initial=0)) if width is None else width) < lengths[:, None]
    return mask
