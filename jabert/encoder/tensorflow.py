"""The forward pass on a GPU, whose batches are padded to few shapes.

Not compiled by XLA: it compiles for every shape, which takes longer than featurizing a small corpus.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from jabert.encoder.batching import TokenIds, real_tokens
from jabert.encoder.bert import Bert
from jabert.encoder.folder import EncoderFolder, read_variables
from jabert.legacy_keras import import_tensorflow

tf = import_tensorflow()


class TensorFlowEncoder:
    """A BERT checkpoint as a TensorFlow function; an `Encoder`.

    Args:
        folder: the encoder folder.
        precision: as for `Bert`; `float32` excludes TF32.
        device: a TensorFlow device, e.g. `/GPU:0`.
        token_budget: tokens of a full batch; a batch is padded to it, so that few shapes occur.
        layers: as for `Bert`.
        mask_id_zero: also mask id 0 within a text, as keras-bert does.

    Raises:
        JabertError: the checkpoint cannot be read or does not fit its configuration.
    """

    width_step = 16  # with full batches there is one shape for every 16 tokens of length

    def __init__(
        self,
        folder: EncoderFolder,
        precision: str,
        device: str,
        token_budget: int,
        *,
        layers: int = 1,
        mask_id_zero: bool = False,
    ) -> None:
        tf.config.experimental.enable_tensor_float_32_execution(precision != "float32")
        self.device = device
        self.hidden_size = layers * folder.config.hidden_size
        self._token_budget = token_budget
        self._positions = folder.config.max_position_embeddings
        weights = read_variables(folder)
        with tf.device(device):
            bert = Bert(weights, folder.config, precision=precision, trainable=False, layers=layers)
        id_shape, row_shape = tf.TensorSpec([None, None], tf.int32), tf.TensorSpec([None], tf.int32)

        @tf.function(input_signature=[id_shape, row_shape, row_shape])  # type: ignore[untyped-decorator]
        def forward(ids: Any, lengths: Any, positions: Any) -> Any:
            attended = ids != 0 if mask_id_zero else tf.sequence_mask(lengths, tf.shape(ids)[1])
            return tf.gather(tf.reshape(bert(ids, attended), [-1, self.hidden_size]), positions)

        self._forward = forward

    def __call__(self, ids: TokenIds) -> npt.NDArray[np.float32]:
        """As `Encoder`."""
        full, lengths = self._fill(ids)
        positions = np.flatnonzero(real_tokens(ids.lengths, full.shape[1])).astype(np.int32)
        with tf.device(self.device):
            return np.asarray(self._forward(full, lengths, positions).numpy())

    def _fill(self, ids: TokenIds) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
        """Token ids (rows, width), padded and with rows added to one of few shapes, and lengths (rows,)."""
        padded = ids.padded()
        rows, width = padded.shape
        full_width = max(width, min(self._positions, -(-width // self.width_step) * self.width_step))
        full_rows = max(rows, self._token_budget // full_width)
        full = np.pad(padded, ((0, full_rows - rows), (0, full_width - width)))
        full[rows:, 0] = 1  # a row must have a token that is attended
        return full, np.pad(ids.lengths, (0, full_rows - rows), constant_values=1)
