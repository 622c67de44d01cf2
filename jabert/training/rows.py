"""Rows to learn from, with what a method asked for: texts, token ids, or vectors in the feature store."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from jabert.encoder import TokenIds
from jabert.errors import JabertError
from jabert.features.store import FeatureStore, row_keys


@dataclass(frozen=True)
class StoredVectors:
    """Token vectors of texts, read from the feature store when they are needed.

    Attributes:
        store: the partition that holds them.
        indices: int64 (rows,), where each text stands in the store.
        lengths: int32 (rows,), tokens of each text.
    """

    store: FeatureStore
    indices: npt.NDArray[np.int64]
    lengths: npt.NDArray[np.int32]

    @classmethod
    def find(cls, store: FeatureStore, ids: TokenIds) -> "StoredVectors":
        """The vectors of texts by their token ids.

        Raises:
            JabertError: the store lacks some of them.
        """
        indices = store.find(row_keys(ids))
        if missing := int((indices < 0).sum()):
            raise JabertError(
                f"the feature store {store.path} lacks {missing} of {len(ids)} rows; "
                "`jabert featurize` computes them"
            )
        return cls(store, indices, ids.lengths)

    def __len__(self) -> int:
        return len(self.indices)

    def take(self, numbers: npt.NDArray[np.integer]) -> "StoredVectors":
        """The vectors of the texts of these numbers, (texts,), in that order."""
        return StoredVectors(self.store, self.indices[numbers], self.lengths[numbers])

    def read(self, number: int) -> npt.NDArray[np.floating]:
        """The vectors of one text, (tokens, hidden), in the dtype of the store; a view of the mapped file."""
        return self.store.vectors(int(self.indices[number]))

    def padded(self, numbers: npt.NDArray[np.integer]) -> npt.NDArray[np.floating]:
        """The vectors of some texts as one batch (texts, tokens, hidden), right-padded with 0.

        They are in the dtype of the store, and the model casts them: NumPy turns float16 into float32 more
        slowly than it copies.
        """
        store, lengths = self.store, self.lengths[numbers]
        longest, shortest = int(lengths.max()), int(lengths.min())
        padding = np.zeros((longest - shortest, store.hidden_size), dtype=store.dtype)
        pieces = []
        for index in self.indices[numbers].tolist():
            vectors = store.vectors(index)
            pieces += [vectors, padding[: longest - len(vectors)]]
        # Joined in one call, for NumPy assigns row by row at two thirds of the speed.
        return np.concatenate(pieces).reshape(len(numbers), longest, store.hidden_size)


@dataclass(frozen=True)
class Rows:
    """Labelled rows, in the order of the data.

    Attributes:
        texts: the text of each row.
        classes: int32 (rows,), index of its label.
        groups: its group, e.g. the article that a sentence comes from; None where it has none.
        ids: its token ids; None unless the method needs tokens or vectors.
        vectors: its token vectors; None unless the method needs vectors.
    """

    texts: Sequence[str]
    classes: npt.NDArray[np.int32]
    groups: Sequence[str | None] = ()
    ids: TokenIds | None = None
    vectors: StoredVectors | None = None

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
        )

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
