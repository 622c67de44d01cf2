"""One EvaluationReport: how well a classifier does on its test rows, and how sure that is.

Everything is counted from class indices with numpy; scikit-learn is loaded only for its own
classification report, so that training can use `weighted_f1` without it.
"""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from jabert.errors import JabertError
from jabert.markdown import table

__all__ = [
    "SHORT_TEXT",
    "ClassScore",
    "EvaluationReport",
    "Mistake",
    "SliceScore",
    "evaluate",
    "gain_interval",
    "predictions",
    "weighted_f1",
]

SHORT_TEXT = 10
"""Longest text of the slice `short`, in characters."""

_MISTAKES = 20
_SLICES = {
    "short": f"at most {SHORT_TEXT} characters",
    "unknown": "with unknown pieces",
    "truncated": "cut to the longest input",
}

_Ints = npt.NDArray[np.integer[Any]]
_Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class ClassScore:
    """One class; a ratio without anything to count is 0. `support` is its number of test rows."""

    label: str
    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True)
class SliceScore:
    """A part of the test rows, chosen by how hard its texts are."""

    rows: int
    accuracy: float
    weighted_f1: float


@dataclass(frozen=True)
class Mistake:
    """A wrongly classified text and the probability of the class that was predicted."""

    text: str
    label: str
    predicted: str
    probability: float
    group: str | None


@dataclass(frozen=True)
class EvaluationReport:
    """Result of `evaluate`. Classes stand in the order of the model's label encoder everywhere."""

    labels: tuple[str, ...]
    rows: int
    accuracy: float
    weighted_f1: float
    weighted_f1_interval: tuple[float, float]
    """Ends of the 95 % bootstrap interval."""
    resampled: str
    """What the bootstrap drew: "12 groups" or "419 rows"."""
    units: int
    """How many of these there are."""
    macro_f1: float
    log_loss: float
    """Mean negative natural logarithm of the true class's probability."""
    per_class: tuple[ClassScore, ...]
    confusion: tuple[tuple[int, ...], ...]
    """Test rows by true class (first index) and predicted class."""
    report_text: str
    """scikit-learn's classification report, three digits."""
    report_data: dict[str, Any]
    """The same as numbers."""
    slices: dict[str, SliceScore]
    """`short` (at most `SHORT_TEXT` characters), `unknown`, `truncated`; only those with rows."""
    mistakes: tuple[Mistake, ...]
    """The most confident ones, the surest first."""

    def to_dict(self) -> dict[str, Any]:
        """The whole report in JSON's own types."""
        report: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return report

    def metrics(self) -> dict[str, float]:
        """Numbers under names that MLflow accepts: ASCII, `/` between groups.

        A class has its label in the name where that is plain ASCII, else `class_` and its index.
        """
        low, high = self.weighted_f1_interval
        return {
            "test/accuracy": self.accuracy,
            "test/weighted_f1": self.weighted_f1,
            "test/weighted_f1_low": low,
            "test/weighted_f1_high": high,
            "test/macro_f1": self.macro_f1,
            "test/log_loss": self.log_loss,
            **{f"test/f1/{_slug(i, score.label)}": score.f1 for i, score in enumerate(self.per_class)},
            **{f"test/slice/{name}_weighted_f1": score.weighted_f1 for name, score in self.slices.items()},
        }

    def tables(self) -> dict[str, str]:
        """The parts of the report by their headings, as Markdown tables, texts escaped and shortened."""
        low, high = self.weighted_f1_interval
        overall = [
            ("weighted F1", self.weighted_f1),
            (f"its 95 % interval, resampling {self.resampled}", f"{low:.3f} to {high:.3f}"),
            ("macro F1", self.macro_f1),
            ("accuracy", self.accuracy),
            ("log loss", self.log_loss),
            ("rows", self.rows),
        ]
        classes = [(s.label, s.precision, s.recall, s.f1, s.support) for s in self.per_class]
        slices = [(_SLICES[name], s.weighted_f1, s.accuracy, s.rows) for name, s in self.slices.items()]
        counts = [(label, *row) for label, row in zip(self.labels, self.confusion, strict=True)]
        wrong = [(m.text, m.label, m.predicted, m.probability, m.group or "") for m in self.mistakes]
        parts: dict[str, tuple[list[str], list[Any]]] = {
            "Evaluation": (["", "test rows"], overall),
            "Classes": (["class", "precision", "recall", "F1", "rows"], classes),
            "Slices": (["texts", "weighted F1", "accuracy", "rows"], slices),
            "Confusion matrix": (["true ＼ predicted", *self.labels], counts),
            "Most confident mistakes": (["text", "label", "predicted", "probability", "group"], wrong),
        }
        return {heading: table(names, rows) for heading, (names, rows) in parts.items() if rows}

    def to_markdown(self) -> str:
        """The report as a Markdown page."""
        overall, *others = self.tables().items()
        parts = [f"# {overall[0]}", overall[1]]
        return "\n\n".join([*parts, *(f"## {name}\n\n{rows}" for name, rows in others)]) + "\n"


