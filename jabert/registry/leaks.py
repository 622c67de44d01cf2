"""The leak guard: which of today's test rows a registered model was trained on."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import TypeAdapter

from jabert.dataset import row_digests
from jabert.files import write_json
from jabert.texts import in_reading_form

TRAINING_DIGESTS_FILE = "learned_from.json"
"""Name of the digests among the artifacts of a model."""

_ENOUGH_ROWS = 200


@dataclass(frozen=True)
class TrainingDigests:
    """What a model was trained on.

    Attributes:
        rows: digests of the texts.
        groups: digests of their groups if the split was by group, else empty.
        by_form: whether the digests are of each text's `in_reading_form`, so that a text is found whatever
            its width, composition and invisible characters; those of earlier versions are of the text itself.
    """

    rows: frozenset[str]
    groups: frozenset[str]
    by_form: bool = False


_FILE = TypeAdapter(TrainingDigests)


def write_training_digests(table: pd.DataFrame, split_by: str, path: Path) -> Path:
    """Write the digests of the training and validation rows of a split table of texts.

    Validation rows are included because they decide which epoch is kept.
    """
    used = table[table["split"] != "test"]
    by_group = split_by == "group" and "group" in table
    digests = {
        "rows": sorted(set(row_digests(map(in_reading_form, used["text"])))),
        "groups": sorted(row_digests(used["group"].dropna().unique())) if by_group else [],
        "by_form": True,
    }
    return write_json(path, digests)


def read_training_digests(path: Path) -> TrainingDigests:
    """Read a file of `write_training_digests`.

    Raises:
        ValueError: it is damaged.
    """
    return _FILE.validate_json(path.read_bytes())


def seen_rows(digests: TrainingDigests | None, rows: pd.DataFrame) -> npt.NDArray[np.bool_]:
    """Mark the rows that a model was trained on, by their text or their group: `(rows,)`.

    Without digests, as for a model made outside of jabert, all rows count as unseen.
    """
    if digests is None:
        return np.zeros(len(rows), dtype=bool)
    texts = map(in_reading_form, rows["text"]) if digests.by_form else rows["text"]
    seen = np.array([digest in digests.rows for digest in row_digests(texts)], dtype=bool)
    if "group" in rows and digests.groups:
        groups = rows["group"].fillna("")
        seen |= np.array([digest in digests.groups for digest in row_digests(groups)], dtype=bool)
    return seen


def is_comparable(unseen_rows: int, test_rows: int) -> bool:
    """Whether so many unseen test rows suffice to compare models: 200, or half of a smaller test set."""
    return unseen_rows > 0 and (unseen_rows >= _ENOUGH_ROWS or 2 * unseen_rows >= test_rows)
