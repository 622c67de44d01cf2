"""Confidence intervals by the bootstrap.

Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993). Groups are resampled whole (the cluster
bootstrap: Davison and Hinkley, Bootstrap Methods and their Application (1997), section 3.8): sentences of one
article resemble each other, so resampling single sentences would give too narrow an interval.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from jabert.evaluation.metrics import Indices


def resampling_units(rows: pd.DataFrame) -> tuple[Indices, str]:
    """Number the units that the bootstrap draws: the groups, or single rows if there are none.

    Args:
        rows: optional column `group`; a row without a group is a unit by itself.

    Returns:
        The number of each row's unit, `(rows,)`, from 0 without gaps; and a name for the units, "12 groups"
        or "419 rows".
    """
    if "group" not in rows or rows["group"].isna().all():
        return np.arange(len(rows)), f"{len(rows)} rows"
    codes = pd.factorize(rows["group"])[0].astype(np.int64)
    alone = codes < 0
    codes[alone] = codes.max() + 1 + np.arange(alone.sum())
    return codes, f"{codes.max() + 1} groups"


def bootstrap_interval(
    counts: npt.NDArray[np.number[Any]],
    statistic: Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]],
    *,
    seed: int,
    resamples: int,
) -> tuple[float, float]:
    """Ends of the 95 % percentile interval of a statistic (Efron and Tibshirani, chapter 13).

    With a single unit all samples are the same, and so are both ends.

    Args:
        counts: of each unit, `(units, …)`. The counts of a sample are the sum over the units drawn.
        statistic: takes the counts of the samples, `(resamples, …)`, and returns `(resamples,)`.
        seed: of the drawing; the same seed gives the same interval.
        resamples: number of samples.
    """
    # Units with equal counts are interchangeable: drawing how often each kind occurs is the same
    # as drawing units, and there are few kinds, above all where each row is its own unit.
    flat = counts.reshape(len(counts), -1)
    kinds, times = np.unique(flat, axis=0, return_counts=True)
    draws = np.random.default_rng(seed).multinomial(len(counts), times / len(counts), size=resamples)
    samples = draws.astype(np.float64) @ kinds.astype(np.float64)  # floats: NumPy has no BLAS for integers
    low, high = np.quantile(statistic(samples.reshape(resamples, *counts.shape[1:])), [0.025, 0.975])
    return float(low), float(high)
