"""The one writer of table files: CSV, TSV, JSONL and NDJSON (also with .gz), and Parquet."""

import csv
import gzip
import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from jabert.dataset.chunks import require_ending
from jabert.dataset.records import is_packed, json_text, plain_text
from jabert.errors import JabertError
from jabert.files import atomic_path
from jabert.safe import safe_cell

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
    json_columns: Collection[str] = (),
    encoding: Encoding | None = None,
) -> None:
    """Write tables one after another into one file, in the format of its ending, whole or not at all.

    Args:
        tables: of the schema; only one at a time is held in memory.
        schema: names and types of the columns.
        path: of the file.
        json_columns: columns whose cells are JSON text, null where a JSON object lacks the key.
        encoding: of CSV and TSV; UTF-8 without it.

    Raises:
        JabertError: the file has no ending that can be written, or cannot be written, or a row holds a
            character that the encoding lacks.
    """
    ending, encoding = require_writable_ending(path, encoding), encoding or UTF_8
    with atomic_path(path) as temporary:
        if ending == ".parquet":
            with pq.ParquetWriter(temporary, schema) as parquet:
                for table in tables:
                    texts = {
                        name: pa.array(_texts(table, name, json_columns), pa.string())
                        for name in json_columns
                    }
                    columns = [texts.get(name, table[name]) for name in schema.names]
                    parquet.write_table(pa.Table.from_arrays(columns, schema=schema))
            return
        with _text_file(temporary, encoding.codec) as file:
            if ending in (".jsonl", ".ndjson"):
                for table in tables:
                    file.writelines(_json_lines(table, json_columns))
                return
            writer = csv.writer(file, delimiter="\t" if ending == ".tsv" else ",")
            _require_characters([[name] for name in schema.names], encoding, 0, path)
            writer.writerow(encoding.cells(schema.names))
            number = 1
            for table in tables:
                cells = [encoding.cells(_texts(table, name, json_columns)) for name in schema.names]
                _require_characters(cells, encoding, number, path)
                writer.writerows(zip(*cells, strict=True))
                number += len(table)


def _require_characters(
    columns: Sequence[Sequence[str | None]], encoding: Encoding, number: int, path: Path
) -> None:
    """Refuse a table, which starts at row `number`, that holds a character which the encoding lacks."""
    if encoding.codec.lower().replace("_", "-").startswith("utf"):
        return
    for cells in columns:
        for row, cell in enumerate(cells, number):
            try:
                (cell or "").encode(encoding.name)
            except UnicodeEncodeError as error:
                where = f"row {row}" if row else "the header"
                raise JabertError(
                    f"{path}: {where} holds {error.object[error.start]!r}, which {encoding.name} lacks; "
                    "nothing was written; what Excel opens, too, is --encoding utf-8 --bom"
                ) from None


def _json_lines(table: pa.Table, json_columns: Collection[str]) -> Iterator[str]:
    keys = [json_text(name) for name in table.column_names]
    columns = [
        table[name].to_pylist() if name in json_columns else map(json_text, _values(table, name))
        for name in table.column_names
    ]
    for values in zip(*columns, strict=True):
        pairs = (f"{key}: {value}" for key, value in zip(keys, values, strict=True) if value is not None)
        yield f"{{{', '.join(pairs)}}}\n"


def _values(table: pa.Table, name: str, json_columns: Collection[str] = ()) -> list[Any]:
    """The cells of a column as Python values, a map from strings as a dict."""
    cells: list[Any] = table[name].to_pylist()
    kind = table.schema.field(name).type
    if name in json_columns:
        return [None if cell is None else json.loads(cell) for cell in cells]
    if pa.types.is_map(kind) and pa.types.is_string(kind.key_type):
        return [None if cell is None else dict(cell) for cell in cells]
    return cells


def _texts(table: pa.Table, name: str, json_columns: Collection[str]) -> list[str | None]:
    """The cells of a column as text, None for null."""
    values = _values(table, name, json_columns)
    return [None if value is None else _as_text(value) for value in values]


def _as_text(value: Any) -> str:
    """A string as it is, anything else as JSON where JSON has such a value."""
    if isinstance(value, str):
        return value.encode(errors="backslashreplace").decode()
    return json_text(value) if isinstance(value, bool | list | dict) else plain_text(value)


def _text_file(path: Path, encoding: str) -> IO[str]:
    if is_packed(path.name):
        return gzip.open(path, "wt", encoding=encoding, newline="")
    return path.open("w", encoding=encoding, newline="")
