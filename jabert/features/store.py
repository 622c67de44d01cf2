"""Token vectors on disk, each found by a digest of the token ids that it was computed from.

A store is a folder with a subfolder for each *partition*: one encoder, engine, precision, padding and dtype.
Each writer appends to a file of its own there, an Arrow IPC stream of record batches. Readers take a batch
only if it is complete and matches its checksum, and no process changes the file of another. So writers need
no lock, and a kill loses at most the batch that was being written.

A process compares a batch with its checksum once, before it takes the first row of it. Rows of a damaged
batch count as missing, so they are computed again and written to another file.
"""

import logging
import os
import uuid
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from hashlib import blake2b
from io import FileIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from isal import isal_zlib

from jabert.encoder.batching import TokenIds
from jabert.files import digest_of_json, on_disk, write_json

STORE_FORMAT = "2"
DESCRIPTION = "space.json"  # of a partition; the name keeps stores of earlier versions readable
Vectors = npt.NDArray[np.floating[Any]]
"""float16 or float32 (tokens, hidden)."""

_SUFFIX = ".arrows"
_KEY_BYTES = 16
_CHECKSUM = b"crc32"

log = logging.getLogger("jabert")


def row_keys(ids: Iterable[npt.NDArray[np.int32]]) -> npt.NDArray[np.uint8]:
    """Digest of the token ids (tokens,) of each text: uint8 (texts, 16)."""
    digests = (
        blake2b(np.ascontiguousarray(row, dtype="<i4").data, digest_size=_KEY_BYTES).digest() for row in ids
    )
    return np.frombuffer(b"".join(digests), dtype=np.uint8).reshape(-1, _KEY_BYTES)


