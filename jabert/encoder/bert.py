"""BERT's encoder in TensorFlow: the one that is trained, and that a GPU computes token vectors with.

On a GPU each operation is a pass over memory, and those beside the matrix products take most of the time. So
there are few of them: query, key and value are one product, and the gradient of gelu is written out.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from jabert.encoder.folder import EPSILON, BertConfig
from jabert.legacy_keras import import_tensorflow

tf = import_tensorflow()
# gelu(x) = x sigmoid(2 u) with 2 u = _LINEAR x + _CUBIC x^3
_LINEAR = 2 * math.sqrt(2 / math.pi)
_CUBIC = _LINEAR * 0.044715


class Bert:
    """BERT's encoder (Devlin et al. 2018) as keras-bert computes it.

    Args:
        weights: float32 arrays by Google's variable names; those that `config.variables()` lists are used.
        config: the sizes.
        precision: of the matrix products and of query, key and value, `float32` or `bfloat16`; everything
            else is float32, the variables and their gradients included.
        dropout: share of hidden units dropped in training, at the places where keras-bert does so: the
            embeddings and the output of each attention and feed-forward layer.
        seed: of the random numbers of dropout.
        trainable: False for inference only: no variables are kept, and the kernels are prepared once instead
            of in every call.
        layers: the last ones, whose vectors stand side by side.

    Attributes:
        config: the sizes.
        variables: the `tf.Variable`s by Google's names, to choose those that learn and at which rate; empty
            unless `trainable`.
        random: the `tf.random.Generator` of dropout, to be saved with the variables.
    """

    def __init__(
        self,
        weights: Mapping[str, npt.NDArray[np.float32]],
        config: BertConfig,
        *,
        precision: str = "float32",
        dropout: float = 0.0,
        seed: int = 0,
        trainable: bool = True,
        layers: int = 1,
    ) -> None:
        own = {name: weights[name] for name in config.variables()}
        self.config = config
        self.variables = {name: tf.Variable(own[name], name=name) for name in own} if trainable else {}
        self.random = tf.random.Generator.from_seed(seed)
        self._dtype, self._dropout, self._kept = tf.as_dtype(precision), dropout, layers
        self._constants = {} if trainable else self._prepared(own)

    def __call__(self, ids: Any, attended: Any, segments: Any = None, *, training: bool = False) -> Any:
        """Vectors float32 (batch, tokens, layers · hidden) of all positions; those of padding mean nothing.

        Args:
            ids: int32 (batch, tokens).
            attended: bool (batch, tokens), true at the positions that the tokens of a row attend to; at
                least one in each row.
            segments: int32 (batch, tokens), 1 in the second segment; None if there is only a first.
            training: whether hidden units are dropped.
        """
        layers, shape = self._layers(training=training), tf.shape(ids)
        x = layers.embed(ids, tf.range(shape[1]), segments)  # (batch, tokens, hidden)
        x = tf.reshape(x, [-1, self.config.hidden_size])
        rows, kept = _Full(shape[0], shape[1]), [x]
        for number in range(self.config.num_hidden_layers):
            x = layers.transform(x, rows, _mask(attended), number)
            kept = [*kept, x][-self._kept :]
        return tf.reshape(tf.concat(kept, axis=1), [shape[0], shape[1], self._kept * self.config.hidden_size])

    def packed(self, ids: Any, lengths: Any, *, frozen: int = 0, training: bool = False) -> Any:
        """Vectors float32 (tokens, hidden) of texts one behind the other; nothing is computed for padding.

        Args:
            ids: int32 (tokens,), of all texts.
            lengths: int32 (texts,), tokens of each text.
            frozen: so many layers, and the embeddings, have neither dropout nor a gradient.
            training: whether hidden units are dropped in the other layers.
        """
        return self.above(self.below(ids, lengths, frozen), lengths, frozen, training=training)

    def below(self, ids: Any, lengths: Any, frozen: int) -> Any:
        """What `packed` computes in the embeddings and the frozen layers, float32 (tokens, hidden)."""
        rows = _Packed.of(lengths)
        layers = self._layers(training=False)
        x = layers.embed(ids, rows.places % rows.width, None)
        for number in range(frozen):
            x = layers.transform(x, rows, rows.mask, number)
        return x

    def above(self, x: Any, lengths: Any, frozen: int, *, training: bool = False) -> Any:
        """What `packed` computes in the other layers, of what `below` gave."""
        rows = _Packed.of(lengths)
        layers = self._layers(training=training)
        numbers = range(frozen, self.config.num_hidden_layers)
        if numbers:
            x = layers.drop(tf.stop_gradient(x))
        for number in numbers:
            x = layers.transform(x, rows, rows.mask, number)
        return x

    def product(self, x: Any, kernel: Any) -> Any:
        """`x @ kernel` in the precision of the encoder's products, as float32; for heads on top of it."""
        return tf.cast(tf.cast(x, self._dtype) @ tf.cast(kernel, self._dtype), tf.float32)

    def _layers(self, *, training: bool) -> "_Layers":
        weights = self._constants or self._prepared(self.variables)
        return _Layers(weights, self.config, self._dtype, self._dropout if training else 0.0, self.random)

    def _prepared(self, weights: Mapping[str, Any]) -> dict[str, Any]:
        """The weights with query, key and value of a layer as one product, the query already scaled."""
        prepared = dict(weights)
        scale = (self.config.hidden_size / self.config.num_attention_heads) ** -0.5
        for number in range(self.config.num_hidden_layers):
            name = f"bert/encoder/layer_{number}/attention/self"
            for part in ("kernel", "bias"):
                query, key, value = (prepared.pop(f"{name}/{of}/{part}") for of in ("query", "key", "value"))
                prepared[f"{name}/joined/{part}"] = tf.concat([query * np.float32(scale), key, value], -1)
        return {
            name: tf.cast(value, self._dtype if "kernel" in name or "joined" in name else tf.float32)
            for name, value in prepared.items()
        }


