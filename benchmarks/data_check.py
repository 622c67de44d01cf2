"""How many of the labels that were flipped at random `jabert data check` finds.

    python benchmarks/data_check.py DATA ENCODER [--share 0.05] [--seeds 0 1 2] [--no-groups] [--out FOLDER]

`DATA` is a corpus, e.g. `sample`, `ENCODER` an encoder folder. A share of its labels is flipped to another
one at random. Prints precision and recall among the first doubted rows, as many as were flipped, and among
the first 100, beside what chance would find, and writes `data_check.json`.
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from workers import RESULTS, say

from jabert import markdown
from jabert.config import load_settings
from jabert.dataset import read_corpus
from jabert.experiments.data_check import check
from jabert.files import write_json


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("encoder")
    parser.add_argument("--share", type=float, default=0.05)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--no-groups", action="store_true", help="leave the groups out of the data")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the results")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        rows = [measure(given, seed, Path(work)) for seed in given.seeds]
    write_json(given.out / "data_check.json", {**vars(given), "out": None, "runs": rows})
    columns = list(rows[0])
    print(markdown.table(columns, [[row[name] for name in columns] for row in rows]))


def measure(given: argparse.Namespace, seed: int, work: Path) -> dict[str, Any]:
    """Flip labels, check, and count."""
    own = load_settings(None, [f"data.path={given.data}", "data.drop_duplicates=false"])
    table = read_corpus(own.data).table
    columns = [name for name in ("text", "label", "group") if name in table]
    table = table[columns[: 2 if given.no_groups else 3]].copy()
    random, labels = np.random.default_rng(seed), sorted(table["label"].unique())
    flipped = random.choice(len(table), round(given.share * len(table)), replace=False)
    for row in flipped.tolist():
        others = [label for label in labels if label != table["label"].iloc[row]]
        table.iloc[row, table.columns.get_loc("label")] = random.choice(others)
    path = work / f"flipped-{seed}.csv"
    table.to_csv(path, index=False)
    wanted = {
        "data.path": path,
        "encoder.path": given.encoder,
        "training.work_path": work / "work",
        "features.path": work / "features",
    }
    found = check(load_settings(None, [f"{name}={value}" for name, value in wanted.items()])).to_dict()
    say(f"{len(found['suspects'])} of {found['rows']} rows are doubted, {len(found['duplicates'])} copies")
    wrong = {row + 2 for row in flipped.tolist()}  # as lines
    hits = np.array([suspect["line"] in wrong for suspect in found["suspects"]])
    count = len(flipped)
    return {
        "seed": seed,
        "rows": found["rows"],
        "flipped": count,
        "doubted": len(hits),
        "precision at as many": float(hits[:count].sum() / count),
        "precision of the first 100": float(hits[:100].sum() / 100),
        "recall of the first 100": float(hits[:100].sum() / count),
        "recall of all doubted": float(hits.sum() / count),
        "chance": given.share,
        "seconds": found["seconds"],
    }


if __name__ == "__main__":
    main()
