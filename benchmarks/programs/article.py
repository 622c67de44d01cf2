"""The article's loop: keras-bert with all positions, `model.predict` on one text after another."""

import argparse
import os

import numpy as np
from protocol import Loaded, serve

from jabert.encoder import open_folder


def load(options: argparse.Namespace) -> Loaded:
    os.environ["TF_USE_LEGACY_KERAS"] = "1"
    from keras_bert import load_trained_model_from_checkpoint

    folder = open_folder(options.model)
    positions = folder.config.max_position_embeddings
    config = str(folder.path / "bert_config.json")
    model = load_trained_model_from_checkpoint(config, str(folder.checkpoint), seq_len=positions)

    def compute(ids: np.ndarray, _: np.ndarray) -> np.ndarray:
        padded = np.zeros((len(ids), positions), dtype=np.int32)
        padded[:, : ids.shape[1]] = ids
        vectors: np.ndarray = model.predict([padded, np.zeros_like(padded)], verbose=0)
        return vectors

    return Loaded(compute, {"positions": positions}, token_budget=1)  # one text at a time


if __name__ == "__main__":
    serve(load)
