"""Kernel ridge regression with a radial basis function (RBF), for vectors of a few hundred columns."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from jabert.config import ClassWeights
from jabert.files import atomic_path
from jabert.methods._linear import held_out_sharpness
from jabert.training.rows import Rows

_MOST = 4000  # rows that others are compared with; the time to fit grows with the square
_BLOCK = 4000  # rows at a time
_Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class KernelLayer:
    """`softmax(exp(-|z - landmark|^2 / columns) @ weights + bias)` of `z = (x - centre) / scale`.

    Attributes:
        centre, scale: (columns,).
        landmarks: (landmarks, columns), standardized rows that were learned from.
        weights: (landmarks, classes).
        bias: (classes,).
    """

    centre: _Array
    scale: _Array
    landmarks: _Array
    weights: _Array
    bias: _Array

    def __call__(self, features: _Array) -> _Array:
        """Probabilities (rows, classes) of features (rows, columns)."""
        from scipy.special import softmax

        parts = [np.empty((0, len(self.bias)))]
        for start in range(0, len(features), _BLOCK):
            z = (features[start : start + _BLOCK] - self.centre) / self.scale
            parts.append(softmax(_kernel(z, self.landmarks) @ self.weights + self.bias, axis=1))
        return np.concatenate(parts)

    def save(self, path: Path) -> None:
        """Write the arrays to a file that ends in `.npz`."""
        with atomic_path(path) as temporary:
            np.savez(temporary, **vars(self))

    @classmethod
    def read(cls, path: Path) -> "KernelLayer":
        """Read what `save` wrote."""
        with np.load(path, allow_pickle=False) as saved:
            return cls(**saved)


def fit_kernel(
    features: _Array, rows: Rows, classes: int, alpha: float, class_weights: ClassWeights = "none"
) -> KernelLayer:
    """Fit scikit-learn's `KernelRidge` on standardized columns; a row's class is 1, and any other is -1.

    Beyond 4,000 rows only so many, drawn at random, are landmarks (the Nystroem method). Scores become
    probabilities by a factor that suits rows which were held out.

    Args:
        features: (rows, columns).
        rows: their classes and groups; each class has a row.
        classes: number of labels.
        alpha: strength of the regularization.
        class_weights: balanced: the rows of a class count as much as those of any other.
    """
    centre, scale = features.mean(axis=0), features.std(axis=0)
    scale[scale == 0] = 1.0  # of a column that is the same everywhere
    z = (features - centre) / scale
    targets = 2 * np.eye(classes)[rows.classes] - 1
    counts = np.bincount(rows.classes, minlength=classes)
    balanced = (len(rows) / (classes * counts))[rows.classes]
    importance = balanced if class_weights == "balanced" else np.ones(len(rows))

    def fit(learned: npt.NDArray[np.bool_]) -> KernelLayer:
        return _solved(z[learned], targets[learned], importance[learned], alpha)

    def scores(learned: npt.NDArray[np.bool_], asked: npt.NDArray[np.bool_]) -> _Array:
        layer = fit(learned)
        found: _Array = _kernel(z[asked], layer.landmarks) @ layer.weights + layer.bias
        return found

    layer, sharpness = fit(np.ones(len(rows), dtype=bool)), held_out_sharpness(rows, scores)
    weights, bias = sharpness * layer.weights, sharpness * layer.bias
    return replace(layer, centre=centre, scale=scale, weights=weights, bias=bias)


def _solved(z: _Array, targets: _Array, importance: _Array, alpha: float) -> KernelLayer:
    """The ridge regression of targets (rows, classes) on standardized rows, each with its importance."""
    from scipy.linalg import solve

    bias = np.average(targets, axis=0, weights=importance)
    if len(z) <= _MOST:
        landmarks, kernel = z, _kernel(z, z)
        kernel[np.diag_indices_from(kernel)] += alpha / importance
        weights = solve(kernel, targets - bias, assume_a="pos", overwrite_a=True)
    else:
        landmarks = z[np.sort(np.random.default_rng(0).choice(len(z), _MOST, replace=False))]
        left, right = alpha * _kernel(landmarks, landmarks), np.zeros((_MOST, len(bias)))
        for start in range(0, len(z), _BLOCK):
            part = slice(start, start + _BLOCK)
            kernel = _kernel(z[part], landmarks)
            left += kernel.T @ (importance[part, None] * kernel)
            right += kernel.T @ (importance[part, None] * (targets[part] - bias))
        left[np.diag_indices_from(left)] += 1e-9 * np.trace(left) / _MOST  # some texts are all but equal
        weights = solve(left, right, assume_a="pos", overwrite_a=True)
    nothing = np.zeros(z.shape[1])
    return KernelLayer(nothing, nothing + 1, landmarks, weights, bias)


def _kernel(rows: _Array, landmarks: _Array) -> _Array:
    """Similarity (rows, landmarks) of standardized rows: 1 of equal ones."""
    from sklearn.metrics.pairwise import rbf_kernel

    found: _Array = rbf_kernel(rows, landmarks, gamma=1 / rows.shape[1])
    return found
