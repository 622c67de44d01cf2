"""The forward pass for a GPU: BERT in TensorFlow's own operations, matrix products in bfloat16.

Not compiled by XLA: it compiles for every shape, which takes longer than featurizing a small corpus.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from jabert.encoder.checkpoint import read_variables
from jabert.encoder.folder import BertConfig, EncoderFolder
from jabert.legacy_keras import import_tensorflow

__all__ = ["TensorFlowEncoder"]

_EPSILON = 1e-14  # of keras-bert's layer normalisation


class TensorFlowEncoder:
    """A BERT checkpoint as a TensorFlow function; arguments and results as `Encoder` says.

    Args:
        folder: the encoder folder.
        precision: of the matrix products, `float32` (without TF32) or `bfloat16`; all else is float32.
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
        id_shape, length_shape = tf.TensorSpec([None, None], tf.int32), tf.TensorSpec([None], tf.int32)

        @tf.function(input_signature=[id_shape, length_shape])  # type: ignore[untyped-decorator]
        def forward(ids: Any, lengths: Any) -> Any:
            attended = ids != 0 if mask_id_zero else tf.sequence_mask(lengths, tf.shape(ids)[1])
            return bert(ids, attended)

        self._forward = forward

    def __call__(self, ids: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """Vectors float32 (batch, tokens, hidden) of ids int32 (batch, tokens); lengths int32 (batch,).

        Rows beyond a text's length hold numbers without meaning.
        """
        tf = import_tensorflow()
        rows, width = ids.shape
        full_ids, full_lengths = self._fill(ids, lengths)
        with tf.device(self.device):
            vectors: np.ndarray = self._forward(full_ids, full_lengths)[:rows, :width].numpy()
        return vectors

    def _fill(self, ids: np.ndarray, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The batch with columns and rows added until it has one of few shapes."""
        rows, width = ids.shape
        full_width = max(width, min(self._positions, -(-width // self.width_step) * self.width_step))
        full_rows = max(rows, self._token_budget // full_width)
        full_ids = np.zeros((full_rows, full_width), dtype=np.int32)
        full_ids[:rows, :width] = ids
        full_lengths = np.ones(full_rows, dtype=np.int32)  # no row may be masked whole
        full_ids[rows:, 0] = 1
        full_lengths[:rows] = lengths
        return full_ids, full_lengths


class _Bert:
    """BERT's encoder (Devlin et al. 2018) as keras-bert computes it."""

    def __init__(
        self, weights: Mapping[str, np.ndarray], config: BertConfig, precision: str, device: str
    ) -> None:
        tf = import_tensorflow()
        self._config = config
        self._dtype = tf.as_dtype(precision)
        with tf.device(device):
            self._weights = {
                name: tf.constant(value, self._dtype if name.endswith("kernel") else tf.float32)
                for name, value in weights.items()
            }

    def __call__(self, ids: Any, attended: Any) -> Any:
        tf = import_tensorflow()
        table = "bert/embeddings/{}_embeddings".format
        x = tf.gather(self._weights[table("word")], ids)  # (batch, tokens, hidden)
        places = self._weights[table("position")] + self._weights[table("token_type")][:1]
        x = self._normalize(x + places[: tf.shape(ids)[1]], "bert/embeddings/LayerNorm")
        mask = tf.where(attended, 0.0, -1e9)[:, None, None, :]  # (batch, 1, 1, tokens)
        for number in range(self._config.num_hidden_layers):
            x = self._transform(x, mask, f"bert/encoder/layer_{number}")
        return x

    def _transform(self, x: Any, mask: Any, name: str) -> Any:
        attention = self._dense(
            self._attend(x, mask, f"{name}/attention/self"), f"{name}/attention/output/dense"
        )
        x = self._normalize(x + attention, f"{name}/attention/output/LayerNorm")
        wide = self._activate(self._dense(x, f"{name}/intermediate/dense"))
        return self._normalize(x + self._dense(wide, f"{name}/output/dense"), f"{name}/output/LayerNorm")

    def _attend(self, x: Any, mask: Any, name: str) -> Any:
        tf = import_tensorflow()
        heads, hidden = self._config.num_attention_heads, self._config.hidden_size
        shape = tf.shape(x)

        def split(y: Any) -> Any:  # (batch, tokens, hidden) -> (batch, heads, tokens, hidden / heads)
            y = tf.reshape(y, [shape[0], shape[1], heads, hidden // heads])
            return tf.cast(tf.transpose(y, [0, 2, 1, 3]), self._dtype)

        query, key, value = (split(self._dense(x, f"{name}/{part}")) for part in ("query", "key", "value"))
        scores = tf.cast(tf.matmul(query, key, transpose_b=True), tf.float32) / (hidden / heads) ** 0.5
        shares = tf.nn.softmax(scores + mask)  # (batch, heads, tokens, tokens)
        context = tf.transpose(tf.matmul(tf.cast(shares, self._dtype), value), [0, 2, 1, 3])
        return tf.reshape(context, [shape[0], shape[1], hidden])

    def _dense(self, x: Any, name: str) -> Any:
        tf = import_tensorflow()
        product = tf.matmul(tf.cast(x, self._dtype), self._weights[f"{name}/kernel"])
        return tf.cast(product, tf.float32) + self._weights[f"{name}/bias"]

    def _normalize(self, x: Any, name: str) -> Any:
        tf = import_tensorflow()
        mean, variance = tf.nn.moments(x, axes=[-1], keepdims=True)
        scale = self._weights[f"{name}/gamma"] * tf.math.rsqrt(variance + _EPSILON)
        return (x - mean) * scale + self._weights[f"{name}/beta"]

    def _activate(self, x: Any) -> Any:
        tf = import_tensorflow()
        return {
            "gelu": lambda: tf.nn.gelu(x, approximate=True),  # keras-transformer's form of it
            "linear": lambda: x,
            "relu": lambda: tf.nn.relu(x),
            "tanh": lambda: tf.tanh(x),
        }[self._config.hidden_act]()
