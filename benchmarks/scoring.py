"""`jabert score` on a long table: its rate beside that of the model alone, and its memory.

    python benchmarks/scoring.py DATA [--rows 10000 100000] [--set GROUP.KEY=VALUE …] [--out FOLDER]

`DATA` is the KNB corpus; its texts are repeated, each with a number appended, so that all are distinct and
none is in the feature store. The champion of the settings (`tracking.uri`) scores tables of `--rows` rows.
The raw rate, encoder and classifier on token ids in memory, is measured on the longest table. Each
measurement is a process of its own. Prints a table and writes `scoring.json`.
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any

import pandas as pd
from machine import machine
from workers import OWN, RESULTS, run_program, say

from jabert import markdown
from jabert.config import load_settings
from jabert.dataset import read_rows
from jabert.files import write_json


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--set", action="append", default=[], dest="overrides")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the results")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = {"machine": machine(), **measure(Path(folder), options)}
    write_json(options.out / "scoring.json", result)
    print(table(result))


def measure(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    texts = read_rows(load_settings("knbc", [f"data.path={options.data}"]).data)["text"].tolist()
    settings = [word for override in options.overrides for word in ("--set", override)]
    settings += ["--set", f"training.work_path={folder / 'work'}"]
    scored = []
    for rows in sorted(options.rows):
        path = folder / f"{rows}.csv"
        different = [f"{texts[number % len(texts)]}{number}" for number in range(rows)]
        pd.DataFrame({"id": range(rows), "text": different}).to_csv(path, index=False)
        say(f"score {rows:,} rows")
        scored.append(run_program(OWN, "score.py", [path, folder / f"{rows}-scored.csv", *settings]))
    say("the model alone")
    return {"raw": run_program(OWN, "classify.py", [path, *settings]), "scored": scored}


def table(result: dict[str, Any]) -> str:
    """The docs' table."""
    raw = result["raw"]["rows_per_second"]
    rows = [
        (f"{run['rows']:,}", f"{run['seconds']:.1f}", f"{run['rows_per_second']:,.0f}",
         f"{run['rows_per_second'] / raw:.0%}", f"{run['peak_bytes'] / 1e6:,.0f}")
        for run in result["scored"]
    ]  # fmt: skip
    alone = result["raw"]
    rows.append((f"{alone['rows']:,}, the model alone", f"{alone['seconds']:.1f}", f"{raw:,.0f}", "100%", ""))
    return markdown.table(["rows", "seconds", "rows/s", "of the raw rate", "peak MB"], rows)


if __name__ == "__main__":
    main()
