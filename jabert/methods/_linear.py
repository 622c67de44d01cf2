"""What methods without a network share: a logistic regression, as the weights of a softmax layer."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

_MOST_ITERATIONS = 1000


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


def fit_standardized(features: npt.NDArray[np.float64], classes: npt.NDArray[np.int32], c: float) -> Softmax:
    """As `fit_softmax` on standardized columns, but the layer takes the columns as they are.

    Args:
        features: (rows, features).
        classes: (rows,), class indices; each class has a row.
        c: inverse strength of the regularization.
    """
    centre, scale = features.mean(axis=0), features.std(axis=0)
    scale[scale == 0] = 1.0  # of a column that is the same everywhere
    layer = fit_softmax((features - centre) / scale, classes, c)
    kernel = layer.kernel / scale[:, None]
    return Softmax(kernel, layer.bias - centre @ kernel, layer.iterations)


def fit_weights(
    logarithms: npt.NDArray[np.float64], classes: npt.NDArray[np.int32]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Weights of several classifiers, none negative, so that their weighted sum is as right as can be.

    The probabilities are `softmax(sum of weight * logarithms + bias)`. Where a classifier adds nothing to the
    others, its weight is 0.

    Args:
        logarithms: (classifiers, rows, classes), of probabilities of rows that they did not learn from.
        classes: (rows,), class indices.

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

    bounds = [(0, None)] * count + [(None, None)] * width
    found = minimize(
        loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": _MOST_ITERATIONS}
    )
    return found.x[:count], found.x[count:]
