"""What labels of the texts that `jabert data check --to-label` names bring, beside those of texts at random.

    python benchmarks/labelling.py DATA ENCODER [--format knbc] [--seeds 8] [--out FOLDER]

Each seed draws a quarter of the groups (rows, where there are none) as test rows, and labels an eighth of the
rest. As many more are labelled as the check names, or as chance does. Prints weighted F1 of `mean-pooling`
before, after both, and with all labels, and writes `labelling.json`.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import numpy.typing as npt
from workers import RESULTS

from jabert import markdown
from jabert.config import Settings, load_settings
from jabert.evaluation import weighted_f1
from jabert.evaluation.labels import most_teaching
from jabert.evaluation.likeness import standardized
from jabert.experiments import steps
from jabert.experiments.folds import with_columns
from jabert.files import write_json
from jabert.methods import Job, encoder_of, method_of
from jabert.training.rows import Rows

_Numbers = npt.NDArray[np.int64]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("encoder")
    parser.add_argument("--format", default="auto")
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the results")
    given = parser.parse_args()
    own = [f"data.path={given.data}", f"encoder.path={given.encoder}", f"data.format={given.format}"]
    settings = load_settings(None, [*own, "data.drop_duplicates=false", "method.kind=mean-pooling"])
    data = steps.read(settings)
    data = with_columns(settings, data, split=["train"] * len(data.table))
    tokens = steps.tokenize(settings, data)
    steps.featurize(settings, tokens)
    rows = steps.rows_of(settings, data, tokens, ["train"])
    rows = Rows(rows.texts, rows.classes, [], rows.ids, rows.vectors)
    groups = data.table["group"].to_numpy() if "group" in data.table else np.arange(len(rows))
    runs = [measure(settings, data.labels, rows, groups, seed) for seed in range(given.seeds)]
    write_json(given.out / "labelling.json", {**vars(given), "out": None, "runs": runs})
    print(markdown.table(list(runs[0]), [list(run.values()) for run in runs]))
    gains = np.array([run["named"] - run["random"] for run in runs])
    error = gains.std(ddof=1) / len(gains) ** 0.5
    print(f"named less random: {gains.mean():+.4f}, standard error {error:.4f}")


def measure(
    settings: Settings, labels: list[str], rows: Rows, groups: npt.NDArray[np.generic], seed: int
) -> dict[str, float]:
    """Weighted F1 on the test rows of a seed, by what was labelled."""
    random, names = np.random.default_rng(seed), np.unique(groups)
    is_test = np.isin(groups, random.permutation(names)[: len(names) // 4])
    test, rest = np.flatnonzero(is_test), np.flatnonzero(~is_test)
    start = random.permutation(rest)[: len(rest) // 8]
    pool = np.setdiff1d(rest, start)

    def predicted(learned: _Numbers, asked: _Numbers) -> npt.NDArray[np.float64]:
        method = method_of(settings)
        with tempfile.TemporaryDirectory() as scratch:
            job = Job(settings, labels, encoder_of(settings), Path(scratch))
            method.fit(job, rows.take(np.sort(learned)), rows.take(np.arange(0)), lambda _: None)
            return method.predict(job, rows.take(asked))

    def score(learned: _Numbers) -> float:
        return weighted_f1(rows.classes[test], predicted(learned, test).argmax(axis=1), len(labels))

    vectors = standardized(rows.stored_vectors().means[pool])
    named = pool[most_teaching(predicted(start, pool), vectors, len(start))]
    chance = random.permutation(pool)[: len(start)]
    return {
        "labelled": len(start),
        "before": score(start),
        "named": score(np.concatenate([start, named])),
        "random": score(np.concatenate([start, chance])),
        "all": score(rest),
    }


if __name__ == "__main__":
    main()
