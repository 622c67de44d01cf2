"""What methods without a network share: linear models, as the weights of a softmax layer."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

_MOST_ITERATIONS = 1000
_FOLDS = 3
_ENOUGH = 2000  # held-out rows to choose one number on
_SHARPNESS = 2.0  # where no row can be held out; most corpora are near it


@dataclass(frozen=True)
class Softmax:
    """A softmax layer: `softmax(x @ kernel + bias)`.

    Attributes:
        kernel: float64 (features, classes).
        bias: float64 (classes,).
        iterations: of the optimizer.
    """

    kernel: npt.NDArray[np.float64]
    bias: npt.NDArray[np.float64]
    iterations: int


def fit_softmax(features: Any, classes: npt.NDArray[np.int32], c: float) -> Softmax:
    """Fit scikit-learn's logistic regression (multinomial, L2).

    Args:
        features: (rows, features), an array or a sparse matrix.
        classes: (rows,), class indices; each class has a row.
        c: inverse strength of the regularization.
    """
    from sklearn.linear_model import LogisticRegression

    # Not lbfgs, scikit-learn's default: on a hundred thousand n-grams it takes ten times as long.
    model = LogisticRegression(C=c, solver="newton-cg", max_iter=_MOST_ITERATIONS).fit(features, classes)
    coefficients, bias = model.coef_, model.intercept_
    if len(coefficients) == 1:  # of two classes scikit-learn has a column for the second only
        coefficients = np.concatenate([-coefficients / 2, coefficients / 2])
        bias = np.concatenate([-bias / 2, bias / 2])
    return Softmax(coefficients.T, bias, int(model.n_iter_.max()))


def fit_svm(
    features: Any, classes: npt.NDArray[np.int32], c: float, groups: Sequence[str | None] = ()
) -> Softmax:
    """Fit scikit-learn's linear support vector machine, one class against the rest, classes balanced.

    Its scores become probabilities by a softmax of their multiple, which has the best likelihood for rows
    that were held out, whole groups at a time.

    Args:
        features: (rows, features), a sparse matrix of rows of length 1.
        classes: (rows,), class indices; each class has a row.
        c: inverse strength of the regularization.
        groups: of each row, if there are any; a row with None is its own.
    """
    from scipy.optimize import minimize_scalar
    from scipy.special import log_softmax

    kernel, bias, iterations = _svm(features, classes, c)
    sharpness = _SHARPNESS
    scores: list[npt.NDArray[np.float64]] = []
    true: list[npt.NDArray[np.int32]] = []
    for learned, held in _folds(len(classes), groups):
        present = np.unique(classes[learned])
        if len(present) < 2 or sum(map(len, true)) >= _ENOUGH:
            continue
        found, offset, _ = _svm(features[learned], classes[learned], c)
        guessed = np.full((len(held), kernel.shape[1]), -1.0)  # beyond the margin, of a class not learned
        guessed[:, present] = features[held] @ found + offset
        scores.append(guessed)
        true.append(classes[held])
    if scores:
        all_scores, all_true = np.concatenate(scores), np.concatenate(true)

        def loss(logarithm: float) -> float:
            likelihoods = log_softmax(np.exp(logarithm) * all_scores, axis=1)
            return -float(likelihoods[np.arange(len(all_true)), all_true].mean())

        sharpness = float(np.exp(minimize_scalar(loss, bounds=(-3, 3), method="bounded").x))
    return Softmax(sharpness * kernel, sharpness * bias, iterations)


def _svm(features: Any, classes: npt.NDArray[np.int32], c: float) -> tuple[Any, Any, int]:
    """Kernel (features, classes), bias (classes,) and iterations; only classes that have rows."""
    from sklearn.svm import LinearSVC

    model = LinearSVC(C=c, class_weight="balanced", max_iter=_MOST_ITERATIONS, random_state=0)
    model.fit(features, classes)
    kernel, bias = model.coef_.T, model.intercept_
    if kernel.shape[1] == 1:  # of two classes scikit-learn has a column for the second only
        kernel, bias = np.concatenate([-kernel, kernel], axis=1), np.concatenate([-bias, bias])
    return kernel, bias, int(model.n_iter_)


def _folds(
    rows: int, groups: Sequence[str | None]
) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
    """Numbers of the rows to learn from and of those held out, fold after fold; none of a single group."""
    from sklearn.model_selection import GroupKFold

    names = [(number, None) if name is None else name for number, name in enumerate(groups or [None] * rows)]
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    if len(numbers) > 1:
        folds = GroupKFold(min(_FOLDS, len(numbers)), shuffle=True, random_state=0)
        yield from folds.split(np.empty(rows), groups=[numbers[name] for name in names])
