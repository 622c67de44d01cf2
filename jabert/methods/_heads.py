"""Softmax layers on one vector for each text, as graphs of OpenVINO that `export_network` takes."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from openvino import opset13 as ops

from jabert.encoder.packed import Layout, fill_texts, graph, ints, size

if TYPE_CHECKING:
    from jabert.methods._kernel import KernelLayer

Pool = Callable[[Any, Any], Any]
"""Padded vectors float32 (texts, width, hidden) and bool (texts, width), true for a token and false for
padding, to float32 (texts, hidden)."""


def softmax_graph(pool: Pool, kernel: npt.NDArray[Any], bias: npt.NDArray[Any], dtype: np.dtype[Any]) -> Any:
    """What `pool` makes of each text and a softmax layer as an `openvino.Model`.

    Args:
        pool: a vector for each text, e.g. `mean`.
        kernel: (columns of that vector, classes).
        bias: (classes,).
        dtype: of the token vectors that the graph takes.
    """
    return scores_graph(pool, lambda x: _dense(x, kernel, bias), len(kernel), dtype)


def kernel_graph(pool: Pool, layer: "KernelLayer", dtype: np.dtype[Any]) -> Any:
    """The same with a `KernelLayer` in place of the softmax layer."""
    columns = len(layer.centre)

    def scores(x: Any) -> Any:
        z = ops.divide(ops.subtract(x, layer.centre.astype(np.float32)), layer.scale.astype(np.float32))
        products = _dense(z, 2 * layer.landmarks.T, -(layer.landmarks**2).sum(axis=1))
        squares = ops.reduce_sum(ops.multiply(z, z), ints([1]), keep_dims=True)
        similar = ops.exp(ops.divide(ops.subtract(products, squares), np.float32(columns)))
        return _dense(similar, layer.weights, layer.bias)

    return scores_graph(pool, scores, columns, dtype)


def scores_graph(pool: Pool, scores: Callable[[Any], Any], hidden: int, dtype: np.dtype[Any]) -> Any:
    """The softmax of scores as an `openvino.Model`.

    Args:
        pool: a vector for each text.
        scores: of these vectors (texts, columns), (texts, classes).
        hidden: columns of a token vector.
        dtype: of the token vectors that the graph takes.
    """
    vectors, lengths = ops.parameter([-1, hidden], dtype), ops.parameter([-1], np.int32)
    layout = Layout(size(vectors), fill_texts(lengths), step=1)
    x = pool(layout.rows.padded(ops.convert(vectors, "f32")), layout.are_real)  # (texts, hidden)
    asked = ops.range(ints(0), size(lengths), ints(1), "i32")
    probabilities = ops.gather(ops.softmax(scores(x), axis=1), asked, ints(0))
    return graph("head", {"vectors": vectors, "lengths": lengths}, {"probabilities": probabilities})


def _dense(x: Any, kernel: npt.NDArray[Any], bias: npt.NDArray[Any]) -> Any:
    product = ops.matmul(x, kernel.astype(np.float32), transpose_a=False, transpose_b=False)
    return ops.add(product, bias.astype(np.float32))


def mean(padded: Any, are_real: Any) -> Any:
    """The mean over the tokens; a `Pool`."""
    real = ops.convert(are_real, "f32")
    sums = ops.reduce_sum(ops.multiply(padded, ops.unsqueeze(real, ints(2))), ints([1]))  # (texts, hidden)
    return ops.divide(sums, ops.reduce_sum(real, ints([1]), keep_dims=True))


def first(padded: Any, are_real: Any) -> Any:  # noqa: ARG001
    """The vector of the first token; a `Pool`."""
    return ops.gather(padded, ints(0), ints(1))


def attention(query: npt.NDArray[np.float32]) -> Pool:
    """The mean over the tokens, each weighted by the softmax of its product with `query` (hidden,)."""

    def pool(padded: Any, are_real: Any) -> Any:
        scores = ops.matmul(padded, query[:, None], transpose_a=False, transpose_b=False)  # (texts, width, 1)
        scores = ops.select(ops.unsqueeze(are_real, ints(2)), scores, np.float32(-1e9))
        return ops.reduce_sum(ops.multiply(padded, ops.softmax(scores, axis=1)), ints([1]))

    return pool
