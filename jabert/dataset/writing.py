"""The one writer of table files: CSV, TSV, JSONL and NDJSON (also with .gz), and Parquet."""

import csv
import gzip
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import IO, Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from jabert.dataset.chunks import require_ending
from jabert.dataset.records import is_packed, json_text, plain_text
from jabert.errors import JabertError, refusing
from jabert.files import atomic_path
from jabert.safe import safe_cell

_CELLS = 32_000_000  # of a Parquet file that are written at a time, most of them null
_WRITTEN = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")


@dataclass(frozen=True)
class Encoding:
    """How the text of a table is written.

    Attributes:
        name: of a codec.
        bom: whether a byte order mark comes first, by which Excel knows UTF-8.
        safe_cells: whether an apostrophe comes before what a spreadsheet would take for a formula.

    Raises:
        JabertError: there is no such encoding, or it has no byte order mark.
    """

    name: str = "utf-8"
    bom: bool = False
    safe_cells: bool = False

    def __post_init__(self) -> None:
        try:
            mark = "".encode(f"{self.codec}")
        except LookupError:
            raise JabertError(f"--encoding {self.name}: there is no such encoding of text") from None
        if self.bom and not mark:
            raise JabertError(
                f"--bom: {self.name} has no byte order mark; leave out --bom, or take --encoding utf-8"
            )

    @property
    def codec(self) -> str:
        """The codec that writes the mark, too, if it is wanted."""
        is_utf_8 = self.name.lower().replace("_", "-") in ("utf-8", "utf8")
        return "utf-8-sig" if self.bom and is_utf_8 else self.name

    def cells(self, texts: Sequence[str | None]) -> Sequence[str | None]:
        """The texts as they are written."""
        return [cell and safe_cell(cell) for cell in texts] if self.safe_cells else texts


UTF_8 = Encoding()


def require_writable_ending(path: Path, encoding: Encoding | None = None) -> str:
    """The ending of a table file that can be written.

    Raises:
        JabertError: it is not that of a table, or is `.parquet.gz`, or is not written in the encoding.
    """
    ending = require_ending(str(path), _WRITTEN)
    if encoding not in (None, UTF_8) and ending not in (".csv", ".tsv"):
        raise JabertError(
            f"{path}: --encoding, --bom and --safe-cells are for .csv and .tsv; {ending} is always the same"
        )
    if ending == ".parquet" and is_packed(path.name):
        raise JabertError(f"{path}: a Parquet file is already compressed; give a name without .gz")
    return ending


def write_table(table: pd.DataFrame, path: Path) -> None:
    """Write a table in the format of the path's ending, whole or not at all; errors as `write_chunks`."""
    rows = pa.Table.from_pandas(table, preserve_index=False)
    write_chunks([rows], rows.schema, path)


def write_chunks(
    tables: Iterable[pa.Table],
    schema: pa.Schema,
    path: Path,
    keys: Sequence[str] | None = None,
    encoding: Encoding | None = None,
) -> None:
    """Write tables one after another into one file, in the format of its ending, whole or not at all.

    Args:
        tables: of the schema; only one at a time is held in memory.
        schema: names and types of the columns.
        path: of the file.
        keys: of JSON objects, if the first column has such, as in `Chunk.table`; each is a column of CSV, TSV
            and Parquet. Objects are written as they are, so JSON needs no keys.
        encoding: of CSV and TSV; UTF-8 without it.

    Raises:
        JabertError: the file has no ending that can be written, or cannot be written, or a row holds a
            character that the encoding lacks.
    """
    ending, encoding = require_writable_ending(path, encoding), encoding or UTF_8
    with atomic_path(path) as temporary:
        if ending == ".parquet":
            _write_parquet(tables, schema, temporary, keys)
            return
        with _text_file(temporary, encoding.codec) as file:
            if ending in (".jsonl", ".ndjson"):
                for table in tables:
                    file.writelines(_json_lines(table, are_objects=keys is not None))
                return
            writer = csv.writer(file, delimiter="\t" if ending == ".tsv" else ",")
            names = schema.names if keys is None else [*keys, *schema.names[1:]]
            writer.writerows(_encodable([encoding.cells(names)], encoding, 0, path))
            number = 1
            for table in tables:
                writer.writerows(_encodable(map(encoding.cells, _rows(table, keys)), encoding, number, path))
                number += len(table)


