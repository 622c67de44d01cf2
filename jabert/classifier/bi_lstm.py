"""A bidirectional LSTM that is quick on a CPU, with the weights of Keras's own layer.

Keras computes every step for the whole padded batch, multiplies the inputs step by step and adds up the
gradient of the recurrent weights step by step. Here a batch is packed: rows are sorted by length, so that
step t is computed for the rows that have a t-th token and for no others, and what can be one product over
all tokens is one. The equations are those of Hochreiter & Schmidhuber (1997) with the forget gate of Gers
et al. (2000), in Keras's order of gates: input, forget, cell, output.

The matrix products may be computed in bfloat16; states, gates, sums and gradients of weights are float32.
"""

from collections.abc import Callable
from typing import Any

from jabert.legacy_keras import import_tensorflow

__all__ = ["bi_lstm"]

tf = import_tensorflow()


def bi_lstm(units: int, name: str, precision: str = "float32") -> Any:
    """A layer of vectors (batch, tokens, hidden) and a mask (batch, tokens) to (batch, 2 · units).

    On a GPU it is Keras's layer, which uses cuDNN for a right-padded mask, whatever `precision` says.

    Args:
        units: of the LSTM, in each direction.
        name: of the layer.
        precision: of the matrix products, `float32` or `bfloat16`.
    """
    layer = _Bidirectional(tf.keras.layers.LSTM(units, name="lstm"), name=name)
    layer.precision = tf.as_dtype(precision)
    return layer


class _Bidirectional(tf.keras.layers.Bidirectional):  # type: ignore[name-defined,misc]
    def call(self, inputs: Any, mask: Any = None, **arguments: Any) -> Any:
        if mask is None or tf.config.list_logical_devices("GPU"):
            return super().call(inputs, mask=mask, **arguments)
        lengths = tf.reduce_sum(tf.cast(mask, tf.int32), axis=1)
        order = tf.argsort(lengths, direction="DESCENDING", stable=True)
        lengths = tf.gather(lengths, order)
        steps = tf.transpose(tf.sequence_mask(lengths))  # (tokens, batch)
        active = tf.reduce_sum(tf.cast(steps, tf.int32), axis=1)  # rows of each step
        time, row = tf.unstack(tf.cast(tf.where(steps), tf.int32), axis=1)  # (tokens of the batch,)
        last = []
        for layer, position in (
            (self.forward_layer, time),
            (self.backward_layer, tf.gather(lengths, row) - 1 - time),
        ):
            packed = tf.gather_nd(inputs, tf.stack([tf.gather(order, row), position], axis=1))
            cell = layer.cell
            projected = _product(packed, cell.kernel, self.precision) + cell.bias
            recur = tf.custom_gradient(_recurrence(self.precision))
            last.append(recur(projected, cell.recurrent_kernel, active))
        return tf.gather(tf.concat(last, axis=1), tf.argsort(order))  # (batch, 2 * units)


def _recurrence(precision: Any) -> Callable[[Any, Any, Any], Any]:
    return lambda projected, weights, active: _recur(projected, weights, active, precision)


def _recur(projected: Any, weights: Any, active: Any, precision: Any) -> Any:
    """The hidden state after each row's last step, and its gradient as `tf.custom_gradient` wants it.

    Args:
        projected: inputs times kernel plus bias, (tokens of the batch, 4 · units), step after step.
        weights: (units, 4 · units).
        active: rows of each step, not increasing, int32 (steps,).
        precision: of the matrix products.

    Returns:
        (batch, units), rows sorted by length as in the first step; the gradient function.
    """
    units = weights.shape[0]
    weights = tf.cast(weights, precision)  # once, not in every step
    steps = tf.shape(active)[0]
    starts = tf.cumsum(active, exclusive=True)

    def array(columns: int) -> Any:
        shape = [None, columns]
        return tf.TensorArray(projected.dtype, steps, element_shape=shape, infer_shape=False)

    def rows_of(packed: Any, t: Any) -> Any:
        return packed[starts[t] : starts[t] + active[t]]

    # Hidden state and cell stand side by side, (rows, 2 * units): a step is short, so its operations count.
    def forward(t: Any, state: Any, states: Any, gates: Any) -> Any:
        old = state[: active[t]]
        hidden, cell = tf.split(old, 2, axis=1)
        summed = rows_of(projected, t) + _product(hidden, weights, precision)
        i, f, g, o = tf.split(summed, 4, axis=1)
        i, f, g, o = tf.sigmoid(i), tf.sigmoid(f), tf.tanh(g), tf.sigmoid(o)
        cell = f * cell + i * g
        return (
            t + 1,
            _in_front(tf.concat([o * tf.tanh(cell), cell], axis=1), state),
            states.write(t, old),
            gates.write(t, tf.concat([i, f, g, o], axis=1)),
        )

    start = (0, tf.zeros([active[0], 2 * units], projected.dtype), array(2 * units), array(4 * units))
    _, last, states, gates = tf.while_loop(lambda t, *_: t < steps, forward, start)
    states, gates = states.concat(), gates.concat()

    def gradient(upstream: Any) -> Any:
        # What does not depend on the step after is computed for all tokens at once.
        hiddens, cells = tf.split(states, 2, axis=1)
        i, f, g, o = tf.split(gates, 4, axis=1)
        squashed = tf.tanh(f * cells + i * g)
        to_cell = o * (1 - squashed * squashed)
        to_gates = tf.concat(
            [g * i * (1 - i), cells * f * (1 - f), i * (1 - g * g), squashed * o * (1 - o)], axis=1
        )

        def backward(t: Any, d_state: Any, d_steps: Any) -> Any:
            d_hidden, d_cell = tf.split(d_state[: active[t]], 2, axis=1)
            d_cell += d_hidden * rows_of(to_cell, t)
            d_step = tf.concat([d_cell, d_cell, d_cell, d_hidden], axis=1) * rows_of(to_gates, t)
            d_hidden = _product(d_step, weights, precision, transpose_b=True)
            d_old = tf.concat([d_hidden, d_cell * rows_of(f, t)], axis=1)
            return t - 1, _in_front(d_old, d_state), d_steps.write(t, d_step)

        upstream = tf.convert_to_tensor(upstream)  # a gather hands back slices
        begin = (steps - 1, tf.pad(upstream, [[0, 0], [0, units]]), array(4 * units))
        *_, d_steps = tf.while_loop(lambda t, *_: t >= 0, backward, begin)
        d_projected = d_steps.concat()
        return d_projected, _product(hiddens, d_projected, precision, transpose_a=True), None

    return last[:, :units], gradient


def _product(a: Any, b: Any, precision: Any, **transposed: bool) -> Any:
    """A matrix product in `precision`, float32 again."""
    product = tf.matmul(tf.cast(a, precision), tf.cast(b, precision), **transposed)
    return tf.cast(product, tf.float32)


def _in_front(rows: Any, matrix: Any) -> Any:
    """The matrix with its first rows replaced."""
    replaced = tf.concat([rows, matrix[tf.shape(rows)[0] :]], axis=0)
    replaced.set_shape(matrix.shape)  # a loop wants to know that it stays the same
    return replaced
