"""The trained classifier as a graph of OpenVINO, for machines without TensorFlow."""

from typing import Any

import numpy as np
import numpy.typing as npt

from jabert.encoder.packed import Layout, fill_texts, graph, ints, rounded_up, size

_WIDTH_STEP = 4  # few shapes; more would be more steps of the LSTM


def head_graph(model: Any, dtype: np.dtype[Any], positions: int | None = None) -> Any:
    """The Bi-LSTM and softmax layer of `build_classifier` as an `openvino.Model`.

    OpenVINO's LSTM on a CPU ignores the lengths that it is given (2026.4). So both directions run
    forward, one over the text reversed, and only the states at a text's own tokens are taken: padding behind
    them has no part in that.

    Args:
        model: the Keras model.
        dtype: of the vectors, that of the feature store: the classifier learned from rounded ones.
        positions: vectors of a text at most: of a longer one means of neighbours are taken, as
            `StoredVectors.shortened` does. None if no text is longer.

    Returns:
        Inputs `vectors` (tokens, hidden) in `dtype`, of all texts one behind the other, and `lengths` int32
        (texts,); output `probabilities` float32 (texts, classes).
    """
    from openvino import opset13 as ops

    lstm, softmax = model.get_layer("bi_lstm"), model.get_layer("softmax")
    vectors = ops.parameter([-1, model.input_shape[0][-1]], dtype)
    lengths = ops.parameter([-1], np.int32)
    filled = fill_texts(lengths)
    numbers = ops.convert(vectors, "f32")
    if any(layer.name == "mix" for layer in model.layers):
        numbers = _mixed(numbers, *model.get_layer("mix").get_weights())
    inputs = Layout(size(vectors), filled, _WIDTH_STEP).rows.padded(numbers)
    if positions:
        inputs, filled = _shortened(inputs, filled, positions)
    forwards = _states(inputs, lstm.forward_layer.cell)
    backwards = _states(_reversed(inputs, filled), lstm.backward_layer.cell)
    if lstm.return_sequences:
        states = ops.concat([forwards, _reversed(backwards, filled)], axis=2)
        both = _attended(states, filled, *model.get_layer("attention").get_weights())
    else:
        both = ops.concat([_last(forwards, filled), _last(backwards, filled)], axis=1)  # (texts, 2 * units)
    kernel, bias = softmax.get_weights()
    scores = ops.add(ops.matmul(both, kernel, transpose_a=False, transpose_b=False), bias)
    asked = ops.range(ints(0), size(lengths), ints(1), "i32")
    probabilities = ops.gather(ops.softmax(scores, axis=1), asked, ints(0))
    return graph("head", {"vectors": vectors, "lengths": lengths}, {"probabilities": probabilities})


def _mixed(vectors: Any, scores: npt.NDArray[np.float32], scale: np.float32) -> Any:
    """(tokens, layers · hidden) as their mean (tokens, hidden), with the weights of `LayerMix`."""
    from openvino import opset13 as ops

    powers = np.exp(scores - scores.max())
    shares = (scale * powers / powers.sum()).astype(np.float32)[:, None]  # (layers, 1)
    apart = ops.reshape(vectors, ints([0, len(shares), -1]), special_zero=True)
    return ops.reduce_sum(ops.multiply(apart, shares), ints([1]))


def _reversed(x: Any, lengths: Any) -> Any:
    """(texts, width, …) with the tokens of each text in reverse order."""
    from openvino import opset13 as ops

    return ops.reverse_sequence(x, lengths, batch_axis=0, seq_axis=1)


