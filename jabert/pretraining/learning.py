"""One training step: losses, gradients, optimizer."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from jabert.config import PretrainingSettings
from jabert.legacy_keras import import_tensorflow
from jabert.pretraining.examples import Batch
from jabert.pretraining.model import PretrainingModel
from jabert.pretraining.teacher import Teacher
from jabert.training.optimizer import AdamW, learning_rate

tf = import_tensorflow()


@dataclass(frozen=True)
class Mean:
    """A metric of a batch: its mean over a number of texts, masked pieces or tokens."""

    value: float
    count: int


class Learner:
    """A model with its optimizer.

    The loss is the sum of the cross-entropy of the masked pieces; with pairs, that of the next sentence; with
    a teacher, the mean squared error of the model's vectors, projected to the teacher's columns, of all
    tokens, and that of the mean vector of each text, in standard deviations of such means.

    Args:
        model: what is trained; its weights are those to begin with.
        settings: losses and optimizer.
        teacher: the encoder whose vectors are learned, if there is one.
    """

    def __init__(
        self, model: PretrainingModel, settings: PretrainingSettings, teacher: Teacher | None = None
    ) -> None:
        self.model = model
        self._settings, self._teacher = settings, teacher
        # kernel (hidden, columns) and bias (columns,)
        start = (teacher.start.kernel, teacher.start.bias) if teacher else ()
        self._projection = [tf.Variable(array) for array in start]
        self._variables = [*model.variables.values(), *self._projection]
        self._optimizer = AdamW(
            self._variables, weight_decay=settings.weight_decay, clip_norm=settings.clip_norm
        )
        # Sizes are unknown, so that the step is traced only once.
        matrix, row = tf.TensorSpec([None, None], tf.int32), tf.TensorSpec([None], tf.int32)
        vectors = tf.TensorSpec([None, teacher.columns if teacher else 0], tf.float32)
        signature = [matrix, matrix, row, row, row, row, vectors]
        self._learn = tf.function(self._learn_eagerly, input_signature=signature)
        self._measure = tf.function(partial(self._losses, training=False), input_signature=signature)

    def learn(self, batch: Batch) -> dict[str, Mean]:
        """Take one step; the metrics are those before it."""
        return self._metrics(self._learn, batch)

    def measure(self, batch: Batch) -> dict[str, Mean]:
        """The metrics without dropout; nothing is learned."""
        return self._metrics(self._measure, batch)

    def state(self) -> dict[str, Any]:
        """All objects that change in training, for a TensorFlow checkpoint."""
        random = self.model.bert.random
        return {"variables": self._variables, "optimizer": self._optimizer, "random_numbers": random}

    def _metrics(self, compute: Callable[..., dict[str, Any]], batch: Batch) -> dict[str, Mean]:
        vectors = self._teacher(batch) if self._teacher else np.zeros((0, 0), np.float32)
        inputs = (batch.ids, batch.segments, batch.lengths, batch.positions, batch.targets)
        values = compute(*inputs, batch.random_next, vectors)
        counts = {"masked_lm": len(batch.positions), "next_sentence": len(batch.lengths)}
        return {
            name: Mean(float(value), counts.get(name.rpartition("_")[0], int(batch.lengths.sum())))
            for name, value in values.items()
        }

    def _learn_eagerly(self, *arrays: Any) -> dict[str, Any]:
        with tf.GradientTape() as tape:
            metrics = self._losses(*arrays, training=True)
        gradients = tape.gradient(metrics["loss"], self._variables)
        settings, done = self._settings, tf.cast(self._optimizer.step, tf.float32)
        rate = learning_rate(done, settings.learning_rate, settings.warmup_steps, settings.steps)
        # Variables that no loss depends on, e.g. the next-sentence head without pairs, have no gradient.
        self._optimizer.apply(gradients, rate)
        return metrics

    def _losses(self, *arrays: Any, training: bool) -> dict[str, Any]:
        ids, segments, lengths, positions, targets, random_next, vectors = arrays
        settings = self._settings
        hidden = self.model.hidden(ids, segments, lengths, training=training)  # (batch, tokens, hidden)
        loss, metrics = tf.constant(0.0), dict[str, Any]()
        if settings.masked_lm_weight:
            logits = self.model.masked_lm_logits(hidden, positions)  # (masked, vocabulary - 1)
            metrics |= _cross_entropy(logits, targets - 1, "masked_lm")
            loss += settings.masked_lm_weight * metrics["masked_lm_loss"]
        if settings.examples == "pairs":
            metrics |= _cross_entropy(self.model.next_sentence_logits(hidden), random_next, "next_sentence")
            loss += metrics["next_sentence_loss"]
        if self._teacher:
            real = tf.boolean_mask(hidden, tf.sequence_mask(lengths, tf.shape(ids)[1]))  # (real, hidden)
            kernel, bias = self._projection
            error = self.model.bert.product(real, kernel) + bias - vectors  # (real, columns)
            of_text = tf.repeat(tf.range(tf.size(lengths)), lengths)  # (real,)
            of_texts = tf.math.segment_mean(error, of_text) / self._teacher.text_deviation
            metrics["teacher_error"] = tf.reduce_mean(tf.square(error))
            metrics["teacher_text_error"] = tf.reduce_mean(tf.square(of_texts))
            loss += settings.teacher_weight * metrics["teacher_error"]
            loss += settings.teacher_text_weight * metrics["teacher_text_error"]
        return {"loss": loss, **metrics}


def _cross_entropy(logits: Any, classes: Any, name: str) -> dict[str, Any]:
    """Mean cross-entropy and accuracy of logits (rows, classes); 0 without rows."""
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=classes, logits=logits)  # (rows,)
    right = tf.cast(tf.argmax(logits, axis=1, output_type=tf.int32) == classes, tf.float32)  # (rows,)
    rows = tf.maximum(1.0, tf.cast(tf.size(losses), tf.float32))
    return {f"{name}_loss": tf.reduce_sum(losses) / rows, f"{name}_accuracy": tf.reduce_sum(right) / rows}
