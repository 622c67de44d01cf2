"""Which labels are probably wrong: confident learning on out-of-fold probabilities.

Source: Northcutt, Jiang and Chuang, Confident Learning: Estimating Uncertainty in Dataset Labels (2021). A
row is doubted if a class other than its label is as probable for it as that class is, on average, for the
rows that have it as their label; and here also if another class is simply more probable.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from jabert.evaluation.metrics import Indices, Probabilities

_Numbers = npt.NDArray[np.float64]
_LEAST = 1e-12
_CANDIDATES = 4  # unsure rows for each that is wanted


@dataclass(frozen=True)
class Doubt:
    """A row whose label is doubted.

    Attributes:
        row: its number.
        label: index of its label.
        likely: index of the class that is more likely.
        score: probability that the label is wrong, from 0 to 1.
    """

    row: int
    label: int
    likely: int
    score: float


def most_teaching(probabilities: Probabilities, vectors: _Numbers, count: int) -> npt.NDArray[np.int64]:
    """Which unlabelled rows would teach most: numbers of so many, the least certain first.

    Of those about which the classifier is least certain, four times as many as are wanted, one of each
    cluster of similar ones is taken, for the others would teach the same. (Uncertain and diverse: as Zhdanov,
    Diverse Mini-batch Active Learning, 2019, but by the margin within a cluster, which did better here.)

    Args:
        probabilities: (rows, classes).
        vectors: (rows, columns), standardized.
        count: rows wanted; there may be fewer.
    """
    from sklearn.cluster import KMeans

    highest = np.sort(probabilities, axis=1)[:, -2:]
    margins = highest[:, 1] - highest[:, 0]
    unsure = np.argsort(margins, kind="stable")[: _CANDIDATES * count]
    if len(unsure) <= count:
        return unsure
    clusters = KMeans(count, n_init=1, random_state=0).fit_predict(vectors[unsure])
    first = np.unique(clusters, return_index=True)[1]  # of each cluster, in the order of the margins
    return unsure[np.sort(first)]


def doubted(labels: Indices, probabilities: Probabilities) -> list[Doubt]:
    """The rows whose label is probably wrong, the most suspicious first.

    Args:
        labels: index of the label of each row, (rows,).
        probabilities: (rows, classes), by what did not learn from the row; NaN where there are none of a row,
            which is then not doubted.
    """
    known = np.flatnonzero(np.isfinite(probabilities).all(axis=1))
    given, found = labels[known], probabilities[known]
    own = found[np.arange(len(known)), given]
    sums = np.bincount(given, weights=own, minlength=found.shape[1])
    counts = np.bincount(given, minlength=found.shape[1])
    thresholds = np.where(counts > 0, sums / np.maximum(counts, 1), np.inf)
    confident = np.where(found >= thresholds, found + 1, found).argmax(axis=1)  # those above come first
    likely = np.where(confident != given, confident, found.argmax(axis=1))
    off = np.flatnonzero(likely != given)
    suspicion = np.log(np.maximum(found[off, likely[off]], _LEAST)) - np.log(np.maximum(own[off], _LEAST))
    return [
        Doubt(int(known[at]), int(given[at]), int(likely[at]), float(1 - own[at]))
        for at in off[np.argsort(-suspicion, kind="stable")]
    ]


def with_groups(labels: Indices, probabilities: Probabilities, groups: Indices) -> _Numbers:
    """The probabilities with what the labels of the other rows of a row's group say.

    Where the sentences of an article mostly have one label, a sentence with another is suspicious whatever it
    says; where groups are mixed, this changes nothing. How much they say is estimated from the labels.

    Args:
        labels: (rows,).
        probabilities: (rows, classes), of the texts alone.
        groups: number of the group of each row, (rows,), from 0 without gaps; a row alone has its own.
    """
    from scipy.optimize import minimize_scalar

    classes = probabilities.shape[1]
    prior = (np.bincount(labels, minlength=classes) + 1) / (len(labels) + classes)
    counts = np.zeros((int(groups.max()) + 1, classes))
    np.add.at(counts, (groups, labels), 1)
    others = counts[groups] - np.eye(classes)[labels]  # (rows, classes)
    total = others.sum(axis=1, keepdims=True)

    def expected(logarithm: float) -> _Numbers:
        weight = np.exp(logarithm)  # rows that the shares of the classes count for
        shares: _Numbers = (others + weight * prior) / (total + weight)
        return shares

    def loss(logarithm: float) -> float:
        return -float(np.log(expected(logarithm)[np.arange(len(labels)), labels]).sum())

    best = minimize_scalar(loss, bounds=(np.log(0.01), np.log(1e4)), method="bounded")
    joined = probabilities * expected(float(best.x)) / prior
    joined_shares: _Numbers = joined / joined.sum(axis=1, keepdims=True)
    return joined_shares


@dataclass(frozen=True)
class Gain:
    """What more labels would bring, by a power law through the learning curve.

    Attributes:
        rows: that are added.
        gain: in weighted F1.
        low, high: ends of its 95 % interval, by a bootstrap over the folds.
    """

    rows: int
    gain: float
    low: float
    high: float


def gain_of_more(
    sizes: Sequence[float], scores: _Numbers, rows: int, *, now: int, seed: int = 0, resamples: int = 500
) -> Gain:
    """How much better a method would be with more labels: `top - b * n ** -c` through its learning curve.

    Args:
        sizes: rows that were learned from, ascending.
        scores: weighted F1 (folds, sizes).
        rows: to add.
        now: rows that there are.
        seed, resamples: of the bootstrap.
    """
    random = np.random.default_rng(seed)
    drawn = [scores[random.integers(len(scores), size=len(scores))].mean(axis=0) for _ in range(resamples)]
    n = np.array(sizes, dtype=np.float64)
    gains = [_power_law_gain(n, curve, now, rows) for curve in drawn]
    low, high = np.quantile(gains, [0.025, 0.975])
    return Gain(rows, _power_law_gain(n, scores.mean(axis=0), now, rows), float(low), float(high))


def _power_law_gain(sizes: _Numbers, scores: _Numbers, now: int, more: int) -> float:
    """Of the fits by least squares with an exponent from 0.1 to 2, that of the one with the least error."""
    best, gain = np.inf, 0.0
    for c in np.linspace(0.1, 2, 39):
        x = sizes**-c
        slope = min(0.0, float(np.cov(x, scores, bias=True)[0, 1] / x.var()))  # more labels do no harm
        top = scores.mean() - slope * x.mean()
        error = float(((top + slope * x - scores) ** 2).sum())
        if error < best:
            best, gain = error, slope * float((now + more) ** -c - now**-c)
    return gain
