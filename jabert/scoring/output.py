"""The scored table: the files of its chunks, joined in the format of the output's ending."""

from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from itertools import repeat
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from jabert.dataset.chunks import JSON, OBJECT, table_ending
from jabert.dataset.writing import Encoding, texts_of, write_chunks
from jabert.errors import JabertError
from jabert.files import atomic_path
from jabert.scoring.champion import ANSWER

_DIGEST_BYTES = 16
_FILE = pa.field("file", pa.string())
_MOST_KEYS = 100_000  # of objects that become columns


def write_part(rows: pa.Table, answers: pa.Table, path: Path) -> None:
    """Save a chunk with its answers, whole or not at all: the columns of `rows`, then those of `ANSWER`."""
    schema, sink = pa.schema([*rows.schema, *ANSWER]), pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, schema) as stream:
        stream.write_table(pa.Table.from_arrays([*rows.columns, *answers.columns], schema=schema))
    content = sink.getvalue()
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        file.write(content)
        file.write(_digest(content))


def is_whole(part: Path) -> bool:
    """Whether a file is as `write_part` wrote it."""
    content = memoryview(part.read_bytes())
    return content[-_DIGEST_BYTES:] == _digest(content[:-_DIGEST_BYTES])


def read_answers(part: Path) -> pa.Table:
    """What `write_part` saved of the answers."""
    return pa.Table.from_arrays(_read(part).columns[-len(ANSWER) :], schema=ANSWER)


def _read(part: Path) -> pa.Table:
    return pa.ipc.open_stream(pa.memory_map(str(part))).read_all()  # which ends before the digest


def _digest(content: Any) -> bytes:
    return blake2b(content, digest_size=_DIGEST_BYTES).digest()


def write_output(
    parts: Sequence[Path],
    target: Path,
    *,
    answers: Iterable[pa.Table] | None = None,
    names: Sequence[str | None] | None = None,
    encoding: Encoding | None = None,
) -> None:
    """Join the files of all chunks into the scored table, whole or not at all.

    Args:
        parts: as `write_part` made them, in order; at least one.
        target: the file to write; a column of the input with the name of an added one is renamed to
            `input_…`.
        answers: one table for each part, in place of the answers that it has.
        names: of the table of each part, for a column `file` before the answers.
        encoding: of CSV and TSV; UTF-8 without it.

    Raises:
        JabertError: as `write_chunks`; or the objects have more keys than a table has columns.
    """
    told: Iterable[pa.Table | None] = answers or repeat(None)
    added = (_added(*each) for each in zip(parts, names or repeat(None), told, strict=False))
    added_schema = pa.schema([*([_FILE] if names else []), *ANSWER])
    if _are_objects(parts[0]):
        is_json = table_ending(str(target)) in JSON
        renamed = _renamed_keys(parts, added_schema.names, only_taken=is_json)
        keys = [] if is_json else list(renamed.values())
        schema = pa.schema([pa.field(OBJECT, pa.map_(pa.string(), pa.string())), *added_schema])
        own = ([_objects(part, renamed)] for part in parts)
    else:
        keys, fields = None, _fields(parts)
        free = _free_names(list(fields), added_schema.names)
        renamed_fields = [field.with_name(name) for field, name in zip(fields.values(), free, strict=True)]
        schema = pa.schema([*renamed_fields, *added_schema])
        own = (_columns(part, fields.values()) for part in parts)
    tables = (
        pa.Table.from_arrays([*columns, *more.columns], schema=schema)
        for columns, more in zip(own, added, strict=True)
    )
    write_chunks(tables, schema, target, keys, encoding)


def _added(part: Path, name: str | None, answers: pa.Table | None) -> pa.Table:
    """What is said of the rows of a part: their table, if there are several, and the answers."""
    told = read_answers(part) if answers is None else answers
    return told if name is None else told.add_column(0, _FILE, pa.array([name] * len(told), pa.string()))


def _free_names(names: Sequence[str], added: Sequence[str]) -> list[str]:
    """The names in the output of the columns of the input."""
    taken, free = {*added, *names}, []
    for name in names:
        new = name
        while new in added or (new != name and new in taken):
            new = f"input_{new}"
        free.append(new)
    return free


def _renamed_keys(parts: Sequence[Path], added: Sequence[str], *, only_taken: bool) -> dict[str, str]:
    """The keys of all objects, and what each is called in the output.

    Args:
        parts: as `write_part` made them.
        added: names of the columns that the output has beside.
        only_taken: leave out those that have no influence on what another is called.
    """
    found: dict[str, None] = {}
    for part in parts:
        objects = _read(part).column(0)
        keys = pc.unique(pa.chunked_array([chunk.keys for chunk in objects.chunks], pa.string())).to_pylist()
        if only_taken:
            keys = [key for key in keys if key.rpartition("input_")[2] in added]
        found |= dict.fromkeys(keys)
        if len(found) > _MOST_KEYS:
            raise JabertError(
                f"the rows have more than {_MOST_KEYS:,} different keys, too many for columns of a table; "
                "give a name that ends in .jsonl, where each row has its own"
            )
    return dict(zip(found, _free_names(list(found), added), strict=True))


def _are_objects(part: Path) -> bool:
    """Whether the rows are those of JSON, as `Chunk.table` has them."""
    first, *others = list(_read(part).schema)[: -len(ANSWER)]
    return not others and first.name == OBJECT and bool(pa.types.is_map(first.type))


def _objects(part: Path, renamed: Mapping[str, str]) -> pa.ChunkedArray | pa.Array:
    """The objects of a part with their keys in the output."""
    objects = _read(part).column(0)
    if all(key == name for key, name in renamed.items()):
        return objects
    pairs = [[(renamed.get(key, key), text) for key, text in each] for each in objects.to_pylist()]
    return pa.array(pairs, objects.type)


def _fields(parts: Sequence[Path]) -> dict[str, pa.Field]:
    """The columns of all tables by name, in the order in which they come up.

    A column that holds something else in another table becomes one of text.
    """
    fields: dict[str, pa.Field] = {}
    for part in parts:
        for field in list(_read(part).schema)[: -len(ANSWER)]:
            known = fields.setdefault(field.name, field).type
            if pa.types.is_null(known):
                fields[field.name] = field
            elif known != field.type and not pa.types.is_null(field.type):
                fields[field.name] = pa.field(field.name, pa.string())
    return fields


def _columns(part: Path, fields: Iterable[pa.Field]) -> list[pa.ChunkedArray | pa.Array]:
    """The columns of a part as the output has them, null where its table has none of the name."""
    rows = _read(part)
    present = dict(zip(rows.column_names[: -len(ANSWER)], rows.columns, strict=False))
    return [_of_type(present.get(field.name), field.type, len(rows)) for field in fields]


def _of_type(column: pa.ChunkedArray | None, kind: pa.DataType, rows: int) -> pa.ChunkedArray | pa.Array:
    if column is None or (pa.types.is_null(column.type) and column.type != kind):
        return pa.nulls(rows, kind)
    return column if column.type == kind else pa.array(texts_of(column), pa.string())
