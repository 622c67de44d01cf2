"""Tables of labelled texts, read whole: the columns text, label, group and split, of one file or of four.

The four are those of the article: folders `trains/` and `tests/`, each with `features.csv` and `labels.csv`.
The two files of a folder have one column each, with the header `feature` or `label`, and row n of one belongs
to row n of the other.

Text is taken exactly as it stands: "NA" and "null" are words, and white space around a text stays. In the
other columns an empty cell means that there is no value.
"""

from collections.abc import Callable, Mapping, Sequence

import pandas as pd

from jabert.config import DataSettings, is_url
from jabert.dataset.chunks import Chunk, read_chunks, require_column
from jabert.dataset.sources import is_folder
from jabert.errors import JabertError, redacted
from jabert.texts import is_unicode

Cells = dict[str, list[str | None]]
"""Role of a column (text, label, group, split) -> its cells."""

FOLDERS = {"trains": "train", "tests": "test"}  # folder -> value of the column split
FILES = tuple(f"{folder}/{name}.csv" for folder in FOLDERS for name in ("features", "labels"))


def read_table(location: str, settings: DataSettings) -> pd.DataFrame:
    """Read the columns that the settings name from a table file.

    Returns:
        Columns text, label, group, split and order (these if there), file, line. `line` is the
        line on which a record starts; of Parquet the number of the record, from 1.

    Raises:
        JabertError: the file cannot be read, is not such a table, or lacks a column (of JSONL, if the first
            4,096 rows lack it).
    """

    def roles(present: Sequence[str]) -> dict[str, str]:
        wanted = {"text": settings.text_column, "label": settings.label_column}
        if settings.group_column or "group" in present:
            wanted["group"] = settings.group_column or "group"
        if settings.split == "given" or (settings.split == "auto" and settings.split_column in present):
            wanted["split"] = settings.split_column
        if settings.order_column:
            wanted["order"] = settings.order_column
        return {role: require_column(column, present, location) for role, column in wanted.items()}

    cells, lines = read_columns(location, roles, settings.sha256)
    return rows_frame(cells, location, lines)


def read_seed_folders(location: str) -> pd.DataFrame:
    """Read the two folders of the article.

    Returns:
        Columns text, label, split (train or test), file, line; file and line are those of the text.

    Raises:
        JabertError: a folder, file or header is missing, a file cannot be read, or the two
            files of a folder differ in their number of rows.
    """
    splits = []
    for folder, split in FOLDERS.items():
        path = f"{location.rstrip('/')}/{folder}"
        if not is_url(path) and not is_folder(path):
            raise JabertError(f"there is no folder {path}")
        features, labels = f"{path}/features.csv", f"{path}/labels.csv"
        texts, lines = _read_column(features, "feature")
        classes, _ = _read_column(labels, "label")
        if len(texts) != len(classes):
            raise JabertError(f"{features} has {len(texts)} rows, but {labels} has {len(classes)}")
        splits.append(
            rows_frame({"text": texts, "label": classes, "split": [split] * len(lines)}, features, lines)
        )
    return pd.concat(splits, ignore_index=True)


def read_columns(
    location: str, roles: Callable[[Sequence[str]], dict[str, str]], sha256: str | None = None
) -> tuple[Cells, list[int]]:
    """Read columns of strings from a table file.

    Args:
        location: path or URL.
        roles: from the names of the columns that are there, the name of each role's column.
        sha256: the digest that the file must have, in hexadecimal.

    Returns:
        The cells of each role, null where there is no value, and the line of each row.

    Raises:
        JabertError: as `read_chunks` and `roles`; or a cell is not text, or holds what no text may.
    """
    cells: Cells = {}
    lines: list[int] = []
    present: list[str] = []
    for chunk in read_chunks(location, 4096, lambda names: roles(names).values(), sha256):
        if not chunk.lines:
            break
        present += [name for name in chunk.names if name not in present]
        for role, column in roles(present).items():
            # All rows before may lack a key of JSONL.
            cells.setdefault(role, [None] * len(lines)).extend(strings_of(chunk, role, column))
        lines += chunk.lines
    return cells, lines


def strings_of(chunk: Chunk, role: str, column: str) -> list[str | None]:
    """The cells of a column, null where there is no value; of any role but text whole numbers count as text.

    Raises:
        JabertError: a cell is not text, or holds what no text may.
    """
    cells = chunk.cells(column, or_integers=role != "text")
    for line, cell in zip(chunk.lines, cells, strict=True):
        if cell is not None and (fault := _fault_of_cell(cell)):
            raise JabertError(f"{chunk.file}, line {line}, column {column!r}: {fault}")
    return cells


def rows_frame(cells: Mapping[str, Sequence[str | None]], file: str, lines: Sequence[int]) -> pd.DataFrame:
    """A DataFrame of the cells, with the columns file and line.

    Raises:
        JabertError: there are no rows.
    """
    if not lines:
        raise JabertError(f"{file} has no rows")
    rows = pd.DataFrame({role: pd.Series(list(values), dtype="str") for role, values in cells.items()})
    for role in rows.columns.drop("text"):
        rows[role] = rows[role].mask(rows[role] == "")
    return rows.assign(file=redacted(file), line=lines)  # it is shown and recorded with the row


def _read_column(file: str, column: str) -> tuple[list[str | None], list[int]]:
    cells, lines = read_columns(file, lambda present: {"text": require_column(column, present, file)})
    return cells.get("text", []), lines


def _fault_of_cell(cell: object) -> str | None:
    if not isinstance(cell, str):
        return f"{cell!r} is not text"
    if "\0" in cell:
        return "there is a NUL character in the text"
    return None if is_unicode(cell) else "half of a surrogate pair stands alone in the text"
