"""Batches of similar length under a token budget, so that little of a batch is padding."""

from collections.abc import Iterator

import numpy as np

__all__ = ["real_tokens", "token_budget_batches"]


def token_budget_batches(lengths: np.ndarray, budget: int, width_step: int = 1) -> Iterator[np.ndarray]:
    """Row numbers in batches, longest texts first, at most `budget` tokens each with padding.

    Longest first, because a machine that is too small for a batch then says so at once. A text that
    is longer than the budget is a batch of its own.

    Args:
        lengths: integer (rows,), tokens of each row.
        budget: tokens.
        width_step: the engine pads a batch to a multiple of so many tokens.
    """
    order = np.argsort(-lengths, kind="stable")
    start = 0
    while start < len(order):
        width = -(-int(lengths[order[start]]) // width_step) * width_step
        size = max(1, budget // width)
        yield order[start : start + size]
        start += size


def real_tokens(lengths: np.ndarray, width: int | None = None) -> np.ndarray:
    """Bool (batch, width): true where a right-padded batch holds a token and not padding.

    Without `width` the batch is as wide as its longest text.
    """
    mask: np.ndarray = np.arange(int(lengths.max(initial=0)) if width is None else width) < lengths[:, None]
    return mask
