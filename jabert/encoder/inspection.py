"""Checking and describing an encoder folder."""

from math import prod
from pathlib import Path
from typing import Any

from jabert.config import EncoderSettings
from jabert.encoder.checkpoint import read_variables
from jabert.encoder.folder import CONFIG, open_folder
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
    config, special_ids = opened.config, {piece: tokenizer.find(piece) for piece in _SPECIAL}
    beside = [opened.sentencepiece, opened.path / CONFIG, opened.path / "encoder.toml"]
    files = sorted([*opened.path.glob(f"{opened.checkpoint.name}.*"), *beside])
    count = "no" if tokenizer.lower_case else "a"
    because = f"the vocabulary has {count} piece with an upper-case Latin letter"
    return {
        "path": str(opened.path.resolve()),
        "files": {file.name: file.stat().st_size for file in files if file.is_file()},
        "vocabulary": config.vocab_size,
        "hidden_size": config.hidden_size,
        "layers": config.num_hidden_layers,
        "heads": config.num_attention_heads,
        "intermediate_size": config.intermediate_size,
        "positions": config.max_position_embeddings,
        "activation": config.hidden_act,
        "parameters": sum(prod(shape) for shape in config.variables().values()),
        "lower_case": tokenizer.lower_case,
        "lower_case_because": "encoder.toml says so" if "lower_case" in opened.settings else because,
        "special_ids": {piece: found for piece, found in special_ids.items() if found is not None},
        "licence": opened.settings.get("licence"),
        "origin": opened.settings.get("origin"),
        "fingerprint": opened.fingerprint,
        "example": {
            "text": _EXAMPLE,
            "pieces": tokenizer.pieces(_EXAMPLE),
            "ids": tokenizer([_EXAMPLE]).ids[0].tolist(),
        },
    }
