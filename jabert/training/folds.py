"""Folds: parts of the rows, each to be predicted by what learned from the others."""

import warnings

import numpy as np
import numpy.typing as npt

from jabert.training.rows import Rows


def assign_folds(rows: Rows, folds: int, seed: int) -> npt.NDArray[np.int64]:
    """The fold of each row, (rows,), from 0; the rows of a group are in one fold, classes are spread evenly.

    A class must not be missing from what is learned from. So where all rows of a class would be in one fold,
    those are in none, -1: they are learned from each time, and predicted by nobody.

    Args:
        rows: with groups, if there are any; a row without one is a group of its own.
        folds: at most, for there are no more than groups.
        seed: chooses among the possible folds.
    """
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    named = list(rows.groups) or [None] * len(rows)
    grouped = any(name is not None for name in named)
    groups = np.array([f"row {row}" if name is None else f"group {name}" for row, name in enumerate(named)])
    largest = np.bincount(rows.classes).max()
    count = min(folds, len(np.unique(groups)), largest)
    if count < 2:
        return np.full(len(rows), -1)
    kind = StratifiedGroupKFold if grouped else StratifiedKFold
    splitter = kind(n_splits=count, shuffle=True, random_state=seed)
    found = np.empty(len(rows), dtype=np.int64)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The least populated class")  # is provided for below
        for fold, (_, chosen) in enumerate(splitter.split(groups, rows.classes, groups if grouped else None)):
            found[chosen] = fold
    for index in np.unique(rows.classes):
        own = rows.classes == index
        if len(set(found[own])) < 2:
            found[own] = -1
    return found
