"""BERT with its two pretraining heads, as keras-bert builds it, and what is learned from a batch.

Three things differ from `keras_bert.get_model(training=True)`, and none shows in the checkpoint. The
masked-LM head computes its softmax at the masked positions only. The gradient of gelu is written out, for
fewer passes over memory. And keras-bert masks token id 0 from attention, which is `<unk>` here: real unknown
pieces use a row of their own behind the vocabulary, as in `jabert.encoder.reference`, which becomes row 0
when the weights are read.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from jabert.encoder.folder import BertConfig
from jabert.encoder.gelu import gelu
from jabert.encoder.reference import build_keras_bert
from jabert.legacy_keras import import_tensorflow

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["PretrainingModel", "initial_weights"]

_INITIALIZER_RANGE = 0.02  # standard deviation, as in google-research/bert
_HEADS = {
    "bert/pooler/dense/kernel": ("hidden", "hidden"),
    "bert/pooler/dense/bias": ("hidden",),
    "cls/predictions/transform/dense/kernel": ("hidden", "hidden"),
    "cls/predictions/transform/dense/bias": ("hidden",),
    "cls/predictions/transform/LayerNorm/gamma": ("hidden",),
    "cls/predictions/transform/LayerNorm/beta": ("hidden",),
    "cls/predictions/output_bias": ("vocabulary",),
    "cls/seq_relationship/output_weights": ("two", "hidden"),
    "cls/seq_relationship/output_bias": ("two",),
}


def initial_weights(config: BertConfig, seed: int) -> dict[str, np.ndarray]:
    """Weights of an untrained BERT by Google's variable names, float32, heads included.

    Normal within two standard deviations of 0.02 for tables and kernels, 1 for gammas, 0 for the rest
    (google-research/bert, modeling.py).
    """
    random = np.random.default_rng([seed, 0])
    weights = {}
    for name, shape in variable_shapes(config).items():
        if name.endswith("gamma"):
            value = np.ones(shape)
        elif name.endswith(("beta", "bias")):
            value = np.zeros(shape)
        else:
            value = _truncated_normal(random, shape) * _INITIALIZER_RANGE
        weights[name] = value.astype(np.float32)
    return weights


def variable_shapes(config: BertConfig) -> dict[str, tuple[int, ...]]:
    """Name and shape of every variable of a pretrained checkpoint, heads included."""
    sizes = {"hidden": config.hidden_size, "vocabulary": config.vocab_size, "two": 2}
    heads = {name: tuple(sizes[size] for size in shape) for name, shape in _HEADS.items()}
    return {**config.variables(), **heads}


def _truncated_normal(random: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Standard normal; what lies beyond two standard deviations is drawn again."""
    values = random.standard_normal(shape)
    while (far := np.abs(values) > 2).any():
        values[far] = random.standard_normal(int(far.sum()))
    return values


