"""Checking and describing an encoder folder, and writing the configuration that a downloaded one lacks."""

import configparser
from collections.abc import Iterator
from math import isfinite, prod
from pathlib import Path
from typing import Any

from jabert.config import EncoderSettings
from jabert.encoder import folder as layout
from jabert.encoder.tokenizer import Tokenizer
from jabert.errors import JabertError, reason_of
from jabert.files import write_json

_EXAMPLE = "京都の食堂で、BERTについて友人と話した。"
_SPECIAL = ("<unk>", "[UNK]", "<s>", "</s>", "[PAD]", "[CLS]", "[SEP]", "[MASK]")
_NAMED = 3  # of the variables that are ignored
_TRAINING_ONLY = {
    "attention_probs_dropout_prob": 0.1,
    "hidden_dropout_prob": 0.1,
    "initializer_range": 0.02,
}


def describe(folder: str | Path) -> dict[str, Any]:
    """Check an encoder folder as a featurization does, and describe it.

    Args:
        folder: as for `open_folder`.

    Returns:
        JSON-ready: path, files (name to bytes), checkpoint, tokenizer, sizes, lower_case and the reason for
        it, token ids of the special pieces, prefix, licence and origin (None unless `encoder.toml` gives
        them), fingerprint, an example sentence with its pieces and token ids, and notes on what is ignored.

    Raises:
        JabertError: a file is missing or cannot be read, or the files do not match each other.
    """
    opened = layout.open_folder(folder, "the encoder")
    parameters = check_weights(opened)
    tokenizer = Tokenizer(opened, EncoderSettings())
    config, special_ids = opened.config, {piece: tokenizer.model.find(piece) for piece in _SPECIAL}
    beside = [opened.tokenizer, opened.path / layout.CONFIG, opened.path / "encoder.toml"]
    files = sorted([*opened.path.glob(f"{opened.checkpoint.name}*"), *beside])
    return {
        "path": str(opened.path.resolve()),
        "files": {file.name: file.stat().st_size for file in files if file.is_file()},
        "checkpoint": opened.checkpoint.name,
        "tokenizer": tokenizer.model.kind,
        "vocabulary": config.vocab_size,
        "hidden_size": config.hidden_size,
        "layers": config.num_hidden_layers,
        "heads": config.num_attention_heads,
        "intermediate_size": config.intermediate_size,
        "positions": config.max_position_embeddings,
        "activation": config.hidden_act,
        "parameters": parameters,
        "lower_case": tokenizer.lower_case,
        "lower_case_because": tokenizer.lower_case_because,
        "special_ids": {piece: found for piece, found in special_ids.items() if found is not None},
        "prefix": opened.settings.get("prefix"),
        "licence": opened.settings.get("licence"),
        "origin": opened.settings.get("origin"),
        "fingerprint": opened.fingerprint,
        "example": {
            "text": _EXAMPLE,
            "pieces": tokenizer.pieces(_EXAMPLE),
            "ids": tokenizer([_EXAMPLE]).ids[0].tolist(),
        },
        "notes": list(_notes(opened, tokenizer)),
    }


def check_weights(opened: layout.EncoderFolder) -> int:
    """Read the weights of an encoder as an engine does; returns how many numbers they are.

    Raises:
        JabertError: they cannot be read, or do not fit the configuration.
    """
    if opened.is_onnx:
        from jabert.encoder.onnx import count_parameters
        from jabert.encoder.openvino import graph_of

        graph_of(opened)
        return count_parameters(opened.checkpoint)
    layout.read_variables(opened)
    return sum(prod(shape) for shape in opened.config.variables().values())


