"""Texts that are nearly the same, and texts that are like no other."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from jabert.texts import in_reading_form

_BLOCK = 1000  # rows that are compared with all others at a time
_CHARACTERS, _VECTORS = 0.85, 0.97  # least cosine
_NEIGHBOURS = 5
_Array = npt.NDArray[np.float64]
_Likeness = Callable[[slice], Any]


def near_duplicates(texts: Sequence[str], vectors: _Array | None = None) -> npt.NDArray[np.int64]:
    """A number for each text, (texts,), the same for those that are nearly the same.

    They are if the TF-IDF of their n-grams of characters, up to three, or their vectors have nearly the same
    direction; or if a chain of such texts joins them.

    Args:
        texts: to compare.
        vectors: (texts, columns), standardized; without them characters alone are compared.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    grams = directions_of_texts(texts)
    pairs = _pairs(lambda block: grams[block] @ grams.T, len(texts), _CHARACTERS)
    if vectors is not None:
        directions = _of_length_1(vectors).astype(np.float32)
        by_vectors = _pairs(lambda block: directions[block] @ directions.T, len(texts), _VECTORS)
        pairs = np.concatenate([pairs, by_vectors])
    graph = coo_array((np.ones(len(pairs)), pairs.T), shape=(len(texts), len(texts)))
    return np.asarray(connected_components(graph, directed=False)[1], dtype=np.int64)


def _pairs(likeness: _Likeness, rows: int, least: float) -> npt.NDArray[np.int64]:
    """Pairs (pairs, 2) of a row and a later one that are so much alike, a block of rows at a time."""
    found = [np.empty((0, 2), dtype=np.int64)]
    for start in range(0, rows, _BLOCK):
        one, other = (likeness(slice(start, min(rows, start + _BLOCK))) >= least).nonzero()
        later = other > one + start
        found.append(np.stack([one[later] + start, other[later]], axis=1).astype(np.int64))
    return np.concatenate(found)


def standardized(vectors: _Array) -> _Array:
    """The same with a mean of 0 and a deviation of 1 in each column; one that is the same everywhere is 0."""
    scale = vectors.std(axis=0)
    scale[scale == 0] = 1.0
    found: _Array = (vectors - vectors.mean(axis=0)) / scale
    return found


def remoteness(vectors: _Array) -> _Array:
    """How far each row, (rows,), is from its nearest neighbours, in robust deviations of the logarithm.

    Args:
        vectors: (rows, columns), two rows at least.
    """
    from sklearn.neighbors import NearestNeighbors

    near = min(_NEIGHBOURS, len(vectors) - 1)
    distances = NearestNeighbors(n_neighbors=near).fit(vectors).kneighbors()[0].mean(axis=1)
    logarithms = np.log(np.maximum(distances, 1e-9))
    middle = np.median(logarithms)
    usual = 1.4826 * np.median(np.abs(logarithms - middle)) or 1.0
    found: _Array = (logarithms - middle) / usual
    return found


def nearest(queries: Any, others: Any, most: int) -> list[list[tuple[int, float]]]:
    """The rows that are most like each query, the nearest first, with the cosine of the angle between them.

    Args:
        queries: (queries, columns), rows of length 1; an array or a sparse matrix.
        others: (rows, columns), of the same kind.
        most: rows for each query.
    """
    found = queries @ others.T
    cosines = np.asarray(found.todense() if hasattr(found, "todense") else found)
    order = np.argsort(-cosines, axis=1, kind="stable")[:, :most]
    return [
        [(int(row), float(likeness[row])) for row in rows]
        for rows, likeness in zip(order, cosines, strict=True)
    ]


def directions_of_vectors(vectors: _Array) -> _Array:
    """Vectors (rows, columns), standardized by column, as rows of length 1."""
    return _of_length_1(standardized(vectors))


def _of_length_1(vectors: _Array) -> _Array:
    directions: _Array = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
    return directions


def directions_of_texts(texts: Sequence[str]) -> Any:
    """TF-IDF of the n-grams of characters, up to three, as sparse rows of length 1."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    forms = [in_reading_form(text) for text in texts]
    return TfidfVectorizer(analyzer="char", ngram_range=(1, 3), dtype=np.float32).fit_transform(forms)
