"""Token ids and token vectors of texts, from an encoder folder in Google BERT's form."""

from typing import Any, Protocol

import numpy as np

from jabert.config import EncoderSettings
from jabert.encoder.folder import EncoderFolder, open_folder
from jabert.encoder.tokenizer import TokenizedTexts, Tokenizer
from jabert.legacy_keras import use_device

__all__ = [
    "Encoder",
    "EncoderFolder",
    "TokenizedTexts",
    "Tokenizer",
    "load_encoder",
    "open_folder",
    "vector_origin",
]


class Encoder(Protocol):
    """What turns token ids into token vectors.

    `forward` is the same as a TensorFlow function, and `variables` are those that it reads.
    """

    device: str
    hidden_size: int
    forward: Any
    variables: list[Any]

    def __call__(self, ids: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """Vectors float32 (batch, tokens, hidden) of ids int32 (batch, tokens); lengths int32 (batch,)."""


def vector_origin(folder: EncoderFolder, settings: EncoderSettings) -> dict[str, str]:
    """What decides a token vector besides the token ids, known without loading the encoder."""
    return {
        "encoder": folder.fingerprint,
        "engine": "reference",  # what `auto` resolves to: the only engine so far
        "precision": "float32",
        "padding": "length" if settings.pad_to is None else "id 0",
    }


def load_encoder(folder: EncoderFolder, settings: EncoderSettings) -> Encoder:
    """The forward pass that `encoder.engine`, `.precision` and `.device` ask for.

    Raises:
        JabertError: there is no such device, or the checkpoint does not fit its configuration.
    """
    from jabert.encoder.reference import ReferenceEncoder

    device = use_device(settings.device)
    return ReferenceEncoder(folder, device, mask_id_zero=settings.pad_to is not None)
