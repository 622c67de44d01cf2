"""Tables of labelled texts: CSV, TSV, JSONL (also with .gz) and Parquet, read and written.

Text is taken exactly as it stands: "NA" and "null" are words, surrounding blanks stay. In
the other columns an empty cell means that there is no value.
"""

import difflib
import gzip
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd

from jabert.config import DataSettings
from jabert.dataset.parsers import Cells, Chooser, parse_csv, parse_jsonl, parse_parquet
from jabert.dataset.sources import path_part, read_bytes, unpacking
from jabert.errors import JabertError, redacted
from jabert.files import atomic_path

__all__ = ["ENDINGS", "read_table", "require_column", "rows_frame", "table_ending", "write_table"]

ENDINGS = (".csv", ".tsv", ".parquet", ".jsonl")


def table_ending(location: str) -> str | None:
    """Which of `ENDINGS` the location has, a further `.gz` aside; None if it has another."""
    path = path_part(location).removesuffix(".gz")
    return next((ending for ending in ENDINGS if path.endswith(ending)), None)


def read_table(location: str, settings: DataSettings) -> pd.DataFrame:
    """Read the columns that the settings name from a table file.

    Returns:
        Columns text, label, group and split (these two if there), file, line. `line` is the
        physical line on which a record starts; of Parquet the number of the record, from 1.

    Raises:
        JabertError: the file cannot be read, is no such table, or lacks a column.
    """
    data = read_bytes(location, settings.sha256)
    if path_part(location).endswith(".gz"):
        with unpacking(location):
            data = gzip.decompress(data)
    if not data:
        raise JabertError(f"{location} is empty")
    choose = _chooser(settings)
    match table_ending(location):
        case ".csv":
            cells, lines = parse_csv(data, location, choose)
        case ".tsv":
            cells, lines = parse_csv(data, location, choose, delimiter="\t")
        case ".jsonl":
            cells, lines = parse_jsonl(data, location, choose)
        case ".parquet":
            cells, lines = parse_parquet(data, location, choose)
        case _:
            raise JabertError(f"{location} has none of the endings of a table: {', '.join(ENDINGS)}")
    return rows_frame(cells, location, lines)


def write_table(table: pd.DataFrame, path: Path) -> None:
    """Write a table of strings in the format of the path's ending, whole or not at all.

    Raises:
        JabertError: the ending is not one of `ENDINGS`, or the file cannot be written.
    """
    ending = path.suffix.lower()
    if ending not in ENDINGS:
        raise JabertError(f"{path} has none of the endings of a table: {', '.join(ENDINGS)}")
    with atomic_path(path) as temporary:
        if ending == ".parquet":
            table.to_parquet(temporary, index=False)
        elif ending == ".jsonl":
            temporary.write_text("".join(_json_lines(table)), encoding="utf-8")
        else:
            separator = "\t" if ending == ".tsv" else ","
            table.to_csv(temporary, index=False, sep=separator, lineterminator="\r\n")


def rows_frame(cells: Cells, file: str, lines: list[int]) -> pd.DataFrame:
    """A DataFrame of the cells, with the columns file and line.

    Raises:
        JabertError: there are no rows.
    """
    if not lines:
        raise JabertError(f"{file} has no rows")
    rows = pd.DataFrame({role: pd.Series(values, dtype="str") for role, values in cells.items()})
    for role in rows.columns.drop("text"):
        rows[role] = rows[role].mask(rows[role] == "")
    return rows.assign(file=redacted(file), line=lines)  # it is shown and recorded with the row


def require_column(column: str, present: Sequence[str], file: str) -> str:
    """The column's own name, once it is sure that the file has exactly one of that name.

    Raises:
        JabertError: naming the file, the column and those that are there.
    """
    if present.count(column) == 1:
        return column
    if column in present:
        raise JabertError(f"{file} has more than one column {column!r}")
    near = difflib.get_close_matches(column, present, n=1)
    hint = f"; the nearest is {near[0]!r}" if near else ""
    raise JabertError(f"{file} has no column {column!r} but: {', '.join(map(repr, present))}{hint}")


def _chooser(settings: DataSettings) -> Chooser:
    def choose(present: Sequence[str], file: str) -> dict[str, str]:
        wanted = {"text": settings.text_column, "label": settings.label_column}
        if settings.group_column or "group" in present:
            wanted["group"] = settings.group_column or "group"
        if settings.split == "given" or (settings.split == "auto" and settings.split_column in present):
            wanted["split"] = settings.split_column
        return {role: require_column(column, present, file) for role, column in wanted.items()}

    return choose


def _json_lines(table: pd.DataFrame) -> Iterator[str]:
    for record in table.astype(object).where(table.notna(), None).to_dict("records"):
        yield json.dumps(record, ensure_ascii=False) + "\n"