def evaluate(
    rows: pd.DataFrame,
    probabilities: npt.NDArray[np.floating[Any]],
    labels: Sequence[str],
    *,
    seed: int = 0,
    resamples: int = 1000,
) -> EvaluationReport:
    """Compare predicted probabilities with the labels of the test rows.

    Args:
        rows: columns `text` and `label`; optional `group`, `unknown` (unknown pieces of the text)
            and `truncated` (whether it was cut). Others are left alone.
        probabilities: `(rows, classes)`, columns in the order of `labels`.
        labels: class names of the model's stored label encoder.
        seed: of the bootstrap; the same seed gives the same interval.
        resamples: of the bootstrap.

    Raises:
        JabertError: there are no rows, a label is not among `labels`, or a probability is not finite.
        ValueError: the shape of `probabilities` is not `(rows, classes)`.
    """
    true = _class_indices(rows, labels)
    _check_probabilities(probabilities, (len(rows), len(labels)))
    predicted = probabilities.argmax(axis=1)
    units, resampled = _resampling_units(rows)
    counts = _counts(true, predicted, len(labels), units)
    per_class = _class_scores(counts.sum(axis=0), labels)
    report_text, report_data = _classification_report(true, predicted, labels)
    return EvaluationReport(
        labels=tuple(labels),
        rows=len(rows),
        accuracy=float((true == predicted).mean()),
        weighted_f1=float(_weighted_f1(counts.sum(axis=0))),
        weighted_f1_interval=_interval(_resample(counts, _weighted_f1, seed, resamples)),
        resampled=resampled,
        units=len(counts),
        macro_f1=float(np.mean([score.f1 for score in per_class])),
        log_loss=_log_loss(true, probabilities),
        per_class=per_class,
        confusion=_confusion(true, predicted, len(labels)),
        report_text=report_text,
        report_data=report_data,
        slices=_slices(rows, true, predicted, len(labels)),
        mistakes=_mistakes(rows, true, probabilities, labels),
    )


def predictions(
    rows: pd.DataFrame, probabilities: npt.NDArray[np.floating[Any]], labels: Sequence[str]
) -> pd.DataFrame:
    """What was said of each row: columns text, label, predicted and score, its probability.

    Arguments as for `evaluate`.
    """
    predicted = np.array(labels, dtype=object)[probabilities.argmax(axis=1)]
    return rows[["text", "label"]].assign(predicted=predicted, score=probabilities.max(axis=1))


