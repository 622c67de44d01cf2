"""Removes repeated texts and texts whose label is contradictory."""

import pandas as pd

from jabert.texts import fault_of

__all__ = ["clean"]


def clean(rows: pd.DataFrame, *, drop: bool) -> tuple[pd.DataFrame, dict[str, int], pd.DataFrame]:
    """Keep the first of each text, and none of a text that stands under two labels.

    Of such a text nothing can tell which label is right, and a majority of two or three says
    little. Rows with a blank or null text or a null label are left for validation to refuse.

    Args:
        rows: columns text, label, file, line and any others.
        drop: False keeps all rows and only counts.

    Returns:
        The rows that remain; the counts duplicates, conflicting_texts and conflicting_rows; and
        the rows of the texts under two labels, sorted by text (text, label, file, line).
    """
    usable = rows["text"].map(fault_of).isna() & rows["label"].notna()
    pairs = rows.loc[usable, ["text", "label"]].drop_duplicates()
    torn = pairs.loc[pairs["text"].duplicated(), "text"].unique()
    conflicting = usable & rows["text"].isin(torn)
    repeated = usable & ~conflicting & rows.duplicated(["text", "label"])
    conflicts = rows.loc[conflicting, ["text", "label", "file", "line"]].sort_values("text", kind="stable")
    counts = {
        "duplicates": int(repeated.sum()),
        "conflicting_texts": len(torn),
        "conflicting_rows": int(conflicting.sum()),
    }
    kept = rows[~(conflicting | repeated)].reset_index(drop=True) if drop else rows
    return kept, counts, conflicts.reset_index(drop=True)
