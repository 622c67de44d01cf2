"""The scored table: the chunks' files, joined in the format of the output's ending."""

import csv
import gzip
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from jabert.dataset.chunks import json_text, plain_text
from jabert.dataset.tables import ENDINGS, table_ending
from jabert.errors import JabertError
from jabert.files import atomic_path
from jabert.scoring.champion import ANSWER

__all__ = ["ending_of", "write_output", "write_part"]


def ending_of(target: Path) -> str:
    """The ending of an output that can be written.

    Raises:
        JabertError: it is none of a table, or `.parquet.gz`.
    """
    ending = table_ending(target.name)
    if ending is None:
        raise JabertError(f"{target} has none of the endings of a table: {', '.join(ENDINGS)}")
    if ending == ".parquet" and _is_packed(target):
        raise JabertError(f"{target}: Parquet is compressed in itself; leave .gz away")
    return ending


def write_part(rows: pa.Table, answers: pa.Table, path: Path) -> None:
    """Keep a chunk with its answers, whole or not at all: the columns of `rows`, then those of `ANSWER`."""
    schema = pa.schema([*rows.schema, *ANSWER])
    with atomic_path(path) as temporary, pa.ipc.new_file(temporary, schema) as file:
        file.write_table(pa.Table.from_arrays([*rows.columns, *answers.columns], schema=schema))


def write_output(parts: Sequence[Path], target: Path, *, of_json: bool) -> None:
    """Join the files of all chunks into the output, whole or not at all.

    Args:
        parts: as `write_part` made them, in order; at least one.
        target: the file to write; a column of the rows that has a name of `ANSWER` gets `input_` before it.
        of_json: the cells of the rows are JSON text, null where there is none, as in a `Chunk` of JSONL.
    """
    rows = pa.unify_schemas([_rows_schema(pa.ipc.open_file(str(part)).schema) for part in parts])
    names = _free_names(rows.names)
    renamed = pa.schema([field.with_name(names[field.name]) for field in rows])
    tables = (_read_part(part, names) for part in parts)
    with atomic_path(target) as temporary:
        match ending_of(target):
            case ".parquet":
                _write_parquet(tables, renamed, temporary, of_json=of_json)
            case ".jsonl":
                with _text_file(temporary) as file:
                    file.writelines(_json_lines(tables, renamed.names, of_json=of_json))
            case ending:
                with _text_file(temporary) as file:
                    writer = csv.writer(file, delimiter="\t" if ending == ".tsv" else ",")
                    writer.writerow([*renamed.names, *ANSWER.names])
                    writer.writerows(_csv_rows(tables, renamed.names, of_json=of_json))


def _rows_schema(schema: pa.Schema) -> pa.Schema:
    return pa.schema(list(schema)[: -len(ANSWER)])


def _free_names(names: Sequence[str]) -> dict[str, str]:
    """The names in the output of the columns of the input."""
    taken = {*names, *ANSWER.names}
    free = {}
    for name in names:
        free[name] = name
        while free[name] in ANSWER.names or (free[name] != name and free[name] in taken):
            free[name] = f"input_{free[name]}"
    return free


def _read_part(part: Path, names: dict[str, str]) -> pa.Table:
    table = pa.ipc.open_file(pa.memory_map(str(part))).read_all()
    own = _rows_schema(table.schema).names
    return table.rename_columns([*(names[name] for name in own), *ANSWER.names])


def _write_parquet(tables: Iterable[pa.Table], rows: pa.Schema, path: Path, *, of_json: bool) -> None:
    with pq.ParquetWriter(path, pa.schema([*rows, *ANSWER])) as writer:
        for table in tables:
            columns = [_column(table, field, of_json=of_json) for field in rows]
            columns += [table[name] for name in ANSWER.names]
            writer.write_table(pa.Table.from_arrays(columns, schema=writer.schema))


def _column(table: pa.Table, field: pa.Field, *, of_json: bool) -> Any:
    """A column of the rows as Parquet holds it: null where a JSON object has no such key or null there."""
    if field.name not in table.column_names:
        return pa.nulls(len(table), field.type)
    if not of_json:
        return table[field.name]
    values = (_from_json(cell) for cell in table[field.name].to_pylist())
    return pa.array([None if value is None else _cell(value) for value in values], field.type)


def _csv_rows(tables: Iterable[pa.Table], names: Sequence[str], *, of_json: bool) -> Iterator[list[str]]:
    for record in _records(tables):
        rows = (record.get(name) for name in names)
        answer = (record[name] for name in ANSWER.names)
        yield [*(_cell(_from_json(cell) if of_json else cell) for cell in rows), *map(_cell, answer)]


def _json_lines(tables: Iterable[pa.Table], names: Sequence[str], *, of_json: bool) -> Iterator[str]:
    keys = {name: json_text(name) for name in [*names, *ANSWER.names]}
    for record in _records(tables):
        if of_json:
            values = {name: record[name] for name in names if record.get(name) is not None}
        else:
            values = {name: json_text(record[name]) for name in names}
        values |= {name: json_text(record[name]) for name in ANSWER.names}
        yield f"{{{', '.join(f'{keys[name]}: {value}' for name, value in values.items())}}}\n"


def _records(tables: Iterable[pa.Table]) -> Iterator[dict[str, Any]]:
    for table in tables:
        for record in table.to_pylist():
            if record["probabilities"] is not None:
                record["probabilities"] = dict(record["probabilities"])
            yield record


def _from_json(cell: str | None) -> Any:
    return None if cell is None else json.loads(cell)


def _cell(value: Any) -> str:
    """A value as text: a string as it is, nothing for null, else JSON where JSON has it."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value.encode(errors="backslashreplace").decode()
    return json_text(value) if isinstance(value, bool | list | dict) else plain_text(value)


def _text_file(path: Path) -> IO[str]:
    if _is_packed(path):
        return gzip.open(path, "wt", encoding="utf-8", newline="")
    return path.open("w", encoding="utf-8", newline="")


def _is_packed(path: Path) -> bool:
    return path.suffix.lower() == ".gz"
