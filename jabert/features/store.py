"""Token vectors on disk, each found by what it was computed from.

A store is a folder; each *space* in it (one encoder, engine, precision and dtype) is a subfolder of
shards. A shard is an Arrow IPC file with one row a text: its key and its vectors. A shard gets its
name only when it is complete and on disk, and is never changed afterwards; so writers in several
processes don't disturb each other, and a kill loses at most the shard being written.
"""

import uuid
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path

import numpy as np
import pyarrow as pa

from jabert.errors import JabertError
from jabert.files import atomic_path, digest_of_json, write_json

__all__ = ["FeatureStore", "row_key"]

_FORMAT = 1
_SUFFIX = ".arrow"
_KEY_BYTES = 16


def row_key(ids: np.ndarray) -> bytes:
    """Digest of the token ids of one text (int32), 16 bytes."""
    return blake2b(np.ascontiguousarray(ids, dtype="<i4").tobytes(), digest_size=_KEY_BYTES).digest()


class FeatureStore:
    """The vectors of one space.

    Args:
        root: folder of the store; made when the first row is written.
        origin: JSON values that a vector depends on besides its token ids: encoder fingerprint,
            engine, precision, padding. Their digest names the space, so that another encoder can
            never be served these vectors.
        hidden_size: width of a vector.
        dtype: `float16` or `float32`.

    Raises:
        JabertError: a shard cannot be read.
    """

    def __init__(self, root: Path, origin: dict[str, str], hidden_size: int, dtype: str) -> None:
        self.origin = {"format": str(_FORMAT), "dtype": dtype, **origin}
        self.path = root / digest_of_json(self.origin)[:16]
        self.hidden_size = hidden_size
        self.dtype = np.dtype(dtype)
        self._schema = pa.schema(
            {"key": pa.binary(_KEY_BYTES), "vectors": pa.large_list(pa.from_numpy_dtype(self.dtype))}
        )
        self._places: dict[bytes, tuple[int, int]] = {}  # key -> shard, row
        self._shards: list[pa.LargeListArray] = []
        self._opened: set[Path] = set()
        self.refresh()

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, key: bytes) -> bool:
        return key in self._places

    def refresh(self) -> None:
        """Take up the shards that were finished since the store was opened, also by others."""
        for path in sorted(self.path.glob(f"[!.]*{_SUFFIX}")):
            if path not in self._opened:
                self._open(path)

    def append(self, keys: Sequence[bytes], vectors: Sequence[np.ndarray]) -> None:
        """Write rows as one shard; when this returns they are durable.

        Args:
            keys: as `row_key` makes them.
            vectors: arrays (tokens, hidden), cast to the dtype of the store.

        Raises:
            JabertError: the disk is full; the shard is not there then.
        """
        lengths = np.array([0, *(vector.size for vector in vectors)], dtype=np.int64)
        flat = np.concatenate([vector.astype(self.dtype, copy=False).ravel() for vector in vectors])
        column = pa.LargeListArray.from_arrays(np.cumsum(lengths), pa.array(flat))
        table = pa.record_batch([pa.array(keys, pa.binary(_KEY_BYTES)), column], schema=self._schema)
        self._describe()
        path = self.path / f"{uuid.uuid4().hex}{_SUFFIX}"
        with (
            atomic_path(path) as temporary,
            pa.OSFile(str(temporary), "wb") as sink,
            pa.ipc.new_file(sink, self._schema) as writer,
        ):
            writer.write_batch(table)
        self._open(path)

    def read(self, key: bytes) -> np.ndarray:
        """The vectors of one text, (tokens, hidden), read from the mapped file without a copy.

        Raises:
            KeyError: no such row.
        """
        shard, row = self._places[key]
        values = self._shards[shard][row].values
        vectors: np.ndarray = values.to_numpy(zero_copy_only=True)
        return vectors.reshape(-1, self.hidden_size)

    def _describe(self) -> None:
        description = self.path / "space.json"
        if not description.exists():
            write_json(description, self.origin)

    def _open(self, path: Path) -> None:
        try:
            batch = pa.ipc.open_file(pa.memory_map(str(path))).get_batch(0)
        except (pa.ArrowInvalid, OSError) as error:
            raise JabertError(
                f"feature shard {path} cannot be read ({error}); delete it and its rows are computed again"
            ) from None
        number = len(self._shards)
        for row, key in enumerate(batch.column("key").to_pylist()):
            self._places[key] = (number, row)
        self._shards.append(batch.column("vectors"))
        self._opened.add(path)
