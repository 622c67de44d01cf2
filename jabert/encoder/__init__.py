"""Token ids and token vectors of texts, from an encoder folder in Google BERT's form."""

from pathlib import Path
from typing import Protocol

import numpy as np

from jabert.config import EncoderSettings
from jabert.encoder.choice import Choice, choose
from jabert.encoder.folder import EncoderFolder, open_folder
from jabert.encoder.ragged import TokenIds
from jabert.encoder.tokenizer import TokenizedTexts, Tokenizer

__all__ = [
    "Choice",
    "Encoder",
    "EncoderFolder",
    "TokenIds",
    "TokenizedTexts",
    "Tokenizer",
    "choose",
    "cpu_token_budget",
    "load_encoder",
    "open_folder",
    "origin_of",
    "token_budget",
    "vector_origin",
]

# Numbers in the widest activations of a batch, measured on 2 cores with 2 MiB of L2 each: half as many are as
# good, twice as many cost 10 %, four times as many 30 %.
_CPU_NUMBERS = {"float32": 1024 * 1536, "bfloat16": 2048 * 1536}
_GPU_TOKENS = 16_384
# Raised whenever an engine computes other vectors at bfloat16 than before.
_REVISIONS = {"openvino": 2, "tensorflow": 2}


class Encoder(Protocol):
    """What turns token ids into token vectors: an engine with a checkpoint in it.

    `width_step` is the multiple of tokens to which it pads a batch itself.
    """

    device: str
    hidden_size: int
    width_step: int

    def __call__(self, ids: TokenIds) -> np.ndarray:
        """Vectors float32 (tokens, hidden) of texts that are computed together, one behind the other."""


def vector_origin(folder: EncoderFolder, settings: EncoderSettings) -> dict[str, str]:
    """What decides a token vector besides the token ids, known without loading the encoder.

    At float32 the engines agree to a cosine of 0.99999 and so share their vectors; at bfloat16 each has its
    own.
    """
    choice = choose(settings)
    return origin_of(folder.fingerprint, choice.engine, choice.precision, settings.pad_to)


def origin_of(fingerprint: str, engine: str, precision: str, pad_to: int | None) -> dict[str, str]:
    """The same where there is no encoder folder, for an encoder that stands in a model package."""
    return {
        "encoder": fingerprint,
        "engine": "any" if precision == "float32" else f"{engine} {_REVISIONS[engine]}",
        "precision": precision,
        "padding": "length" if pad_to is None else "id 0",
    }


def token_budget(folder: EncoderFolder, settings: EncoderSettings) -> int:
    """Tokens of a batch, padding included: `encoder.token_budget`, or what suits device and model."""
    if settings.token_budget:
        return settings.token_budget
    choice = choose(settings)
    return _GPU_TOKENS if choice.device == "/GPU:0" else cpu_token_budget(folder, choice.precision)


def cpu_token_budget(folder: EncoderFolder, precision: str) -> int:
    """What suits a CPU: a batch's widest activations, (tokens, intermediate), should stay in its caches."""
    config = folder.config
    return max(config.max_position_embeddings, _CPU_NUMBERS[precision] // config.intermediate_size)


def load_encoder(folder: EncoderFolder, settings: EncoderSettings) -> Encoder:
    """The forward pass that `encoder.engine`, `.precision` and `.device` ask for.

    Raises:
        JabertError: there is no such device, or the checkpoint does not fit its configuration.
    """
    choice = choose(settings)
    mask_id_zero = settings.pad_to is not None
    if choice.engine == "openvino":
        from jabert.encoder.openvino import OpenVinoEncoder

        return OpenVinoEncoder(folder, choice.precision, Path(settings.cache_path), mask_id_zero=mask_id_zero)
    if choice.engine == "tensorflow":
        from jabert.encoder.tensorflow import TensorFlowEncoder

        budget = token_budget(folder, settings)
        return TensorFlowEncoder(folder, choice.precision, choice.device, budget, mask_id_zero=mask_id_zero)
    from jabert.encoder.reference import ReferenceEncoder

    return ReferenceEncoder(folder, choice.device, mask_id_zero=mask_id_zero)
