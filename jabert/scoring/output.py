"""The scored table: the files of its chunks, joined in the format of the output's ending."""

from collections.abc import Iterable, Sequence
from itertools import repeat
from pathlib import Path

import pyarrow as pa

from jabert.dataset.writing import Encoding, write_chunks
from jabert.files import atomic_path
from jabert.scoring.champion import ANSWER


def write_part(rows: pa.Table, answers: pa.Table, path: Path) -> None:
    """Save a chunk with its answers, whole or not at all: the columns of `rows`, then those of `ANSWER`."""
    schema = pa.schema([*rows.schema, *ANSWER])
    with atomic_path(path) as temporary, pa.ipc.new_file(temporary, schema) as file:
        file.write_table(pa.Table.from_arrays([*rows.columns, *answers.columns], schema=schema))


def read_answers(part: Path) -> pa.Table:
    """What `write_part` saved of the answers."""
    table = pa.ipc.open_file(pa.memory_map(str(part))).read_all()
    return pa.Table.from_arrays(table.columns[-len(ANSWER) :], schema=ANSWER)


def write_output(
    parts: Sequence[Path],
    target: Path,
    *,
    of_json: bool,
    answers: Iterable[pa.Table] | None = None,
    encoding: Encoding | None = None,
) -> None:
    """Join the files of all chunks into the scored table, whole or not at all.

    Args:
        parts: as `write_part` made them, in order; at least one.
        target: the file to write; a column of the input with a name of `ANSWER` is renamed to `input_…`.
        of_json: whether the cells of the rows are JSON text, as in `Chunk.table` of JSON.
        answers: one table for each part, in place of the answers that it has.
        encoding: of CSV and TSV; UTF-8 without it.
    """
    own = [list(pa.ipc.open_file(str(part)).schema)[: -len(ANSWER)] for part in parts]
    rows = pa.unify_schemas([pa.schema(fields) for fields in own])
    names = _free_names(rows.names)
    schema = pa.schema([*(field.with_name(name) for field, name in zip(rows, names, strict=True)), *ANSWER])
    tables = (
        _read_part(part, rows, schema, of) for part, of in zip(parts, answers or repeat(None), strict=False)
    )
    write_chunks(tables, schema, target, json_columns=names if of_json else (), encoding=encoding)


def _free_names(names: Sequence[str]) -> list[str]:
    """The names in the output of the columns of the input."""
    taken = {*names, *ANSWER.names}
    free = []
    for name in names:
        new = name
        while new in ANSWER.names or (new != name and new in taken):
            new = f"input_{new}"
        free.append(new)
    return free


def _read_part(part: Path, rows: pa.Schema, schema: pa.Schema, answers: pa.Table | None) -> pa.Table:
    """A part with all columns of the output: those that its chunk of JSONL lacked are null."""
    table = pa.ipc.open_file(pa.memory_map(str(part))).read_all()
    count = table.num_columns - len(ANSWER)
    own = dict(zip(table.column_names[:count], table.columns, strict=False))
    columns = [own[field.name] if field.name in own else pa.nulls(len(table), field.type) for field in rows]
    told = table.columns[count:] if answers is None else answers.columns
    return pa.Table.from_arrays([*columns, *told], schema=schema)