def _shortened(vectors: Any, lengths: Any, positions: int) -> tuple[Any, Any]:
    """Means of neighbouring vectors, (texts, width, hidden), and their number for each text.

    Args:
        vectors: (texts, tokens, hidden), right-padded.
        lengths: int32 (texts,).
        positions: means of a text at most.
    """
    from openvino import opset13 as ops

    sizes = _divided_up(lengths, ints(positions))
    shortened = _divided_up(lengths, sizes)
    width = rounded_up(ops.reduce_max(shortened, ints([0])), _WIDTH_STEP)
    sizes, limits = (ops.unsqueeze(of_texts, ints([1, 2])) for of_texts in (sizes, lengths))
    numbers = ops.unsqueeze(ops.range(ints(0), width, ints(1), "i32"), ints([0, 2]))
    starts = ops.multiply(numbers, sizes)  # (texts, width, 1)
    ends = ops.minimum(ops.add(starts, sizes), limits)
    tokens = ops.gather(ops.shape_of(vectors, "i32"), ints(1), ints(0))
    columns = ops.unsqueeze(ops.range(ints(0), tokens, ints(1), "i32"), ints([0, 1]))
    inside = ops.logical_and(ops.greater_equal(columns, starts), ops.less(columns, ends))
    weights = ops.convert(inside, "f32")  # (texts, width, tokens)
    sums = ops.matmul(weights, vectors, transpose_a=False, transpose_b=False)
    counts = ops.reduce_sum(weights, ints([2]), keep_dims=True)
    return ops.divide(sums, ops.maximum(counts, np.float32(1))), shortened


def _divided_up(number: Any, divisor: Any) -> Any:
    """The quotient of positive integers, rounded up."""
    from openvino import opset13 as ops

    return ops.add(ops.divide(ops.subtract(number, ints(1)), divisor), ints(1))


def _states(vectors: Any, cell: Any) -> Any:
    """The hidden states (texts, width, units) after each token, of padding also."""
    from openvino import opset13 as ops

    shape = ops.shape_of(vectors, "i32")
    batch, tokens = (ops.gather(shape, ints([axis]), ints(0)) for axis in (0, 1))
    zeros = ops.broadcast(np.float32(0), ops.concat([batch, ints([1, cell.units])], 0))
    kernel, recurrent_kernel, bias = (_gates(weight) for weight in cell.get_weights())
    states = ops.lstm_sequence(
        vectors,
        zeros,
        zeros,
        ops.broadcast(tokens, batch),
        np.ascontiguousarray(kernel.T)[None],
        np.ascontiguousarray(recurrent_kernel.T)[None],
        bias[None],
        cell.units,
        "forward",
    ).output(0)  # (texts, 1, width, units)
    return ops.squeeze(states, ints(1))


def _last(states: Any, lengths: Any) -> Any:
    """The state (texts, units) at the last token of each text."""
    from openvino import opset13 as ops

    last = ops.unsqueeze(ops.subtract(lengths, ints(1)), ints(1))
    return ops.squeeze(ops.gather(states, last, ints(1), batch_dims=1), ints(1))


def _attended(states: Any, lengths: Any, kernel: npt.NDArray[np.float32]) -> Any:
    """The mean (texts, 2 · units) of each text's states, with the weights that they have by `kernel`."""
    from openvino import opset13 as ops

    width = ops.gather(ops.shape_of(states, "i32"), ints(1), ints(0))
    columns = ops.unsqueeze(ops.range(ints(0), width, ints(1), "i32"), ints(0))
    are_real = ops.less(columns, ops.unsqueeze(lengths, ints(1)))  # (texts, width)
    mask = ops.unsqueeze(ops.select(are_real, np.float32(0), np.float32(-1e9)), ints(2))
    scores = ops.matmul(states, kernel, transpose_a=False, transpose_b=False)  # (texts, width, 1)
    shares = ops.softmax(ops.add(scores, mask), axis=1)
    return ops.reduce_sum(ops.multiply(shares, states), ints([1]))


def _gates(weight: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """A weight (…, 4 · units) with its gates in OpenVINO's order: Keras has input, forget, cell, output."""
    i, f, c, o = np.split(weight, 4, axis=-1)
    return np.concatenate([f, i, c, o], axis=-1)
