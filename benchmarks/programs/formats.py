"""Rows of vectors in one file format: `python formats.py FORMAT VECTORS FOLDER`.

`VECTORS` is an npz of `vectors` (tokens, hidden) and `lengths`. They are written in batches of 16,384 tokens;
each batch is flushed to disk before the next, as in a store that must not lose a finished batch. Then the
rows are read one by one in random order and copied; the files are in the page cache by then.
"""

# ruff: noqa: D102  `Format` says what the methods of each format do

import os
import shutil
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from protocol import open_answers, send

TOKENS = 16_384
Read = Callable[[int], np.ndarray]


class Format(ABC):
    """Rows in the files of a folder. A row is a flat float16 array."""

    def __init__(self, folder: Path, hidden: int) -> None:
        self.folder = folder
        self.hidden = hidden
        self.synced: set[Path] = set()

    @abstractmethod
    def append(self, rows: list[np.ndarray]) -> None:
        """Write a batch; it is on disk when this returns."""

    @abstractmethod
    def reader(self) -> Read:
        """A function that reads the row of an index."""

    def sync(self) -> None:
        """Flush to disk the files and folders created since the last call."""
        for path in set(self.folder.rglob("*")) - self.synced:
            sync(path)
            self.synced.add(path)


class Batches(Format):
    """A format that stores batches, in which the reader must find the batch of a row."""

    def __init__(self, folder: Path, hidden: int) -> None:
        super().__init__(folder, hidden)
        self.starts = [0]

    def locate(self, row: int) -> tuple[int, int]:
        batch = int(np.searchsorted(self.starts, row, side="right")) - 1
        return batch, row - self.starts[batch]


class ArrowIpc(Batches):
    """One stream of record batches, read through a memory map: the format of jabert's store."""

    def append(self, rows: list[np.ndarray]) -> None:
        import pyarrow as pa

        if len(self.starts) == 1:
            self.file = (self.folder / "rows.arrows").open("wb", buffering=0)
            self.stream = pa.ipc.new_stream(self.file, pa.schema({"vectors": pa.large_list(pa.float16())}))
        self.stream.write_batch(pa.record_batch({"vectors": large_list(rows)}))
        os.fsync(self.file.fileno())
        self.starts.append(self.starts[-1] + len(rows))

    def reader(self) -> Read:
        import pyarrow as pa

        stream = pa.ipc.open_stream(pa.memory_map(str(self.folder / "rows.arrows")))
        columns = [batch.column("vectors") for batch in read_batches(stream, len(self.starts) - 1)]
        parts = [(column.values.to_numpy(), column.offsets.to_numpy()) for column in columns]

        def read(row: int) -> np.ndarray:
            batch, index = self.locate(row)
            values, offsets = parts[batch]
            found: np.ndarray = values[offsets[index] : offsets[index + 1]]
            return found

        return read


