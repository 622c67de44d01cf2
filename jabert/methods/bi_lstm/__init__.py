"""The Bi-LSTM on token vectors and its training."""

from jabert.methods.bi_lstm.training import (
    Epoch,
    Trained,
    load_classifier,
    predict,
    train,
    training_precision,
)
from jabert.training.batches import LabelledRows

__all__ = ["Epoch", "LabelledRows", "Trained", "load_classifier", "predict", "train", "training_precision"]
