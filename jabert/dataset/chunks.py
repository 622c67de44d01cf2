"""The one reader of table files: a CSV, TSV, JSONL (also with .gz) or Parquet file in chunks of rows.

Bytes (`sources`) become records (`records`), and these columns, here.
Every column and every row is kept as it stands in the file; what a text must be is decided by the caller.
"""

import difflib
import gzip
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from itertools import chain, islice
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from jabert.dataset.records import Lines, csv_records, is_packed, json_records, json_text
from jabert.dataset.sources import copied, opened, path_part
from jabert.errors import JabertError
from jabert.texts import is_unicode

ENDINGS = (".csv", ".tsv", ".parquet", ".jsonl")
Select = Callable[[Sequence[str]], Iterable[str]]


@dataclass(frozen=True, eq=False)
class Chunk:
    """Consecutive rows of a table file.

    Attributes:
        file: path or URL.
        rows: as they were read: strings of CSV and TSV, any types of Parquet, the objects of JSONL.
        names: all columns of the file, of JSONL the keys of these rows.
        lines: the line on which each row starts, of Parquet its number; both from 1.
        share: how much of the file has been read after these rows, from 0 to 1; None while not known.
    """

    file: str
    rows: pa.Table | list[dict[str, Any]]
    names: Sequence[str]
    lines: Sequence[int]
    share: float | None

    @cached_property
    def table(self) -> pa.Table:
        """All columns; of JSONL the JSON text of each value, null where the key is absent."""
        if isinstance(self.rows, pa.Table):
            return self.rows
        columns = [
            [json_text(row[name]) if name in row else None for row in self.rows] for name in self.names
        ]
        return pa.table([pa.array(cells, pa.string()) for cells in columns], names=self.names)

    def cells(self, column: str, *, or_integers: bool = False) -> list[Any]:
        """The cells of a text column: strings and null, of JSONL values of any type.

        Args:
            column: its name; of JSONL a key that is absent counts as null.
            or_integers: whether whole numbers are allowed; they become their digits.

        Raises:
            JabertError: the column of a Parquet file has another type, or is not UTF-8.
        """
        if isinstance(self.rows, list):
            values = [row.get(column) for row in self.rows]
            # A bool is an int, too, but not the name of a class.
            return [str(value) if or_integers and type(value) is int else value for value in values]
        cells = self.rows[column]
        kind = cells.type.value_type if pa.types.is_dictionary(cells.type) else cells.type
        textual = pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
        if not (textual or pa.types.is_null(kind) or (or_integers and pa.types.is_integer(kind))):
            raise JabertError(f"{self.file}: column {column!r} holds {kind}, not text")
        try:
            strings: list[str | None] = cells.cast(pa.large_string()).to_pylist()
        except UnicodeDecodeError:
            raise JabertError(f"{self.file}: column {column!r} holds bytes that are not UTF-8 text") from None
        return strings

    def digest(self) -> str:
        """128 bits of a digest of all cells, in hexadecimal."""
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, self.table.schema) as stream:
            stream.write_table(self.table)
        return blake2b(sink.getvalue(), digest_size=16).hexdigest()


def read_chunks(location: str, rows: int, select: Select, sha256: str | None = None) -> Iterator[Chunk]:
    """Read a table in chunks of at most `rows` rows; a table without rows is one chunk without rows.

    Args:
        location: path or URL.
        rows: of a chunk.
        select: called once with the names of the columns, before any row is read; it may refuse them, and
            returns those that are needed: of a Parquet file only these are read. JSONL has no header, so
            there it is called with the keys of the first `rows` rows, unless there are none.
        sha256: the digest that the file must have, in hexadecimal.

    Raises:
        JabertError: the file cannot be read, has another digest, or is not such a table; names file and line.
            And what `select` raises.
    """
    match ending_of(location):
        case ".parquet":
            return _parquet_chunks(location, rows, select, sha256)
        case ".jsonl":
            return _json_chunks(Lines(location, sha256), rows, select)
        case ending:
            return _csv_chunks(Lines(location, sha256), rows, select, "\t" if ending == ".tsv" else ",")


