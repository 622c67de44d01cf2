"""BERT with its two pretraining heads, and the weights of an untrained one."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from jabert.encoder.bert import Bert, activate, layer_norm
from jabert.encoder.folder import BertConfig
from jabert.legacy_keras import import_tensorflow

tf = import_tensorflow()
_INITIALIZER_RANGE = 0.02  # standard deviation, as in google-research/bert


def head_shapes(config: BertConfig) -> dict[str, tuple[int, ...]]:
    """Name and shape of each variable that a pretrained checkpoint has besides the encoder's."""
    hidden = config.hidden_size
    return {
        "bert/pooler/dense/kernel": (hidden, hidden),
        "bert/pooler/dense/bias": (hidden,),
        "cls/predictions/transform/dense/kernel": (hidden, hidden),
        "cls/predictions/transform/dense/bias": (hidden,),
        "cls/predictions/transform/LayerNorm/gamma": (hidden,),
        "cls/predictions/transform/LayerNorm/beta": (hidden,),
        "cls/predictions/output_bias": (config.vocab_size,),
        "cls/seq_relationship/output_weights": (2, hidden),
        "cls/seq_relationship/output_bias": (2,),
    }


def initial_weights(config: BertConfig, seed: int) -> dict[str, npt.NDArray[np.float32]]:
    """Weights of an untrained BERT by Google's variable names, float32, heads included.

    Tables and kernels are normal with standard deviation 0.02, cut at two of them; gammas are 1, betas and
    biases 0 (google-research/bert, modeling.py).
    """
    random = np.random.default_rng([seed, 0])
    weights = {}
    for name, shape in {**config.variables(), **head_shapes(config)}.items():
        if name.endswith("gamma"):
            value = np.ones(shape)
        elif name.endswith(("beta", "bias")):
            value = np.zeros(shape)
        else:
            value = random.standard_normal(shape)
            while (far := np.abs(value) > 2).any():  # beyond two standard deviations
                value[far] = random.standard_normal(int(far.sum()))
            value *= _INITIALIZER_RANGE
        weights[name] = value.astype(np.float32)
    return weights


class PretrainingModel:
    """A BERT that is pretrained.

    Args:
        weights: those to begin with, by Google's variable names, heads included.
        config: the sizes.
        dropout: as for `Bert`.
        precision: as for `Bert`; that of the heads' products as well.
        seed: of dropout.

    Attributes:
        bert: the encoder.
        variables: all `tf.Variable`s by Google's names, the encoder's and the heads'.
    """

    def __init__(
        self,
        weights: Mapping[str, npt.NDArray[np.float32]],
        config: BertConfig,
        *,
        dropout: float = 0.0,
        precision: str = "float32",
        seed: int = 0,
    ) -> None:
        self.config = config
        self.bert = Bert(weights, config, precision=precision, dropout=dropout, seed=seed)
        heads = {name: tf.Variable(weights[name], name=name) for name in head_shapes(config)}
        self.variables: dict[str, Any] = {**self.bert.variables, **heads}

    def hidden(self, ids: Any, segments: Any, lengths: Any, *, training: bool) -> Any:
        """Vectors float32 (batch, tokens, hidden) of int32 ids and segments (batch, tokens).

        Attended are the first `lengths` tokens of each row, int32 (batch,).
        """
        return self.bert(ids, tf.sequence_mask(lengths, tf.shape(ids)[1]), segments, training=training)

    def masked_lm_logits(self, hidden: Any, positions: Any) -> Any:
        """Logits float32 (masked, vocabulary - 1) at flat positions int32 (masked,) of a batch; id 1 first.

        Id 0, `<unk>`, is never to be predicted.
        """
        name = "cls/predictions/transform"
        x = tf.gather(tf.reshape(hidden, [-1, self.config.hidden_size]), positions)  # (masked, hidden)
        x = activate(self._dense(x, f"{name}/dense"), self.config.hidden_act)
        x = layer_norm(x, self.variables[f"{name}/LayerNorm/gamma"], self.variables[f"{name}/LayerNorm/beta"])
        table = self.variables["bert/embeddings/word_embeddings"][1:]
        return self.bert.product(x, tf.transpose(table)) + self.variables["cls/predictions/output_bias"][1:]

    def next_sentence_logits(self, hidden: Any) -> Any:
        """Logits float32 (batch, 2) of: the second segment follows the first; it does not."""
        pooled = tf.tanh(self._dense(hidden[:, 0], "bert/pooler/dense"))  # (batch, hidden)
        kernel = tf.transpose(self.variables["cls/seq_relationship/output_weights"])
        return self.bert.product(pooled, kernel) + self.variables["cls/seq_relationship/output_bias"]

    def read(self) -> dict[str, npt.NDArray[np.float32]]:
        """The weights by Google's variable names."""
        return {name: variable.numpy() for name, variable in self.variables.items()}

    def _dense(self, x: Any, name: str) -> Any:
        product = self.bert.product(x, self.variables[f"{name}/kernel"])
        return product + self.variables[f"{name}/bias"]
