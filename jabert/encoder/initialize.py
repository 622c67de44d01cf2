"""Writing the `bert_config.json` that a downloaded checkpoint lacks."""

import configparser
from math import isfinite
from pathlib import Path
from typing import Any

from jabert.encoder import folder as layout
from jabert.errors import JabertError, reason_of
from jabert.files import write_json

_TRAINING_ONLY = {
    "attention_probs_dropout_prob": 0.1,
    "hidden_dropout_prob": 0.1,
    "initializer_range": 0.02,
}


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
                f"config.ini in {path} says {name} = {described[name]}, the checkpoint has {size}"
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
