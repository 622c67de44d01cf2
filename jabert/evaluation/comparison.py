"""Two models on the same rows: both reports, the gain and how sure it is, the texts that changed sides."""

import csv
import io
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from jabert.evaluation.report import EvaluationReport, evaluate, gain_interval
from jabert.markdown import table

__all__ = ["Comparison", "Flip", "compare"]

_SHOWN_FLIPS = 20


@dataclass(frozen=True)
class Flip:
    """A text that one model classifies rightly and the other does not; the labels are what each said."""

    text: str
    label: str
    champion: str
    challenger: str
    became: Literal["right", "wrong"]


@dataclass(frozen=True)
class Comparison:
    """Result of `compare`."""

    champion: EvaluationReport
    challenger: EvaluationReport
    gain_interval: tuple[float, float]
    """Ends of the 95 % interval of `gain`, by a paired bootstrap."""
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
        """The whole comparison in JSON's own types."""
        values: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return {"gain": self.gain, **values}

    def to_markdown(self) -> str:
        """The comparison as Markdown tables, texts escaped and shortened."""
        low, high = self.gain_interval
        became = {kind: [flip for flip in self.flips if flip.became == kind] for kind in ("right", "wrong")}
        both = (self.champion, self.challenger)
        overall = [
            ("weighted F1", *(report.weighted_f1 for report in both), self.gain),
            ("macro F1", *(report.macro_f1 for report in both), _difference(both, "macro_f1")),
            ("accuracy", *(report.accuracy for report in both), _difference(both, "accuracy")),
            ("log loss", *(report.log_loss for report in both), _difference(both, "log_loss")),
        ]
        classes = [
            (old.label, old.f1, new.f1, new.f1 - old.f1, old.support)
            for old, new in zip(self.champion.per_class, self.challenger.per_class, strict=True)
        ]
        parts = [
            "# Champion and challenger",
            f"On the same {self.champion.rows:,} rows. The gain's 95 % interval, resampling "
            f"{self.champion.resampled}: {low:+.3f} to {high:+.3f}. {len(became['right']):,} texts became "
            f"right, {len(became['wrong']):,} wrong.",
            table(["", "champion", "challenger", "gain"], overall),
            "## Classes",
            table(["F1 of", "champion", "challenger", "gain", "rows"], classes),
        ]
        for name, report in (("champion", self.champion), ("challenger", self.challenger)):
            counts = [(label, *row) for label, row in zip(report.labels, report.confusion, strict=True)]
            parts += [
                f"## Confusion matrix of the {name}",
                table(["true ＼ predicted", *report.labels], counts),
            ]
        for kind, flips in became.items():
            if flips:
                lines = [(flip.text, flip.label, flip.champion, flip.challenger) for flip in flips]
                parts += [
                    f"## Became {kind}: {len(flips):,}",
                    table(["text", "label", "champion", "challenger"], lines[:_SHOWN_FLIPS]),
                ]
        return "\n\n".join(parts) + "\n"

    def flips_csv(self) -> str:
        """All flips as CSV, texts whole."""
        file = io.StringIO()
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["text", "label", "champion", "challenger", "became"])
        writer.writerows([vars(flip).values() for flip in self.flips])
        return file.getvalue()


def compare(
    rows: pd.DataFrame, champion: pd.DataFrame, challenger: pd.DataFrame, *, seed: int = 0
) -> Comparison:
    """Hold the probabilities of two models against the same labels.

    Args:
        rows: as for `evaluate`.
        champion, challenger: probabilities, a row a text in the order of `rows` and a column a label; the
            labels of the two may differ, one that a model does not know has its probability 0.
        seed: of the bootstrap.
    """
    labels = sorted({*rows["label"], *champion.columns, *challenger.columns})
    before, after = (of.reindex(columns=labels, fill_value=0.0).to_numpy() for of in (champion, challenger))
    old, new = (evaluate(rows, of, labels, seed=seed) for of in (before, after))
    interval = gain_interval(rows, labels, before, after, seed=seed)
    return Comparison(old, new, interval, _flips(rows, np.array(labels), before, after))


def _flips(rows: pd.DataFrame, labels: np.ndarray, before: np.ndarray, after: np.ndarray) -> tuple[Flip, ...]:
    old, new = (labels[of.argmax(axis=1)] for of in (before, after))
    true = rows["label"].to_numpy()
    return tuple(
        Flip(
            text=str(rows["text"].iloc[at]),
            label=str(true[at]),
            champion=str(old[at]),
            challenger=str(new[at]),
            became="right" if new[at] == true[at] else "wrong",
        )
        for at in np.flatnonzero((old == true) != (new == true))
    )


def _difference(reports: tuple[EvaluationReport, EvaluationReport], name: str) -> float:
    values: list[Mapping[str, float]] = [vars(report) for report in reports]
    return values[1][name] - values[0][name]
