"""The article's classifier: a bidirectional LSTM and a softmax layer on token vectors."""

from typing import Any

from jabert.legacy_keras import import_tensorflow


def build_classifier(
    hidden_size: int, classes: int, units: int, dropout: float = 0.0, precision: str = "float32"
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
    """
    tf = import_tensorflow()
    from tensorflow import keras

    from jabert.methods.bi_lstm.layer import bi_lstm

    vectors = keras.Input((None, hidden_size), name="vectors")
    lengths = keras.Input((), dtype="int32", name="lengths")
    mask = keras.layers.Lambda(
        lambda inputs: tf.sequence_mask(inputs[1], tf.shape(inputs[0])[1]), name="mask"
    )([vectors, lengths])  # (batch, tokens)
    both = bi_lstm(units, "bi_lstm", precision)(vectors, mask=mask)  # (batch, 2 * units)
    kept = keras.layers.Dropout(dropout, name="dropout")(both)
    probabilities = keras.layers.Dense(classes, activation="softmax", name="softmax")(kept)
    return keras.Model([vectors, lengths], probabilities, name="classifier")
