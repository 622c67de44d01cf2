"""A BERT with a head that classifies, as it is trained in TensorFlow."""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from jabert.encoder.bert import Bert
from jabert.encoder.folder import BertConfig
from jabert.legacy_keras import import_tensorflow
from jabert.methods.bi_lstm.layer import bi_lstm
from jabert.methods.bi_lstm.network import build_classifier
from jabert.training.state import Weights

tf = import_tensorflow()
_LAYER = re.compile(r"bert/encoder/layer_(\d+)/")
LSTM = tuple(
    f"head/{direction}/{name}"
    for direction in ("forward", "backward")
    for name in ("kernel", "recurrent_kernel", "bias")
)
"""Names of a Bi-LSTM's weights, in Keras's order."""


def layer_of(name: str) -> int:
    """Number of the transformer layer that a variable is in, -1 for the embeddings."""
    found = _LAYER.match(name)
    return int(found[1]) if found else -1


def new_head(head: str, hidden: int, classes: int, units: int, seed: int) -> Weights:
    """Weights of an untrained head, whose softmax layer finds all classes equally likely.

    Args:
        head: `mean`, `cls`, `attention` (which begins as the mean) or `bi-lstm`.
        hidden: columns of a token vector.
        classes: number of labels.
        units: of the LSTM, in each direction.
        seed: of the LSTM's weights.
    """
    shapes: dict[str, tuple[int, ...]] = {"head/kernel": (hidden, classes), "head/bias": (classes,)}
    weights: Weights = {}
    if head == "attention":
        shapes["head/query"] = (hidden,)
    if head == "bi-lstm":
        tf.keras.utils.set_random_seed(seed)
        shapes["head/kernel"] = (2 * units, classes)
        weights = dict(zip(LSTM, build_classifier(hidden, classes, units).get_weights()[:-2], strict=True))
    return {**weights, **{name: np.zeros(shape, np.float32) for name, shape in shapes.items()}}


class Network:
    """The encoder and the head.

    Args:
        weights: of the encoder by Google's names, and of the head as `new_head` has them.
        config: the sizes.
        head: what is between token vectors and the softmax layer.
        frozen: layers that stay as they are, from below; the embeddings always do: a word that the labels
            lack would no longer fit those that they have.
        precision: as for `Bert`.
        dropout: as for `Bert`, and of the head.
        seed: of dropout.

    Attributes:
        learning: the variables that learn, by name.
        bert: the encoder.
        frozen: its layers that stay as they are, from below.
    """

    def __init__(
        self,
        weights: Mapping[str, npt.NDArray[np.float32]],
        config: BertConfig,
        head: str,
        *,
        frozen: int,
        precision: str = "float32",
        dropout: float = 0.0,
        seed: int = 0,
    ) -> None:
        self.bert = Bert(weights, config, precision=precision, dropout=dropout, seed=seed)
        self._head, self.frozen, self._dropout = head, frozen, dropout
        own = {name: value for name, value in weights.items() if name.startswith("head/")}
        self._own = {name: tf.Variable(value, name=name) for name, value in own.items() if name not in LSTM}
        if head == "bi-lstm":
            self._lstm = bi_lstm(own[LSTM[1]].shape[0], "bi_lstm", precision)
            self._lstm.build((None, None, config.hidden_size))
            self._lstm.set_weights([own[name] for name in LSTM])
            self._own |= dict(zip(LSTM, self._lstm.weights, strict=True))
        layers = {name: v for name, v in self.bert.variables.items() if layer_of(name) >= frozen}
        self.learning: dict[str, Any] = {**layers, **self._own}

    def below(self, ids: Any, windows: Any) -> Any:
        """What the layers that stay as they are make of texts, float32 (tokens, hidden).

        Args:
            ids: int32 (tokens,), of texts one behind the other.
            windows: int32 (windows,), tokens of each row that the encoder reads at once.
        """
        return self.bert.below(ids, windows, self.frozen)

    def pool(self, x: Any, windows: Any, lengths: Any, *, training: bool = False) -> Any:
        """What the softmax layer looks at, float32 (texts, columns).

        Args:
            x: what `below` gave.
            windows: as there.
            lengths: int32 (texts,), tokens of each text, those of all its windows.
            training: whether hidden units are dropped.
        """
        vectors = self.bert.above(x, windows, self.frozen, training=training)
        if self._head == "cls":
            return tf.gather(vectors, tf.cumsum(lengths, exclusive=True))
        if self._head == "bi-lstm":
            padded = tf.RaggedTensor.from_row_lengths(vectors, lengths, validate=False).to_tensor()
            return self._lstm(padded, mask=tf.sequence_mask(lengths))
        text = tf.repeat(tf.range(tf.size(lengths)), lengths)  # (tokens,)
        if self._head == "mean":
            return tf.math.segment_mean(vectors, text)
        scores = tf.linalg.matvec(vectors, self._own["head/query"])  # (tokens,)
        highest = tf.stop_gradient(tf.math.segment_max(scores, text))
        weights = tf.exp(scores - tf.gather(highest, text))
        weights /= tf.gather(tf.math.segment_sum(weights, text), text)
        return tf.math.segment_sum(weights[:, None] * vectors, text)

    def logits(self, x: Any, windows: Any, lengths: Any, *, training: bool = False) -> Any:
        """Logits float32 (texts, classes), of what `pool` takes."""
        x = self.pool(x, windows, lengths, training=training)
        if training and self._dropout:
            x = tf.nn.experimental.general_dropout(x, self._dropout, uniform_sampler=self.bert.random.uniform)
        return x @ self._own["head/kernel"] + self._own["head/bias"]