def _notes(opened: layout.EncoderFolder, tokenizer: Tokenizer) -> Iterator[str]:
    """What of the folder is not used, a sentence each."""
    others = [
        path.stem for path in sorted(opened.path.glob("*.index")) if path.stem != opened.checkpoint.name
    ]
    if others:
        yield f"{opened.checkpoint.name} is used, not {', '.join(others)}; encoder.checkpoint chooses"
    if opened.ignored:
        yield f"{layout.CONFIG}: ignored, {', '.join(opened.ignored)}"
    if opened.is_onnx:
        return
    found = layout.variable_shapes(opened.checkpoint)
    more = sorted(found.keys() - opened.config.variables().keys())
    more = [name for name in more if not name.startswith(("bert/pooler/", "cls/"))]
    if more:
        named = ", ".join(more[:_NAMED]) + (" …" if len(more) > _NAMED else "")
        count = f"{len(more):,} variables that are not the encoder's"
        yield f"{opened.checkpoint.name}: ignored, {count}: {named}"
    rows = max(opened.config.vocab_size, found["bert/embeddings/word_embeddings"][0])
    if rows > tokenizer.model.size:
        pieces = f"the tokenizer {tokenizer.model.size:,} pieces"
        yield f"the table of pieces has {rows:,} rows, {pieces}: no text has the rest"


def init_config(folder: str | Path, heads: int | None = None) -> tuple[Path, list[str]]:
    """Write the `bert_config.json` that a downloaded checkpoint lacks.

    Sizes are read from the shapes of the checkpoint's variables. Shapes do not tell the number of attention
    heads.

    Args:
        folder: the encoder folder.
        heads: number of attention heads; None: that of bert-japanese's `config.ini` in the folder, and
            without that file one head for every 64 columns, as is usual for BERT.

    Returns:
        The file written and remarks on what was assumed.

    Raises:
        JabertError: the file exists already, the checkpoint is not Google BERT's, or jabert does not support
            the sizes found.
    """
    path = layout.local_folder(folder)
    target = path / layout.CONFIG
    if target.exists():
        raise JabertError(f"{target} exists already; delete it first to have it written again")
    if not path.is_dir():
        raise JabertError(f"{path} is not a folder")
    sizes = _sizes(layout.checkpoint_in(path))
    described, remarks = _read_ini(path), []
    if heads is None and "num_attention_heads" not in described:
        heads = max(1, sizes["hidden_size"] // 64)
        remarks.append(
            f"num_attention_heads = {heads} is assumed, 64 columns a head: a checkpoint does not say; "
            "give --heads if it is another number"
        )
    for name, size in sizes.items():
        if described.get(name, size) != size:
            raise JabertError(
                f"config.ini in {path} says {name} = {described[name]}, the checkpoint has {size}; take both "
                "of one model"
            )
    config = {"hidden_act": "gelu", **_TRAINING_ONLY, **described, **sizes}
    if heads is not None:
        config["num_attention_heads"] = heads
    layout.config_of(config, target)
    return write_json(target, dict(sorted(config.items()))), remarks


def _sizes(checkpoint: Path) -> dict[str, int]:
    """Sizes from the shapes of Google BERT's variables."""
    variables = layout.variable_shapes(checkpoint)
    try:
        vocab_size, hidden_size = variables["bert/embeddings/word_embeddings"]
        return {
            "vocab_size": vocab_size,
            "hidden_size": hidden_size,
            "num_hidden_layers": layout.count_layers(variables),
            "intermediate_size": variables["bert/encoder/layer_0/intermediate/dense/bias"][0],
            "max_position_embeddings": variables["bert/embeddings/position_embeddings"][0],
            "type_vocab_size": variables["bert/embeddings/token_type_embeddings"][0],
        }
    except KeyError as error:
        raise JabertError(f"checkpoint {checkpoint} is not Google BERT's: no variable {error}") from None


def _read_ini(folder: Path) -> dict[str, Any]:
    """Sizes and training settings from bert-japanese's `config.ini`, empty without the file."""
    path = folder / "config.ini"
    parser = configparser.ConfigParser()
    try:
        parser.read(path, encoding="utf-8")
        texts = {key: value for section in parser.sections() for key, value in parser.items(section)}
    except (configparser.Error, UnicodeDecodeError) as error:
        raise JabertError(f"{path} cannot be read: {reason_of(error)}") from None
    kinds = layout.BertConfig.__annotations__ | dict.fromkeys(_TRAINING_ONLY, float)
    values: dict[str, Any] = {}
    for name in kinds.keys() & texts.keys():
        try:
            values[name] = kinds[name](texts[name])
            if name in _TRAINING_ONLY and not isfinite(values[name]):
                raise ValueError
        except ValueError:
            raise JabertError(f"{path}: {name} must be a number, not {texts[name]!r}") from None
    return values
