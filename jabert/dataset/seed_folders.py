"""The article's folders: `trains/` and `tests/`, each with `features.csv` and `labels.csv`.

The two files of a folder have one column each, with the header `feature` or `label`, and
row n of one belongs to row n of the other.
"""

import pandas as pd

from jabert.config import is_url
from jabert.dataset.chunks import require_column
from jabert.dataset.sources import is_folder
from jabert.dataset.tables import read_columns, rows_frame
from jabert.errors import JabertError

FOLDERS = {"trains": "train", "tests": "test"}  # folder -> value of the column split
FILES = tuple(f"{folder}/{name}.csv" for folder in FOLDERS for name in ("features", "labels"))


def read_seed_folders(location: str) -> pd.DataFrame:
    """Read both folders.

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


def _read_column(file: str, column: str) -> tuple[list[str | None], list[int]]:
    cells, lines = read_columns(file, lambda present: {"text": require_column(column, present, file)})
    return cells.get("text", []), lines