def gain_interval(
    rows: pd.DataFrame,
    labels: Sequence[str],
    before: npt.NDArray[np.floating[Any]],
    after: npt.NDArray[np.floating[Any]],
    *,
    seed: int = 0,
    resamples: int = 1000,
) -> tuple[float, float]:
    """95 % interval of the gain in weighted F1 from one model to another on the same rows.

    The bootstrap is paired: both models are measured on each sample of the rows, so that what makes a
    sample hard for both does not count. Arguments and errors as for `evaluate`; `before` and `after` are the
    probabilities of the two models, both with columns in the order of `labels`.
    """
    true = _class_indices(rows, labels)
    units, _ = _resampling_units(rows)
    both = [_counts(true, of.argmax(axis=1), len(labels), units) for of in (before, after)]

    def gain(counts: npt.NDArray[Any]) -> _Floats:
        scores = _weighted_f1(counts)  # (resamples, 2)
        return scores[:, 1] - scores[:, 0]

    return _interval(_resample(np.stack(both, axis=1), gain, seed, resamples))


def weighted_f1(true: _Ints, predicted: _Ints, classes: int) -> float:
    """F1 of each class, averaged by the class's share of the true labels.

    The same value as scikit-learn's `f1_score(average="weighted", zero_division=0)`.

    Args:
        true, predicted: class indices, `(rows,)`, at least one row.
        classes: number of classes.
    """
    return float(_weighted_f1(_counts(true, predicted, classes, np.zeros_like(true))[0]))


def _counts(true: _Ints, predicted: _Ints, classes: int, units: _Ints) -> _Ints:
    """Rows of each unit by class, `(units, 3, classes)`: correct ones, by true, by predicted class.

    They are the diagonal and the margins of the unit's confusion matrix: all that F1 needs.
    """
    shape = (int(units.max()) + 1, classes)
    by_true, by_predicted = units * classes + true, units * classes + predicted
    cells = (by_true[true == predicted], by_true, by_predicted)
    return np.stack(
        [np.bincount(cell, minlength=shape[0] * classes).reshape(shape) for cell in cells], axis=1
    )


def _f1(counts: npt.NDArray[Any]) -> _Floats:
    """F1 of each class from counts `(…, 3, classes)`, shape `(…, classes)`."""
    correct, support, predicted = np.moveaxis(counts, -2, 0)
    f1: _Floats = 2 * correct / np.maximum(support + predicted, 1)
    return f1


def _weighted_f1(counts: npt.NDArray[Any]) -> _Floats:
    support = counts[..., 1, :]
    weighted: _Floats = (_f1(counts) * support).sum(axis=-1) / support.sum(axis=-1)
    return weighted


def _resample(
    counts: _Ints, statistic: Callable[[npt.NDArray[Any]], _Floats], seed: int, resamples: int
) -> _Floats:
    """The statistic of `resamples` samples, each made by drawing the units of `counts` anew.

    This is the bootstrap of Efron and Tibshirani, An Introduction to the Bootstrap (1993). Whole groups
    are drawn, because sentences of one article resemble one another and a bootstrap of sentences would be
    too sure (the cluster bootstrap: Davison and Hinkley, Bootstrap Methods and their Application (1997),
    section 3.8). With a single group all samples are the same.
    """
    # Units with equal counts are interchangeable: drawing how often each kind occurs is the same
    # as drawing units, and there are few kinds, above all where each row is its own unit.
    flat = counts.reshape(len(counts), -1)
    kinds, times = np.unique(flat, axis=0, return_counts=True)
    draws = np.random.default_rng(seed).multinomial(len(counts), times / len(counts), size=resamples)
    resampled = draws.astype(np.float64) @ kinds.astype(np.float64)  # floats: integers have no BLAS
    return statistic(resampled.reshape(resamples, *counts.shape[1:]))


def _interval(values: _Floats) -> tuple[float, float]:
    """The 95 % percentile interval: Efron and Tibshirani, chapter 13."""
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)


def _resampling_units(rows: pd.DataFrame) -> tuple[_Ints, str]:
    """For each row the number of the unit that the bootstrap draws, and what the units are.

    A row without a group is a unit by itself.
    """
    if "group" not in rows or rows["group"].isna().all():
        return np.arange(len(rows)), f"{len(rows)} rows"
    codes = pd.factorize(rows["group"])[0].astype(np.int64)
    alone = codes < 0
    codes[alone] = codes.max() + 1 + np.arange(alone.sum())
    return codes, f"{codes.max() + 1} groups"


