"""The Bi-LSTM on token vectors and its training."""

from jabert.classifier.batches import LabelledRows
from jabert.classifier.training import Epoch, Trained, load_classifier, predict, train, training_precision

__all__ = ["Epoch", "LabelledRows", "Trained", "load_classifier", "predict", "train", "training_precision"]
