"""The article's folders: `trains/` and `tests/`, each with `features.csv` and `labels.csv`.

The two files of a folder have one column each, with the header `feature` or `label`, and
row n of one belongs to row n of the other.
"""

from collections.abc import Sequence

import pandas as pd

from jabert.dataset.parsers import parse_csv
from jabert.dataset.sources import is_folder, read_bytes
from jabert.dataset.tables import require_column, rows_frame
from jabert.errors import JabertError

__all__ = ["FOLDERS", "read_seed_folders"]

FOLDERS = {"trains": "train", "tests": "test"}  # folder -> value of the column split


def read_seed_folders(location: str) -> pd.DataFrame:
    """Read both folders.

    Returns:
        Columns text, label, split (train or test), file, line; the place is that of the text.

    Raises:
        JabertError: a folder, file or header is missing, a file cannot be read, or the two
            files of a folder differ in their number of rows.
    """
    sides = []
    for folder, side in FOLDERS.items():
        path = f"{location.rstrip('/')}/{folder}"
        if "://" not in path and not is_folder(path):
            raise JabertError(f"there is no folder {path}")
        sides.append(_read_side(path).assign(split=side))
    rows = pd.concat(sides, ignore_index=True)
    return rows[["text", "label", "split", "file", "line"]]


def _read_side(folder: str) -> pd.DataFrame:
    features, labels = f"{folder}/features.csv", f"{folder}/labels.csv"
    texts, lines = _read_column(features, "feature")
    classes, _ = _read_column(labels, "label")
    if len(texts) != len(classes):
        raise JabertError(f"{features} has {len(texts)} rows, but {labels} has {len(classes)}")
    return rows_frame({"text": texts, "label": classes}, features, lines)


def _read_column(file: str, column: str) -> tuple[list[str | None], list[int]]:
    def choose(present: Sequence[str], file: str) -> dict[str, str]:
        return {column: require_column(column, present, file)}

    cells, lines = parse_csv(read_bytes(file), file, choose)
    return cells[column], lines
