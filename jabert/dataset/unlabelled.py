"""Texts to be classified, read in chunks from whatever labelled texts are read from; no labels are needed."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from jabert.config import DataSettings
from jabert.dataset.chunks import JSON, Chunk, Form, read_chunks, require_column, table_ending
from jabert.dataset.readers import files_of, format_of, is_one_file, left_out, location_of, read_files


@dataclass(frozen=True, eq=False)
class Texts:
    """Consecutive rows with their texts.

    Attributes:
        chunk: all columns of the rows; its share is that of all tables, and the first of each table has the
            notes of its form.
        cells: of the text column.
        name: of the table, which no other has; None if there is only this one.
    """

    chunk: Chunk
    cells: list[Any]
    name: str | None = None


def read_texts(settings: DataSettings, rows: int) -> Iterator[Texts]:
    """Read texts in chunks of at most `rows` rows; of tables only one chunk is in memory.

    Rows of a table are as they stand in it; if some of several tables are JSON, all rows are objects. Of a
    corpus (the article's folders, KNBC, a folder for each class) the columns have the names that the
    settings give them.

    Args:
        settings: as for `read_files`, but that only the text column must be there.
        rows: of a chunk.

    Raises:
        JabertError: as `read_chunks` and `read_files`; or a table lacks the text column.
    """
    if format_of(settings) == "table":
        yield from _of_tables(settings, rows)
    else:
        yield from _of_corpus(settings, rows)


def _of_tables(settings: DataSettings, rows: int) -> Iterator[Texts]:
    files, is_one = files_of(settings), is_one_file(settings)
    of_objects = any(table_ending(file) in JSON for file in files.values())
    notes = tuple(left_out(settings, files))
    for done, (name, file) in enumerate(files.items()):
        column = ""

        def select(names: Sequence[str], file: str = file) -> Sequence[str]:
            nonlocal column
            column = require_column(settings.text_column, names, file, "text")
            return names

        for chunk in read_chunks(file, rows, select, settings, sha256=settings.sha256):
            table = chunk.rows
            whole = replace(
                chunk,
                rows=table.to_pylist() if of_objects and isinstance(table, pa.Table) else table,
                form=replace(chunk.form, notes=(*notes, *chunk.form.notes)),
                share=chunk.share and (done + chunk.share) / len(files),
            )
            yield Texts(whole, chunk.cells(column), None if is_one else name)
        notes = ()


def _of_corpus(settings: DataSettings, rows: int) -> Iterator[Texts]:
    read, source = read_files(settings), location_of(settings)
    named = {"text": settings.text_column, "group": settings.group_column, "order": settings.order_column}
    table = read.table.rename(columns={role: name for role, name in named.items() if name})
    form = Form(source, notes=read.notes)
    for start in range(0, len(table), rows):
        part = table[start : start + rows]
        cells = pa.Table.from_pandas(part, preserve_index=False).replace_schema_metadata()
        share = (start + len(part)) / len(table)
        chunk = Chunk(source, cells, list(part.columns), part["line"].tolist(), share, form)
        yield Texts(chunk, chunk.cells(settings.text_column))
