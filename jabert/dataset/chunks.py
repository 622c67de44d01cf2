"""A table of any length, read in chunks of rows: CSV, TSV, JSONL (also with .gz) and Parquet.

Unlike `read_table` this keeps every column and every row; whether a text is one is for the caller to say.
"""

import base64
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from itertools import islice
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from jabert.dataset.parsers import csv_records, json_records, parquet_strings, reading_parquet
from jabert.dataset.sources import Lines, opened
from jabert.dataset.tables import ENDINGS, require_column, table_ending
from jabert.errors import JabertError

__all__ = ["Chunk", "json_text", "plain_text", "read_chunks"]


@dataclass(frozen=True, eq=False)
class Chunk:
    """Consecutive rows.

    Attributes:
        table: all columns. Of CSV and TSV the cells are strings, of Parquet what they are there; of JSONL
            the JSON text of each value, null where the key is absent.
        texts: the cells of the text column; of JSONL of any type.
        share: how much of the file has been read with them, from 0 to 1; None while that is not known.
    """

    table: pa.Table
    texts: list[Any]
    share: float | None

    def digest(self) -> str:
        """128 bits of a digest of all cells, in hexadecimal."""
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, self.table.schema) as stream:
            stream.write_table(self.table)
        return blake2b(sink.getvalue(), digest_size=16).hexdigest()


def read_chunks(location: str, text_column: str, rows: int) -> Iterator[Chunk]:
    """The rows of a table, at most `rows` at a time; of a table without rows one chunk without rows.

    Args:
        location: path or URL.
        text_column: must be there; of JSONL, in one of the first `rows` rows.
        rows: of a chunk.

    Raises:
        JabertError: the file cannot be read, is no such table, has no such column or one column twice;
            names file and line.
    """
    match table_ending(location):
        case ".csv":
            return _csv_chunks(location, text_column, rows, ",")
        case ".tsv":
            return _csv_chunks(location, text_column, rows, "\t")
        case ".jsonl":
            return _json_chunks(location, text_column, rows)
        case ".parquet":
            return _parquet_chunks(location, text_column, rows)
    raise JabertError(f"{location} has none of the endings of a table: {', '.join(ENDINGS)}")


def json_text(value: Any) -> str:
    """A value as JSON, what JSON doesn't have as a string; half of a surrogate pair, no UTF-8, is escaped."""
    value = _without_strange_numbers(value)
    text = json.dumps(value, ensure_ascii=False, default=plain_text)
    return text if _is_unicode(text) else json.dumps(value, default=plain_text)


def plain_text(value: Any) -> str:
    """A value that is no string as one; bytes in Base64."""
    return base64.b64encode(value).decode() if isinstance(value, bytes) else str(value)


def _without_strange_numbers(value: Any) -> Any:
    """The same with strings for infinity and NaN, of which JSON knows nothing."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, list):
        return [_without_strange_numbers(each) for each in value]
    if isinstance(value, dict):
        return {key: _without_strange_numbers(each) for key, each in value.items()}
    return value


def _csv_chunks(location: str, text_column: str, rows: int, delimiter: str) -> Iterator[Chunk]:
    lines = Lines(location)
    header, records = csv_records(lines, location, delimiter)
    place = _place_of(text_column, header, location)
    for part in _parts(records, rows):
        columns = [[record[number] for record in part] for number in range(len(header))]
        table = pa.table([pa.array(column, pa.string()) for column in columns], names=header)
        yield Chunk(table, columns[place], lines.share)


def _json_chunks(location: str, text_column: str, rows: int) -> Iterator[Chunk]:
    lines = Lines(location)
    parts = _parts(json_records(lines, location), rows)
    for number, part in enumerate(parts):
        names = list(dict.fromkeys(key for record in part for key in record))
        if strange := [name for name in names if not _is_unicode(name)]:
            raise JabertError(f"{location}: half of a surrogate pair stands alone in the key {strange[0]!a}")
        if part and number == 0:
            require_column(text_column, names, location)
        columns = {
            name: pa.array([json_text(row[name]) if name in row else None for row in part], pa.string())
            for name in names
        }
        yield Chunk(pa.table(columns), [record.get(text_column) for record in part], lines.share)


def _parts(records: Iterator[tuple[int, Any]], rows: int) -> Iterator[list[Any]]:
    """Records without their lines, so many at a time; the first part is there even without records."""
    part = [record for _, record in islice(records, rows)]
    yield part
    while part := [record for _, record in islice(records, rows)]:
        yield part


def _parquet_chunks(location: str, text_column: str, rows: int) -> Iterator[Chunk]:
    with opened(location) as (file, _), reading_parquet(location):
        # Buffered, because otherwise all of a row group is read at once.
        parquet = pq.ParquetFile(file, buffer_size=1 << 20)
        schema = parquet.schema_arrow.remove_metadata()
        _place_of(text_column, schema.names, location)
        total, done = parquet.metadata.num_rows, 0
        empty = [] if total else [pa.RecordBatch.from_pylist([], schema)]
        for batch in empty or parquet.iter_batches(rows):
            table = pa.Table.from_batches([batch]).replace_schema_metadata()
            done += len(batch)
            texts = parquet_strings(table[text_column], text_column, location)
            yield Chunk(table, texts, done / max(1, total))


def _place_of(text_column: str, header: list[str], location: str) -> int:
    """Where the text column stands in a header that holds no name twice."""
    for name in header:
        require_column(name, header, location)
    return header.index(require_column(text_column, header, location))


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
