"""jabert's engines; `--variant` is the engine."""

import argparse

import numpy as np
from protocol import Loaded, serve

from jabert.config import EncoderSettings
from jabert.encoder import TokenIds, load_encoder, open_folder, token_budget


def load(options: argparse.Namespace) -> Loaded:
    settings = EncoderSettings(
        path=str(options.model),
        engine=options.variant,
        precision=options.precision,
        cache_path=str(options.texts.with_name("engines")),
    )
    folder = open_folder(options.model)
    encoder = load_encoder(folder, settings)

    def compute(ids: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        return encoder(TokenIds.of(row[:length] for row, length in zip(ids, lengths, strict=True)))

    return Loaded(compute, {"device": encoder.device}, token_budget(folder, settings))


if __name__ == "__main__":
    serve(load)
