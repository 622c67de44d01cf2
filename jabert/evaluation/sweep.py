"""What a sweep tried, what it chose, and how good that is on rows that chose nothing."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import pandas as pd

from jabert.evaluation.intervals import bootstrap_interval, resampling_units
from jabert.evaluation.metrics import Indices, class_counts, weighted_f1_of_counts

State = Literal["complete", "pruned", "failed"]
Scale = Literal["linear", "log", "choose"]


@dataclass(frozen=True)
class Tried:
    """One choice of settings.

    Attributes:
        number: of the trial, from 0.
        state: `complete`, `pruned`, or `failed`.
        values: of the settings that were chosen, by dotted name.
        weighted_f1: on the rows that choose; None if it was not completed.
        run_id: of its run in MLflow, None if it did not come to one.
        error: a sentence, of a trial that failed.
    """

    number: int
    state: State
    values: Mapping[str, Any]
    weighted_f1: float | None = None
    run_id: str | None = None
    error: str | None = None


@dataclass(frozen=True)
class OnTestRows:
    """The recipe of the best trial on the test rows, which are looked at once.

    Attributes:
        rows: test rows.
        weighted_f1, macro_f1, accuracy: on them.
        interval: ends of the 95 % interval of the weighted F1, by drawing groups, or rows.
    """

    rows: int
    weighted_f1: float
    macro_f1: float
    accuracy: float
    interval: tuple[float, float]


@dataclass(frozen=True)
class Sweep:
    """All trials, the best of them, and its honest figure.

    Attributes:
        trials: by their numbers.
        scales: of the settings to choose, by dotted name: how their values are spread.
        importance: share of each setting in what made trials good, the greatest first; empty where too few
            trials tell.
        protocol: a sentence on the rows that chose.
        tested: None without test rows.
    """

    trials: tuple[Tried, ...]
    scales: Mapping[str, Scale]
    importance: Mapping[str, float]
    protocol: str
    tested: OnTestRows | None

    @property
    def complete(self) -> list[Tried]:
        """The trials with a figure."""
        return [trial for trial in self.trials if trial.weighted_f1 is not None]

    @property
    def best(self) -> Tried:
        """The first of the best trials."""
        return max(self.complete, key=lambda trial: trial.weighted_f1 or 0.0)

    @property
    def verdict(self) -> str:
        """One sentence: the flattering figure, and the honest one."""
        best, tested = self.best, self.tested
        said = (
            f"trial {best.number} is the best of {len(self.trials)}: weighted F1 {best.weighted_f1:.3f} on "
            "the rows that chose it, which flatters it"
        )
        if tested is None:
            return f"{said}; there are no test rows that would say how good it is"
        low, high = tested.interval
        return (
            f"{said}; {tested.weighted_f1:.3f} ({low:.3f} to {high:.3f}) on {tested.rows:,} test rows, which "
            "chose nothing"
        )

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        best = self.best
        return {
            "verdict": self.verdict,
            "protocol": self.protocol,
            "best": {"number": best.number, "weighted_f1": best.weighted_f1, "values": dict(best.values)},
            "test": asdict(self.tested) | {"interval": list(self.tested.interval)} if self.tested else None,
            "importance": dict(self.importance),
            "trials": [{**asdict(trial), "values": dict(trial.values)} for trial in self.trials],
        }


def interval_of(rows: pd.DataFrame, true: Indices, predicted: Indices, classes: int) -> tuple[float, float]:
    """Ends of the 95 % interval of the weighted F1, as a report has it.

    Args:
        rows: with the column `group` if there are groups.
        true, predicted: class indices, `(rows,)`.
        classes: number of classes.
    """
    counts = class_counts(true, predicted, classes, resampling_units(rows)[0])
    return bootstrap_interval(counts, weighted_f1_of_counts, seed=0, resamples=1000)
