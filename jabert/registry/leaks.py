"""The leak guard: which of today's test rows a model has learned from."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from jabert.dataset import row_digests
from jabert.files import write_json

__all__ = ["ENOUGH_ROWS", "LEARNED_FROM", "Learned", "has_seen", "is_enough", "read_learned", "write_learned"]

LEARNED_FROM = "learned_from.json"
"""Name of the file that travels with a model."""

ENOUGH_ROWS = 200
"""A comparison wants so many unseen rows, or half of the test rows if those are fewer."""


@dataclass(frozen=True)
class Learned:
    """Digests of the texts that a model learned from and, where the split was by group, of their groups."""

    rows: frozenset[str]
    groups: frozenset[str]


def write_learned(table: pd.DataFrame, split_by: str, path: Path) -> Path:
    """Write the digests of the training and validation rows of a split table of texts.

    Validation rows chose the epoch, so they are no fresh rows either.
    """
    learned = table[table["split"] != "test"]
    by_group = split_by == "group" and "group" in table
    digests = {
        "rows": sorted(row_digests(learned["text"])),
        "groups": sorted(row_digests(learned["group"].dropna().unique())) if by_group else [],
    }
    return write_json(path, digests)


def read_learned(path: Path) -> Learned:
    """What `write_learned` wrote."""
    written = json.loads(path.read_text(encoding="utf-8"))
    return Learned(frozenset(written["rows"]), frozenset(written["groups"]))


def has_seen(learned: Learned | None, rows: pd.DataFrame) -> np.ndarray:
    """Which rows a model learned from, by their text or their group: bool (rows,).

    Of a model that carries no digests nothing is known; all rows count as unseen.
    """
    if learned is None:
        return np.zeros(len(rows), dtype=bool)
    seen = np.array([digest in learned.rows for digest in row_digests(rows["text"])], dtype=bool)
    if "group" in rows and learned.groups:
        groups = rows["group"].fillna("")
        seen |= np.array([digest in learned.groups for digest in row_digests(groups)], dtype=bool)
    return seen


def is_enough(unseen: int, rows: int) -> bool:
    """Whether so many unseen rows out of so many test rows carry a comparison."""
    return unseen > 0 and (unseen >= ENOUGH_ROWS or 2 * unseen >= rows)
