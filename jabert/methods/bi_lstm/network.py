"""The article's classifier: a bidirectional LSTM and a softmax layer on token vectors."""

from typing import Any

from jabert.legacy_keras import import_tensorflow
from jabert.methods.bi_lstm import Pooling


def build_classifier(
    hidden_size: int,
    classes: int,
    units: int,
    dropout: float = 0.0,
    precision: str = "float32",
    *,
    pooling: Pooling = "last",
    mixed_layers: int = 1,
) -> Any:
    """A Keras model of token vectors float32 (batch, tokens, hidden) and lengths int32 (batch,).

    Positions from a text's length on are masked: the backward LSTM starts at the last real token.
    The output is float32 (batch, classes), rows summing to 1.

    Args:
        hidden_size: columns of a token vector.
        classes: number of labels.
        units: of the LSTM, in each direction.
        dropout: share of the Bi-LSTM's output dropped in training.
        precision: of the matrix products in the LSTM, `float32` or `bfloat16`.
        pooling: which of the LSTM's states stand for the text: the last of each direction, or the mean of
            all with learned weights.
        mixed_layers: of the encoder, whose vectors stand side by side; the LSTM gets their learned mean.
    """
    tf = import_tensorflow()
    from tensorflow import keras

    from jabert.methods.bi_lstm.layer import LayerMix, bi_lstm

    vectors = keras.Input((None, hidden_size), name="vectors")
    lengths = keras.Input((), dtype="int32", name="lengths")
    mask = keras.layers.Lambda(
        lambda inputs: tf.sequence_mask(inputs[1], tf.shape(inputs[0])[1]), name="mask"
    )([vectors, lengths])  # (batch, tokens)
    mixed = LayerMix(mixed_layers, "mix")(vectors) if mixed_layers > 1 else vectors
    attends = pooling == "attention"
    both = bi_lstm(units, "bi_lstm", precision, every=attends)(mixed, mask=mask)
    if attends:
        scores = keras.layers.Dense(1, use_bias=False, name="attention")(both)
        shares = keras.layers.Softmax(axis=1, name="shares")(scores, mask=mask[:, :, None])
        both = keras.layers.Flatten()(keras.layers.Dot(axes=1)([shares, both]))  # (batch, 2 * units)
    kept = keras.layers.Dropout(dropout, name="dropout")(both)
    probabilities = keras.layers.Dense(classes, activation="softmax", name="softmax")(kept)
    return keras.Model([vectors, lengths], probabilities, name="classifier")
