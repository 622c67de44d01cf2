"""A corpus as token ids on disk, in shards of bounded size, of which training loads one at a time."""

from collections.abc import Iterable, Iterator
from hashlib import blake2b
from pathlib import Path

import numpy as np
import numpy.typing as npt

from jabert.errors import JabertError
from jabert.files import atomic_path, write_json
from jabert.pretraining.vocabulary import Vocabulary

Sentence = npt.NDArray[np.int32]
"""Token ids (pieces,) without special pieces."""
Document = list[Sentence]

_SHARD_PIECES = 1 << 18
_DONE = "shards.json"


def write_shards(
    documents: Iterable[list[str]], vocabulary: Vocabulary, folder: Path, validation_share: float
) -> None:
    """Tokenize a corpus and write it to `folder`; idempotent.

    A digest of its text decides whether a document is held out, so that equal texts are in the same split.

    Args:
        documents: sentences of each document.
        vocabulary: cuts sentences into pieces.
        folder: where the shards are written.
        validation_share: share of the documents that is held out.

    Raises:
        JabertError: no document is left to learn from, or the disk is full.
    """
    if (folder / _DONE).exists():
        return
    writers = {split: _Writer(folder, split) for split in ("train", "validation")}
    for document in documents:
        ids = [np.array(row, dtype=np.int32) for row in vocabulary.encode(document) if row]
        if ids:
            writers["validation" if _share_of(document) < validation_share else "train"].add(ids)
    for writer in writers.values():
        writer.flush()
    if not writers["train"].shards:
        raise JabertError(f"corpus.validation_share = {validation_share} holds out all documents there are")
    write_json(folder / _DONE, {split: writer.shards for split, writer in writers.items()})


def shards_of(folder: Path, split: str) -> list[Path]:
    """The shards of the split `train` or `validation`."""
    return sorted(folder.glob(f"{split}-*.npz"))


def read_shard(path: Path) -> list[Document]:
    """The documents of one shard."""
    with np.load(path) as arrays:
        ids, sentences, documents = (arrays[name] for name in ("ids", "sentences", "documents"))
    rows = np.split(ids, np.cumsum(sentences)[:-1])
    ends = np.cumsum(documents)
    return [rows[start:end] for start, end in zip(ends - documents, ends, strict=True)]


def _share_of(document: list[str]) -> float:
    """A number in [0, 1) that depends only on the text."""
    digest = blake2b("\n".join(document).encode(), digest_size=8).digest()
    return int.from_bytes(digest) / 2**64


class _Writer:
    """Collects documents of one split until they fill a shard."""

    def __init__(self, folder: Path, split: str) -> None:
        self.shards = 0
        self._folder, self._split = folder, split
        self._pending: list[Document] = []
        self._pieces = 0

    def add(self, document: Document) -> None:
        self._pending.append(document)
        self._pieces += sum(map(len, document))
        if self._pieces >= _SHARD_PIECES:
            self.flush()

    def flush(self) -> None:
        if not self._pending:
            return
        rows: Iterator[Sentence] = (row for document in self._pending for row in document)
        sizes = [len(row) for document in self._pending for row in document]
        with atomic_path(self._folder / f"{self._split}-{self.shards:06}.npz") as temporary:
            np.savez(
                temporary,
                ids=np.concatenate(list(rows)),
                sentences=np.array(sizes, dtype=np.int64),
                documents=np.array([len(document) for document in self._pending], dtype=np.int64),
            )
        self.shards += 1
        self._pending, self._pieces = [], 0
