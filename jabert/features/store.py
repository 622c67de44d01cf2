"""Token vectors on disk, each found by what it was computed from.

A store is a folder; each *space* in it (one encoder, precision, padding and dtype) is a subfolder. Whoever
computes vectors writes a file of its own there: an Arrow IPC stream, to which one record batch after another
is appended. A batch counts once it is there whole, with its checksum: what a killed process left behind it
is not read, and no file is ever changed by another process. So writers don't disturb each other, and a
kill loses at most the batch that was being written.
"""

import os
import uuid
import zlib
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from hashlib import blake2b
from io import FileIO
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from jabert.encoder.ragged import TokenIds
from jabert.files import digest_of_json, on_disk, write_json

__all__ = ["STORE_FORMAT", "FeatureStore", "Writer", "row_keys"]

STORE_FORMAT = "2"
_SUFFIX = ".arrows"
_KEY_BYTES = 16
_CHECKSUM = b"crc32"
_OWN = ("format", "dtype", "hidden_size")  # what describes a space besides the origin of its vectors


def row_keys(ids: Iterable[np.ndarray]) -> np.ndarray:
    """Digest of the token ids (int32) of each text: uint8 (texts, 16)."""
    digests = (
        blake2b(np.ascontiguousarray(row, dtype="<i4").data, digest_size=_KEY_BYTES).digest() for row in ids
    )
    return np.frombuffer(b"".join(digests), dtype=np.uint8).reshape(-1, _KEY_BYTES)


class FeatureStore:
    """The vectors of one space, as they were when it was opened or last refreshed.

    A row is known by its place, a number from 0 to `len(store) - 1` that holds as long as the object.

    Args:
        root: folder of the store; made when the first row is written.
        origin: JSON values that a vector depends on besides its token ids: encoder fingerprint, engine,
            precision, padding. Their digest names the space, so that another encoder can never be
            served these vectors.
        hidden_size: width of a vector.
        dtype: `float16` or `float32`.
    """

    def __init__(self, root: Path, origin: dict[str, str], hidden_size: int, dtype: str) -> None:
        own = (STORE_FORMAT, dtype, str(hidden_size))
        self.origin = {**dict(zip(_OWN, own, strict=True)), **origin}
        self.path = root / digest_of_json(self.origin)[:16]
        self.hidden_size = hidden_size
        self.dtype = np.dtype(dtype)
        self.schema = pa.schema(
            {
                "key": pa.binary(_KEY_BYTES),
                "ids": pa.large_list(pa.int32()),
                "vectors": pa.large_list(pa.from_numpy_dtype(self.dtype)),
            }
        )
        self._batches: list[_Batch] = []
        self._starts: list[int] = []  # place of each batch's first row
        self._last: dict[Path, _Batch] = {}  # of each file
        self._rows = 0
        self._index: _Index | None = None
        self.refresh()

    @classmethod
    def at(cls, path: Path, described: dict[str, str]) -> "FeatureStore":
        """The space in the folder `path`, by what its `space.json` says."""
        origin = {name: value for name, value in described.items() if name not in _OWN}
        return cls(path.parent, origin, int(described["hidden_size"]), described["dtype"])

    def __len__(self) -> int:
        return self._rows

    @property
    def tokens(self) -> int:
        """Tokens of all rows."""
        return sum(len(batch.ids.flat) for batch in self._batches)

    def refresh(self) -> None:
        """Take up what was written since the store was opened, also by other processes."""
        for path in sorted(self.path.glob(f"*{_SUFFIX}")):
            last = self._last.get(path)
            if last is None or path.stat().st_size > last.end:
                for batch in _whole_batches(path, self.schema, self.hidden_size):
                    if last is None or batch.number > last.number:
                        self._take_up(batch)

    def find(self, keys: np.ndarray) -> np.ndarray:
        """Places of rows by their keys, uint8 (rows, 16): int64 (rows,), -1 where there is none."""
        if not len(keys) or not self._rows:
            return np.full(len(keys), -1, dtype=np.int64)
        if self._index is None:
            self._index = _Index(np.concatenate([batch.keys for batch in self._batches]))
        return self._index.find(keys)

    def vectors(self, place: int) -> np.ndarray:
        """The vectors of one text, (tokens, hidden), a view of the mapped file."""
        batch, row = self._row(place)
        vectors: np.ndarray = batch.vectors[batch.ids.offsets[row] : batch.ids.offsets[row + 1]]
        return vectors

    def key(self, place: int) -> bytes:
        """The key of one row, 16 bytes."""
        batch, row = self._row(place)
        return bytes(batch.keys[row])

    def token_ids(self, place: int) -> np.ndarray:
        """The token ids that the vectors were computed from, int32 (tokens,)."""
        batch, row = self._row(place)
        return batch.ids[row]

    def damaged(self) -> list[str]:
        """Checks all batches against their checksums; a sentence for each that differs."""
        return [
            f"{batch.path}: batch {batch.number} is not what was written; delete the file"
            for batch in self._batches
            if not batch.is_whole()
        ]

    def unread(self) -> dict[Path, int]:
        """Bytes at the end of files that belong to no whole batch: of a killed process, or damaged."""
        ends = dict.fromkeys(self.path.glob(f"*{_SUFFIX}"), 0)
        ends |= {path: batch.end for path, batch in self._last.items()}
        left = {path: path.stat().st_size - end for path, end in ends.items()}
        return {path: size for path, size in left.items() if size > 0}

    @contextmanager
    def writer(self) -> Iterator["Writer"]:
        """A file of one's own to append rows to; they are in the store after the next `refresh`.

        Raises:
            JabertError: the file cannot be written, e.g. the disk is full; what was appended before stays.
        """
        description = self.path / "space.json"
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

    def _take_up(self, batch: "_Batch") -> None:
        self._starts.append(self._rows)
        self._batches.append(batch)
        self._rows += len(batch.keys)
        self._last[batch.path] = batch
        self._index = None

    def _row(self, place: int) -> tuple["_Batch", int]:
        if not 0 <= place < self._rows:
            raise IndexError(f"the store has no row {place}")
        number = bisect_right(self._starts, place) - 1
        return self._batches[number], place - self._starts[number]


