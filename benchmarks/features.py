"""Featurization of a whole corpus: cold, unchanged, 1 % changed; its memory; and file formats for the store.

    python benchmarks/features.py DATA ENCODER [--runs 3] [--copies 1 10 100] [--out FOLDER]

Every featurization is a process of its own. `seconds` and `setup_seconds` are those that jabert reports: from
token ids in memory to the last row on disk, and loading the encoder. Memory is measured on each number of
`--copies` of the corpus (100 copies of KNBC take 7 minutes and 6 GB of disk). The formats other than jabert's
Arrow IPC need `make peers`. Prints three tables and writes `features.json`.
"""

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from machine import machine
from programs.protocol import read_texts
from workers import OWN, PEERS, RESULTS, WorkerError, run_program, say

from jabert import markdown
from jabert.config import load_settings
from jabert.encoder import open_folder
from jabert.features import open_store
from jabert.files import write_json

FORMATS = {
    "store": "jabert's store: that with keys, token ids, checksums",
    "arrow": "Arrow IPC stream",
    "parquet": "Parquet",
    "lance": "Lance",
    "hdf5": "HDF5",
    "lmdb": "LMDB",
    "memmap": "NumPy memmap",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("encoder")
    parser.add_argument("--runs", type=int, default=3, help="number of runs; the median counts")
    parser.add_argument("--copies", type=int, nargs="+", default=[1, 10, 100])
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the results")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = {"machine": machine(), **measure(Path(folder), options)}
    write_json(options.out / "features.json", result)
    print("\n\n".join(tables(result)))


def measure(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    run_program(OWN, "prepare.py", [options.data, options.encoder, folder, "--texts", sys.maxsize])
    texts = read_texts(folder / "texts.npz")
    corpus = Corpus(folder, changed=round(len(texts) / 100))
    states = [corpus.states(number) for number in range(options.runs)]
    return {
        "states": {name: summary([found[name] for found in states]) for name in states[0]},
        "memory": [corpus.copied(copies) for copies in options.copies],
        "formats": formats(folder, options.runs),
    }


class Corpus:
    """Featurizations of one corpus, into stores under one folder."""

    def __init__(self, folder: Path, changed: int) -> None:
        self._folder = folder
        self._changed = changed

    def states(self, number: int) -> dict[str, dict[str, Any]]:
        """Featurize into an empty store, then the same again, then with 1 % of the rows changed."""
        store = self._folder / f"store-{number}"
        changed = ["--changed", self._changed, "--round", number]
        return {
            "cold": self._featurize(store),
            "unchanged": self._featurize(store),
            "1 % changed": self._featurize(store, *changed),
        }

    def copied(self, copies: int) -> dict[str, Any]:
        """Featurize several copies of the corpus into an empty store."""
        with tempfile.TemporaryDirectory(dir=self._folder) as store:
            return {"copies": copies, **self._featurize(Path(store) / "store", "--copies", copies)}

    def _featurize(self, store: Path, *arguments: Any) -> dict[str, Any]:
        say(f"featurize {' '.join(map(str, arguments))}")
        inputs = [self._folder / "texts.npz", self._folder / "encoder", store]
        started = time.perf_counter()
        answer = run_program(OWN, "featurize.py", [*inputs, *arguments])
        return {**answer, "process_seconds": time.perf_counter() - started}


def summary(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Medians of times and memory over the runs, the rate, and the counts, which are the same in all runs."""
    medians = {
        name: statistics.median(run[name] for run in runs)
        for name in ("seconds", "setup_seconds", "process_seconds", "peak_bytes")
    }
    rate = round(runs[0]["tokens"] / medians["seconds"], 1)
    return {**runs[0], **medians, "tokens_per_second": rate, "runs": [run["seconds"] for run in runs]}


def formats(folder: Path, runs: int) -> list[dict[str, Any]]:
    """Write and read the vectors of the corpus in each format."""
    vectors = folder / "vectors.npz"
    write_vectors(folder, vectors)
    rows = []
    for name, label in FORMATS.items():
        say(label)
        python = OWN if name == "store" else PEERS
        try:
            found = [run_program(python, "formats.py", [name, vectors, folder / name]) for _ in range(runs)]
        except WorkerError as reason:
            rows.append({"format": label, "error": str(reason)})
        else:
            rows.append(
                {"format": label, **{key: statistics.median(run[key] for run in found) for key in found[0]}}
            )
    return rows


def write_vectors(folder: Path, path: Path) -> None:
    """Write all rows of the first store to an npz file."""
    paths = {"encoder.path": folder / "encoder", "features.path": folder / "store-0"}
    settings = load_settings(None, [f"{name}={value}" for name, value in paths.items()])
    store = open_store(open_folder(settings.encoder.path), settings)
    rows = [store.vectors(index) for index in range(len(store))]
    np.savez(path, vectors=np.concatenate(rows), lengths=[len(row) for row in rows])


def tables(result: dict[str, Any]) -> list[str]:
    """The docs' tables."""
    cold = result["states"]["cold"]["seconds"]
    states = [
        (
            name,
            f"{run['computed']:,} of {run['texts']:,}",
            f"{run['seconds']:.3f}",
            f"{run['seconds'] / cold:.2%}",
            f"{run['setup_seconds']:.2f}",
            f"{run['process_seconds']:.1f}",
        )
        for name, run in result["states"].items()
    ]
    memory = [
        (
            f"{run['copies']} ×",
            f"{run['computed']:,}",
            f"{run['seconds']:.1f}",
            f"{run['peak_bytes'] / 1e6:,.0f}",
        )
        for run in result["memory"]
    ]
    headings = ["rows", "computed", "seconds", "of cold", "setup_seconds", "process, s"]
    return [
        markdown.table(headings, states),
        markdown.table(["corpus", "computed", "seconds", "peak MB"], memory),
        markdown.table(
            ["format", "write MB/s", "read, µs a row", "on disk, of the vectors"],
            map(cells, result["formats"]),
        ),
    ]


def cells(row: dict[str, Any]) -> list[str | None]:
    if "error" in row:
        return [row["format"], row["error"], None, None]
    return [
        row["format"],
        f"{row['write_mb_per_second']:,.0f}",
        f"{row['read_microseconds']:.1f}",
        f"{row['disk_bytes'] / row['vector_bytes']:.3f}",
    ]


if __name__ == "__main__":
    main()
