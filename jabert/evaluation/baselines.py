"""What a simple method makes of the same rows, beside a model."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd

from jabert.evaluation.comparison import gain_interval, gain_interval_of_counts
from jabert.evaluation.intervals import resampling_units
from jabert.evaluation.metrics import Probabilities, class_counts, weighted_f1, weighted_f1_of_counts
from jabert.evaluation.report import class_indices

_FIELDS = ("weighted_f1", "gain", "gain_low", "gain_high")


@dataclass(frozen=True)
class Baseline:
    """A simple method that learned from the same rows as a model, on the same test rows.

    Attributes:
        kind: of the method.
        weighted_f1: of it.
        gain: weighted F1 of the model less that.
        gain_low, gain_high: ends of the 95 % interval of the gain, by a paired bootstrap.
    """

    kind: str
    weighted_f1: float
    gain: float
    gain_low: float
    gain_high: float

    def to_dict(self) -> dict[str, float]:
        """The numbers by name."""
        return {name: value for name, value in asdict(self).items() if name in _FIELDS}


def measure_baseline(
    kind: str,
    rows: pd.DataFrame,
    labels: Sequence[str],
    baseline: Probabilities,
    model: Probabilities,
    *,
    seed: int = 0,
) -> Baseline:
    """Hold a model against a baseline, both by their probabilities; arguments as for `evaluate`."""
    true = class_indices(rows, labels)
    before, after = (weighted_f1(true, of.argmax(axis=1), len(labels)) for of in (baseline, model))
    low, high = gain_interval(rows, labels, baseline, model, seed=seed)
    return Baseline(kind, before, after - before, low, high)


def measure_chance(
    rows: pd.DataFrame,
    labels: Sequence[str],
    shares: Mapping[str, float],
    model: Probabilities,
    *,
    seed: int = 0,
) -> list[Baseline]:
    """Hold a model against what knows the shares of the classes and reads no text.

    Args:
        rows, labels, seed: as for `evaluate`.
        shares: of the classes among the training rows.
        model: probabilities (rows, classes), columns in the order of `labels`.

    Returns:
        Always the largest class; and guessing each class as often as its share, with the F1 of the counts
        that are to be expected.
    """
    true, (units, _) = class_indices(rows, labels), resampling_units(rows)
    share = np.array([shares.get(label, 0.0) for label in labels])
    own = class_counts(true, model.argmax(axis=1), len(labels), units)
    largest = class_counts(true, np.full_like(true, share.argmax()), len(labels), units)
    support = own[:, 1]
    guessed = np.stack([support * share, support, support.sum(axis=1, keepdims=True) * share], axis=1)
    first = f"always the largest class, {labels[int(share.argmax())]!r}"
    found = []
    for kind, counts in ((first, largest), ("guessing by the shares of the classes", guessed)):
        before, after = (float(weighted_f1_of_counts(of.sum(axis=0))) for of in (counts, own))
        found.append(Baseline(kind, before, after - before, *gain_interval_of_counts(counts, own, seed=seed)))
    return found


def baseline_metrics(baselines: Iterable[Baseline]) -> dict[str, float]:
    """The numbers under the names of MLflow metrics, e.g. `baseline/tfidf_weighted_f1`."""
    return {
        f"baseline/{each.kind}_{name}": value for each in baselines for name, value in each.to_dict().items()
    }


def baselines_of(metrics: Mapping[str, float], kinds: Iterable[str]) -> list[Baseline]:
    """The baselines that a run's metrics tell of; none of a run without them."""
    names = {kind: [f"baseline/{kind}_{name}" for name in _FIELDS] for kind in kinds}
    return [
        Baseline(kind, *(metrics[name] for name in of))
        for kind, of in names.items()
        if all(name in metrics for name in of)
    ]


def advice(baselines: Iterable[Baseline], model_f1: float) -> str | None:
    """What to try if the model is not better than `tfidf` beyond chance, a sentence; None if it is.

    Chance is what the paired bootstrap leaves: the interval of the gain holds 0, or lies below it.
    """
    for each in baselines:
        if each.kind == "tfidf" and not each.gain_low > 0:
            return (
                f"the model is not better than tfidf beyond chance (weighted F1 {model_f1:.4f} against "
                f"{each.weighted_f1:.4f}, 95 % interval of the gain {each.gain_low:+.4f} to "
                f"{each.gain_high:+.4f}): take method.kind=tfidf, which costs less, or try another method "
                "(`jabert methods`), a larger encoder or more labelled texts"
            )
    return None
