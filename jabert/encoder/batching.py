"""Token ids of many texts in two arrays, and bucketing by length: batches with little padding.

An array object for each text would cost more than its ids.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar, overload

import numpy as np
import numpy.typing as npt

_Scalar = TypeVar("_Scalar", bound=np.generic)


class TokenIds(Sequence[npt.NDArray[np.int32]]):
    """The token ids of texts, a sequence of read-only arrays int32 (tokens,).

    Args:
        flat: ids of all texts, one text after another.
        offsets: (texts + 1,); text i is `flat[offsets[i]:offsets[i + 1]]`.
    """

    def __init__(self, flat: npt.NDArray[np.int32], offsets: npt.NDArray[np.int64]) -> None:
        self.flat = flat.view()
        self.flat.flags.writeable = False
        self.offsets = offsets

    @classmethod
    def of(cls, rows: Iterable[Sequence[int] | npt.NDArray[np.integer[Any]]]) -> "TokenIds":
        """From the ids of each text."""
        arrays = [np.asarray(row, dtype=np.int32) for row in rows]
        offsets = np.cumsum([0, *map(len, arrays)], dtype=np.int64)
        return cls(np.concatenate([np.empty(0, dtype=np.int32), *arrays]), offsets)

    @classmethod
    def joined(cls, parts: Iterable["TokenIds"]) -> "TokenIds":
        """The texts of all parts, in order."""
        listed = list(parts) or [cls.of([])]
        lengths = np.concatenate([part.lengths for part in listed])
        return cls(np.concatenate([part.flat for part in listed]), np.cumsum([0, *lengths], dtype=np.int64))

    def take(self, indices: npt.NDArray[np.integer[Any]]) -> "TokenIds":
        """The texts with these indices, (texts,), in that order."""
        lengths = self.offsets[indices + 1] - self.offsets[indices]
        offsets = np.cumsum([0, *lengths], dtype=np.int64)
        moved = np.repeat(self.offsets[indices] - offsets[:-1], lengths)
        return TokenIds(self.flat[moved + np.arange(offsets[-1])], offsets)

    def windows(self, longest: int) -> npt.NDArray[np.int32]:
        """Windows of each text, int32 (texts,); each but the last of a text has `longest` tokens."""
        return np.maximum(1, -(-self.lengths // longest))

    def divided(self, longest: int) -> "TokenIds":
        """The windows of all texts, in order."""
        counts = self.windows(longest)
        ends = np.cumsum(counts)
        numbers = np.arange(counts.sum()) - np.repeat(ends - counts, counts)  # of each window in its text
        starts = np.repeat(self.offsets[:-1], counts) + numbers * longest
        return TokenIds(self.flat, np.append(starts, self.offsets[-1]))

    def padded(self) -> npt.NDArray[np.int32]:
        """Ids (texts, tokens), right-padded with 0."""
        mask = real_tokens(self.lengths)
        ids = np.zeros(mask.shape, dtype=np.int32)
        ids[mask] = self.flat
        return ids

    def parts(self, values: npt.NDArray[_Scalar]) -> list[npt.NDArray[_Scalar]]:
        """Values (tokens of all texts, …) split into a view for each text."""
        return np.split(values, self.offsets[1:])[:-1]

    @property
    def lengths(self) -> npt.NDArray[np.int32]:
        """Tokens of each text, (texts,)."""
        return np.diff(self.offsets).astype(np.int32)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @overload
    def __getitem__(self, index: int) -> npt.NDArray[np.int32]: ...
    @overload
    def __getitem__(self, index: slice) -> "TokenIds": ...
    def __getitem__(self, index: int | slice) -> "npt.NDArray[np.int32] | TokenIds":
        if isinstance(index, slice):
            return self.take(np.arange(*index.indices(len(self))))
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        start = index % len(self)
        ids: npt.NDArray[np.int32] = self.flat[self.offsets[start] : self.offsets[start + 1]]
        return ids


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
    columns = np.arange(int(lengths.max(initial=0)) if width is None else width)
    return np.asarray(columns < lengths[:, None])
