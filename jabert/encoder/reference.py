"""The forward pass of keras-bert itself, at any length, with padding masked by length.

keras-bert masks token id 0 from attention, and the article pads with id 0, which is also `<unk>`: unknown
pieces of a text are masked as well. Here real tokens of id 0 become the id of a copy of row 0 at the end of
the token table, so that they are attended like every other piece and only padding is masked.
"""

import warnings
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt

from jabert.encoder.batching import TokenIds, real_tokens
from jabert.encoder.folder import EncoderFolder, reading
from jabert.legacy_keras import import_tensorflow

tf = import_tensorflow()


class ReferenceEncoder:
    """A BERT checkpoint loaded through keras-bert, float32; an `Encoder`.

    Args:
        folder: the encoder folder; its variables are checked against `bert_config.json`.
        device: a TensorFlow device, e.g. `/CPU:0`.
        layers: the last ones, whose vectors stand side by side.
        mask_id_zero: also mask id 0 within a text, as keras-bert and the article do; for `encoder.pad_to`.

    Raises:
        JabertError: the checkpoint cannot be read, or a variable is missing or has another shape.
    """

    width_step = 1

    def __init__(
        self, folder: EncoderFolder, device: str = "/CPU:0", *, layers: int = 1, mask_id_zero: bool = False
    ) -> None:
        folder.check_variables()
        self.device = device
        self.hidden_size = layers * folder.config.hidden_size
        with tf.device(device):
            model = _load(folder, layers)
        unknown_id = folder.config.vocab_size
        id_shape, length_shape = tf.TensorSpec([None, None], tf.int32), tf.TensorSpec([None], tf.int32)

        @tf.function(input_signature=[id_shape, length_shape])  # type: ignore[untyped-decorator]
        def forward(ids: Any, lengths: Any) -> Any:
            if not mask_id_zero:
                real = tf.sequence_mask(lengths, tf.shape(ids)[1])  # (batch, tokens)
                ids = tf.where(real & (ids == 0), unknown_id, ids)
            return model([ids, tf.zeros_like(ids)], training=False)  # (batch, tokens, hidden)

        self.forward = forward

    def __call__(self, ids: TokenIds) -> npt.NDArray[np.float32]:
        """As `Encoder`."""
        with tf.device(self.device):
            padded = self.forward(ids.padded(), ids.lengths).numpy()  # (batch, tokens, hidden)
        return np.asarray(padded[real_tokens(ids.lengths)])


def _load(folder: EncoderFolder, layers: int) -> Any:
    """keras-bert's model for any length, whose token table has a copy of row 0 at the end."""
    from keras_bert import get_model
    from keras_bert.loader import load_model_weights_from_checkpoint

    config = folder.config
    with warnings.catch_warnings():
        # keras-transformer 0.40 gives several layers one initializer; all weights are set afterwards.
        warnings.filterwarnings("ignore", message="The initializer GlorotNormal is unseeded")
        inputs, output = get_model(
            token_num=config.vocab_size + 1,
            pos_num=config.max_position_embeddings,
            seq_len=None,
            embed_dim=config.hidden_size,
            transformer_num=config.num_hidden_layers,
            head_num=config.num_attention_heads,
            feed_forward_dim=config.intermediate_size,
            feed_forward_activation=tf.nn.gelu if config.hidden_act == "gelu_erf" else config.hidden_act,
            training=False,
            output_layer_num=layers,
        )
    model = tf.keras.Model(inputs, output)
    for layer in model.layers:
        if layer.name.endswith("-Norm"):
            layer.epsilon = config.layer_norm_eps

    def layer_for_loading(name: str) -> Any:
        layer = model.get_layer(name)
        if name != "Embedding-Token":
            return layer

        def set_weights(weights: list[npt.NDArray[np.float32]]) -> None:
            table = weights[0][: config.vocab_size]
            layer.set_weights([np.concatenate([table, table[:1]])])

        return SimpleNamespace(set_weights=set_weights)

    with reading(folder.checkpoint):
        loaded = SimpleNamespace(get_layer=layer_for_loading)
        load_model_weights_from_checkpoint(loaded, vars(config), str(folder.checkpoint))
    return model