def table_ending(location: str) -> str | None:
    """Which of `ENDINGS` the location has, a further `.gz` aside; None if it has another."""
    path = path_part(location).removesuffix(".gz")
    return next((ending for ending in ENDINGS if path.endswith(ending)), None)


def ending_of(location: str) -> str:
    """As `table_ending`, for a location that must have one of the endings.

    Raises:
        JabertError: it has none of them.
    """
    if ending := table_ending(location):
        return ending
    raise JabertError(f"{location} has none of the endings of a table: {', '.join(ENDINGS)}")


def require_column(column: str, present: Sequence[str], file: str) -> str:
    """The column's own name, after checking that the file has exactly one of that name.

    Raises:
        JabertError: naming the file, the column and those that are there.
    """
    if present.count(column) == 1:
        return column
    if column in present:
        raise JabertError(f"{file} has more than one column {column!r}")
    near = difflib.get_close_matches(column, present, n=1)
    hint = f"; the nearest is {near[0]!r}" if near else ""
    raise JabertError(f"{file} has no column {column!r} but: {', '.join(map(repr, present))}{hint}")


def _csv_chunks(lines: Lines, rows: int, select: Select, delimiter: str) -> Iterator[Chunk]:
    records = csv_records(lines, delimiter)
    _, names = next(records)
    select(names)
    for numbers, part in _parts(records, rows):
        cells = [pa.array([record[place] for record in part], pa.string()) for place in range(len(names))]
        yield Chunk(lines.location, pa.Table.from_arrays(cells, names), names, numbers, lines.share)


def _json_chunks(lines: Lines, rows: int, select: Select) -> Iterator[Chunk]:
    for number, (numbers, part) in enumerate(_parts(json_records(lines), rows)):
        names = list(dict.fromkeys(chain.from_iterable(part)))
        if wrong := [name for name in names if not is_unicode(name)]:
            raise JabertError(
                f"{lines.location}: half of a surrogate pair stands alone in the key {wrong[0]!a}"
            )
        if number == 0 and part:
            select(names)
        yield Chunk(lines.location, part, names, numbers, lines.share)


def _parts(records: Iterator[tuple[int, Any]], rows: int) -> Iterator[tuple[list[int], list[Any]]]:
    """Lines and records, so many at a time; the first part is there even without records."""
    is_first = True
    while (part := list(islice(records, rows))) or is_first:
        yield [line for line, _ in part], [record for _, record in part]
        is_first = False


def _parquet_chunks(location: str, rows: int, select: Select, sha256: str | None) -> Iterator[Chunk]:
    with ExitStack() as stack:
        # The footer of Parquet comes first, so that the file must be readable at any position.
        file, _ = stack.enter_context(opened(location, sha256, seekable=not is_packed(location)))
        if is_packed(location):
            file = stack.enter_context(copied(gzip.GzipFile(fileobj=file, mode="rb")))
        try:
            # Buffered, because otherwise all of a row group is read at once.
            parquet = pq.ParquetFile(file, buffer_size=1 << 20)
            names, total, done = parquet.schema_arrow.names, parquet.metadata.num_rows, 0
            selected = set(select(names))
            columns = [name for name in names if name in selected]
            empty = pa.RecordBatch.from_pylist([], parquet.schema_arrow)
            for batch in parquet.iter_batches(rows, columns=columns) if total else [empty]:
                numbers = range(done + 1, done + len(batch) + 1)
                done += len(batch)
                table = pa.Table.from_batches([batch]).replace_schema_metadata()
                yield Chunk(location, table, names, numbers, done / max(1, total))
        except (pa.ArrowException, OSError) as error:
            reason = str(error).partition("\n")[0]
            raise JabertError(f"{location} cannot be read as Parquet: {reason}") from error
