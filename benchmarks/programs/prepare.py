"""Token ids and weights for the others: `python prepare.py DATA ENCODER FOLDER [--texts 1024] [--bert-base]`.

Run in jabert's environment. Writes into `FOLDER` the encoder folder `encoder`, `texts.npz`, `weights.npz` and
`bert_config.json`.
"""

import argparse
import json
import shutil
from pathlib import Path

import numpy as np
from protocol import open_answers, send, write_texts

from jabert.config import EncoderSettings, load_settings
from jabert.dataset import read_corpus
from jabert.encoder import Tokenizer, load_encoder, open_folder
from jabert.encoder.folder import BertConfig, read_variables
from jabert.legacy_keras import import_tensorflow

BERT_BASE = BertConfig(
    vocab_size=32_000,
    hidden_size=768,
    num_hidden_layers=12,
    num_attention_heads=12,
    intermediate_size=3072,
    max_position_embeddings=512,
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data")
    parser.add_argument("encoder", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--texts", type=int, default=1024)
    parser.add_argument("--bert-base", action="store_true")
    options, answers = parser.parse_args(), open_answers()
    ids, encoder = tokenize(options.data, options.encoder, options.texts), options.folder / "encoder"
    if options.bert_base:
        write_bert_base(encoder, options.encoder)
        ids = [
            row % BERT_BASE.vocab_size for row in ids
        ]  # with random weights it does not matter which pieces
    else:
        encoder.symlink_to(options.encoder.resolve())
    write_texts(options.folder / "texts.npz", ids)
    folder = open_folder(encoder)
    np.savez(options.folder / "weights.npz", **read_variables(folder))  # type: ignore[arg-type]
    shutil.copyfile(encoder / "bert_config.json", options.folder / "bert_config.json")
    # Converting the encoder for the engine happens once per encoder, so it does not count in a benchmark.
    load_encoder(folder, EncoderSettings(path=str(encoder), cache_path=str(options.folder / "engines")))
    send(answers, {"texts": len(ids)})


def tokenize(data: str, encoder: Path, texts: int) -> list[np.ndarray]:
    """Token ids of texts evenly spread over the corpus."""
    settings = load_settings(None, [f"data.path={data}", f"encoder.path={encoder}"])
    table = read_corpus(settings.data).table
    chosen = np.linspace(0, len(table) - 1, min(texts, len(table))).astype(int)
    tokenizer = Tokenizer(open_folder(encoder), settings.encoder)
    return list(tokenizer([table["text"].iloc[i] for i in chosen]).ids)


def write_bert_base(folder: Path, pieces_of: Path) -> None:
    """Write an encoder folder with random weights, initialized as BERT's."""
    folder.mkdir()
    shutil.copyfile(open_folder(pieces_of).tokenizer, folder / "pieces.model")
    (folder / "bert_config.json").write_text(json.dumps(vars(BERT_BASE)), encoding="utf-8")
    random = np.random.default_rng(0)
    weights = {name: draw(name, shape, random) for name, shape in BERT_BASE.variables().items()}
    import_tensorflow().raw_ops.SaveV2(
        prefix=str(folder / "random.ckpt-0"),
        tensor_names=list(weights),
        shape_and_slices=[""] * len(weights),
        tensors=list(weights.values()),
    )


def draw(name: str, shape: tuple[int, ...], random: np.random.Generator) -> np.ndarray:
    if name.endswith("gamma"):
        return np.ones(shape, dtype=np.float32)
    if name.endswith(("beta", "bias")):
        return np.zeros(shape, dtype=np.float32)
    return random.normal(0, 0.02, shape).astype(np.float32)


if __name__ == "__main__":
    main()
