"""Rows to learn from, with what a method asked for: texts, token ids, or vectors in the feature store."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from jabert.encoder import TokenIds, real_tokens
from jabert.errors import JabertError
from jabert.features.store import FeatureStore, row_keys


class Source(Protocol):
    """Where vectors are read from: a feature store, or what has the same for texts by number."""

    @property
    def hidden_size(self) -> int:
        """Columns of a vector."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the vectors."""

    def vectors(self, index: int) -> npt.NDArray[np.floating]:
        """The vectors (tokens, hidden) of one text, or of a window of it."""


@dataclass(frozen=True)
class StoredVectors:
    """Token vectors of texts, read from the feature store when they are needed.

    Attributes:
        store: the partition that holds them, or another source.
        indices: int64 (rows, windows), where the windows of each text stand in the store; -1 behind the last.
        lengths: int32 (rows,), vectors of each text, those of all its windows.
        sizes: int32 (rows,), neighbouring tokens of a text whose mean is one of its vectors.
        taken: the vectors that these are a part of, and their numbers there; None if they are whole.
    """

    store: Source
    indices: npt.NDArray[np.int64]
    lengths: npt.NDArray[np.int32]
    sizes: npt.NDArray[np.int32]
    taken: "tuple[StoredVectors, npt.NDArray[np.integer]] | None" = field(
        default=None, repr=False, compare=False
    )

    @classmethod
    def find(cls, store: FeatureStore, ids: TokenIds, longest: int) -> "StoredVectors":
        """The vectors of texts by their token ids.

        Args:
            store: the partition.
            ids: of each text.
            longest: tokens of a window, as `jabert.encoder.longest_row`.

        Raises:
            JabertError: the store lacks some of them.
        """
        windows = ids.divided(longest)
        found = store.find(row_keys(windows))
        if missing := int((found < 0).sum()):
            raise JabertError(
                f"the feature store {store.path} lacks {missing} of {len(windows)} rows; "
                "`jabert featurize` computes them"
            )
        there = real_tokens(ids.windows(longest))
        indices = np.full(there.shape, -1, dtype=np.int64)
        indices[there] = found
        return cls(store, indices, ids.lengths, np.ones_like(ids.lengths))

    def __len__(self) -> int:
        return len(self.indices)

    def take(self, numbers: npt.NDArray[np.integer]) -> "StoredVectors":
        """The vectors of the texts of these numbers, (texts,), in that order."""
        return StoredVectors(
            self.store,
            self.indices[numbers],
            self.lengths[numbers],
            self.sizes[numbers],
            taken=(self, numbers),
        )

    @cached_property
    def means(self) -> npt.NDArray[np.float64]:
        """The mean vector of each text, (rows, hidden); of texts taken from others, those of the others.

        So the vectors are read once, however many folds a stack makes of its rows.
        """
        if self.taken:
            others, numbers = self.taken
            found: npt.NDArray[np.float64] = others.means[numbers]
            return found
        return np.stack([self.read(number).mean(axis=0, dtype=np.float64) for number in range(len(self))])

    def joined(self, other: "StoredVectors") -> "StoredVectors":
        """These texts and others of the same store."""
        widest = max(self.indices.shape[1], other.indices.shape[1])
        indices = [
            np.pad(each.indices, ((0, 0), (0, widest - each.indices.shape[1])), constant_values=-1)
            for each in (self, other)
        ]
        return StoredVectors(
            self.store,
            np.concatenate(indices),
            np.concatenate([self.lengths, other.lengths]),
            np.concatenate([self.sizes, other.sizes]),
        )

    def shortened(self, most: int) -> "StoredVectors":
        """The same with at most so many vectors for a text: where there are more, means of neighbours."""
        sizes = -(-self.lengths // most)
        return replace(self, lengths=-(-self.lengths // sizes), sizes=sizes, taken=None)

    def read(self, number: int) -> npt.NDArray[np.floating]:
        """The vectors of one text, (tokens, hidden), of its windows in order; in the dtype of the store.

        Of a single window they are a view of the mapped file.
        """
        windows = [self.store.vectors(index) for index in self.indices[number].tolist() if index >= 0]
        vectors = windows[0] if len(windows) == 1 else np.concatenate(windows)
        return vectors if self.sizes[number] == 1 else _means(vectors, int(self.sizes[number]))

    def padded(self, numbers: npt.NDArray[np.integer]) -> npt.NDArray[np.floating]:
        """The vectors of some texts as one batch (texts, tokens, hidden), right-padded with 0.

        They are in the dtype of the store, and the model casts them: NumPy turns float16 into float32 more
        slowly than it copies.
        """
        store, lengths = self.store, self.lengths[numbers]
        longest, shortest = int(lengths.max()), int(lengths.min())
        padding = np.zeros((longest - shortest, store.hidden_size), dtype=store.dtype)
        pieces = []
        for number, length in zip(numbers.tolist(), lengths.tolist(), strict=True):
            pieces += [self.read(number), padding[: longest - length]]
        # Joined in one call, for NumPy assigns row by row at two thirds of the speed.
        return np.concatenate(pieces).reshape(len(numbers), longest, store.hidden_size)


def _means(vectors: npt.NDArray[np.floating], size: int) -> npt.NDArray[np.floating]:
    """Means of `size` neighbouring rows each; those of the last may be fewer."""
    starts = np.arange(0, len(vectors), size)
    sums = np.add.reduceat(vectors, starts, axis=0, dtype=np.float32)
    counts = np.diff(starts, append=len(vectors))
    return np.asarray(sums / counts[:, None], dtype=vectors.dtype)


@dataclass(frozen=True)
class Rows:
    """Labelled rows, in the order of the data.

    Attributes:
        texts: the text of each row.
        classes: int32 (rows,), index of its label.
        groups: its group, e.g. the article that a sentence comes from; None where it has none.
        ids: its token ids, those of its windows one behind the other; None unless the method needs tokens or
            vectors.
        vectors: its token vectors; None unless the method needs vectors.
        targets: float64 (rows, classes), what a network is to answer for each row in place of its class; None
            to learn the classes.
    """

    texts: Sequence[str]
    classes: npt.NDArray[np.int32]
    groups: Sequence[str | None] = ()
    ids: TokenIds | None = None
    vectors: StoredVectors | None = None
    targets: npt.NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return len(self.classes)

    def take(self, numbers: npt.NDArray[np.integer]) -> "Rows":
        """The rows of these numbers, (rows,), in that order."""
        return replace(
            self,
            texts=[self.texts[number] for number in numbers],
            classes=self.classes[numbers],
            groups=[self.groups[number] for number in numbers] if self.groups else (),
            ids=self.ids and self.ids.take(numbers),
            vectors=self.vectors and self.vectors.take(numbers),
            targets=None if self.targets is None else self.targets[numbers],
        )

    def joined(self, other: "Rows") -> "Rows":
        """These rows and others, which came with the same."""
        return Rows(
            texts=[*self.texts, *other.texts],
            classes=np.concatenate([self.classes, other.classes]),
            groups=[*self.groups, *other.groups],
            ids=TokenIds.joined([self.ids, other.ids]) if self.ids and other.ids else None,
            vectors=self.vectors.joined(other.vectors) if self.vectors and other.vectors else None,
        )

    def distributions(self, classes: int) -> npt.NDArray[np.float32]:
        """What a network is to answer, (rows, classes): the targets, or 1 for the class of each row."""
        if self.targets is None:
            return np.eye(classes, dtype=np.float32)[self.classes]
        return self.targets.astype(np.float32)

    def token_ids(self) -> TokenIds:
        """The token ids, for a method that asked for them."""
        if self.ids is None:
            raise ValueError("these rows came without token ids: the method does not name them in `needs`")
        return self.ids

    def stored_vectors(self) -> StoredVectors:
        """The vectors, for a method that asked for them."""
        if self.vectors is None:
            raise ValueError("these rows came without vectors: the method does not name them in `needs`")
        return self.vectors
