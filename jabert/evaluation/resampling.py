"""Tests and intervals for figures of a cross-validation, whose training sets overlap.

Two folds learn from mostly the same rows, so their figures vary less than those of new data would, and the
plain t test finds differences that are none. Its variance is corrected as in Nadeau and Bengio, Inference for
the Generalization Error (2003); for repeated cross-validation see Bouckaert and Frank, Evaluating the
Replicability of Significance Tests for Comparing Learning Algorithms (2004). Many comparisons: Holm, A
Simple Sequentially Rejective Multiple Test Procedure (1979). Ranks: Demšar, Statistical Comparisons of
Classifiers over Multiple Data Sets (2006).
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

_Numbers = npt.NDArray[np.float64]


def corrected_error(values: _Numbers, overlap: float) -> float:
    """Standard error of the mean of figures of folds, corrected for their overlapping training sets.

    Args:
        values: (folds,), of all repetitions; two at least.
        overlap: test rows for each training row, 1 / (k - 1) of a k-fold cross-validation.
    """
    return float(np.sqrt((1 / len(values) + overlap) * values.var(ddof=1)))


def corrected_interval(values: _Numbers, overlap: float) -> tuple[float, float]:
    """Ends of the 95 % interval of the mean; arguments as for `corrected_error`.

    Example:
        >>> corrected_interval(np.array([0.8, 0.82, 0.78, 0.81, 0.79]), 1 / 4)
        (0.77, 0.83)
    """
    from scipy.stats import t

    half = t.ppf(0.975, len(values) - 1) * corrected_error(values, overlap)
    return float(values.mean() - half), float(values.mean() + half)


def corrected_p_value(differences: _Numbers, overlap: float) -> float:
    """Two-sided p value of Nadeau and Bengio's corrected resampled t test.

    Args:
        differences: (folds,), of the figures of two methods on the same folds.
        overlap: as for `corrected_error`.

    Returns:
        1 if all differences are 0; 0 if they are all the same and not 0.
    """
    from scipy.stats import t

    error, mean = corrected_error(differences, overlap), abs(float(differences.mean()))
    if error == 0:
        return float(mean == 0)
    return float(2 * t.sf(mean / error, len(differences) - 1))


def holm(p_values: Sequence[float]) -> list[float]:
    """The p values, in their order, corrected so that of all of them one in twenty is wrong at 0.05.

    Example:
        >>> holm([0.01, 0.04, 0.03])
        [0.03, 0.06, 0.06]
    """
    corrected, highest = [0.0] * len(p_values), 0.0
    for done, at in enumerate(np.argsort(p_values, kind="stable").tolist()):
        highest = max(highest, min(1.0, p_values[at] * (len(p_values) - done)))
        corrected[at] = highest
    return corrected


def mean_ranks(scores: _Numbers) -> _Numbers:
    """The mean rank of each method, 1 is the best, from scores (methods, folds); ties share their ranks."""
    from scipy.stats import rankdata

    ranks: _Numbers = rankdata(-scores, axis=0).mean(axis=1)
    return ranks


def critical_difference(methods: int, folds: int) -> float:
    """Nemenyi's: mean ranks that are less apart may be so by chance, at 0.05.

    It takes folds for independent, which those of one corpus are not: for the eye, not for a decision.
    """
    from scipy.stats import studentized_range

    quantile = studentized_range.ppf(0.95, methods, np.inf) / np.sqrt(2)
    return float(quantile * np.sqrt(methods * (methods + 1) / (6 * folds)))
