"""Writing an encoder folder in the published form, completely or not at all."""

import json
import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tomli_w

from jabert.encoder.folder import CONFIG, BertConfig, tokenizer_in
from jabert.encoder.openvino import weights_of
from jabert.errors import JabertError
from jabert.files import on_disk, write_json, write_text
from jabert.legacy_keras import import_tensorflow
from jabert.training.state import writing

_DROPOUT = 0.1  # BERT's own, for whoever trains the encoder on


def check_out(out: Path, named: str = "pretraining.out") -> None:
    """Check that an encoder can be written without replacing anything.

    Args:
        out: the folder to write.
        named: the setting that names it, for the error message.

    Raises:
        JabertError: `out` is a file, or a folder that is not empty.
    """
    if out.is_file() or (out.is_dir() and any(out.iterdir())):
        raise JabertError(f"{named} {out} is there already; give another folder, or remove it")


def export_encoder(model: Path, out: Path, card: str) -> Path:
    """Write the encoder of a model as an encoder folder.

    Args:
        model: a folder with the package of a model.
        out: the folder to write; must not exist, or be empty.
        card: as for `write_encoder`.

    Returns:
        `out`.

    Raises:
        JabertError: the model has no encoder or several, or is of jabert 0.1; or `out` cannot be written.
    """
    import openvino

    check_out(out, "the folder")
    found = sorted(model.rglob("network.json"))
    if len(found) != 1:
        count = "several encoders" if found else "no encoder"
        raise JabertError(f"the model has {count}; give a version with one, e.g. of method.kind 'finetune'")
    habits = json.loads(found[0].read_text(encoding="utf-8"))
    if "bert_config" not in habits:
        raise JabertError(
            "the model is of jabert 0.1, which kept no encoder that can be exported; give a newer one"
        )
    config = BertConfig(**habits["bert_config"])
    graph = openvino.Core().read_model(found[0].with_name("encoder.xml"))
    return write_encoder(
        out,
        weights_of(graph, config),
        config,
        tokenizer_in(found[0].parent),
        step=1,
        dropout=_DROPOUT,
        settings={**habits["encoder_settings"], "lower_case": habits["lower_case"]},
        card=card,
    )


def write_encoder(
    out: Path,
    weights: Mapping[str, npt.NDArray[np.floating[Any]]],
    config: BertConfig,
    tokenizer: Path,
    *,
    step: int,
    dropout: float,
    settings: Mapping[str, Any],
    card: str,
) -> Path:
    """Write the tokenizer's files, `bert_config.json`, `model.ckpt-<step>`, `encoder.toml` and the card.

    Args:
        out: the folder; must not exist, or be empty.
        weights: by Google's variable names, in the dtype to be stored.
        config: the sizes.
        tokenizer: the SentencePiece model, with a `.vocab` beside it that is copied too, or the
            `tokenizer.json` or `vocab.txt`.
        step: training steps done, part of the checkpoint's name.
        dropout: recorded in `bert_config.json`.
        settings: content of `encoder.toml`.
        card: Markdown, written as `README.md`.

    Returns:
        `out`.

    Raises:
        JabertError: `out` is not empty, or cannot be written, e.g. because the disk is full.
    """
    check_out(out)
    values = config.to_dict() | {"initializer_range": 0.02}
    values |= dict.fromkeys(("attention_probs_dropout_prob", "hidden_dropout_prob"), dropout)
    draft = out.with_name(f".{out.name}-{uuid.uuid4().hex}")
    try:
        with on_disk(out):
            write_checkpoint(draft / f"model.ckpt-{step}", weights)
            write_json(draft / CONFIG, dict(sorted(values.items())))
            write_text(draft / "encoder.toml", tomli_w.dumps(dict(settings)))
            write_text(draft / "README.md", card)
            if tokenizer.suffix != ".model":
                shutil.copyfile(tokenizer, draft / tokenizer.name)
            for file in (tokenizer, tokenizer.with_suffix(".vocab")) if tokenizer.suffix == ".model" else ():
                if file.exists():
                    shutil.copyfile(file, draft / f"sentencepiece{file.suffix}")
            draft.replace(out)  # which may be an empty folder
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return out


def write_checkpoint(prefix: Path, weights: Mapping[str, npt.NDArray[np.floating]]) -> None:
    """Write variables by their names, each in its dtype, in the form of google-research/bert.

    Raises:
        JabertError: the disk is full, or the folder cannot be written to.
    """
    names = sorted(weights)
    with writing(prefix):
        import_tensorflow().raw_ops.SaveV2(
            prefix=str(prefix),
            tensor_names=names,
            shape_and_slices=[""] * len(names),
            tensors=[weights[name] for name in names],
        )
