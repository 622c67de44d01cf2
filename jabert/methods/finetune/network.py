"""A BERT with a head that classifies, as it is trained in TensorFlow."""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from jabert.encoder.bert import Bert
from jabert.encoder.folder import BertConfig
from jabert.legacy_keras import import_tensorflow

tf = import_tensorflow()
_LAYER = re.compile(r"bert/encoder/layer_(\d+)/")
Weights = dict[str, npt.NDArray[np.float32]]


def layer_of(name: str) -> int:
    """Number of the transformer layer that a variable is in, -1 for the embeddings."""
    found = _LAYER.match(name)
    return int(found[1]) if found else -1


def new_head(head: str, hidden: int, classes: int) -> Weights:
    """Weights of a head that finds all classes equally likely; attention begins as the mean."""
    shapes: dict[str, tuple[int, ...]] = {"head/kernel": (hidden, classes), "head/bias": (classes,)}
    if head == "attention":
        shapes["head/query"] = (hidden,)
    return {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}


def pooled(vectors: Any, lengths: Any, head: str, variables: Mapping[str, Any]) -> Any:
    """A vector (texts, hidden) for each text.

    Args:
        vectors: float32 (tokens, hidden), of texts one behind the other.
        lengths: int32 (texts,).
        head: `mean`, `cls` or `attention`.
        variables: those of the head, by name.
    """
    if head == "cls":
        return tf.gather(vectors, tf.cumsum(lengths, exclusive=True))
    texts = tf.size(lengths)
    text = tf.repeat(tf.range(texts), lengths)  # (tokens,)
    if head == "mean":
        return tf.math.segment_mean(vectors, text)
    scores = tf.linalg.matvec(vectors, variables["head/query"])  # (tokens,)
    weights = tf.exp(scores - tf.gather(tf.stop_gradient(tf.math.segment_max(scores, text)), text))
    weights /= tf.gather(tf.math.segment_sum(weights, text), text)
    return tf.math.segment_sum(weights[:, None] * vectors, text)


class Network:
    """The encoder and the head.

    Args:
        weights: of the encoder by Google's names, and of the head (`head/kernel` (hidden, classes),
            `head/bias` (classes,), for attention `head/query` (hidden,)).
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
        self._head, self._frozen, self._dropout = head, frozen, dropout
        self._own = {
            name: tf.Variable(value, name=name) for name, value in weights.items() if name.startswith("head/")
        }
        layers = {name: v for name, v in self.bert.variables.items() if layer_of(name) >= frozen}
        self.learning: dict[str, Any] = {**layers, **self._own}

    def pool(self, ids: Any, lengths: Any, *, training: bool = False) -> Any:
        """What the softmax layer looks at, float32 (texts, columns), of packed ids and lengths."""
        vectors = self.bert.packed(ids, lengths, frozen=self._frozen, training=training)
        return pooled(vectors, lengths, self._head, self._own)

    def logits(self, ids: Any, lengths: Any, *, training: bool = False) -> Any:
        """Logits float32 (texts, classes)."""
        x = self.pool(ids, lengths, training=training)
        if training and self._dropout:
            x = tf.nn.experimental.general_dropout(x, self._dropout, uniform_sampler=self.bert.random.uniform)
        return x @ self._own["head/kernel"] + self._own["head/bias"]
