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
