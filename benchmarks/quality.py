"""Weighted F1 of methods on the test rows of a corpus, over splits and seeds.

    python benchmarks/quality.py DATA ENCODER [--methods tfidf stack …] [--splits group sentence]
        [--seeds 0 1 2 3 4] [--context 0 2 5] [--recipe knbc] [--set GROUP.KEY=VALUE]… [--out FOLDER]

`DATA` is the corpus, `ENCODER` an encoder folder. A method is a kind or a recipe; of a recipe only `[method]`
and `[training]` count, and `recipe` stands for what `--recipe` itself has. Seeds are those of the split; the
training seed is 0. Prints a table and writes `quality.json`.
"""

import argparse
import statistics
import sys
import tempfile
import time
from itertools import product
from pathlib import Path
from typing import Any

from workers import RESULTS

from jabert import markdown
from jabert.config import Settings, load_settings, with_method_of
from jabert.experiments import steps
from jabert.experiments.packaging import build_package
from jabert.files import write_json
from jabert.methods import method_of

METHODS = ["majority", "tfidf", "mean-pooling", "stack", "recipe"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("encoder", type=Path)
    parser.add_argument("--methods", nargs="+", default=METHODS)
    parser.add_argument("--splits", nargs="+", default=["group", "sentence"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--context", type=int, nargs="+", default=[0])
    parser.add_argument("--recipe", default="knbc")
    parser.add_argument("--set", action="append", default=[], dest="overrides")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the results")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:  # one for all: what methods share is computed once
        runs = product(given.splits, given.seeds, given.context, given.methods)
        rows = [
            run(dict(zip(("split", "seed", "context", "method"), each, strict=True)), given, work)
            for each in runs
        ]
    write_json(given.out / "quality.json", rows)
    show(rows)


def run(asked: dict[str, Any], given: argparse.Namespace, work: str) -> dict[str, Any]:
    """Fit a method on one split, and classify its test rows with the package."""
    settings = settings_for(asked, given, work)
    started = time.perf_counter()
    method, data, tokens = method_of(settings), steps.read(settings), None
    if method.needs_tokens:
        tokens = steps.tokenize(settings, data)
    if tokens and "vectors" in method.needs:
        steps.featurize(settings, tokens)
    fit = steps.fit(settings, data, tokens, "test", on_epoch=lambda _: None)
    seconds = time.perf_counter() - started
    calibration = steps.calibrate(settings, data, tokens, fit)

    def package() -> Path:
        return build_package(fit.job, Path(work) / "package", calibration)

    report = steps.evaluate(
        settings, data, tokens, fit, "test", package=package, calibration=calibration
    ).report
    measured = {"weighted_f1": report.weighted_f1, "ece": report.ece, "test_rows": report.rows}
    print({**asked, **measured, "fit": fit.fitted.metrics}, file=sys.stderr)
    return {**asked, **measured, "seconds": seconds}


def settings_for(asked: dict[str, Any], given: argparse.Namespace, work: str) -> Settings:
    """The recipe's data settings, with another method."""
    chosen = {
        "data.path": given.data,
        "encoder.path": given.encoder,
        "training.seed": 0,
        "training.work_path": f"{work}/work",
        "features.path": f"{work}/features",
        **{f"data.{name}": asked[name] for name in ("split", "seed", "context")},
    }
    overrides = [f"{name}={value}" for name, value in chosen.items()]
    settings = load_settings(given.recipe, [*overrides, *given.overrides])
    return settings if asked["method"] == "recipe" else with_method_of(settings, asked["method"])


def show(rows: list[dict[str, Any]]) -> None:
    """Print a row for each method, and a column for each split."""
    by_cell: dict[tuple[str, int], dict[str, list[dict[str, Any]]]] = {}
    for row in rows:
        by_cell.setdefault((row["method"], row["context"]), {}).setdefault(row["split"], []).append(row)
    splits = list(dict.fromkeys(row["split"] for row in rows))
    lines = [
        (method, context, *(_mean([row["weighted_f1"] for row in cells[split]]) for split in splits))
        for (method, context), cells in by_cell.items()
    ]
    print(markdown.table(["method", "context", *(f"by {split}" for split in splits)], lines))


def _mean(values: list[float]) -> str:
    """The mean with the ends of its 95 % interval by Student's t, and the values."""
    from scipy.stats import t

    mean, shown = statistics.mean(values), " ".join(f"{value:.3f}" for value in values)
    if len(values) < 2:
        return f"{mean:.3f}"
    half = t.ppf(0.975, len(values) - 1) * statistics.stdev(values) / len(values) ** 0.5
    return f"{mean:.3f}, {mean - half:.3f} to {mean + half:.3f} ({shown})"


if __name__ == "__main__":
    main()
