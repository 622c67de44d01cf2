"""Token ids and token vectors of texts, from an encoder folder in Google BERT's form."""

from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from jabert.config import EncoderSettings
from jabert.encoder.batching import TokenIds, real_tokens
from jabert.encoder.choice import choose
from jabert.encoder.folder import EncoderFolder, open_folder
from jabert.encoder.tokenizer import TokenizedTexts, Tokenizer, longest_row, may_be_long

__all__ = [
    "EncoderFolder",
    "TokenIds",
    "TokenizedTexts",
    "Tokenizer",
    "choose",
    "cpu_token_budget",
    "load_encoder",
    "longest_row",
    "may_be_long",
    "open_folder",
    "origin_of",
    "real_tokens",
    "token_budget",
    "vector_origin",
]

# Elements of the widest activations of a batch, measured on 2 cores with 2 MiB of L2 each: half as many are
# as fast, twice as many cost 10 %, four times as many 30 %.
_CPU_ELEMENTS = {"float32": 1024 * 1536, "bfloat16": 2048 * 1536}
_GPU_TOKENS = 16_384
# To be raised whenever an engine computes other vectors in bfloat16 than before.
_REVISIONS = {"openvino": 2, "tensorflow": 2}


class Encoder(Protocol):
    """An engine with a loaded checkpoint, which turns token ids into token vectors.

    Attributes:
        device: a TensorFlow device, e.g. `/CPU:0`.
        hidden_size: columns of a vector.
        width_step: the engine pads a batch to a multiple of this many tokens.
    """

    device: str
    hidden_size: int
    width_step: int

    def __call__(self, ids: TokenIds) -> npt.NDArray[np.float32]:
        """Vectors (tokens, hidden) of the real tokens of a batch, text after text, without padding."""


def vector_origin(folder: EncoderFolder, settings: EncoderSettings) -> dict[str, str]:
    """What a token vector depends on besides the token ids; known without loading the encoder.

    In float32 the engines agree to a cosine similarity of 0.99999 and share their vectors; in bfloat16 each
    has its own.

    Returns:
        encoder (fingerprint), engine, precision and padding: the origin of a partition of the feature store.
    """
    choice = choose(settings)
    return origin_of(folder.fingerprint, choice.engine, choice.precision, settings.pad_to)


def origin_of(fingerprint: str, engine: str, precision: str, pad_to: int | None) -> dict[str, str]:
    """As `vector_origin`, for an encoder that is in a registered model instead of an encoder folder."""
    return {
        "encoder": fingerprint,
        "engine": "any" if precision == "float32" else f"{engine} {_REVISIONS[engine]}",
        "precision": precision,
        "padding": "length" if pad_to is None else "id 0",
    }


def token_budget(folder: EncoderFolder, settings: EncoderSettings) -> int:
    """Largest batch in tokens, padding included: `encoder.token_budget`, or what suits device and model."""
    if settings.token_budget:
        return settings.token_budget
    choice = choose(settings)
    return _GPU_TOKENS if choice.device == "/GPU:0" else cpu_token_budget(folder, choice.precision)


def cpu_token_budget(folder: EncoderFolder, precision: str) -> int:
    """Largest batch in tokens whose widest activations, (tokens, intermediate), stay in a CPU's caches."""
    config = folder.config
    return max(config.max_position_embeddings, _CPU_ELEMENTS[precision] // config.intermediate_size)


def load_encoder(folder: EncoderFolder, settings: EncoderSettings) -> Encoder:
    """Load the encoder into the engine that `encoder.engine`, `.precision` and `.device` choose.

    Raises:
        JabertError: the device does not exist, or the checkpoint does not fit its configuration.
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
