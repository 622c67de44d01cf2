"""Checking and describing an encoder folder."""

from math import prod
from pathlib import Path
from typing import Any

from jabert.config import EncoderSettings
from jabert.encoder.checkpoint import read_variables
from jabert.encoder.folder import EncoderFolder, open_folder
from jabert.encoder.tokenizer import Tokenizer

_EXAMPLE = "京都の食堂で、BERTについて友人と話した。"
_SPECIAL = ("<unk>", "<s>", "</s>", "[PAD]", "[CLS]", "[SEP]", "[MASK]")


def describe(folder: str | Path) -> dict[str, Any]:
    """Check an encoder folder as a featurization does, and describe it.

    Args:
        folder: as for `open_folder`.

    Returns:
        JSON-ready: path, files (name to bytes), sizes, lower_case and the reason for it, token ids of the
        special pieces, licence and origin (None unless `encoder.toml` gives them), fingerprint, and an
        example sentence with its pieces and token ids.

    Raises:
        JabertError: a file is missing or cannot be read, or the files do not match each other.
    """
    opened = open_folder(folder, "the encoder")
    read_variables(opened)
    tokenizer = Tokenizer(opened, EncoderSettings())
    found = {piece: tokenizer.model.find(piece) for piece in _SPECIAL}
    special_ids = {piece: token_id for piece, token_id in found.items() if token_id is not None}
    return {
        "path": str(opened.path.resolve()),
        "files": {file.name: file.stat().st_size for file in _files(opened)},
        **_sizes(opened),
        "lower_case": tokenizer.lower_case,
        "lower_case_because": _why(opened, tokenizer.lower_case),
        "special_ids": special_ids,
        "licence": opened.settings.get("licence"),
        "origin": opened.settings.get("origin"),
        "fingerprint": opened.fingerprint,
        "example": {
            "text": _EXAMPLE,
            "pieces": tokenizer.pieces(_EXAMPLE),
            "ids": tokenizer([_EXAMPLE]).ids[0].tolist(),
        },
    }


def _files(folder: EncoderFolder) -> list[Path]:
    """The files of the folder that jabert reads."""
    beside = [folder.path / "bert_config.json", folder.path / "encoder.toml"]
    checkpoint = folder.path.glob(f"{folder.checkpoint.name}.*")
    return sorted(path for path in [folder.sentencepiece, *checkpoint, *beside] if path.is_file())


def _sizes(folder: EncoderFolder) -> dict[str, Any]:
    config = folder.config
    return {
        "vocabulary": config.vocab_size,
        "hidden_size": config.hidden_size,
        "layers": config.num_hidden_layers,
        "heads": config.num_attention_heads,
        "intermediate_size": config.intermediate_size,
        "positions": config.max_position_embeddings,
        "activation": config.hidden_act,
        "parameters": sum(prod(shape) for shape in config.variables().values()),
    }


def _why(folder: EncoderFolder, lower_case: bool) -> str:
    if "lower_case" in folder.settings:
        return "encoder.toml says so"
    return f"the vocabulary has {'no' if lower_case else 'a'} piece with an upper-case Latin letter"
