"""Cells of the wanted columns out of the bytes of a CSV, TSV, JSONL or Parquet file.

Each parser calls `choose(columns there, file)`, which says by role (text, label, group,
split) the column to take, and returns the cells by role and the line of each row: the
physical line on which a record starts, of Parquet the number of the record, from 1.
"""

import csv
import io
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from jabert.dataset.sources import text_lines
from jabert.errors import JabertError

__all__ = [
    "Cells",
    "Chooser",
    "csv_records",
    "json_records",
    "parquet_strings",
    "parse_csv",
    "parse_jsonl",
    "parse_parquet",
    "reading_parquet",
]

Cells = dict[str, list[str | None]]
Chooser = Callable[[Sequence[str], str], dict[str, str]]


def parse_csv(data: bytes, file: str, choose: Chooser, delimiter: str = ",") -> tuple[Cells, list[int]]:
    """Comma- or tab-separated, with a header, and quoting as in RFC 4180.

    Raises:
        JabertError: not UTF-8, a NUL byte, a record of another width than the header, a quoted
            cell left open, or what `choose` raises.
    """
    header, records = csv_records(text_lines(io.BytesIO(data), file), file, delimiter)
    places = {role: header.index(column) for role, column in choose(header, file).items()}
    cells: Cells = {role: [] for role in places}
    lines = []
    for line, record in records:
        lines.append(line)
        for role, place in places.items():
            cells[role].append(record[place])
    return cells, lines


def csv_records(
    lines: Iterable[str], file: str, delimiter: str
) -> tuple[list[str], Iterator[tuple[int, list[str]]]]:
    """The header of a CSV file, and its records one after another, each with the line on which it starts.

    Raises:
        JabertError: there is no header; and, as the records are read, as for `parse_csv`.
    """
    csv.field_size_limit(sys.maxsize)  # the limit is one for the process, and 131,072 by default
    records = _raw_records(lines, delimiter, file)
    header = next((record for _, record in records if record), None)
    if header is None:
        raise JabertError(f"{file} is empty")
    return header, _even(records, len(header), file)


def _raw_records(lines: Iterable[str], delimiter: str, file: str) -> Iterator[tuple[int, list[str]]]:
    # A bare carriage return ends a line, too.
    parts = (part for line in lines for part in io.StringIO(line, newline=""))
    reader = csv.reader(parts, delimiter=delimiter, strict=True)
    line = 1
    try:
        for record in reader:
            yield line, record
            line = reader.line_num + 1
    except csv.Error as error:
        raise JabertError(f"{file}, line {line}: the quotes of a cell do not match ({error})") from None


def _even(records: Iterable[tuple[int, list[str]]], width: int, file: str) -> Iterator[tuple[int, list[str]]]:
    """The records, all of the header's width; empty lines are skipped, as everywhere in CSV.

    Only in a file of one column is an empty line a cell, unless the file ends with it: the rows
    of the article's two files would otherwise fall out of step.
    """
    empty: list[int] = []
    for line, record in records:
        if not record:
            empty.append(line)
            continue
        if len(record) != width:
            raise JabertError(f"{file}, line {line}: {len(record)} cells under a header of {width}")
        if width == 1:
            yield from ((number, [""]) for number in empty)
        empty.clear()
        yield line, record


def parse_jsonl(data: bytes, file: str, choose: Chooser) -> tuple[Cells, list[int]]:
    """One JSON object a line; a key that is absent is null, a whole number its digits (not in text).

    Raises:
        JabertError: a line is not UTF-8, no object, or holds no text where it should; there is no
            row; or what `choose` raises.
    """
    numbered = list(json_records(text_lines(io.BytesIO(data), file), file))
    if not numbered:
        raise JabertError(f"{file} has no rows")
    lines, records = map(list, zip(*numbered, strict=True))
    present = list(dict.fromkeys(key for record in records for key in record))
    cells: Cells = {}
    for role, column in choose(present, file).items():
        cells[role] = [
            _json_cell(record.get(column), role, f"{file}, line {line}, column {column!r}")
            for line, record in zip(lines, records, strict=True)
        ]
    return cells, lines


def json_records(lines: Iterable[str], file: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of a JSONL file one after another, each with its line; blank lines are skipped.

    Raises:
        JabertError: a line is no JSON object; names it.
    """
    for line, text in enumerate(lines, start=1):
        if text.strip():
            yield line, _json_object(text, f"{file}, line {line}")


def _json_object(text: str, place: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise JabertError(f"{place}: not JSON ({error})") from None
    if not isinstance(value, dict):
        raise JabertError(f"{place}: a JSON object is expected, not {text.strip()[:40]}")
    return value


def _json_cell(value: Any, role: str, place: str) -> str | None:
    if value is None:
        return None
    if role != "text" and type(value) is int:  # bool is an int, but no name of a class
        return str(value)
    if not isinstance(value, str):
        raise JabertError(f"{place}: {value!r} is not text")
    if "\0" in value:
        raise JabertError(f"{place}: there is a NUL character in the text")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise JabertError(f"{place}: half of a surrogate pair stands alone in the text") from None
    return value


def parse_parquet(data: bytes, file: str, choose: Chooser) -> tuple[Cells, list[int]]:
    """Strings, plain or as a dictionary; a whole number is its digits (not in text).

    Raises:
        JabertError: not Parquet, a column of another type, or what `choose` raises.
    """
    with reading_parquet(file):
        parquet = pq.ParquetFile(pa.BufferReader(data))
        chosen = choose(parquet.schema_arrow.names, file)
        table = parquet.read(columns=list(dict.fromkeys(chosen.values())))
    cells = {role: _parquet_cells(table[column], role, column, file) for role, column in chosen.items()}
    return cells, list(range(1, table.num_rows + 1))


@contextmanager
def reading_parquet(file: str) -> Iterator[None]:
    """Turn what Arrow finds wrong with a file into a `JabertError` that names it."""
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        reason = str(error).partition("\n")[0]
        raise JabertError(f"{file} cannot be read as Parquet: {reason}") from error


def parquet_strings(values: Any, column: str, file: str, *, or_integers: bool = False) -> list[str | None]:
    """The cells of a column of strings, plain or as a dictionary.

    Raises:
        JabertError: they are of another type, or not UTF-8.
    """
    kind = values.type.value_type if pa.types.is_dictionary(values.type) else values.type
    textual = pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    if not (textual or pa.types.is_null(kind) or (or_integers and pa.types.is_integer(kind))):
        raise JabertError(f"{file}: column {column!r} holds {kind}, not text")
    try:
        cells: list[str | None] = values.cast(pa.large_string()).to_pylist()
    except UnicodeDecodeError:
        raise JabertError(f"{file}: column {column!r} holds bytes that are not UTF-8 text") from None
    return cells


def _parquet_cells(values: Any, role: str, column: str, file: str) -> list[str | None]:
    cells = parquet_strings(values, column, file, or_integers=role != "text")
    for line, cell in enumerate(cells, start=1):
        if cell and "\0" in cell:
            raise JabertError(f"{file}, line {line}, column {column!r}: there is a NUL character in the text")
    return cells
