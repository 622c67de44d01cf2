"""The forward pass for a GPU: BERT in TensorFlow's own operations, matrix products in bfloat16.

Not compiled by XLA: it compiles for every shape, which takes longer than featurizing a small corpus.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from jabert.encoder.batching import real_tokens
from jabert.encoder.checkpoint import read_variables
from jabert.encoder.folder import BertConfig, EncoderFolder
from jabert.encoder.gelu import gelu
from jabert.encoder.ragged import TokenIds
from jabert.legacy_keras import import_tensorflow

__all__ = ["TensorFlowEncoder"]

_EPSILON = 1e-14  # of keras-bert's layer normalisation


class TensorFlowEncoder:
    """A BERT checkpoint as a TensorFlow function; arguments and results as `Encoder` says.

    Args:
        folder: the encoder folder.
        precision: of the matrix products and of query, key and value, `float32` (without TF32) or `bfloat16`;
            all else is float32.
        device: a TensorFlow device, e.g. `/GPU:0`.
        token_budget: tokens of a full batch; a batch is filled up to it, so that few shapes occur.
        mask_id_zero: mask id 0 wherever it stands instead of what is beyond a text's length.

    Raises:
        JabertError: the checkpoint cannot be read or does not fit its configuration.
    """

    width_step = 16  # with whole batches there is one shape for every 16 tokens of length

    def __init__(
        self,
        folder: EncoderFolder,
        precision: str,
        device: str,
        token_budget: int,
        *,
        mask_id_zero: bool = False,
    ) -> None:
        tf = import_tensorflow()
        tf.config.experimental.enable_tensor_float_32_execution(precision != "float32")
        self.device = device
        self.hidden_size = folder.config.hidden_size
        self._token_budget = token_budget
        self._positions = folder.config.max_position_embeddings
        bert = _Bert(read_variables(folder), folder.config, precision, device)
        id_shape, row_shape = tf.TensorSpec([None, None], tf.int32), tf.TensorSpec([None], tf.int32)

        @tf.function(input_signature=[id_shape, row_shape, row_shape])  # type: ignore[untyped-decorator]
        def forward(ids: Any, lengths: Any, places: Any) -> Any:
            attended = ids != 0 if mask_id_zero else tf.sequence_mask(lengths, tf.shape(ids)[1])
            return tf.gather(bert(ids, attended), places)

        self._forward = forward

    def __call__(self, ids: TokenIds) -> np.ndarray:
        """Vectors float32 (tokens, hidden) of texts that are computed together, one behind the other."""
        tf = import_tensorflow()
        full, lengths = self._fill(ids)
        places = np.flatnonzero(real_tokens(ids.lengths, full.shape[1])).astype(np.int32)
        with tf.device(self.device):
            vectors: np.ndarray = self._forward(full, lengths, places).numpy()
        return vectors

    def _fill(self, ids: TokenIds) -> tuple[np.ndarray, np.ndarray]:
        """The texts padded to one of few shapes, with rows added, and the length of each row."""
        padded = ids.padded()
        rows, width = padded.shape
        full_width = max(width, min(self._positions, -(-width // self.width_step) * self.width_step))
        full_rows = max(rows, self._token_budget // full_width)
        full = np.pad(padded, ((0, full_rows - rows), (0, full_width - width)))
        full[rows:, 0] = 1  # no row may be masked whole
        return full, np.pad(ids.lengths, (0, full_rows - rows), constant_values=1)


class _Bert:
    """BERT's encoder (Devlin et al. 2018) as keras-bert computes it, in few operations.

    On a GPU each operation is a pass over memory, and those beside the matrix products take most of the time.
    """

    def __init__(
        self, weights: Mapping[str, np.ndarray], config: BertConfig, precision: str, device: str
    ) -> None:
        tf = import_tensorflow()
        self._config = config
        self._dtype = tf.as_dtype(precision)
        with tf.device(device):
            self._weights = {
                name: tf.constant(value, self._dtype if "kernel" in name else tf.float32)
                for name, value in _with_joined_attention(weights, config).items()
            }

    def __call__(self, ids: Any, attended: Any) -> Any:
        tf = import_tensorflow()
        table = "bert/embeddings/{}_embeddings".format
        words = tf.gather(self._weights[table("word")], ids)  # (batch, tokens, hidden)
        places = self._weights[table("position")] + self._weights[table("token_type")][:1]
        x = tf.reshape(words + places[: tf.shape(ids)[1]], [-1, self._config.hidden_size])
        x = self._normalize(x, "bert/embeddings/LayerNorm")
        mask = tf.where(attended, 0.0, -1e9)[:, None, None, :]  # (batch, 1, 1, tokens)
        for number in range(self._config.num_hidden_layers):
            x = self._transform(x, mask, f"bert/encoder/layer_{number}")
        return x  # (batch * tokens, hidden)

    def _transform(self, x: Any, mask: Any, name: str) -> Any:
        context = self._attend(x, mask, f"{name}/attention/self")  # (batch * tokens, hidden), like x
        attention = self._dense(context, f"{name}/attention/output/dense")
        x = self._normalize(x + attention, f"{name}/attention/output/LayerNorm")
        wide = self._activate(self._dense(x, f"{name}/intermediate/dense"))
        return self._normalize(x + self._dense(wide, f"{name}/output/dense"), f"{name}/output/LayerNorm")

    def _attend(self, x: Any, mask: Any, name: str) -> Any:
        tf = import_tensorflow()
        heads, hidden = self._config.num_attention_heads, self._config.hidden_size
        bias = tf.cast(self._weights[f"{name}/joined/bias"], self._dtype)
        joined = tf.nn.bias_add(self._product(x, f"{name}/joined"), bias)  # (batch * tokens, 3 * hidden)
        joined = tf.reshape(joined, [tf.shape(mask)[0], tf.shape(mask)[3], 3, heads, hidden // heads])
        joined = tf.transpose(joined, [2, 0, 3, 1, 4])  # (3, batch, heads, tokens, hidden / heads)
        query, key, value = tf.unstack(joined)
        scores = tf.cast(tf.matmul(query, key, transpose_b=True), tf.float32)
        shares = tf.nn.softmax(scores + mask)  # (batch, heads, tokens, tokens)
        context = tf.matmul(tf.cast(shares, self._dtype), value)
        return tf.reshape(tf.transpose(context, [0, 2, 1, 3]), [-1, hidden])

    def _dense(self, x: Any, name: str) -> Any:
        tf = import_tensorflow()
        product = tf.cast(self._product(x, name), tf.float32)
        return tf.nn.bias_add(product, self._weights[f"{name}/bias"])

    def _product(self, x: Any, name: str) -> Any:
        return import_tensorflow().cast(x, self._dtype) @ self._weights[f"{name}/kernel"]

    def _normalize(self, x: Any, name: str) -> Any:
        tf = import_tensorflow()
        centred = x - tf.reduce_mean(x, -1, keepdims=True)
        variance = tf.reduce_mean(tf.square(centred), -1, keepdims=True)
        normal = centred * tf.math.rsqrt(variance + _EPSILON)
        return normal * self._weights[f"{name}/gamma"] + self._weights[f"{name}/beta"]

    def _activate(self, x: Any) -> Any:
        tf = import_tensorflow()
        activations = {"gelu": gelu, "linear": tf.identity, "relu": tf.nn.relu, "tanh": tf.tanh}
        return activations[self._config.hidden_act](x)


def _with_joined_attention(weights: Mapping[str, np.ndarray], config: BertConfig) -> dict[str, np.ndarray]:
    """The weights, with query, key and value of a layer as one product, the query already scaled."""
    joined = dict(weights)
    scale = (config.hidden_size / config.num_attention_heads) ** -0.5
    for number in range(config.num_hidden_layers):
        name = f"bert/encoder/layer_{number}/attention/self"
        for part in ("kernel", "bias"):
            query, key, value = (joined.pop(f"{name}/{of}/{part}") for of in ("query", "key", "value"))
            joined[f"{name}/joined/{part}"] = np.concatenate([query * np.float32(scale), key, value], axis=-1)
    return joined