def _write_parquet(
    tables: Iterable[pa.Table], schema: pa.Schema, path: Path, keys: Sequence[str] | None
) -> None:
    if keys is not None:
        schema = pa.schema([*(pa.field(key, pa.string()) for key in keys), *list(schema)[1:]])
    with pq.ParquetWriter(path, schema) as parquet:
        for table in tables:
            step = max(1, _CELLS // (len(keys or ()) + 1))
            for start in range(0, len(table) if keys else 1, step):
                part = table if keys is None else _with_columns(table.slice(start, step), keys)
                parquet.write_table(pa.Table.from_arrays(part.columns, schema=schema))


def _with_columns(table: pa.Table, keys: Sequence[str]) -> pa.Table:
    """The table with a column for each key in the place of its objects."""
    nothing = pa.nulls(len(table), pa.string())
    cells: dict[str, list[str | None]] = {}
    for number, pairs in enumerate(table.column(0).to_pylist()):
        for key, text in pairs:
            cells.setdefault(key, [None] * len(table))[number] = _as_text(json.loads(text))
    columns = [pa.array(cells[key], pa.string()) if key in cells else nothing for key in keys]
    return pa.Table.from_arrays([*columns, *table.columns[1:]], names=[*keys, *table.column_names[1:]])


def _rows(table: pa.Table, keys: Sequence[str] | None) -> Iterator[Sequence[str | None]]:
    """The rows of a table as text, None for null; objects have a cell for each of the keys."""
    if keys is None:
        return zip(*(texts_of(column) for column in table.columns), strict=True)
    return _rows_of_objects(table, keys)


def _rows_of_objects(table: pa.Table, keys: Sequence[str]) -> Iterator[Sequence[str | None]]:
    objects, *others = table.columns
    place_of = {key: place for place, key in enumerate(keys)}
    told = zip(*(texts_of(column) for column in others), strict=True) if others else repeat(())
    for pairs, rest in zip(objects.to_pylist(), told, strict=False):
        cells: list[str | None] = [None] * len(keys)
        for key, text in pairs:
            cells[place_of[key]] = _as_text(json.loads(text))
        yield [*cells, *rest]


def _encodable(
    rows: Iterable[Sequence[str | None]], encoding: Encoding, number: int, path: Path
) -> Iterable[Sequence[str | None]]:
    """The rows, the first of this number; refused at a character that the encoding lacks."""
    if encoding.codec.lower().replace("_", "-").startswith("utf"):
        return rows
    return (_require_encodable(row, encoding, place, path) for place, row in enumerate(rows, number))


def _require_encodable(
    row: Sequence[str | None], encoding: Encoding, number: int, path: Path
) -> Sequence[str | None]:
    try:
        "".join(filter(None, row)).encode(encoding.name)
    except UnicodeEncodeError as error:
        where = f"row {number}" if number else "the header"
        raise JabertError(
            f"{path}: {where} holds {error.object[error.start]!r}, which {encoding.name} lacks; "
            "nothing was written; what Excel opens, too, is --encoding utf-8 --bom"
        ) from None
    return row


def _json_lines(table: pa.Table, *, are_objects: bool) -> Iterator[str]:
    names = table.column_names[are_objects:]
    keys = [json_text(name) for name in names]
    columns = [map(json_text, _values(column)) for column in table.columns[are_objects:]]
    objects = table.column(0).to_pylist() if are_objects else repeat(())
    for own, *values in zip(objects, *columns, strict=False):
        pairs = [f"{json_text(key)}: {value}" for key, value in own]
        pairs += [f"{key}: {value}" for key, value in zip(keys, values, strict=True)]
        yield f"{{{', '.join(pairs)}}}\n"


def _values(column: pa.ChunkedArray) -> list[Any]:
    """The cells of a column as Python values, a map from strings as a dict."""
    with refusing(f"a column of {column.type} holds what is no such value"):
        cells: list[Any] = column.to_pylist()
    if pa.types.is_map(column.type) and pa.types.is_string(column.type.key_type):
        return [None if cell is None else dict(cell) for cell in cells]
    return cells


def texts_of(column: pa.ChunkedArray) -> list[str | None]:
    """The cells of a column as text, None for null."""
    return [None if value is None else _as_text(value) for value in _values(column)]


def _as_text(value: Any) -> str:
    """A string as it is, anything else as JSON where JSON has such a value."""
    if isinstance(value, str):
        return value.encode(errors="backslashreplace").decode()
    return json_text(value) if isinstance(value, bool | list | dict) else plain_text(value)


def _text_file(path: Path, encoding: str) -> IO[str]:
    if is_packed(path.name):
        return gzip.open(path, "wt", encoding=encoding, newline="")
    return path.open("w", encoding=encoding, newline="")
