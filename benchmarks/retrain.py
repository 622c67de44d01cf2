"""A cold retraining, this checkout against another one: ratios of seconds, the two taking turns.

    python benchmarks/retrain.py CORPUS ENCODER --against OTHER_CHECKOUT [--pairs 3] [--method bi-lstm tfidf]

Each run has an empty feature store, work folder and MLflow store. Prefect's temporary server is started by
each run and is not counted: the seconds are the sum of the run's stages. Without `--against` the methods of
this checkout are measured alone.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from machine import machine

from jabert import markdown

HERE = Path(__file__).resolve().parents[1]
PROGRAM = "from jabert.cli import main; main()"


def seconds_of(checkout: Path, corpus: str, encoder: str, method: str) -> tuple[float, float]:
    """Seconds of all stages of one cold run, and its weighted F1."""
    with tempfile.TemporaryDirectory() as folder:
        settings = [f"data.path={corpus}", f"encoder.path={encoder}"]
        if method != "bi-lstm":  # a checkout of before has no such setting
            settings.append(f"method.kind={method}")
        options = [word for setting in settings for word in ("--set", setting)]
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, "retrain", "--recipe", "knbc", "--json", *options],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(checkout)},
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        raise SystemExit(done.stderr)
    result = json.loads(done.stdout)
    return sum(result["stages"].values()), result["weighted_f1"]


def main() -> None:
    """Run and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("corpus")
    parser.add_argument("encoder")
    parser.add_argument("--against", type=Path, help="another checkout, e.g. a git worktree of an old commit")
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--method", nargs="+", default=["bi-lstm"])
    given = parser.parse_args()
    corpus, encoder = (str(Path(path).resolve()) for path in (given.corpus, given.encoder))
    contenders = [("this", HERE, method) for method in given.method]
    if given.against:
        contenders.insert(0, ("other", given.against.resolve(), "bi-lstm"))
    runs: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for turn in range(given.pairs):
        for name, checkout, method in contenders if turn % 2 else contenders[::-1]:
            runs.setdefault((name, method), []).append(seconds_of(checkout, corpus, encoder, method))
    first = runs[contenders[0][0], contenders[0][2]]
    rows = []
    for (name, method), found in runs.items():
        ratios = [seconds / before for (seconds, _), (before, _) in zip(found, first, strict=True)]
        seconds, ratio = (statistics.median(values) for values in ([each for each, _ in found], ratios))
        rows.append((name, method, f"{seconds:.1f}", f"{ratio:.2f}", f"{found[0][1]:.4f}"))
    print(markdown.table(["checkout", "method", "seconds, median", "ratio, median", "weighted F1"], rows))
    print(f"\n{given.pairs} turns; {machine()}")


if __name__ == "__main__":
    main()
