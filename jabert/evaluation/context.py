"""What the neighbours of a text say of it: a layer on probabilities, the same for every classifier.

The texts of a group often have the same label. So the probabilities q of a text's neighbours are evidence on
its own: `softmax(own * log p + neighbours * (sum of q ** 2) + bias)`. Their squares, for many neighbours that
are in doubt say less than one that is sure. A text is classified once, whoever its neighbours are; and one
without neighbours keeps its own probabilities.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from jabert.evaluation.metrics import Indices, Probabilities

POWER = 2
"""Of the neighbours' probabilities; in packages that name none it was 1."""
_SMALLEST = 1e-7  # probability whose logarithm is taken, as in the registered model
_DOUBT = 30.0  # rows' worth of doubt in a class being likelier than its texts say; neighbours are no new rows


@dataclass(frozen=True)
class Context:
    """The layer.

    Attributes:
        texts: neighbours before, and as many after, that are looked at.
        own: weight of the logarithm of the text's own probabilities.
        neighbours: weight of the sum of powers of its neighbours' probabilities.
        bias: (classes,).
        power: of the neighbours' probabilities.
    """

    texts: int
    own: float
    neighbours: float
    bias: tuple[float, ...]
    power: int = POWER

    def __call__(self, probabilities: Probabilities, sums: Probabilities) -> npt.NDArray[np.float64]:
        """The probabilities (rows, classes) in the light of the neighbours, with the sums of `sums_of`."""
        from scipy.special import softmax

        found = softmax(
            self.own * _logarithms(probabilities) + self.neighbours * sums + np.array(self.bias), axis=1
        )
        return np.where(sums.any(axis=1, keepdims=True), found, probabilities)


def _logarithms(probabilities: Probabilities) -> npt.NDArray[np.float64]:
    found: npt.NDArray[np.float64] = np.log(np.maximum(probabilities, _SMALLEST))
    return found


def sums_of(probabilities: Probabilities, neighbours: Sequence[Sequence[int]]) -> npt.NDArray[np.float64]:
    """The sum of the squared probabilities of each row's neighbours, (rows, classes); 0 without any."""
    sums, evidence = np.zeros(probabilities.shape), probabilities**POWER
    for row, of in enumerate(neighbours):
        sums[row] = evidence[list(of)].sum(axis=0)
    return sums


def fit_context(true: Indices, probabilities: Probabilities, sums: Probabilities, texts: int) -> Context:
    """Fit the layer on rows that the classifier did not learn from; neither weight is negative.

    Args:
        true: class indices, `(rows,)`.
        probabilities: `(rows, classes)`, calibrated.
        sums: of the neighbours, as of `sums_of`.
        texts: neighbours on each side.
    """
    from scipy.optimize import minimize
    from scipy.special import log_softmax

    classes = probabilities.shape[1]
    parts = np.stack([_logarithms(probabilities), sums])
    one_hot = np.eye(classes)[true]
    start = np.concatenate([[1.0, 1.0], np.zeros(classes)])
    doubt = np.concatenate([[1.0, 1.0], np.full(classes, _DOUBT)])

    def loss(parameters: npt.NDArray[np.float64]) -> tuple[float, npt.NDArray[np.float64]]:
        scores = log_softmax(np.tensordot(parameters[:2], parts, 1) + parameters[2:], axis=1)
        excess, away = np.exp(scores) - one_hot, parameters - start
        slopes = np.concatenate([np.einsum("prc,rc->p", parts, excess), excess.sum(axis=0)])
        return -(scores * one_hot).sum() + doubt * away @ away / 2, slopes + doubt * away

    bounds = [(0, None)] * 2 + [(None, None)] * classes
    own, weight, *bias = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds).x.tolist()
    return Context(texts, own, weight, tuple(bias))