class Store(Format):
    """jabert's own store: an Arrow IPC stream with keys, token ids and checksums."""

    def __init__(self, folder: Path, hidden: int) -> None:
        from jabert.features import FeatureStore

        super().__init__(folder, hidden)
        self.store = FeatureStore(folder, {}, hidden, "float16")
        self.open = ExitStack()
        self.writer = self.open.enter_context(self.store.writer())
        self.ids: list[np.ndarray] = []

    def append(self, rows: list[np.ndarray]) -> None:
        from jabert.encoder import TokenIds
        from jabert.features import row_keys

        ids = [np.full(row.size // self.hidden, number) for number, row in enumerate(rows, len(self.ids))]
        self.ids += ids
        self.writer.append(row_keys(ids), TokenIds.of(ids), np.concatenate(rows).reshape(-1, self.hidden))

    def reader(self) -> Read:
        from jabert.features import row_keys

        self.open.close()
        self.store.refresh()
        indices = self.store.find(row_keys(self.ids))
        return lambda row: self.store.vectors(indices[row]).ravel()


class Parquet(Batches):
    """A file per batch, uncompressed; reading one row costs a whole row group."""

    def append(self, rows: list[np.ndarray]) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        path = self.folder / f"{len(self.starts):05}.parquet"
        table = pa.table({"vectors": large_list(rows)})
        pq.write_table(table, path, row_group_size=32, compression="none", use_dictionary=False)
        self.sync()
        self.starts.append(self.starts[-1] + len(rows))

    def reader(self) -> Read:
        import pyarrow.parquet as pq

        files = [pq.ParquetFile(path, memory_map=True) for path in sorted(self.folder.glob("*.parquet"))]

        def read(row: int) -> np.ndarray:
            batch, index = self.locate(row)
            column = files[batch].read_row_group(index // 32, use_threads=False).column("vectors")
            found: np.ndarray = column.chunk(0)[index % 32].values.to_numpy()
            return found

        return read


class Lance(Format):
    """A dataset; each batch is a fragment and a new version."""

    def append(self, rows: list[np.ndarray]) -> None:
        import lance
        import pyarrow as pa

        table = pa.table({"vectors": large_list(rows)})
        path = self.folder / "rows.lance"
        lance.write_dataset(table, path, mode="append" if path.exists() else "create")
        self.sync()

    def reader(self) -> Read:
        import lance

        dataset = lance.dataset(self.folder / "rows.lance")

        def read(row: int) -> np.ndarray:
            column = dataset.take([row]).column("vectors")
            found: np.ndarray = column.chunk(0)[0].values.to_numpy()
            return found

        return read


class Hdf5(Format):
    """Two resizable data sets: the values, and the end of each row."""

    def append(self, rows: list[np.ndarray]) -> None:
        import h5py

        path = self.folder / "rows.h5"
        if not path.exists():
            self.file = h5py.File(path, "w")
            self.file.create_dataset("numbers", (0,), "f2", maxshape=(None,), chunks=(65_536,))
            self.file.create_dataset("ends", (0,), "i8", maxshape=(None,), chunks=(1024,))
        numbers, ends = self.file["numbers"], self.file["ends"]
        extend(ends, len(numbers) + np.cumsum([row.size for row in rows]))
        extend(numbers, np.concatenate(rows))
        self.file.flush()
        sync(path)

    def reader(self) -> Read:
        import h5py

        file = h5py.File(self.folder / "rows.h5")
        numbers, starts = file["numbers"], np.concatenate([[0], file["ends"][:]])

        def read(row: int) -> np.ndarray:
            found: np.ndarray = numbers[starts[row] : starts[row + 1]]
            return found

        return read


class Lmdb(Format):
    """A B-tree; each batch is a transaction."""

    def open(self) -> Any:
        import lmdb

        return lmdb.open(str(self.folder), map_size=2**36)

    def append(self, rows: list[np.ndarray]) -> None:
        if not hasattr(self, "database"):
            self.database, self.count = self.open(), 0
        with self.database.begin(write=True) as transaction:
            for number, row in enumerate(rows, self.count):
                transaction.put(number.to_bytes(8), row.data.cast("B"), append=True)
        self.count += len(rows)

    def reader(self) -> Read:
        transaction = self.database.begin(buffers=True)

        def read(row: int) -> np.ndarray:
            return np.frombuffer(transaction.get(row.to_bytes(8)), dtype=np.float16)

        return read


class Memmap(Format):
    """The bare values in one file, the length of each row in another."""

    def append(self, rows: list[np.ndarray]) -> None:
        for name, numbers in (
            ("rows", np.concatenate(rows)),
            ("lengths", np.array([len(row) for row in rows])),
        ):
            with (self.folder / name).open("ab") as file:
                file.write(numbers.data)
                file.flush()
                os.fsync(file.fileno())

    def reader(self) -> Read:
        starts = np.concatenate([[0], np.cumsum(np.fromfile(self.folder / "lengths", dtype=np.int64))])
        numbers = np.memmap(self.folder / "rows", dtype=np.float16, mode="r")

        def read(row: int) -> np.ndarray:
            found: np.ndarray = numbers[starts[row] : starts[row + 1]]
            return found

        return read


FORMATS: dict[str, Callable[[Path, int], Format]] = {
    "store": Store,
    "arrow": ArrowIpc,
    "parquet": Parquet,
    "lance": Lance,
    "hdf5": Hdf5,
    "lmdb": Lmdb,
    "memmap": Memmap,
}


def main() -> None:
    answers = open_answers()
    name, vectors, folder = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    with np.load(vectors) as arrays:
        rows = [row.ravel() for row in np.split(arrays["vectors"], np.cumsum(arrays["lengths"])[:-1])]
        tokens, hidden = np.cumsum(arrays["lengths"]), arrays["vectors"].shape[1]
    cuts = [0, *np.flatnonzero(np.diff(tokens // TOKENS)) + 1, len(rows)]
    batches = [rows[start:end] for start, end in pairwise(cuts) if end > start]
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    send(answers, measure(FORMATS[name](folder, hidden), rows, batches))


def measure(form: Format, rows: list[np.ndarray], batches: list[list[np.ndarray]]) -> dict[str, Any]:
    size = sum(row.nbytes for row in rows)
    started = time.perf_counter()
    for batch in batches:
        form.append(batch)
    written = time.perf_counter()
    read = form.reader()
    order = np.random.default_rng(0).permutation(len(rows))
    for row in order[:100].tolist():
        if not np.array_equal(read(row), rows[row]):
            raise ValueError(f"row {row} differs from what was written")
    opened = time.perf_counter()
    for row in order.tolist():
        np.array(read(row))
    ended = time.perf_counter()
    return {
        "write_mb_per_second": size / 1e6 / (written - started),
        "read_microseconds": 1e6 * (ended - opened) / len(rows),
        "disk_bytes": sum(path.stat().st_blocks * 512 for path in form.folder.rglob("*") if path.is_file()),
        "vector_bytes": size,
    }


def large_list(rows: list[np.ndarray]) -> Any:
    import pyarrow as pa

    offsets = np.cumsum([0, *(row.size for row in rows)], dtype=np.int64)
    return pa.LargeListArray.from_arrays(offsets, pa.array(np.concatenate(rows)))


def read_batches(stream: Any, count: int) -> list[Any]:
    """The batches of a stream that was not closed and so lacks its end marker."""
    return [stream.read_next_batch() for _ in range(count)]


def extend(dataset: Any, values: np.ndarray) -> None:
    start = len(dataset)
    dataset.resize(start + len(values), axis=0)
    dataset[start:] = values


def sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


if __name__ == "__main__":
    main()
