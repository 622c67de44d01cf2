"""Pretraining: pieces per second compared with Hugging Face's Trainer, and memory on ten times the corpus.

    python benchmarks/pretraining.py TEXT [--rounds 2] [--no-memory]

`TEXT` is raw text, one sentence per line, a blank line between documents. jabert and Trainer train the same
model on the same examples (pairs, masked once), in turns, in float32 and in bfloat16 (Trainer's `bf16`);
`make peers` installs the Trainer. Prints tables and writes `pretraining.json`.
"""

import argparse
import json
import sys
import tempfile
import time
from contextlib import chdir
from pathlib import Path
from typing import Any

import numpy as np
from machine import machine
from workers import OWN, PEERS, RESULTS, run_program

from jabert import markdown
from jabert.config import PretrainingSettings, VocabularySettings
from jabert.encoder.folder import BertConfig
from jabert.files import write_json
from jabert.pretraining import Vocabulary, documents, train_sentencepiece
from jabert.pretraining.examples import Batch, batches, examples_of
from jabert.pretraining.learning import Learner
from jabert.pretraining.model import PretrainingModel, initial_weights
from jabert.pretraining.shards import read_shard, shards_of, write_shards

WARM_UP = 3  # batches that are not timed, as in programs/trainer.py
SIZES = {"hidden": 256, "layers": 4, "heads": 4, "intermediate": 1024, "positions": 512, "vocabulary": 8000}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("text", type=Path)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--batches", type=int, default=40)
    parser.add_argument("--no-memory", action="store_true", help="measure only the throughput")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the results")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result: dict[str, Any] = {"pieces_per_second": throughput(arguments, Path(folder))}
        if not arguments.no_memory:
            result["peak_megabytes"] = memory(arguments.text, Path(folder))
    write_json(arguments.out / "pretraining.json", {"machine": machine(), **result})
    for name, values in result.items():
        print(markdown.table([name, ""], [[key, str(value)] for key, value in values.items()]), end="\n\n")


def throughput(arguments: argparse.Namespace, folder: Path) -> dict[str, list[float]]:
    """Pieces per second of each contender, one value per round."""
    settings = PretrainingSettings(max_tokens=128, token_budget=4096, steps=1000)
    vocabulary = prepare(arguments.text, folder)
    examples = examples_of(read_shard(shards_of(folder, "train")[0]), settings, np.random.default_rng(0))
    chosen = list(batches(examples, vocabulary, settings, np.random.default_rng(0)))[: arguments.batches]
    write_for_peer(chosen, folder / "examples.npz")
    rates: dict[str, list[float]] = {}
    for _ in range(arguments.rounds):
        for precision in ("float32", "bfloat16"):
            rate = jabert_rate(chosen, vocabulary, settings, precision)
            rates.setdefault(f"jabert, {precision}", []).append(rate)
            for name, grouped in (("Trainer", "0"), ("Trainer grouped by length", "1")):
                rate = peer_rate(folder / "examples.npz", grouped, precision)
                rates.setdefault(f"{name}, {precision}", []).append(rate)
        print({name: values[-1] for name, values in rates.items()}, file=sys.stderr)
    return rates


def peer_rate(examples: Path, grouped: str, precision: str) -> float:
    answer = run_program(PEERS, "trainer.py", [examples, grouped, precision, json.dumps(SIZES)])
    return float(answer["pieces_per_second"])


def prepare(text: Path, folder: Path) -> Vocabulary:
    sentences = (sentence.lower() for document in documents([str(text)]) for sentence in document)
    settings = VocabularySettings(size=SIZES["vocabulary"])
    train_sentencepiece(sentences, settings, folder / "text.model")
    vocabulary = Vocabulary(folder / "text.model", lower_case=True)
    write_shards(documents([str(text)]), vocabulary, folder, 0.0)
    return vocabulary


def write_for_peer(chosen: list[Batch], path: Path) -> None:
    """Write each example as a row, padded to the longest; labels are -100 where nothing is predicted."""
    rows = sum(len(batch.lengths) for batch in chosen)
    longest = max(batch.ids.shape[1] for batch in chosen)
    arrays = {name: np.zeros((rows, longest), dtype=np.int32) for name in ("ids", "segments")}
    labels = np.full((rows, longest), -100, dtype=np.int32)
    start = 0
    for batch in chosen:
        end, width = start + len(batch.lengths), batch.ids.shape[1]
        arrays["ids"][start:end, :width] = batch.ids
        arrays["segments"][start:end, :width] = batch.segments
        targets = np.full(batch.ids.size, -100, dtype=np.int32)
        targets[batch.positions] = batch.targets
        labels[start:end, :width] = targets.reshape(batch.ids.shape)
        start = end
    lengths = np.concatenate([batch.lengths for batch in chosen])
    random_next = np.concatenate([batch.random_next for batch in chosen])
    np.savez(path, **arrays, labels=labels, lengths=lengths, random_next=random_next)


def jabert_rate(
    chosen: list[Batch], vocabulary: Vocabulary, settings: PretrainingSettings, precision: str
) -> float:
    config = BertConfig(
        vocabulary.size,
        SIZES["hidden"],
        SIZES["layers"],
        SIZES["heads"],
        SIZES["intermediate"],
        SIZES["positions"],
    )
    weights = initial_weights(config, 0)
    model = PretrainingModel(weights, config, dropout=settings.dropout, precision=precision)
    learner = Learner(model, settings)
    for batch in chosen[:WARM_UP]:
        learner.learn(batch)
    started = time.perf_counter()
    for batch in chosen:
        learner.learn(batch)
    seconds = time.perf_counter() - started
    return round(sum(int(batch.lengths.sum()) for batch in chosen) / seconds, 1)


def memory(text: Path, folder: Path) -> dict[str, int]:
    """Peak resident memory of `jabert pretrain`, MB, on the text and on ten copies of it."""
    peaks = {}
    for times in (1, 10):
        corpus = folder / f"corpus-{times}"
        corpus.mkdir()
        for copy in range(times):
            (corpus / f"{copy}.txt").symlink_to(text.resolve())
        peaks[f"{times} x {text.stat().st_size / 1e6:.1f} MB"] = peak_of(corpus, folder / f"run-{times}")
    return peaks


def peak_of(corpus: Path, folder: Path) -> int:
    folder.mkdir()
    settings = {
        "corpus.paths": corpus,
        "vocabulary.size": SIZES["vocabulary"],
        "vocabulary.sample_sentences": 10_000,
        "pretraining.steps": 20,
        "pretraining.warmup_steps": 2,
        "pretraining.report_steps": 10,
    }
    words = [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]
    with chdir(folder):
        peak: int = run_program(OWN, "pretrain.py", words)["peak_bytes"]
    return round(peak / 1e6)


if __name__ == "__main__":
    main()
