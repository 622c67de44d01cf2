"""Token ids and token vectors of texts, from an encoder folder in Google BERT's form."""

from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from jabert.config import EncoderSettings
from jabert.encoder.batching import TokenIds, real_tokens
from jabert.encoder.choice import Choice, choose
from jabert.encoder.folder import EncoderFolder, folder_of, open_folder
from jabert.encoder.tokenizer import TokenizedTexts, Tokenizer, case_changed, longest_row, may_be_long
from jabert.errors import JabertError

__all__ = [
    "EncoderFolder",
    "TokenIds",
    "TokenizedTexts",
    "Tokenizer",
    "case_changed",
    "check_layers",
    "choice_for",
    "choose",
    "cpu_token_budget",
    "folder_of",
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
        hidden_size: columns of a vector, those of all its layers.
        width_step: the engine pads a batch to a multiple of this many tokens.
    """

    device: str
    hidden_size: int
    width_step: int

    def __call__(self, ids: TokenIds) -> npt.NDArray[np.float32]:
        """Vectors (tokens, hidden) of the real tokens of a batch, text after text, without padding."""


def check_layers(folder: EncoderFolder, layers: int) -> None:
    """Raise a `JabertError` if `features.layers` is more than the encoder has."""
    if folder.is_onnx and layers > 1:
        raise JabertError(f"features.layers = {layers}, but {folder.checkpoint} gives its last only; set 1")
    there_are = folder.config.num_hidden_layers
    if layers > there_are:
        raise JabertError(
            f"features.layers = {layers}, but {folder.path} has {there_are} layers; set {there_are} or fewer"
        )


def choice_for(folder: EncoderFolder, settings: EncoderSettings) -> Choice:
    """As `choose`, for one encoder: OpenVINO alone computes one in ONNX.

    Raises:
        JabertError: as there, or the settings ask for another engine.
    """
    if not folder.is_onnx:
        return choose(settings)
    if settings.engine not in ("auto", "openvino"):
        raise JabertError(f"encoder.engine = {settings.engine!r}, but {folder.checkpoint} needs 'openvino'")
    return choose(settings.model_copy(update={"engine": "openvino"}))


def vector_origin(folder: EncoderFolder, settings: EncoderSettings, layers: int = 1) -> dict[str, str]:
    """What a token vector depends on besides the token ids; known without loading the encoder.

    In float32 the engines agree to a cosine similarity of 0.99999 and share their vectors; in bfloat16 each
    has its own.

    Args:
        folder: the encoder folder.
        settings: choose engine, precision and padding.
        layers: as for `load_encoder`.

    Returns:
        encoder (fingerprint), engine, precision, padding, and the layers if they are several: the origin of
        a partition of the feature store.

    Raises:
        JabertError: the encoder has fewer layers, or the machine lacks what the settings ask for.
    """
    check_layers(folder, layers)
    choice = choice_for(folder, settings)
    return origin_of(folder.fingerprint, choice.engine, choice.precision, settings.pad_to, layers)


def origin_of(
    fingerprint: str, engine: str, precision: str, pad_to: int | None, layers: int = 1
) -> dict[str, str]:
    """As `vector_origin`, for an encoder that is in a registered model instead of an encoder folder."""
    origin = {
        "encoder": fingerprint,
        "engine": "any" if precision == "float32" else f"{engine} {_REVISIONS[engine]}",
        "precision": precision,
        "padding": "length" if pad_to is None else "id 0",
    }
    # One layer is not said, so that the partitions of earlier versions are found.
    return origin if layers == 1 else {**origin, "layers": str(layers)}


def token_budget(folder: EncoderFolder, settings: EncoderSettings) -> int:
    """Largest batch in tokens, padding included: `encoder.token_budget`, or what suits device and model."""
    if settings.token_budget:
        return settings.token_budget
    choice = choice_for(folder, settings)
    return _GPU_TOKENS if choice.device == "/GPU:0" else cpu_token_budget(folder, choice.precision)


def cpu_token_budget(folder: EncoderFolder, precision: str) -> int:
    """Largest batch in tokens whose widest activations, (tokens, intermediate), stay in a CPU's caches."""
    config = folder.config
    return max(config.max_position_embeddings, _CPU_ELEMENTS[precision] // config.intermediate_size)


def load_encoder(folder: EncoderFolder, settings: EncoderSettings, layers: int = 1) -> Encoder:
    """Load the encoder into the engine that `encoder.engine`, `.precision` and `.device` choose.

    Args:
        folder: the encoder folder.
        settings: choose engine, precision, device and padding.
        layers: the last ones, whose vectors stand side by side: the last layer's in the last columns.

    Raises:
        JabertError: the device does not exist, the encoder has fewer layers, or the checkpoint does not fit
            its configuration.
    """
    check_layers(folder, layers)
    choice = choice_for(folder, settings)
    more: dict[str, Any] = {"layers": layers, "mask_id_zero": settings.pad_to is not None}
    if choice.engine == "openvino":
        from jabert.encoder.openvino import OpenVinoEncoder

        return OpenVinoEncoder(folder, choice.precision, Path(settings.cache_path), **more)
    if choice.engine == "tensorflow":
        from jabert.encoder.tensorflow import TensorFlowEncoder

        budget = token_budget(folder, settings)
        return TensorFlowEncoder(folder, choice.precision, choice.device, budget, **more)
    from jabert.encoder.reference import ReferenceEncoder

    return ReferenceEncoder(folder, choice.device, **more)
