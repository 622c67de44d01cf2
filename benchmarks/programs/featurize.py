"""One featurization: `python featurize.py TEXTS ENCODER STORE [--copies N] [--changed ROWS --round K]`.

`--copies` repeats the texts N times; each copy has different last pieces, so that no two texts are equal and
lengths stay the same. `--changed` changes the last piece of ROWS texts, different ones in each `--round`.
"""

import argparse
from pathlib import Path

import numpy as np
from protocol import open_answers, peak_bytes, read_texts, send

from jabert.config import load_settings
from jabert.encoder import TokenIds, open_folder
from jabert.features import featurize


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("texts", type=Path)
    parser.add_argument("encoder", type=Path)
    parser.add_argument("store", type=Path)
    parser.add_argument("--copies", type=int, default=1)
    parser.add_argument("--changed", type=int, default=0)
    parser.add_argument("--round", type=int, default=0)
    options, answers = parser.parse_args(), open_answers()
    paths = {
        "encoder.path": options.encoder,
        "features.path": options.store,
        "encoder.cache_path": options.texts.with_name("engines"),
    }
    settings = load_settings(None, [f"{name}={path}" for name, path in paths.items()])
    folder = open_folder(options.encoder)
    ids = texts(options, folder.config.vocab_size)
    done = featurize(ids, folder, settings)
    facts = done.to_dict()
    del facts["store"]  # a temporary folder
    send(answers, {**facts, "peak_bytes": peak_bytes()})


def texts(options: argparse.Namespace, vocabulary: int) -> TokenIds:
    """The token ids of all texts and their copies."""
    once = TokenIds.of(read_texts(options.texts))
    last = once.offsets[1:] - 2  # before [SEP]
    copies = []
    for copy in range(options.copies):
        flat = once.flat.copy()
        flat[last] = (flat[last] + copy) % vocabulary
        copies.append(flat)
    if options.changed:
        every = max(1, len(once) // options.changed)
        rows = last[options.round :: every][: options.changed]
        copies[0][rows] = (copies[0][rows] + vocabulary // 2 + options.round) % vocabulary
    lengths = np.tile(once.lengths, options.copies)
    return TokenIds(np.concatenate(copies), np.cumsum([0, *lengths], dtype=np.int64))


if __name__ == "__main__":
    main()
