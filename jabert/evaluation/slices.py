"""Scores on slices: parts of the test rows, chosen by what makes their texts hard."""

from dataclasses import dataclass

import pandas as pd

from jabert.evaluation.metrics import Indices, weighted_f1

SHORT_TEXT = 10
"""Longest text of the slice `short`, in characters."""


@dataclass(frozen=True)
class SliceScore:
    """Scores on the test rows of one slice."""

    rows: int
    accuracy: float
    weighted_f1: float


def slice_scores(
    rows: pd.DataFrame, true: Indices, predicted: Indices, classes: int
) -> dict[str, SliceScore]:
    """Scores on the slices `short`, `unknown` and `truncated`; a slice without rows is left out.

    Args:
        rows: column `text`; optional `unknown` (number of unknown pieces in the text) and `truncated`
            (whether it was cut to the longest input).
        true, predicted: class indices, `(rows,)`.
        classes: number of classes.
    """
    members = {"short": (rows["text"].str.len() <= SHORT_TEXT).to_numpy(dtype=bool)}
    for name in ("unknown", "truncated"):
        if name in rows:
            members[name] = (rows[name] > 0).to_numpy(dtype=bool)
    return {
        name: SliceScore(
            rows=int(inside.sum()),
            accuracy=float((true == predicted)[inside].mean()),
            weighted_f1=weighted_f1(true[inside], predicted[inside], classes),
        )
        for name, inside in members.items()
        if inside.any()
    }
