"""What methods without a network share: a logistic regression, as the weights of a softmax layer."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from jabert.errors import JabertError

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


def fit_softmax(features: Any, classes: npt.NDArray[np.int32], count: int, c: float) -> Softmax:
    """Fit scikit-learn's logistic regression (multinomial, L2).

    Args:
        features: (rows, features), an array or a sparse matrix.
        classes: (rows,), class indices.
        count: number of classes; one that no row has gets probability 0.
        c: inverse strength of the regularization.

    Raises:
        JabertError: the rows have one class only.
    """
    from sklearn.linear_model import LogisticRegression

    present = np.unique(classes)
    if len(present) < 2:
        raise JabertError("the training rows have one label only, and a classifier needs two")
    # Not lbfgs, scikit-learn's default: on a hundred thousand n-grams it takes ten times as long.
    model = LogisticRegression(C=c, solver="newton-cg", max_iter=_MOST_ITERATIONS).fit(features, classes)
    coefficients, intercepts = model.coef_, model.intercept_
    if len(present) == 2:  # scikit-learn then has one column, for the second class
        coefficients = np.concatenate([-coefficients / 2, coefficients / 2])
        intercepts = np.concatenate([-intercepts / 2, intercepts / 2])
    kernel, bias = np.zeros((features.shape[1], count)), np.full(count, -np.inf)
    kernel[:, present], bias[present] = coefficients.T, intercepts
    return Softmax(kernel, bias, int(model.n_iter_.max()))