def _mask(attended: Any) -> Any:
    return tf.where(attended, 0.0, -1e9)[:, None, None, :]  # (batch, 1, 1, tokens)


@dataclass(frozen=True)
class _Full:
    """The layout of a batch that is computed with its padding: vectors are (batch * width, columns)."""

    batch: Any
    width: Any

    def padded(self, x: Any) -> Any:
        """(batch, width, columns) of all vectors."""
        return tf.reshape(x, [self.batch, self.width, x.shape[-1]])

    def packed(self, x: Any) -> Any:
        """All vectors of (batch, width, columns)."""
        return tf.reshape(x, [-1, x.shape[-1]])


@dataclass(frozen=True)
class _Packed(_Full):
    """The layout of a batch without padding: vectors are (tokens, columns).

    Attributes:
        places: int32 (tokens,), of each token among the positions of the padded batch.
        tokens: int32 (batch * width,), the token at each position, the number of tokens at padding.
        mask: what is added to the scores of the positions.
    """

    places: Any
    tokens: Any
    mask: Any

    @classmethod
    def of(cls, lengths: Any) -> "_Packed":
        attended = tf.sequence_mask(lengths)  # (texts, width)
        places = tf.cast(tf.where(tf.reshape(attended, [-1])), tf.int32)[:, 0]  # (tokens,)
        batch, width = tf.unstack(tf.shape(attended))
        count = tf.size(places)
        empty = tf.fill([batch * width], count)
        tokens = tf.tensor_scatter_nd_update(empty, places[:, None], tf.range(count))
        return cls(batch, width, places, tokens, _mask(attended))

    def padded(self, x: Any) -> Any:
        return super().padded(_moved(x, self.tokens, self.places))

    def packed(self, x: Any) -> Any:
        return _moved(super().packed(x), self.places, self.tokens)


@tf.custom_gradient  # type: ignore[untyped-decorator]
def _moved(x: Any, there: Any, back: Any) -> Any:
    """The rows `there` of x, zeros for one behind the last; the gradient moves `back` without summing."""

    def gradient(upstream: Any) -> tuple[Any, None, None]:
        return _taken(upstream, back), None, None

    return _taken(x, there), gradient


def _taken(x: Any, rows: Any) -> Any:
    return tf.gather(tf.pad(x, [[0, 1], [0, 0]]), rows)


