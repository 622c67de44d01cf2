"""What methods without a network share: linear models, as the weights of a softmax layer."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from jabert.config import ClassWeights
from jabert.training.folds import assign_folds
from jabert.training.rows import Rows

_MOST_ITERATIONS = 1000
_FOLDS = 3
_ENOUGH = 2000  # held-out rows to choose one number on
_Mask = npt.NDArray[np.bool_]


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


def fit_softmax(
    features: Any, classes: npt.NDArray[np.int32], c: float, class_weights: ClassWeights = "none"
) -> Softmax:
    """Fit scikit-learn's logistic regression (multinomial, L2).

    Args:
        features: (rows, features), an array or a sparse matrix.
        classes: (rows,), class indices; each class has a row.
        c: inverse strength of the regularization.
        class_weights: whether a row counts the more, the fewer its class has.
    """
    from sklearn.linear_model import LogisticRegression

    weights = None if class_weights == "none" else class_weights
    # Not lbfgs, scikit-learn's default: on a hundred thousand n-grams it takes ten times as long.
    model = LogisticRegression(C=c, class_weight=weights, solver="newton-cg", max_iter=_MOST_ITERATIONS)
    model.fit(features, classes)
    coefficients, bias = model.coef_, model.intercept_
    if len(coefficients) == 1:  # of two classes scikit-learn has a column for the second only
        coefficients = np.concatenate([-coefficients / 2, coefficients / 2])
        bias = np.concatenate([-bias / 2, bias / 2])
    return Softmax(coefficients.T, bias, int(model.n_iter_.max()))


def fit_svm(features: Any, rows: Rows, c: float) -> Softmax:
    """Fit scikit-learn's linear support vector machine, one class against the rest, classes balanced.

    Its scores become probabilities by a softmax of their multiple, which has the best likelihood for rows
    that were held out, whole groups at a time.

    Args:
        features: (rows, features), a sparse matrix of rows of length 1.
        rows: each class has one.
        c: inverse strength of the regularization.
    """
    kernel, bias, iterations = _svm(features, rows.classes, c)

    def scores(learned: _Mask, asked: _Mask) -> npt.NDArray[np.float64]:
        found, offset, _ = _svm(features[learned], rows.classes[learned], c)
        return np.asarray(features[asked] @ found + offset)

    sharpness = held_out_sharpness(rows, scores)
    return Softmax(sharpness * kernel, sharpness * bias, iterations)


def held_out_sharpness(
    rows: Rows, scores: Callable[[_Mask, _Mask], npt.NDArray[np.float64]], usual: float = 2.0
) -> float:
    """The factor of a model's scores whose softmax has the best likelihood for rows that were held out.

    Args:
        rows: to learn from; whole groups are held out.
        scores: learns from the rows of the first mask, and scores (rows, classes) those of the second.
        usual: the factor where no row can be held out.
    """
    folds = assign_folds(rows, _FOLDS, seed=0)
    found: list[npt.NDArray[np.float64]] = []
    held = np.zeros(len(rows), dtype=bool)
    for fold in range(_FOLDS):
        asked = folds == fold
        if asked.any() and held.sum() < _ENOUGH:
            found.append(scores(~asked, asked))
            held |= asked
    if not found:
        return usual
    order = np.argsort(folds[held], kind="stable")  # that of the scores
    return _sharpness(np.concatenate(found), rows.classes[held][order])


def _sharpness(scores: npt.NDArray[np.float64], classes: npt.NDArray[np.int32]) -> float:
    """The factor of scores (rows, classes) whose softmax has the best likelihood."""
    from scipy.optimize import minimize_scalar
    from scipy.special import log_softmax

    def loss(logarithm: float) -> float:
        likelihoods = log_softmax(np.exp(logarithm) * scores, axis=1)
        return -float(likelihoods[np.arange(len(classes)), classes].mean())

    return float(np.exp(minimize_scalar(loss, bounds=(-3, 3), method="bounded").x))


def _svm(features: Any, classes: npt.NDArray[np.int32], c: float) -> tuple[Any, Any, int]:
    """Kernel (features, classes), bias (classes,) and iterations; each class has rows."""
    from sklearn.svm import LinearSVC

    model = LinearSVC(C=c, class_weight="balanced", max_iter=_MOST_ITERATIONS, random_state=0)
    model.fit(features, classes)
    kernel, bias = model.coef_.T, model.intercept_
    if kernel.shape[1] == 1:  # of two classes scikit-learn has a column for the second only
        kernel, bias = np.concatenate([-kernel, kernel], axis=1), np.concatenate([-bias, bias])
    return kernel, bias, int(model.n_iter_)


def fit_standardized(
    features: npt.NDArray[np.float64],
    classes: npt.NDArray[np.int32],
    c: float,
    class_weights: ClassWeights = "none",
) -> Softmax:
    """As `fit_softmax` on standardized columns, but the layer takes the columns as they are.

    Args:
        features: (rows, features).
        classes: (rows,), class indices; each class has a row.
        c: inverse strength of the regularization.
    """
    centre, scale = features.mean(axis=0), features.std(axis=0)
    scale[scale == 0] = 1.0  # of a column that is the same everywhere
    layer = fit_softmax((features - centre) / scale, classes, c, class_weights)
    kernel = layer.kernel / scale[:, None]
    return Softmax(kernel, layer.bias - centre @ kernel, layer.iterations)


def fit_weights(
    logarithms: npt.NDArray[np.float64], classes: npt.NDArray[np.int32], *, biased: bool
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Weights of several classifiers, none negative, so that their weighted sum is as right as can be.

    The probabilities are `softmax(sum of weight * logarithms + bias)`. Where a classifier adds nothing to the
    others, its weight is 0.

    Args:
        logarithms: (classifiers, rows, classes), of probabilities of rows that they did not learn from.
        classes: (rows,), class indices.
        biased: whether classes may have a bias. On few rows it would learn how often each stands there: with
            the validation rows of unseen articles that cost 2 to 3 points.

    Returns:
        Weights (classifiers,) and bias (classes,).
    """
    from scipy.optimize import minimize
    from scipy.special import log_softmax

    count, _, width = logarithms.shape
    one_hot = np.eye(width)[classes]
    start = np.concatenate([np.full(count, 1 / count), np.zeros(width)])

    def loss(parameters: npt.NDArray[np.float64]) -> tuple[float, npt.NDArray[np.float64]]:
        scores = log_softmax(np.tensordot(parameters[:count], logarithms, 1) + parameters[count:], axis=1)
        excess = np.exp(scores) - one_hot  # (rows, classes)
        away = parameters - start  # few rows leave the parameters near the mean of the classifiers
        slopes = np.concatenate([np.einsum("mrc,rc->m", logarithms, excess), excess.sum(axis=0)])
        return -scores[one_hot == 1].sum() + away @ away / 2, slopes + away

    bounds = [(0.0, None)] * count + ([(None, None)] if biased else [(0.0, 0.0)]) * width
    found = minimize(
        loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": _MOST_ITERATIONS}
    )
    return found.x[:count], found.x[count:]