class Writer:
    """Appends batches of rows to one file of a store."""

    def __init__(self, file: FileIO, store: FeatureStore) -> None:
        self._file = file
        self._store = store
        self._stream = pa.ipc.new_stream(file, store.schema)

    def append(self, keys: np.ndarray, ids: TokenIds, vectors: np.ndarray) -> None:
        """Write rows as one batch; when this returns they are durable. After an error none of them is there.

        Args:
            keys: uint8 (rows, 16), as `row_keys` makes them.
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
    """One record batch in the mapped file, which it ends at byte `end`, its columns as NumPy arrays.

    Raises:
        ValueError, LookupError: its parts do not fit each other.
    """

    def __init__(self, found: Any, hidden_size: int, path: Path, number: int, end: int) -> None:
        found.batch.validate(full=True)  # or a damaged length would lead out of the file's memory
        self._batch: pa.RecordBatch = found.batch
        self._checksum = int((found.custom_metadata or {})[_CHECKSUM])
        self.path = path
        self.number = number
        self.end = end
        key, ids, vectors = self._batch.columns
        self.keys = np.frombuffer(key.buffers()[1], np.uint8, len(key) * _KEY_BYTES).reshape(-1, _KEY_BYTES)
        self.ids = TokenIds(_values(ids.values), _values(ids.offsets))
        if not np.array_equal(self.ids.offsets * hidden_size, _values(vectors.offsets)):
            raise ValueError("the rows of ids are not those of vectors")
        # (tokens of all rows, hidden)
        self.vectors = _values(vectors.values).reshape(len(self.ids.flat), hidden_size)

    def is_whole(self) -> bool:
        """Whether the bytes are those that were written."""
        return _checksum(self._batch) == self._checksum


def _whole_batches(path: Path, schema: pa.Schema, hidden_size: int) -> Iterator[_Batch]:
    """The batches of a file up to where a killed writer left it, or another is writing.

    Every batch but the last is known to be on disk, since the next was begun only then; the last is read
    and held against its checksum, in case the machine lost power while it was written.
    """
    batches = list(_readable_batches(path, schema, hidden_size))
    if batches and not batches[-1].is_whole():
        batches.pop()
    yield from batches


def _readable_batches(path: Path, schema: pa.Schema, hidden_size: int) -> Iterator[_Batch]:
    """Those before the file's end, or before the first that is damaged; Arrow has many names for that."""
    with suppress(StopIteration, pa.ArrowException, OSError, ValueError, LookupError):
        mapped = pa.memory_map(str(path))
        reader = pa.ipc.open_stream(mapped)
        if not reader.schema.equals(schema):  # Arrow would take the bytes for whatever it says
            return
        for number in count():
            found = reader.read_next_batch_with_custom_metadata()
            yield _Batch(found, hidden_size, path, number, mapped.tell())


class _Index:
    """Finds rows by their keys. Sorted once, for a table that is scored asks again for each chunk of it.

    Args:
        keys: uint8 (rows, 16), of all rows; digests, so that their first half is enough to sort by.
    """

    def __init__(self, keys: np.ndarray) -> None:
        self._keys = keys
        halves = _first_halves(keys)
        self._order = np.argsort(halves, kind="stable")
        self._sorted = halves[self._order]

    def find(self, keys: np.ndarray) -> np.ndarray:
        """As `FeatureStore.find`."""
        nearest = np.searchsorted(self._sorted, _first_halves(keys)).clip(max=len(self._keys) - 1)
        places = self._order[nearest]
        # Of two keys that share their first half, once in 10^19 pairs, one is not found and is computed anew.
        return np.where((self._keys[places] == keys).all(axis=1), places, -1)


def _first_halves(keys: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(keys).view("<u8")[:, 0]


# By buffers, for pyarrow 25's own conversions from and to NumPy import pandas at their first call: that takes
# longer than reading a store.
def _numbers(values: np.ndarray) -> pa.Array:
    return _array(pa.from_numpy_dtype(values.dtype), values, values.size)


def _array(kind: pa.DataType, values: np.ndarray, length: int) -> pa.Array:
    return pa.Array.from_buffers(kind, length, [None, pa.py_buffer(np.ascontiguousarray(values))])


def _values(array: pa.Array) -> np.ndarray:
    if array.null_count:
        raise ValueError("something is missing")
    kind = "f" if pa.types.is_floating(array.type) else "i"
    return np.frombuffer(array.buffers()[1], f"{kind}{array.type.bit_width // 8}", len(array))


def _checksum(batch: pa.RecordBatch) -> int:
    checksum = 0
    for column in batch.columns:
        for buffer in column.buffers():
            checksum = zlib.crc32(buffer, checksum) if buffer else checksum
    return checksum