@dataclass(frozen=True)
class _Layers:
    """The parts of BERT in one call; vectors are float32 (vectors, hidden)."""

    weights: Mapping[str, Any]
    config: BertConfig
    dtype: Any
    dropout: float
    random: Any

    def embed(self, ids: Any, positions: Any, segments: Any) -> Any:
        words, table, types = (
            self.weights[f"bert/embeddings/{kind}_embeddings"] for kind in ("word", "position", "token_type")
        )
        # With one segment its row is added to the table of positions, not to every token.
        types = types[:1] if segments is None else tf.gather(types, segments)
        x = tf.gather(words, ids) + (tf.gather(table, positions) + types)  # (…, hidden)
        return self._norm(self.drop(x), "bert/embeddings/LayerNorm")

    def transform(self, x: Any, rows: _Full, mask: Any, number: int) -> Any:
        name = f"bert/encoder/layer_{number}"
        context = self._attend(x, rows, mask, f"{name}/attention/self")
        attention = self.drop(self._dense(context, f"{name}/attention/output/dense"))
        x = self._norm(x + attention, f"{name}/attention/output/LayerNorm")
        wide = activate(self._dense(x, f"{name}/intermediate/dense"), self.config.hidden_act)
        output = self.drop(self._dense(wide, f"{name}/output/dense"))
        return self._norm(x + output, f"{name}/output/LayerNorm")

    def _attend(self, x: Any, rows: _Full, mask: Any, name: str) -> Any:
        heads, hidden = self.config.num_attention_heads, self.config.hidden_size
        joined = tf.cast(x, self.dtype) @ self.weights[f"{name}/joined/kernel"]
        joined = tf.nn.bias_add(joined, self.weights[f"{name}/joined/bias"])  # (vectors, 3 * hidden)
        joined = tf.reshape(rows.padded(joined), [rows.batch, rows.width, 3, heads, hidden // heads])
        joined = tf.transpose(joined, [2, 0, 3, 1, 4])  # (3, batch, heads, width, hidden / heads)
        query, key, value = tf.unstack(joined)
        scores = tf.cast(tf.matmul(query, key, transpose_b=True), tf.float32)
        shares = tf.nn.softmax(scores + mask)  # (batch, heads, width, width)
        context = tf.transpose(tf.matmul(tf.cast(shares, self.dtype), value), [0, 2, 1, 3])
        return rows.packed(tf.reshape(context, [rows.batch, rows.width, hidden]))

    def _dense(self, x: Any, name: str) -> Any:
        product = tf.cast(x, self.dtype) @ self.weights[f"{name}/kernel"]
        return tf.nn.bias_add(tf.cast(product, tf.float32), self.weights[f"{name}/bias"])

    def _norm(self, x: Any, name: str) -> Any:
        scale, shift = self.weights[f"{name}/gamma"], self.weights[f"{name}/beta"]
        return layer_norm(x, scale, shift, self.config.layer_norm_eps)

    def drop(self, x: Any) -> Any:
        if not self.dropout:
            return x
        return tf.nn.experimental.general_dropout(x, self.dropout, uniform_sampler=self.random.uniform)


def layer_norm(x: Any, gamma: Any, beta: Any, epsilon: float = EPSILON) -> Any:
    """Layer normalization of float32 (rows, hidden); without an epsilon keras-bert's."""
    centred = x - tf.reduce_mean(x, -1, keepdims=True)
    variance = tf.reduce_mean(tf.square(centred), -1, keepdims=True)
    return centred * tf.math.rsqrt(variance + epsilon) * gamma + beta


def activate(x: Any, name: str) -> Any:
    """The activation that `hidden_act` of `bert_config.json` names."""
    activations = {"gelu": gelu, "gelu_erf": tf.nn.gelu, "relu": tf.nn.relu, "tanh": tf.tanh}
    return {**activations, "linear": tf.identity}[name](x)


@tf.custom_gradient  # type: ignore[untyped-decorator]
def gelu(x: Any) -> Any:
    """keras-transformer's gelu, 0.5 x (1 + tanh(u)) = x sigmoid(2 u), with its gradient written out."""
    gate = tf.sigmoid(x * (_LINEAR + _CUBIC * tf.square(x)))

    def gradient(upstream: Any) -> Any:
        slope = x * (_LINEAR + 3 * _CUBIC * tf.square(x))
        return upstream * gate + slope * tf.raw_ops.SigmoidGrad(y=gate, dy=upstream)

    return x * gate, gradient
