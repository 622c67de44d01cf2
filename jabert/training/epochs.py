"""Epochs: what is measured after each, which is the best, when there are enough, and TensorBoard's log."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from jabert.config import TrainingSettings
from jabert.evaluation import weighted_f1
from jabert.legacy_keras import import_tensorflow
from jabert.training.state import writing

Epoch = dict[str, float]
"""As `jabert.methods.Epoch`."""


def measure(predicted: npt.NDArray[np.float64], true: npt.NDArray[np.int32]) -> Epoch:
    """Loss and metrics on rows that are not learned from, by the definitions that Keras uses.

    Args:
        predicted: probabilities (rows, classes).
        true: (rows,), class indices.
    """
    classes = predicted.shape[1]
    one_hot = np.eye(classes)[true]
    likelihood = np.clip((predicted * one_hot).sum(axis=1), 1e-7, 1.0)  # Keras clips at the same epsilon
    best = predicted.argmax(axis=1)
    return {
        "loss": float(-np.log(likelihood).mean()),
        "mae": float(np.abs(predicted - one_hot).mean()),
        "mse": float(((predicted - one_hot) ** 2).mean()),
        "acc": float((best == true).mean()),
        "weighted_f1": weighted_f1(true, best, classes),
    }


def best_of(history: list[Epoch], training: TrainingSettings) -> Epoch:
    """The first of the best epochs, as Keras's EarlyStopping and ModelCheckpoint take it."""
    sign = -1 if training.monitor == "val_loss" else 1
    return max(history, key=lambda epoch: _comparable(sign * epoch[training.monitor]))


def _comparable(value: float) -> float:
    return -math.inf if math.isnan(value) else value


def tensorboard(folder: Path) -> Callable[[Epoch], None]:
    """A function that logs an epoch to `folder/train` and `folder/validation`."""
    tf = import_tensorflow()
    with writing(folder):
        writers = {
            split: tf.summary.create_file_writer(str(folder / split)) for split in ("train", "validation")
        }

    def log(epoch: Epoch) -> None:
        metrics = {name: value for name, value in epoch.items() if name not in ("epoch", "seconds")}
        for split, writer in writers.items():
            with writing(folder / split), writer.as_default(step=int(epoch["epoch"])):
                for name, value in metrics.items():
                    if name.startswith("val_") == (split == "validation"):
                        tf.summary.scalar(f"epoch_{name.removeprefix('val_')}", value)
                writer.flush()

    return log
