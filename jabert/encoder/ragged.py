"""Token ids of many texts in two arrays, since an array object for each costs more than its numbers."""

from collections.abc import Iterable, Iterator, Sequence
from typing import overload

import numpy as np

from jabert.encoder.batching import real_tokens

__all__ = ["TokenIds"]


class TokenIds(Sequence[np.ndarray]):
    """A sequence of token ids, each a read-only int32 (tokens,).

    Args:
        flat: int32, the ids of all texts one after another.
        offsets: int64 (texts + 1,); text i is `flat[offsets[i]:offsets[i + 1]]`.
    """

    def __init__(self, flat: np.ndarray, offsets: np.ndarray) -> None:
        self.flat = flat.view()
        self.flat.flags.writeable = False
        self.offsets = offsets

    @classmethod
    def of(cls, rows: Iterable[Sequence[int] | np.ndarray]) -> "TokenIds":
        """From rows of ids."""
        arrays = [np.asarray(row, dtype=np.int32) for row in rows]
        offsets = np.cumsum([0, *map(len, arrays)], dtype=np.int64)
        return cls(np.concatenate([np.empty(0, dtype=np.int32), *arrays]), offsets)

    @classmethod
    def joined(cls, parts: Iterable["TokenIds"]) -> "TokenIds":
        """The texts of several, in order."""
        listed = list(parts) or [cls.of([])]
        lengths = np.concatenate([part.lengths for part in listed])
        return cls(np.concatenate([part.flat for part in listed]), np.cumsum([0, *lengths], dtype=np.int64))

    def take(self, numbers: np.ndarray) -> "TokenIds":
        """The texts of these numbers, integer (texts,), in that order."""
        lengths = self.offsets[numbers + 1] - self.offsets[numbers]
        offsets = np.cumsum([0, *lengths], dtype=np.int64)
        moved = np.repeat(self.offsets[numbers] - offsets[:-1], lengths)
        return TokenIds(self.flat[moved + np.arange(offsets[-1])], offsets)

    def padded(self) -> np.ndarray:
        """Int32 (texts, tokens), right-padded with 0."""
        mask = real_tokens(self.lengths)
        ids = np.zeros(mask.shape, dtype=np.int32)
        ids[mask] = self.flat
        return ids

    def parts(self, values: np.ndarray) -> list[np.ndarray]:
        """Views of what belongs to each text, of values (tokens of all texts, …)."""
        return np.split(values, self.offsets[1:])[:-1]

    @property
    def lengths(self) -> np.ndarray:
        """Int32 (texts,), tokens of each."""
        return np.diff(self.offsets).astype(np.int32)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @overload
    def __getitem__(self, index: int) -> np.ndarray: ...
    @overload
    def __getitem__(self, index: slice) -> "TokenIds": ...
    def __getitem__(self, index: int | slice) -> "np.ndarray | TokenIds":
        if isinstance(index, slice):
            return self.take(np.arange(*index.indices(len(self))))
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        start = index % len(self)
        ids: np.ndarray = self.flat[self.offsets[start] : self.offsets[start + 1]]
        return ids

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self[i] for i in range(len(self)))
