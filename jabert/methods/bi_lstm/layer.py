"""A bidirectional LSTM that is quick on a CPU, with the weights of Keras's own layer.

Keras computes every step for the whole padded batch, multiplies the inputs step by step and adds up the
gradient of the recurrent weights step by step. Here a batch is packed: rows are sorted by length, so that
step t is computed for the rows that have a t-th token and for no others, and what can be one product over
all tokens is one. The equations are those of Hochreiter & Schmidhuber (1997) with the forget gate of Gers
et al. (2000), in Keras's order of gates: input, forget, cell, output.

The matrix products may be computed in bfloat16; states, gates, sums and gradients of weights are float32.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from jabert.legacy_keras import import_tensorflow

tf = import_tensorflow()


def bi_lstm(units: int, name: str, precision: str = "float32", *, every: bool = False) -> Any:
    """A layer of vectors (batch, tokens, hidden) and a mask (batch, tokens) to hidden states.

    They are those after the last step of each direction, (batch, 2 · units), or those after every step, in
    the order of the text, (batch, tokens, 2 · units), where those of padding mean nothing.

    On a GPU it is Keras's layer, which uses cuDNN for a right-padded mask, whatever `precision` says.

    Args:
        units: of the LSTM, in each direction.
        name: of the layer.
        precision: of the matrix products, `float32` or `bfloat16`.
        every: whether the states of all steps are wanted.
    """
    lstm = tf.keras.layers.LSTM(units, return_sequences=every, name="lstm")
    layer = _Bidirectional(lstm, name=name)
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
        states_of = _states(self.precision, every=self.return_sequences)
        states = []
        for layer, position in (
            (self.forward_layer, time),
            (self.backward_layer, tf.gather(lengths, row) - 1 - time),
        ):
            places = tf.stack([tf.gather(order, row), position], axis=1)  # (tokens of the batch, 2)
            cell = layer.cell
            weights = cell.kernel, cell.recurrent_kernel, cell.bias
            found = states_of(tf.gather_nd(inputs, places), active, *weights)
            if self.return_sequences:
                found = tf.scatter_nd(places, found, [*tf.unstack(tf.shape(mask)), cell.units])
            states.append(found)
        if self.return_sequences:
            return tf.concat(states, axis=2)  # (batch, tokens, 2 * units)
        return tf.gather(tf.concat(states, axis=1), tf.argsort(order))  # (batch, 2 * units)


class LayerMix(tf.keras.layers.Layer):  # type: ignore[name-defined,misc]
    """The mean of the vectors of several layers with learned weights, times a learned scale.

    ELMo's (Peters et al. 2018): softmax(scores) are the weights, equal at first. Layers stand side by side:
    (batch, tokens, layers · hidden) to (batch, tokens, hidden).

    Args:
        layers: that are mixed.
        name: of the layer.
    """

    def __init__(self, layers: int, name: str) -> None:
        super().__init__(name=name)
        self.scores = self.add_weight("scores", [layers], initializer="zeros")
        self.scale = self.add_weight("scale", [], initializer="ones")

    def call(self, inputs: Any) -> Any:
        """The mean."""
        shares = tf.unstack(self.scale * tf.nn.softmax(self.scores))
        parts = tf.split(inputs, len(shares), axis=-1)
        return tf.add_n([share * part for share, part in zip(shares, parts, strict=True)])


def _states(precision: Any, *, every: bool) -> Callable[..., Any]:
    """The LSTM in one direction, with a gradient of its own; matrix products are in `precision`."""

    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def states(inputs: Any, active: Any, kernel: Any, recurrent_kernel: Any, bias: Any) -> Any:
        """Hidden states: after each row's last step, (batch, units), rows sorted by length; or after every
        step, (tokens of the batch, units).

        Args:
            inputs: (tokens of the batch, columns), step after step.
            active: rows of each step, not increasing, int32 (steps,).
            kernel: (columns, 4 · units).
            recurrent_kernel: (units, 4 · units).
            bias: (4 · units,).
        """
        # Cast once, not in every step and again for the gradient.
        inputs, kernel, weights = (tf.cast(x, precision) for x in (inputs, kernel, recurrent_kernel))
        last, kept = _forward(_product(inputs, kernel) + bias, active, weights)

        def gradient(upstream: Any) -> Any:
            hiddens, d_summed = _backward(upstream, active, weights, kept, every=every)
            d_bias, d_summed = tf.reduce_sum(d_summed, axis=0), tf.cast(d_summed, precision)
            # What the two kernels were multiplied with lies side by side: one product is quicker than two.
            factors = tf.concat([inputs, tf.cast(hiddens, precision)], axis=1)
            d_kernels = tf.split(
                _product(factors, d_summed, transpose_a=True), [kernel.shape[0], weights.shape[0]]
            )
            return _product(d_summed, kernel, transpose_b=True), None, *d_kernels, d_bias

        return kept.hiddens() if every else last, gradient

    return states  # type: ignore[no-any-return]


class _Kept(NamedTuple):
    """What the gradient wants of each step, and so of each token of the batch.

    Attributes:
        states: hidden state and cell before it, (tokens, 2 · units).
        gates: the sigmoid of all that was summed, (tokens, 4 · units); nobody wants the cell's.
        candidates: the tanh of the cell's, (tokens, units).
    """

    states: Any
    gates: Any
    candidates: Any

    def hiddens(self) -> Any:
        """The hidden states after each step, (tokens, units)."""
        _, cells = tf.split(self.states, 2, axis=1)
        i, f, _, o = tf.split(self.gates, 4, axis=1)
        return o * tf.tanh(f * cells + i * self.candidates)


def _forward(projected: Any, active: Any, weights: Any) -> tuple[Any, _Kept]:
    """All steps.

    Args:
        projected: inputs times kernel plus bias, (tokens, 4 · units).
        active: rows of each step.
        weights: the recurrent kernel.
    """
    units = weights.shape[0]
    steps = tf.shape(active)[0]

    # Hidden state and cell stand side by side, (rows, 2 * units): a step is short, so its operations count.
    def step(t: Any, start: Any, state: Any, kept: _Kept) -> Any:
        end = start + active[t]
        old = state[: active[t]]
        hidden, cell = tf.split(old, 2, axis=1)
        summed = projected[start:end] + _product(tf.cast(hidden, weights.dtype), weights)
        gates, candidate = tf.sigmoid(summed), tf.tanh(summed[:, 2 * units : 3 * units])
        i, f, _, o = tf.split(gates, 4, axis=1)
        cell = f * cell + i * candidate
        new = _in_front(tf.concat([o * tf.tanh(cell), cell], axis=1), state)
        values = (old, gates, candidate)
        return t + 1, end, new, _Kept(*(a.write(t, x) for a, x in zip(kept, values, strict=True)))

    kept = _Kept(*(_array(steps, columns * units) for columns in (2, 4, 1)))
    begin = (0, 0, tf.zeros([active[0], 2 * units]), kept)
    *_, last, kept = tf.while_loop(lambda t, *_: t < steps, step, begin)
    return last[:, :units], _Kept(*(array.concat() for array in kept))


def _backward(upstream: Any, active: Any, weights: Any, kept: _Kept, *, every: bool) -> tuple[Any, Any]:
    """Hidden states before each step, (tokens, units), and the gradient of `summed`, (tokens, 4 · units).

    Args:
        upstream: gradient of the last hidden states, (batch, units), or of every one, (tokens, units).
        active: rows of each step.
        weights: the recurrent kernel.
        kept: from `_forward`.
        every: which of the two.
    """
    units = weights.shape[0]
    # What does not depend on the step after is computed for all tokens at once.
    hiddens, cells = tf.split(kept.states, 2, axis=1)
    i, f, _, o = tf.split(kept.gates, 4, axis=1)
    g = kept.candidates
    squashed = tf.tanh(f * cells + i * g)
    to_cell = o * (1 - squashed * squashed)
    to_summed = tf.concat(
        [g * i * (1 - i), cells * f * (1 - f), i * (1 - g * g), squashed * o * (1 - o)], axis=1
    )

    def step(t: Any, end: Any, d_state: Any, d_summed: Any) -> Any:
        start = end - active[t]
        d_hidden, d_cell = tf.split(d_state[: active[t]], 2, axis=1)
        if every:
            d_hidden += upstream[start:end]
        d_cell += d_hidden * to_cell[start:end]
        d_step = tf.concat([d_cell, d_cell, d_cell, d_hidden], axis=1) * to_summed[start:end]
        d_hidden = _product(tf.cast(d_step, weights.dtype), weights, transpose_b=True)
        d_old = tf.concat([d_hidden, d_cell * f[start:end]], axis=1)
        return t - 1, start, _in_front(d_old, d_state), d_summed.write(t, d_step)

    upstream = tf.convert_to_tensor(upstream)  # a gather hands back slices
    steps = tf.shape(active)[0]
    d_last = tf.zeros([active[0], 2 * units]) if every else tf.pad(upstream, [[0, 0], [0, units]])
    begin = (steps - 1, tf.shape(f)[0], d_last, _array(steps, 4 * units))
    *_, d_summed = tf.while_loop(lambda t, *_: t >= 0, step, begin)
    return hiddens, d_summed.concat()


def _array(steps: Any, columns: int) -> Any:
    """An array with a matrix for each step."""
    return tf.TensorArray(tf.float32, steps, element_shape=[None, columns], infer_shape=False)


def _product(a: Any, b: Any, **transposed: bool) -> Any:
    """A matrix product in the precision of its factors, float32 again."""
    return tf.cast(tf.matmul(a, b, **transposed), tf.float32)


def _in_front(rows: Any, matrix: Any) -> Any:
    """The matrix with its first rows replaced."""
    replaced = tf.concat([rows, matrix[tf.shape(rows)[0] :]], axis=0)
    replaced.set_shape(matrix.shape)  # a loop wants to know that it stays the same
    return replaced
