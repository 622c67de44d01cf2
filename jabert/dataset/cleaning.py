"""Removes repeated texts and texts with contradictory labels."""

from dataclasses import dataclass

import pandas as pd

from jabert.texts import fault_of


@dataclass(frozen=True, eq=False)
class Cleaned:
    """What `clean` kept, and what it found.

    Attributes:
        rows: the rows that remain, with all their columns.
        conflicts: the rows of texts with two or more labels, sorted by text (text, label, file, line).
        counts: duplicates, the rows that repeat an earlier one; conflicting_texts and conflicting_rows, the
            distinct texts and the rows in `conflicts`.
    """

    rows: pd.DataFrame
    conflicts: pd.DataFrame
    counts: dict[str, int]


def clean(rows: pd.DataFrame, *, drop: bool) -> Cleaned:
    """Keep the first of each text, and none of a text with two or more labels.

    For such a text nothing tells which label is right, and a majority of two or three says
    little. Rows with a blank or null text or a null label are left for validation to refuse.

    Args:
        rows: columns text, label, file, line and any others.
        drop: False keeps all rows and only counts.
    """
    usable = rows["text"].map(fault_of).isna() & rows["label"].notna()
    pairs = rows.loc[usable, ["text", "label"]].drop_duplicates()
    contradictory = pairs.loc[pairs["text"].duplicated(), "text"].unique()
    conflicting = usable & rows["text"].isin(contradictory)
    repeated = usable & ~conflicting & rows.duplicated(["text", "label"])
    conflicts = rows.loc[conflicting, ["text", "label", "file", "line"]].sort_values("text", kind="stable")
    return Cleaned(
        rows=rows[~(conflicting | repeated)].reset_index(drop=True) if drop else rows,
        conflicts=conflicts.reset_index(drop=True),
        counts={
            "duplicates": int(repeated.sum()),
            "conflicting_texts": len(contradictory),
            "conflicting_rows": int(conflicting.sum()),
        },
    )