class PretrainingModel:
    """A BERT that is being trained.

    Args:
        config: its sizes.
        dropout: share of hidden units and attention weights that is dropped in training.

    Attributes:
        keras: keras-bert's model for training, with both heads.
        encoder: the part of it that gives vectors float (batch, tokens, hidden).
    """

    def __init__(self, config: BertConfig, dropout: float) -> None:
        keras = import_tensorflow().keras  # before keras-bert imports TensorFlow with Keras 3
        self.config = config
        activation = gelu if config.hidden_act == "gelu" else config.hidden_act
        self.keras = build_keras_bert(config, training=True, dropout=dropout, activation=activation)
        last = self.keras.get_layer(f"Encoder-{config.num_hidden_layers}-FeedForward-Norm")
        self.encoder = keras.Model(self.keras.inputs[:2], last.output)

    def hidden(self, ids: Any, segments: Any, lengths: Any, *, training: bool) -> Any:
        """Vectors (batch, tokens, hidden) of int32 ids and segments (batch, tokens); lengths (batch,)."""
        tf = import_tensorflow()
        real = tf.sequence_mask(lengths, tf.shape(ids)[1])  # (batch, tokens)
        ids = tf.where(real & (ids == 0), self.config.vocab_size, ids)
        return self.encoder([ids, segments], training=training)

    def masked_lm_logits(self, hidden: Any, positions: Any) -> Any:
        """Logits float32 (masked, vocabulary - 1) at flat positions (masked,) of the batch; id 1 first.

        Id 0, `<unk>`, is nothing that should be predicted.
        """
        tf = import_tensorflow()
        flat = tf.reshape(hidden, [-1, self.config.hidden_size])  # (batch * tokens, hidden)
        chosen = tf.gather(flat, positions)  # (masked, hidden)
        transformed = self.keras.get_layer("MLM-Norm")(self.keras.get_layer("MLM-Dense")(chosen))
        table = self.keras.get_layer("Embedding-Token").embeddings[1 : self.config.vocab_size]
        bias = self.keras.get_layer("MLM-Sim").bias[1 : self.config.vocab_size]
        return tf.matmul(transformed, table, transpose_b=True) + bias

    def next_sentence_logits(self, hidden: Any) -> Any:
        """Logits float32 (batch, 2) of: the second segment follows the first; it does not."""
        tf = import_tensorflow()
        pooled = self.keras.get_layer("NSP-Dense")(hidden[:, 0])  # (batch, hidden)
        head = self.keras.get_layer("NSP")
        return tf.matmul(pooled, head.kernel) + head.bias

    def read(self) -> dict[str, np.ndarray]:
        """The weights by Google's variable names, float32."""
        found = {name: layer.get_weights()[place] for name, layer, place in self._places()}
        for name in ("bert/embeddings/word_embeddings", "cls/predictions/output_bias"):
            rows = found[name]
            found[name] = np.concatenate([rows[-1:], rows[1:-1]])  # <unk> back to row 0
        found["cls/seq_relationship/output_weights"] = found["cls/seq_relationship/output_weights"].T
        return {name: np.asarray(found[name], dtype=np.float32) for name in sorted(found)}

    def write(self, weights: Mapping[str, np.ndarray]) -> None:
        """Set the weights from Google's variable names."""
        values = dict(weights)
        for name in ("bert/embeddings/word_embeddings", "cls/predictions/output_bias"):
            values[name] = np.concatenate([values[name], values[name][:1]])
        values["cls/seq_relationship/output_weights"] = values["cls/seq_relationship/output_weights"].T
        by_layer: dict[str, tuple[Any, list[np.ndarray]]] = {}
        for name, layer, _ in self._places():
            by_layer.setdefault(layer.name, (layer, []))[1].append(values[name])
        for layer, arrays in by_layer.values():
            layer.set_weights(arrays)

    def _places(self) -> "Iterator[tuple[str, Any, int]]":
        """Google's name of each variable, its layer, and its number among that layer's weights."""
        for layer_name, names in _layers(self.config.num_hidden_layers).items():
            for place, name in enumerate(names):
                yield name, self.keras.get_layer(layer_name), place


def _layers(count: int) -> dict[str, list[str]]:
    """Google's variable names by keras-bert's layer, in the order of the layer's weights (loader.py)."""
    layers = {
        "Embedding-Token": ["bert/embeddings/word_embeddings"],
        "Embedding-Position": ["bert/embeddings/position_embeddings"],
        "Embedding-Segment": ["bert/embeddings/token_type_embeddings"],
        "Embedding-Norm": _norm("bert/embeddings/LayerNorm"),
        "MLM-Dense": _dense("cls/predictions/transform/dense"),
        "MLM-Norm": _norm("cls/predictions/transform/LayerNorm"),
        "MLM-Sim": ["cls/predictions/output_bias"],
        "NSP-Dense": _dense("bert/pooler/dense"),
        "NSP": ["cls/seq_relationship/output_weights", "cls/seq_relationship/output_bias"],
    }
    for number in range(count):
        prefix, keras = f"bert/encoder/layer_{number}", f"Encoder-{number + 1}"
        attention = [f"{prefix}/attention/{part}" for part in ("self/query", "self/key", "self/value")]
        layers[f"{keras}-MultiHeadSelfAttention"] = _dense(*attention, f"{prefix}/attention/output/dense")
        layers[f"{keras}-MultiHeadSelfAttention-Norm"] = _norm(f"{prefix}/attention/output/LayerNorm")
        layers[f"{keras}-FeedForward"] = _dense(f"{prefix}/intermediate/dense", f"{prefix}/output/dense")
        layers[f"{keras}-FeedForward-Norm"] = _norm(f"{prefix}/output/LayerNorm")
    return layers


def _dense(*prefixes: str) -> list[str]:
    return [f"{prefix}/{part}" for prefix in prefixes for part in ("kernel", "bias")]


def _norm(prefix: str) -> list[str]:
    return [f"{prefix}/gamma", f"{prefix}/beta"]