class FeatureStore:
    """The vectors of one partition, as of when it was opened or last refreshed.

    A row is one text. Its index, from 0 to `len(store) - 1`, is valid as long as the object.

    Args:
        root: folder of the store; created when the first row is written.
        origin: what a vector depends on besides its token ids: encoder fingerprint, engine, precision,
            padding. A digest of it names the partition, so vectors of one encoder are never taken for those
            of another.
        hidden_size: columns of a vector.
        dtype: of the vectors, `float16` or `float32`.

    Attributes:
        origin: what is written to the partition's description.
        path: folder of the partition.
        hidden_size: columns of a vector.
        dtype: of the vectors.
        schema: of the record batches.
    """

    def __init__(self, root: Path, origin: dict[str, str], hidden_size: int, dtype: str) -> None:
        self.origin = {"format": STORE_FORMAT, "dtype": dtype, "hidden_size": str(hidden_size), **origin}
        self.path = root / digest_of_json(self.origin)[:16]
        self.hidden_size, self.dtype = hidden_size, np.dtype(dtype)
        ids, vectors = pa.large_list(pa.int32()), pa.large_list(pa.from_numpy_dtype(self.dtype))
        self.schema = pa.schema({"key": pa.binary(_KEY_BYTES), "ids": ids, "vectors": vectors})
        self._batches: list[_Batch] = []
        self._starts: list[int] = []  # index of each batch's first row
        self._last: dict[Path, _Batch] = {}  # last batch of each file
        self._rows = 0
        # First halves of all keys, sorted; the keys and their rows in that order.
        self._index: tuple[npt.NDArray[Any], ...] | None = None
        self.refresh()

    def __len__(self) -> int:
        return self._rows

    @property
    def tokens(self) -> int:
        """Tokens of all rows."""
        return sum(len(batch.ids.flat) for batch in self._batches)

    def refresh(self) -> None:
        """Read what this and other processes have written since the store was opened or last refreshed."""
        for path in sorted(self.path.glob(f"*{_SUFFIX}")):
            last = self._last.get(path)
            if last is None or path.stat().st_size > last.end:
                known = 0 if last is None else last.number + 1
                for batch in _whole_batches(path, self.schema, self.hidden_size)[known:]:
                    self._starts.append(self._rows)
                    self._batches.append(batch)
                    self._rows += len(batch.keys)
                    self._last[path] = batch
                    self._index = None

    def find(self, keys: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
        """Indices int64 (rows,) of rows by their keys (rows, 16); -1 for a row that is not in the store.

        Rows of a damaged batch are not; a warning names it. Keys are sorted once, since scoring a table looks
        up its rows chunk by chunk. They are digests, so their first halves suffice to sort them.
        """
        while True:
            found = self._find(keys)
            numbers = np.unique(np.searchsorted(self._starts, found[found >= 0], side="right") - 1)
            damaged = [batch for number in numbers if not (batch := self._batches[number]).is_whole]
            if not damaged:
                return found
            self._index = None  # without these: other files may have the same rows
            for batch in damaged:
                log.warning(
                    "%s: batch %d is damaged; its %s texts are computed again when they are needed",
                    *(batch.path, batch.number, f"{len(batch.keys):,}"),
                )

    def _find(self, keys: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
        """As `find`, with rows of batches that were not compared with their checksum yet."""
        if self._index is None:
            sound = [not batch.is_known_damaged for batch in self._batches]
            stored = np.concatenate(
                [np.empty((0, _KEY_BYTES), np.uint8), *(batch.keys for batch in self._batches)]
            )
            rows = np.flatnonzero(np.repeat(sound, [len(batch.keys) for batch in self._batches]))
            order = rows[np.argsort(_first_halves(stored[rows]), kind="stable")]
            self._index = _first_halves(stored)[order], stored[order], order
        halves, ordered, rows = self._index
        if not len(keys) or not len(rows):
            return np.full(len(keys), -1, dtype=np.int64)
        nearest = np.searchsorted(halves, _first_halves(keys)).clip(max=len(rows) - 1)
        # Of two keys with the same first half, once in 10^19 pairs, one is not found and is computed again.
        return np.where((ordered[nearest] == keys).all(axis=1), rows[nearest], -1)

    def vectors(self, index: int) -> Vectors:
        """The vectors (tokens, hidden) of one text, a view of the memory-mapped file."""
        batch, row = self._row(index)
        return np.asarray(batch.vectors[batch.ids.offsets[row] : batch.ids.offsets[row + 1]])

    def key(self, index: int) -> bytes:
        """The key of one row, 16 bytes."""
        batch, row = self._row(index)
        return bytes(batch.keys[row])

    def token_ids(self, index: int) -> npt.NDArray[np.int32]:
        """The token ids (tokens,) that the vectors of one row were computed from."""
        batch, row = self._row(index)
        return batch.ids[row]

    def damaged(self) -> list[str]:
        """Check all batches against their checksums; a sentence for each that does not match."""
        return [
            f"{batch.path}: batch {batch.number} does not match its checksum; delete the file"
            for batch in self._batches
            if not batch.is_whole
        ]

    def unread(self) -> dict[Path, int]:
        """Bytes at the end of each file that ends in an incomplete batch: cut off by a kill, or damaged."""
        ends = dict.fromkeys(self.path.glob(f"*{_SUFFIX}"), 0)
        ends |= {path: batch.end for path, batch in self._last.items()}
        left = {path: path.stat().st_size - end for path, end in ends.items()}
        return {path: size for path, size in left.items() if size > 0}

    @contextmanager
    def writer(self) -> Iterator["Writer"]:
        """A new file to append rows to; the store has them after the next `refresh`.

        Raises:
            JabertError: the file cannot be written, e.g. the disk is full; what was appended before stays.
        """
        description = self.path / DESCRIPTION
        if not description.exists():
            write_json(description, self.origin)
        path = self.path / f"{uuid.uuid4().hex}{_SUFFIX}"
        try:
            with on_disk(path):
                file = path.open("xb", buffering=0)
            with file:
                yield Writer(file, self)
        finally:
            if path.exists() and not path.stat().st_size:
                path.unlink()

    def _row(self, index: int) -> tuple["_Batch", int]:
        """The batch of a row, and the row's index in it."""
        if not 0 <= index < self._rows:
            raise IndexError(f"the store has no row {index}")
        number = bisect_right(self._starts, index) - 1
        return self._batches[number], index - self._starts[number]


class Writer:
    """Appends batches of rows to one file of a store."""

    def __init__(self, file: FileIO, store: FeatureStore) -> None:
        self._file, self._store = file, store
        self._stream = pa.ipc.new_stream(file, store.schema)

    def append(self, keys: npt.NDArray[np.uint8], ids: TokenIds, vectors: Vectors) -> None:
        """Write rows as one batch, which is durable when this returns; after an error, nothing of it is left.

        Args:
            keys: uint8 (rows, 16), from `row_keys`.
            ids: the token ids of the rows.
            vectors: (tokens of all rows, hidden), cast to the dtype of the store.

        Raises:
            JabertError: the file cannot be written, e.g. the disk is full.
        """
        store, end = self._store, self._file.tell()
        vectors = np.asarray(vectors, dtype=store.dtype)
        columns = [
            _array(pa.binary(_KEY_BYTES), keys, len(keys)),
            pa.LargeListArray.from_arrays(_numbers(ids.offsets), _numbers(ids.flat)),
            pa.LargeListArray.from_arrays(_numbers(ids.offsets * store.hidden_size), _numbers(vectors)),
        ]
        batch = pa.record_batch(columns, schema=store.schema)
        with on_disk(Path(self._file.name)):
            try:
                self._stream.write_batch(batch, custom_metadata={_CHECKSUM: str(_checksum(batch))})
                os.fsync(self._file.fileno())
            except OSError:
                self._file.truncate(end)
                raise


class _Batch:
    """A record batch of a memory-mapped file, its columns as NumPy arrays without a copy.

    Args:
        found: the batch with its custom metadata, as pyarrow reads it.
        hidden_size: columns of a vector.
        path: the file.
        number: of the batch in the file, from 0.
        end: offset of the batch's end in the file, bytes.

    Raises:
        ValueError, LookupError: columns or metadata are inconsistent.
    """

    def __init__(self, found: Any, hidden_size: int, path: Path, number: int, end: int) -> None:
        found.batch.validate(full=True)  # a damaged length would point outside the file's memory
        self._batch: pa.RecordBatch = found.batch
        self._checksum = int((found.custom_metadata or {})[_CHECKSUM])
        self.path, self.number, self.end = path, number, end
        key, ids, vectors = self._batch.columns
        self.keys = np.frombuffer(key.buffers()[1], np.uint8, len(key) * _KEY_BYTES).reshape(-1, _KEY_BYTES)
        self.ids = TokenIds(_values(ids.values), _values(ids.offsets))
        if not np.array_equal(self.ids.offsets * hidden_size, _values(vectors.offsets)):
            raise ValueError("ids and vectors have different numbers of tokens")
        # (tokens of all rows, hidden)
        self.vectors = _values(vectors.values).reshape(len(self.ids.flat), hidden_size)

    @cached_property
    def is_whole(self) -> bool:
        """Whether the bytes matched the checksum when this was first asked."""
        return _checksum(self._batch) == self._checksum

    @property
    def is_known_damaged(self) -> bool:
        """Whether it was asked, and they did not."""
        return not self.__dict__.get("is_whole", True)


def _whole_batches(path: Path, schema: pa.Schema, hidden_size: int) -> list[_Batch]:
    """The batches before the end of a file, or before the first one that Arrow cannot read.

    Every batch but the last was flushed to disk before the next was begun. The last is checked against its
    checksum, in case the machine lost power while it was written.
    """
    batches: list[_Batch] = []
    with suppress(Exception):  # a damaged file makes Arrow raise anything, and StopIteration is its end
        mapped = pa.memory_map(str(path))
        reader = pa.ipc.open_stream(mapped)
        while reader.schema.equals(schema):  # a damaged schema would give the bytes another meaning
            found = reader.read_next_batch_with_custom_metadata()
            batches.append(_Batch(found, hidden_size, path, len(batches), mapped.tell()))
    if batches and not batches[-1].is_whole:
        batches.pop()
    return batches


def _first_halves(keys: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint64]:
    return np.asarray(np.ascontiguousarray(keys).view("<u8")[:, 0])


# By buffers, because pyarrow 25's own conversions from and to NumPy import pandas at their first call, which
# takes longer than reading a store.
def _numbers(values: npt.NDArray[Any]) -> pa.Array:
    return _array(pa.from_numpy_dtype(values.dtype), values, values.size)


def _array(kind: pa.DataType, values: npt.NDArray[Any], length: int) -> pa.Array:
    return pa.Array.from_buffers(kind, length, [None, pa.py_buffer(np.ascontiguousarray(values))])


def _values(array: pa.Array) -> npt.NDArray[Any]:
    if array.null_count:
        raise ValueError("the column has null values")
    kind = "f" if pa.types.is_floating(array.type) else "i"
    return np.frombuffer(array.buffers()[1], f"{kind}{array.type.bit_width // 8}", len(array))


def _checksum(batch: pa.RecordBatch) -> int:
    checksum = 0
    for column in batch.columns:
        for buffer in column.buffers():
            checksum = isal_zlib.crc32(buffer, checksum) if buffer else checksum
    return checksum
