"""How far a probability can be trusted: calibration, and answering only where the classifier is sure.

Sources: temperature scaling and the expected calibration error as in Guo, Pleiss, Sun and Weinberger, On
Calibration of Modern Neural Networks (2017); the lower bound of a share by Clopper and Pearson, The Use of
Confidence or Fiducial Limits Illustrated in the Case of the Binomial (1934).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from jabert.evaluation.context import Context, fit_context, sums_of
from jabert.evaluation.metrics import Indices, Probabilities, log_loss

FEWEST_ROWS = 20
"""From fewer rows nothing is fitted."""

_BINS = 15
_COVERAGES = 20
_LOWEST, _HIGHEST = 0.2, 5.0  # temperature
_DOUBT = 0.05  # chance that the precision of the answers is lower than was wished


@dataclass(frozen=True)
class Calibration:
    """What a package does to the probabilities of its classifier, and below which one it has no answer.

    Attributes:
        rows: from which it was fitted, and from which the classifier did not learn.
        temperature: above 1 it makes probabilities less sure, below 1 surer; the order stays.
        threshold: probability below which a text gets no label, None if every text gets one.
        note: a sentence on what could not be fitted, "" if all was.
        context: what the neighbours of a text change, None if they are not looked at.
    """

    rows: int = 0
    temperature: float = 1.0
    threshold: float | None = None
    note: str = ""
    context: Context | None = None

    def answers(
        self, probabilities: Probabilities, neighbours: Sequence[Sequence[int]] | None = None
    ) -> npt.NDArray[np.float64]:
        """The classifier's probabilities `(rows, classes)` as the package answers.

        Args:
            probabilities: of the classifier.
            neighbours: numbers of the rows beside each row; without them it is as if there were none.
        """
        own = scaled(probabilities, self.temperature)
        if self.context is None or neighbours is None:
            return own
        return self.context(own, sums_of(own, neighbours))


@dataclass(frozen=True)
class Bin:
    """Rows whose highest probability is similar: how many, its mean, and the share that is right."""

    rows: int
    confidence: float
    accuracy: float


@dataclass(frozen=True)
class Coverage:
    """What is answered above a threshold: its share of all rows, and the share of it that is right."""

    threshold: float
    share: float
    accuracy: float


def calibrate(
    true: Indices,
    probabilities: Probabilities,
    min_precision: float | None = None,
    *,
    context: int = 0,
    neighbours: Sequence[Sequence[int]] | None = None,
) -> Calibration:
    """Fit temperature, context and threshold on rows that the classifier did not learn from.

    The temperature is that of the lowest log loss between 0.2 and 5. The threshold is the lowest at which
    the precision of the answers is surely what is wished: the lower end of its one-sided 95 % interval.

    Args:
        true: class indices, `(rows,)`.
        probabilities: `(rows, classes)`, as the classifier gives them.
        min_precision: wished share of right answers among all answers; None: every text is answered.
        context: texts before, and as many after, that are looked at.
        neighbours: numbers of the rows beside each row, at most twice `context`; None without a context.
    """
    rows, few = len(true), len(true) < FEWEST_ROWS
    note = f"{rows} rows are too few to calibrate with; {FEWEST_ROWS} are needed." if few else ""
    fitted = Calibration(rows, 1.0 if few else _fit_temperature(true, probabilities), note=note)
    if neighbours is not None:
        own = fitted.answers(probabilities)
        fitted = replace(fitted, context=fit_context(true, own, sums_of(own, neighbours), context))
    if min_precision is None or few:
        return fitted
    threshold = _lowest_threshold(true, fitted.answers(probabilities, neighbours), min_precision)
    if threshold is not None:
        return replace(fitted, threshold=threshold)
    note = (
        f"No threshold has a precision of surely {min_precision} on these {rows:,} rows, so every text is "
        "answered: wish for less, or give more validation rows."
    )
    return replace(fitted, note=note)


def scaled(probabilities: Probabilities, temperature: float) -> npt.NDArray[np.float64]:
    """Probabilities `(rows, classes)` at a temperature, as the registered model scales them.

    They are the softmax of their logarithms divided by the temperature. At 1 they stay as they are.
    """
    if temperature == 1:
        return probabilities.astype(np.float64, copy=False)
    powers = probabilities ** (1 / temperature)
    shares: npt.NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
    return shares


def reliability(true: Indices, probabilities: Probabilities) -> tuple[Bin, ...]:
    """Rows in 15 bins of equal width by their highest probability, without empty bins; as for `calibrate`."""
    confidence, right = _answers(true, probabilities)
    of = np.minimum((confidence * _BINS).astype(int), _BINS - 1)
    members = [of == number for number in range(_BINS) if (of == number).any()]
    return tuple(
        Bin(int(each.sum()), float(confidence[each].mean()), float(right[each].mean())) for each in members
    )


def expected_error(bins: tuple[Bin, ...]) -> float:
    """Expected calibration error: mean distance of confidence and accuracy in a bin, weighted by its rows."""
    rows = sum(each.rows for each in bins)
    return sum(each.rows * abs(each.confidence - each.accuracy) for each in bins) / rows


def coverage(true: Indices, probabilities: Probabilities) -> tuple[Coverage, ...]:
    """What a threshold answers and how well, at about each twentieth of the rows; as for `calibrate`."""
    scores, counts, correct = _by_score(true, probabilities)
    wanted = np.ceil(np.arange(1, _COVERAGES + 1) * counts[-1] / _COVERAGES)
    return tuple(
        Coverage(float(scores[at]), float(counts[at] / counts[-1]), float(correct[at] / counts[at]))
        for at in np.unique(np.searchsorted(counts, wanted))
    )


def answered(true: Indices, probabilities: Probabilities, threshold: float) -> Coverage:
    """What is answered at a threshold; an accuracy of nothing is 0."""
    confidence, right = _answers(true, probabilities)
    inside = confidence >= threshold
    accuracy = float(right[inside].mean()) if inside.any() else 0.0
    return Coverage(threshold, float(inside.mean()), accuracy)


def _fit_temperature(true: Indices, probabilities: Probabilities) -> float:
    from scipy.optimize import minimize_scalar

    def loss(logarithm: float) -> float:
        return log_loss(true, scaled(probabilities, float(np.exp(logarithm))))

    found = minimize_scalar(loss, bounds=np.log([_LOWEST, _HIGHEST]), method="bounded")
    return float(np.exp(found.x))


def _lowest_threshold(true: Indices, probabilities: Probabilities, min_precision: float) -> float | None:
    """Half way between the scores of the last row that is answered and the first that is not; 0 for all."""
    from scipy.stats import beta

    scores, counts, correct = _by_score(true, probabilities)
    least = np.where(correct > 0, beta.ppf(_DOUBT, np.maximum(correct, 1), counts - correct + 1), 0.0)
    good = np.flatnonzero(least >= min_precision)
    if not len(good):
        return None
    last = good[-1]
    return 0.0 if last + 1 == len(scores) else float((scores[last] + scores[last + 1]) / 2)


def _by_score(
    true: Indices, probabilities: Probabilities
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Each score that occurs, the highest first, with the number of rows and of right rows from it up."""
    confidence, right = _answers(true, probabilities)
    scores, of = np.unique(-confidence, return_inverse=True)
    counts = np.cumsum(np.bincount(of))
    correct = np.cumsum(np.bincount(of, weights=right)).astype(np.int64)
    return -scores, counts, correct


def _answers(
    true: Indices, probabilities: Probabilities
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """The highest probability of each row, and whether its class is the true one."""
    return probabilities.max(axis=1).astype(np.float64), probabilities.argmax(axis=1) == true
