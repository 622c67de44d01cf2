"""The scored table: the files of its chunks, joined in the format of the output's ending."""

from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from itertools import repeat
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from jabert.dataset.chunks import JSON, OBJECT, table_ending
from jabert.dataset.writing import Encoding, write_chunks
from jabert.errors import JabertError
from jabert.files import atomic_path
from jabert.scoring.champion import ANSWER

_DIGEST_BYTES = 16
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
    of_json: bool,
    answers: Iterable[pa.Table] | None = None,
    encoding: Encoding | None = None,
) -> None:
    """Join the files of all chunks into the scored table, whole or not at all.

    Args:
        parts: as `write_part` made them, in order; at least one.
        target: the file to write; a column of the input with a name of `ANSWER` is renamed to `input_…`.
        of_json: whether the rows are objects, as in `Chunk.table` of JSON.
        answers: one table for each part, in place of the answers that it has.
        encoding: of CSV and TSV; UTF-8 without it.

    Raises:
        JabertError: as `write_chunks`; or the objects have more keys than a table has columns.
    """
    told: Iterable[pa.Table | None] = answers or repeat(None)
    if of_json:
        is_json = table_ending(str(target)) in JSON
        renamed = _renamed_keys(parts, only_taken=is_json)
        schema = pa.schema([pa.field(OBJECT, pa.map_(pa.string(), pa.string())), *ANSWER])
        tables = (_objects(part, renamed, of) for part, of in zip(parts, told, strict=False))
        write_chunks(tables, schema, target, () if is_json else list(renamed.values()), encoding)
        return
    fields = list(_read(parts[0]).schema)[: -len(ANSWER)]
    names = _free_names([field.name for field in fields])
    schema = pa.schema([*(field.with_name(name) for field, name in zip(fields, names, strict=True)), *ANSWER])
    tables = (_rows(part, schema, of) for part, of in zip(parts, told, strict=False))
    write_chunks(tables, schema, target, encoding=encoding)


def _free_names(names: Sequence[str]) -> list[str]:
    """The names in the output of the columns of the input."""
    answer = set(ANSWER.names)
    taken, free = answer | set(names), []
    for name in names:
        new = name
        while new in answer or (new != name and new in taken):
            new = f"input_{new}"
        free.append(new)
    return free


def _renamed_keys(parts: Sequence[Path], *, only_taken: bool) -> dict[str, str]:
    """The keys of all objects, and what each is called in the output.

    Args:
        parts: as `write_part` made them.
        only_taken: leave out those that have no influence on what another is called.
    """
    found: dict[str, None] = {}
    for part in parts:
        objects = _read(part).column(0)
        keys = pc.unique(pa.chunked_array([chunk.keys for chunk in objects.chunks], pa.string())).to_pylist()
        if only_taken:
            keys = [key for key in keys if key.rpartition("input_")[2] in ANSWER.names]
        found |= dict.fromkeys(keys)
        if len(found) > _MOST_KEYS:
            raise JabertError(
                f"the rows have more than {_MOST_KEYS:,} different keys, too many for columns of a table; "
                "give a name that ends in .jsonl, where each row has its own"
            )
    return dict(zip(found, _free_names(list(found)), strict=True))


def _objects(part: Path, renamed: Mapping[str, str], answers: pa.Table | None) -> pa.Table:
    """The objects of a part with their keys in the output, and the answers."""
    objects, *told = _read(part).columns
    if any(key != name for key, name in renamed.items()):
        pairs = [[(renamed.get(key, key), text) for key, text in each] for each in objects.to_pylist()]
        objects = pa.array(pairs, objects.type)
    told = told if answers is None else answers.columns
    return pa.Table.from_arrays([objects, *told], names=[OBJECT, *ANSWER.names])


def _rows(part: Path, schema: pa.Schema, answers: pa.Table | None) -> pa.Table:
    """A part with the names of the output."""
    columns = _read(part).columns
    if answers is not None:
        columns = [*columns[: -len(ANSWER)], *answers.columns]
    return pa.Table.from_arrays(columns, schema=schema)