def _class_indices(rows: pd.DataFrame, labels: Sequence[str]) -> _Ints:
    if rows.empty:
        raise JabertError("there are no test rows to evaluate on")
    indices: _Ints = pd.Index(list(labels)).get_indexer(pd.Index(rows["label"])).astype(np.int64)
    if (indices < 0).any():
        at = int(indices.argmin())
        raise JabertError(
            f"test row {at + 1} has the label {rows['label'].iloc[at]!r}, which the model does not know; "
            f"it knows: {', '.join(labels)}"
        )
    return indices


def _check_probabilities(probabilities: npt.NDArray[Any], shape: tuple[int, int]) -> None:
    if probabilities.shape != shape:
        raise ValueError(f"probabilities of shape {probabilities.shape}, not {shape}")
    finite = np.isfinite(probabilities).all(axis=1)
    if not finite.all():
        raise JabertError(
            f"the model gave test row {int(finite.argmin()) + 1} a probability that is no number"
        )


def _class_scores(counts: _Ints, labels: Sequence[str]) -> tuple[ClassScore, ...]:
    correct, support, predicted = counts
    precision, recall = correct / np.maximum(predicted, 1), correct / np.maximum(support, 1)
    columns = [values.tolist() for values in (precision, recall, _f1(counts), support)]
    return tuple(ClassScore(*values) for values in zip(labels, *columns, strict=True))


def _confusion(true: _Ints, predicted: _Ints, classes: int) -> tuple[tuple[int, ...], ...]:
    cells = np.bincount(true * classes + predicted, minlength=classes**2)
    return tuple(tuple(row) for row in cells.reshape(classes, classes).tolist())


def _classification_report(
    true: _Ints, predicted: _Ints, labels: Sequence[str]
) -> tuple[str, dict[str, Any]]:
    from sklearn.metrics import classification_report

    names = {"labels": range(len(labels)), "target_names": list(labels), "zero_division": 0}
    text = classification_report(true, predicted, digits=3, **names)
    return text, classification_report(true, predicted, output_dict=True, **names)


def _log_loss(true: _Ints, probabilities: npt.NDArray[Any]) -> float:
    chosen = probabilities[np.arange(len(true)), true].astype(np.float64)
    return float(-np.log(np.maximum(chosen, np.finfo(np.float32).eps)).mean())


def _slices(rows: pd.DataFrame, true: _Ints, predicted: _Ints, classes: int) -> dict[str, SliceScore]:
    members = {"short": (rows["text"].str.len() <= SHORT_TEXT).to_numpy(dtype=bool)}
    for name in ("unknown", "truncated"):
        if name in rows:
            members[name] = (rows[name] > 0).to_numpy(dtype=bool)
    return {
        name: SliceScore(
            rows=int(inside.sum()),
            accuracy=float((true == predicted)[inside].mean()),
            weighted_f1=weighted_f1(true[inside], predicted[inside], classes),
        )
        for name, inside in members.items()
        if inside.any()
    }


def _mistakes(
    rows: pd.DataFrame, true: _Ints, probabilities: npt.NDArray[Any], labels: Sequence[str]
) -> tuple[Mistake, ...]:
    predicted, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
    wrong = np.flatnonzero(predicted != true)
    surest = wrong[np.argsort(-confidence[wrong], kind="stable")][:_MISTAKES]
    groups = rows["group"].to_numpy() if "group" in rows else [None] * len(rows)
    return tuple(
        Mistake(
            text=str(rows["text"].iloc[at]),
            label=labels[true[at]],
            predicted=labels[predicted[at]],
            probability=float(confidence[at]),
            group=None if pd.isna(groups[at]) else str(groups[at]),
        )
        for at in surest
    )


def _slug(index: int, label: str) -> str:
    # A label that looks like another's stand-in gets its own, or two metrics would share a name.
    plain = re.fullmatch(r"(?!class_\d)[A-Za-z0-9][A-Za-z0-9_. -]{0,99}", label)
    return label if plain else f"class_{index}"
