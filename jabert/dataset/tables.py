"""Tables of labelled texts, read whole: the columns text, label, group and split, of one file or of four.

The four are those of the article: folders `trains/` and `tests/`, each with `features.csv` and `labels.csv`.
The two files of a folder have one column each, with the header `feature` or `label`, and row n of one belongs
to row n of the other.

Text is taken exactly as it stands: "NA" and "null" are words, and white space around a text stays. In the
other columns an empty cell means that there is no value.
"""

import reprlib
from collections.abc import Callable, Mapping, Sequence

import pandas as pd

from jabert.config import DataSettings, below, is_url
from jabert.dataset.chunks import Chunk, Form, read_chunks, require_column
from jabert.dataset.dialects import composed
from jabert.dataset.sources import Held, is_folder
from jabert.errors import JabertError
from jabert.texts import is_unicode

Cells = dict[str, list[str | None]]
"""Role of a column (text, label, group, split) -> its cells."""

FOLDERS = {"trains": "train", "tests": "test"}  # folder -> value of the column split
FILES = tuple(f"{folder}/{name}.csv" for folder in FOLDERS for name in ("features", "labels"))
# The article's files are read as its own code reads them, but for the encoding.
_ARTICLE = {"delimiter": ",", "quoting": "rfc4180", "header": True}


def read_table(location: str, settings: DataSettings, held: Held) -> tuple[pd.DataFrame, Form]:
    """Read the columns that the settings name from a table file, whose size `held` notes.

    Returns:
        Columns text, label, group, split and order (these if there), file, line, where `line` is that on
        which a record starts, or of Parquet and workbooks the number of the record, from 1; and how the file
        was read.

    Raises:
        JabertError: the file cannot be read, is not such a table, or lacks a column (of JSON, if the first
            4,096 rows lack it).
    """

    def roles(present: Sequence[str]) -> dict[str, str]:
        wanted = {"text": settings.text_column, "label": settings.label_column}
        names = set(map(composed, present))
        if settings.group_column or "group" in names:
            wanted["group"] = settings.group_column or "group"
        if settings.split == "given" or (
            settings.split == "auto" and composed(settings.split_column) in names
        ):
            wanted["split"] = settings.split_column
        if settings.order_column:
            wanted["order"] = settings.order_column
        return {role: require_column(column, present, location, role) for role, column in wanted.items()}

    cells, lines, form = read_columns(location, roles, settings, held, settings.sha256)
    return rows_frame(cells, location, lines), form


def read_seed_folders(location: str, settings: DataSettings, held: Held) -> tuple[pd.DataFrame, list[Form]]:
    """Read the two folders of the article, whose size `held` notes.

    Returns:
        Columns text, label, split (train or test), file, line; file and line are those of the text. And how
        the four files were read.

    Raises:
        JabertError: a folder or file is missing or malformed, or the number of features and labels differ.
    """
    splits, forms = [], []
    own = settings.model_copy(update=_ARTICLE)
    for folder, split in FOLDERS.items():
        path = below(location, folder)
        if not is_url(path) and not is_folder(path):
            raise JabertError(f"there is no folder {path}")
        features, labels = below(path, "features.csv"), below(path, "labels.csv")
        texts, lines, form = _read_column(features, "feature", own, held)
        classes, _, of_labels = _read_column(labels, "label", own, held)
        if len(texts) != len(classes):
            raise JabertError(
                f"{features} has {len(texts)} rows, but {labels} has {len(classes)}; each text needs one "
                "label, in the same order"
            )
        forms += [form, of_labels]
        splits.append(
            rows_frame({"text": texts, "label": classes, "split": [split] * len(lines)}, features, lines)
        )
    return pd.concat(splits, ignore_index=True), forms


def read_columns(
    location: str,
    roles: Callable[[Sequence[str]], dict[str, str]],
    settings: DataSettings,
    held: Held,
    sha256: str | None = None,
) -> tuple[Cells, list[int], Form]:
    """Read columns of strings from a table file.

    Args:
        location: path or URL.
        roles: from the names of the columns that are there, the name of each role's column.
        settings: encoding, delimiter, quoting and header, if they are not to be guessed.
        held: notes the size of the file.
        sha256: the digest that the file must have, in hexadecimal.

    Returns:
        The cells of each role, null where there is no value, the line of each row, and how the file was read.

    Raises:
        JabertError: as `read_chunks` and `roles`; or a cell is not text, or holds what no text may.
    """
    cells: Cells = {}
    lines: list[int] = []
    present: dict[str, None] = {}
    form = Form(location)
    found: dict[str, str] = {}

    def select(names: Sequence[str]) -> Sequence[str]:
        nonlocal found
        found = roles(names)
        return list(found.values())

    for chunk in read_chunks(location, 4096, select, settings, sha256=sha256, held=held):
        form = chunk.form
        if not chunk.lines:
            break
        if isinstance(chunk.rows, list):  # of JSON any row may have more keys
            present |= dict.fromkeys(chunk.names)
            found = roles(list(present))
        for role, column in found.items():
            # All rows before may lack a key of JSON.
            cells.setdefault(role, [None] * len(lines)).extend(strings_of(chunk, role, column))
        lines += chunk.lines
    return cells, lines, form


def strings_of(chunk: Chunk, role: str, column: str) -> list[str | None]:
    """The cells of a column, null where there is no value; but for texts, what can name a class is text.

    Raises:
        JabertError: a cell is not text, or holds what no text may.
    """
    cells = chunk.cells(column, or_classes=role != "text")
    for line, cell in zip(chunk.lines, cells, strict=True):
        if cell is not None and (fault := _fault_of_cell(cell, role)):
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
    return rows.assign(file=str(file), line=lines)


def _read_column(
    file: str, column: str, settings: DataSettings, held: Held
) -> tuple[list[str | None], list[int], Form]:
    own = settings.model_copy(update={"text_column": column})
    cells, lines, form = read_columns(
        file, lambda names: {"text": require_column(column, names, file, "text")}, own, held
    )
    return cells.get("text", []), lines, form


def _fault_of_cell(cell: object, role: str) -> str | None:
    if isinstance(cell, list | tuple) and role == "label":
        return f"{reprlib.repr(cell)} are several labels, but a text has one: keep one, or leave the row out"
    if not isinstance(cell, str):
        return f"{reprlib.repr(cell)} is not text"
    if "\0" in cell:
        return "there is a NUL character in the text"
    return None if is_unicode(cell) else "half of a surrogate pair stands alone in the text"
