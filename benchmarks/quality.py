"""Weighted F1 on KNBC: recipes `seed` and `knbc` over seeds, compared with character TF-IDF.

    python benchmarks/quality.py DATA ENCODER [--seeds 0 1 2] [--set GROUP.KEY=VALUE]... [--out FOLDER]

`DATA` is the KNB corpus, `ENCODER` an encoder folder. Prints a table and writes `quality.json`.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import pandas as pd
from workers import RESULTS

from jabert import markdown
from jabert.config import Settings, load_settings
from jabert.experiments import steps
from jabert.experiments.packaging import build_package
from jabert.experiments.steps import Data, Tokens
from jabert.files import write_json
from jabert.methods import Epoch

PROTOCOLS = {
    "seed: sentence split, tag kept, test chooses the epoch": ("seed", []),
    "knbc: article split": ("knbc", []),
    "knbc: sentence split": ("knbc", ["data.split=sentence"]),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("encoder", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--set", action="append", default=[], dest="overrides")
    parser.add_argument("--only", default="", help="only protocols whose name starts with this")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the results")
    arguments = parser.parse_args()
    rows = [
        {"protocol": name, "seed": seed, **run(recipe, extra, seed, arguments)}
        for name, (recipe, extra) in PROTOCOLS.items()
        if name.startswith(arguments.only)
        for seed in arguments.seeds
    ]
    write_json(arguments.out / "quality.json", rows)
    show(pd.DataFrame(rows))


def run(recipe: str, extra: list[str], seed: int, arguments: argparse.Namespace) -> dict[str, float]:
    """Train one protocol with one seed; all files but the token vectors are in a temporary folder."""
    with tempfile.TemporaryDirectory() as folder:
        paths = {"data.path": arguments.data, "encoder.path": arguments.encoder, "training.work_path": folder}
        seeds = {"data.seed": seed, "training.seed": seed}
        pairs = [f"{name}={value}" for name, value in {**paths, **seeds}.items()]
        settings = load_settings(recipe, [*pairs, *extra, *arguments.overrides])
        data = steps.read(settings)
        tokens = steps.tokenize(settings, data)
        steps.featurize(settings, tokens)
        result = {"jabert": bi_lstm(settings, data, tokens), "tf_idf": tf_idf(data.table)}
    print(recipe, *extra, f"seed {seed}", result, file=sys.stderr)
    return {**result, "test_rows": data.counts["test"]}


def bi_lstm(settings: Settings, data: Data, tokens: Tokens) -> float:
    """Weighted F1 of the recipe's own classifier on the test rows, from its package."""

    def package() -> Path:
        target = Path(settings.training.work_path) / "package"
        return build_package(fit.job, target)

    def tell(epoch: Epoch) -> None:
        print(f"  epoch {epoch['epoch']}", file=sys.stderr)

    fit = steps.fit(settings, data, tokens, "test", on_epoch=tell)
    return steps.evaluate(settings, data, tokens, fit, "test", package=package).report.weighted_f1


def tf_idf(table: pd.DataFrame) -> float:
    """Weighted F1 of logistic regression on TF-IDF of 1 to 4 characters, trained on all other rows."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import f1_score
    from sklearn.pipeline import make_pipeline

    rest, test = table[table["split"] != "test"], table[table["split"] == "test"]
    vectors = TfidfVectorizer(analyzer="char", ngram_range=(1, 4), sublinear_tf=True)
    model = make_pipeline(vectors, LogisticRegression(C=10, max_iter=1000))
    model.fit(rest["text"], rest["label"])
    return float(f1_score(test["label"], model.predict(test["text"]), average="weighted"))


def show(rows: pd.DataFrame) -> None:
    """Print the README's table."""
    lines = []
    for protocol, part in rows.groupby("protocol", sort=False):
        ours, theirs = part["jabert"], part["tf_idf"]
        lines.append(
            (protocol, _mean(ours), _mean(theirs), f"{100 * (ours.mean() - theirs.mean()):+.1f} points")
        )
    seeds = rows["seed"].nunique()
    headings = ["protocol", f"jabert, {seeds} seeds", "TF-IDF + logistic regression", "difference"]
    print(markdown.table(headings, lines))


def _mean(values: "pd.Series[float]") -> str:
    return f"{values.mean():.3f} ({', '.join(f'{value:.3f}' for value in values)})"


if __name__ == "__main__":
    main()
