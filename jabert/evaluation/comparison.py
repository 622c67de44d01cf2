"""Two models on the same rows: both reports, the gain and its interval, the texts classified differently."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from jabert.evaluation.intervals import bootstrap_interval, resampling_units
from jabert.evaluation.metrics import Probabilities, class_counts, weighted_f1_of_counts
from jabert.evaluation.report import EvaluationReport, class_indices, evaluate, predictions


@dataclass(frozen=True)
class Flip:
    """A text that only one of two models classifies correctly.

    Attributes:
        text: the text.
        label: its true label.
        champion, challenger: the label that each model predicted.
        became: whether the challenger's label is right or wrong.
    """

    text: str
    label: str
    champion: str
    challenger: str
    became: Literal["right", "wrong"]


@dataclass(frozen=True)
class Comparison:
    """Result of `compare`.

    Attributes:
        champion, challenger: the report on each model.
        gain_interval: ends of the 95 % interval of `gain`, by a paired bootstrap.
        flips: the texts that only one of the models classifies correctly, in the order of the rows.
    """

    champion: EvaluationReport
    challenger: EvaluationReport
    gain_interval: tuple[float, float]
    flips: tuple[Flip, ...]

    @property
    def gain(self) -> float:
        """Weighted F1 of the challenger less that of the champion."""
        return self.challenger.weighted_f1 - self.champion.weighted_f1

    @property
    def is_significant(self) -> bool:
        """Whether the whole interval lies above 0; never when the bootstrap had a single unit to draw."""
        return self.gain_interval[0] > 0 and self.champion.units > 1

    def to_dict(self) -> dict[str, Any]:
        """The whole comparison as JSON values."""
        values: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return {"gain": self.gain, **values}

    def flips_csv(self) -> str:
        """All flips as CSV, with whole texts."""
        flips = pd.DataFrame([vars(flip) for flip in self.flips], columns=list(Flip.__annotations__))
        return flips.to_csv(index=False, lineterminator="\n")


def compare(
    rows: pd.DataFrame, champion: pd.DataFrame, challenger: pd.DataFrame, *, seed: int = 0
) -> Comparison:
    """Evaluate two models on the same rows.

    Args:
        rows: as for `evaluate`.
        champion, challenger: probabilities, one row for each text in the order of `rows` and one column for
            each label. The labels of the two may differ; a label that a model does not know has
            probability 0.
        seed: of the bootstrap.

    Raises:
        JabertError: as for `evaluate`.
    """
    labels = sorted({*rows["label"], *champion.columns, *challenger.columns})
    before, after = (
        table.reindex(columns=labels, fill_value=0.0).to_numpy() for table in (champion, challenger)
    )
    old, new = (predictions(rows, of, labels)["predicted"] for of in (before, after))
    answers = zip(map(str, rows["text"]), map(str, rows["label"]), old, new, strict=True)
    return Comparison(
        champion=evaluate(rows, before, labels, seed=seed),
        challenger=evaluate(rows, after, labels, seed=seed),
        gain_interval=gain_interval(rows, labels, before, after, seed=seed),
        flips=tuple(
            Flip(text, label, a, b, became="right" if b == label else "wrong")
            for text, label, a, b in answers
            if (a == label) != (b == label)
        ),
    )


def gain_interval(
    rows: pd.DataFrame,
    labels: Sequence[str],
    before: Probabilities,
    after: Probabilities,
    *,
    seed: int = 0,
    resamples: int = 1000,
) -> tuple[float, float]:
    """Ends of the 95 % interval of the gain in weighted F1 from one model to another on the same rows.

    The bootstrap is paired: both models are measured on each sample of the rows, so that what makes a sample
    hard for both does not widen the interval.

    Args:
        rows, labels, seed, resamples: as for `evaluate`.
        before, after: probabilities of the two models, `(rows, classes)`, columns in the order of `labels`.

    Raises:
        JabertError: there are no rows, or a label is not among `labels`.
    """
    true, (units, _) = class_indices(rows, labels), resampling_units(rows)
    both = [class_counts(true, of.argmax(axis=1), len(labels), units) for of in (before, after)]
    return gain_interval_of_counts(*both, seed=seed, resamples=resamples)


def gain_interval_of_counts(
    before: npt.NDArray[Any], after: npt.NDArray[Any], *, seed: int = 0, resamples: int = 1000
) -> tuple[float, float]:
    """The same from counts by `class_counts`, each (units, 3, classes), which may be expected ones."""

    def gain(counts: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        scores = weighted_f1_of_counts(counts)  # (resamples, 2)
        return scores[:, 1] - scores[:, 0]

    return bootstrap_interval(np.stack([before, after], axis=1), gain, seed=seed, resamples=resamples)
