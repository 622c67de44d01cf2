"""Seconds of an epoch of fine-tuning, jabert's and Hugging Face's Trainer's, and the memory of both.

    python benchmarks/finetune.py DATA ENCODER [--rounds 2] [--rows 2901] [--peers PYTHON] [--out FOLDER]

Both train all layers of a BERT of the size of `ENCODER` on the same texts, 32 to a step, sorted by length in
batches, in bfloat16, in turns, each in a process of its own. The first steps are not counted. The Trainer
runs in `.venv-peers`, which `make peers` installs, or by the Python that `--peers` names. Prints a table and
writes `finetune.json`.
"""

import argparse
import statistics
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from machine import machine
from workers import OWN, PEERS, RESULTS, run_program, say

from jabert import markdown
from jabert.config import load_settings
from jabert.dataset import read_corpus
from jabert.encoder import Tokenizer, open_folder
from jabert.files import write_json


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("encoder")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--rows", type=int, default=2901, help="those of the recipe knbc")
    parser.add_argument("--peers", type=Path, default=PEERS, help="Python with torch and transformers")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the results")
    options = parser.parse_args()
    contenders = {"jabert": (OWN, "finetune_own.py"), "Trainer": (options.peers, "finetune_trainer.py")}
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in contenders}
    with tempfile.TemporaryDirectory() as folder:
        rows = Path(folder) / "rows.npz"
        write_rows(options.data, options.encoder, options.rows, rows)
        for _ in range(options.rounds):
            for name, (python, program) in contenders.items():
                found[name].append(run_program(python, program, [rows, options.encoder]))
                say(f"{name}: {found[name][-1]}")
    write_json(options.out / "finetune.json", {"machine": machine(), "rounds": found})
    print(table(found))


def write_rows(data: str, encoder: str, count: int, path: Path) -> None:
    """Token ids, lengths and classes of rows drawn from the corpus."""
    settings = load_settings(None, [f"data.path={data}", f"encoder.path={encoder}"])
    rows = read_corpus(settings.data).table
    rows = rows.sample(min(count, len(rows)), random_state=0)
    ids = Tokenizer(open_folder(encoder), settings.encoder)(rows["text"].tolist()).ids
    labels = sorted(rows["label"].unique())
    classes = np.array([labels.index(label) for label in rows["label"]], dtype=np.int32)
    np.savez(path, ids=ids.flat, lengths=ids.lengths, classes=classes)


def table(found: dict[str, list[dict[str, Any]]]) -> str:
    seconds = {name: [each["seconds"] for each in rounds] for name, rounds in found.items()}
    ratio = [other / own for own, other in zip(seconds["jabert"], seconds["Trainer"], strict=True)]
    rows = [
        [
            name,
            f"{statistics.median(seconds[name]):.1f}",
            f"{max(each['peak_bytes'] for each in rounds) / 1e9:.2f}",
        ]
        for name, rounds in found.items()
    ]
    rows.append(["Trainer / jabert, round by round", ", ".join(f"{each:.2f}" for each in ratio), ""])
    return markdown.table(["", "seconds an epoch", "peak GB"], rows)


if __name__ == "__main__":
    main()
