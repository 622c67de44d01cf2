"""Metrics of a classifier, counted from class indices with NumPy alone.

Training uses `weighted_f1` after each epoch, so nothing here loads scikit-learn.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

Indices = npt.NDArray[np.integer[Any]]
Numbers = npt.NDArray[np.number[Any]]
Probabilities = npt.NDArray[np.floating[Any]]


def weighted_f1(true: Indices, predicted: Indices, classes: int) -> float:
    """F1 of each class, averaged by the class's share of the true labels.

    The same value as scikit-learn's `f1_score(average="weighted", zero_division=0)`.

    Args:
        true, predicted: class indices, `(rows,)`, at least one row.
        classes: number of classes.
    """
    return float(weighted_f1_of_counts(class_counts(true, predicted, classes, np.zeros_like(true))[0]))


def class_counts(true: Indices, predicted: Indices, classes: int, units: Indices) -> npt.NDArray[np.int64]:
    """Count the rows of each unit by class: correctly predicted ones, by true class, by predicted class.

    These are the diagonal and the margins of each unit's confusion matrix: all that F1 needs. Counts of
    several units can be added.

    Args:
        true, predicted: class indices, `(rows,)`.
        classes: number of classes.
        units: number of the unit of each row, `(rows,)`, from 0 without gaps.

    Returns:
        Counts, `(units, 3, classes)`.
    """
    shape = (int(units.max()) + 1, classes)
    by_true, by_predicted = units * classes + true, units * classes + predicted
    cells = (by_true[true == predicted], by_true, by_predicted)
    return np.stack(
        [np.bincount(cell, minlength=shape[0] * classes).reshape(shape) for cell in cells], axis=1
    )


def f1_scores(counts: Numbers) -> npt.NDArray[np.float64]:
    """F1 of each class, `(…, classes)`, from counts `(…, 3, classes)`; 0 for a class without rows."""
    correct, support, predicted = np.moveaxis(counts, -2, 0)
    f1: npt.NDArray[np.float64] = 2 * correct / np.maximum(support + predicted, 1)
    return f1


def weighted_f1_of_counts(counts: Numbers) -> npt.NDArray[np.float64]:
    """Weighted F1, `(…)`, from counts `(…, 3, classes)`."""
    support = counts[..., 1, :]
    weighted: npt.NDArray[np.float64] = (f1_scores(counts) * support).sum(axis=-1) / support.sum(axis=-1)
    return weighted


def log_loss(true: Indices, probabilities: Probabilities) -> float:
    """Mean negative natural logarithm of the true class's probability, which counts as at least 1.2e-7.

    Args:
        true: class indices, `(rows,)`.
        probabilities: `(rows, classes)`.
    """
    chosen = probabilities[np.arange(len(true)), true].astype(np.float64)
    return float(-np.log(np.maximum(chosen, np.finfo(np.float32).eps)).mean())
