"""A corpus as token ids on disk, in shards of bounded size, of which training loads one at a time."""

from collections.abc import Iterable
from hashlib import blake2b
from pathlib import Path

import numpy as np
import numpy.typing as npt

from jabert.errors import DamagedError, JabertError, refusing
from jabert.files import atomic_path, set_aside, write_json
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
        try:
            for path in (*shards_of(folder, "train"), *shards_of(folder, "validation")):
                read_shard(path)
            return
        except DamagedError as error:
            set_aside(folder, str(error))
    pending: dict[str, list[Document]] = {"train": [], "validation": []}
    shards, pieces = dict.fromkeys(pending, 0), dict.fromkeys(pending, 0)

    def flush(split: str) -> None:
        if pending[split]:
            _write_shard(folder / f"{split}-{shards[split]:06}.npz", pending[split])
            shards[split] += 1
            pending[split], pieces[split] = [], 0

    for document in documents:
        ids = [np.array(row, dtype=np.int32) for row in vocabulary.encode(document) if row]
        if ids:
            digest = blake2b("\n".join(document).encode(), digest_size=8).digest()
            split = "validation" if int.from_bytes(digest) / 2**64 < validation_share else "train"
            pending[split].append(ids)
            pieces[split] += sum(map(len, ids))
            if pieces[split] >= _SHARD_PIECES:
                flush(split)
    for split in pending:
        flush(split)
    if not shards["train"]:
        raise JabertError(
            f"corpus.validation_share = {validation_share} holds out all documents there are; lower it, or "
            "give more text, documents divided by blank lines"
        )
    write_json(folder / _DONE, shards)


def _write_shard(path: Path, documents: list[Document]) -> None:
    rows = [row for document in documents for row in document]
    with atomic_path(path) as temporary:
        np.savez(
            temporary,
            ids=np.concatenate(rows),
            sentences=np.array([len(row) for row in rows], dtype=np.int64),
            documents=np.array([len(document) for document in documents], dtype=np.int64),
        )


def shards_of(folder: Path, split: str) -> list[Path]:
    """The shards of the split `train` or `validation`."""
    return sorted(folder.glob(f"{split}-*.npz"))


def read_shard(path: Path) -> list[Document]:
    """The documents of one shard.

    Raises:
        DamagedError: it cannot be read.
    """
    with refusing(f"{path} is damaged", DamagedError), np.load(path) as arrays:
        ids, sentences, documents = (arrays[name] for name in ("ids", "sentences", "documents"))
    rows = np.split(ids, np.cumsum(sentences)[:-1])
    ends = np.cumsum(documents)
    return [rows[start:end] for start, end in zip(ends - documents, ends, strict=True)]
