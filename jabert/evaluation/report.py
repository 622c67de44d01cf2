"""The record of one evaluation: how well a classifier does on its test rows, and how sure that is."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from jabert.errors import JabertError
from jabert.evaluation import metrics
from jabert.evaluation.calibration import (
    Bin,
    Calibration,
    Coverage,
    answered,
    coverage,
    expected_error,
    reliability,
)
from jabert.evaluation.intervals import bootstrap_interval, resampling_units
from jabert.evaluation.metrics import Indices, Probabilities

SHORT_TEXT = 10
"""Longest text of the slice `short`, in characters."""

_MISTAKES = 20


@dataclass(frozen=True)
class ClassScore:
    """Scores of one class; a ratio without anything to count is 0. `support` is its number of test rows."""

    label: str
    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True)
class SliceScore:
    """Scores on the test rows of one slice."""

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
    """Result of `evaluate`. Classes are everywhere in the order of the model's label encoder.

    Attributes:
        labels: class names.
        rows: number of test rows.
        accuracy: share of test rows that were classified correctly.
        weighted_f1: F1 of the classes, averaged by their shares of the test rows.
        weighted_f1_alone: the same of each text without its neighbours; None if they are not looked at.
        weighted_f1_interval: ends of its 95 % bootstrap interval.
        resampled: what the bootstrap drew: "12 groups" or "419 rows".
        units: how many of these there are.
        macro_f1: mean F1 of the classes.
        log_loss: mean negative natural logarithm of the true class's probability.
        per_class: scores of each class.
        confusion: number of test rows by true class (first index) and predicted class.
        report_text: scikit-learn's classification report, three digits.
        report_data: the same as numbers.
        slices: scores on the slices `short`, `unknown` and `truncated`; only those with rows.
        mistakes: the 20 most confident mistakes, the most confident first.
        ece: expected calibration error, the mean distance of the highest probability and the share that is
            right among rows with a similar one.
        ece_uncalibrated: the same of the probabilities before `calibration`.
        calibration: what the model does to the probabilities of its classifier, and its threshold.
        reliability: rows by their highest probability.
        coverage: what would be answered above a threshold, and how much of it is right.
        answered: the same at the model's own threshold; None if every text is answered.

    Example:
        >>> rows = pd.DataFrame({"text": ["電話", "お寺"], "label": ["携帯電話", "京都"]})
        >>> report = jabert.evaluate(rows, np.array([[0.2, 0.8], [0.9, 0.1]]), ["京都", "携帯電話"])
        >>> report.weighted_f1, report.confusion
        (1.0, ((1, 0), (0, 1)))
    """

    labels: tuple[str, ...]
    rows: int
    accuracy: float
    weighted_f1: float
    weighted_f1_alone: float | None
    weighted_f1_interval: tuple[float, float]
    resampled: str
    units: int
    macro_f1: float
    log_loss: float
    per_class: tuple[ClassScore, ...]
    confusion: tuple[tuple[int, ...], ...]
    report_text: str
    report_data: dict[str, Any]
    slices: dict[str, SliceScore]
    mistakes: tuple[Mistake, ...]
    ece: float
    ece_uncalibrated: float
    calibration: Calibration
    reliability: tuple[Bin, ...]
    coverage: tuple[Coverage, ...]
    answered: Coverage | None

    def to_dict(self) -> dict[str, Any]:
        """The whole report as JSON values."""
        report: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return report


def evaluate(
    rows: pd.DataFrame,
    probabilities: Probabilities,
    labels: Sequence[str],
    *,
    calibration: Calibration | None = None,
    neighbours: Sequence[Sequence[int]] | None = None,
    seed: int = 0,
    resamples: int = 1000,
) -> EvaluationReport:
    """Compare predicted probabilities with the labels of the test rows.

    Calibration changes no label, so without neighbours all counts are those of the given probabilities.

    Args:
        rows: columns `text` and `label`; optional `group`, `unknown` (number of unknown pieces in the text)
            and `truncated` (whether it was cut to the longest input). Other columns are ignored.
        probabilities: `(rows, classes)`, columns in the order of `labels`.
        labels: class names of the model's stored label encoder.
        calibration: that the model applies to them before it answers; without it they are its answers.
        neighbours: numbers of the rows beside each row, if the model looks at them.
        seed: of the bootstrap; the same seed gives the same interval.
        resamples: number of samples of the bootstrap.

    Raises:
        JabertError: there are no rows, a label is not among `labels`, or a probability is not finite.
        ValueError: the shape of `probabilities` is not `(rows, classes)`.

    Example:
        >>> rows = pd.DataFrame({"text": ["電話", "お寺", "紅葉"], "label": ["携帯電話", "京都", "京都"]})
        >>> probabilities = np.array([[0.2, 0.8], [0.9, 0.1], [0.4, 0.6]])
        >>> jabert.evaluate(rows, probabilities, ["京都", "携帯電話"]).accuracy
        0.6666666666666666
    """
    from sklearn.metrics import classification_report

    true, classes = class_indices(rows, labels), len(labels)
    if probabilities.shape != (len(rows), classes):
        raise ValueError(f"probabilities of shape {probabilities.shape}, not {(len(rows), classes)}")
    finite = np.isfinite(probabilities).all(axis=1)
    if not finite.all():
        raise JabertError(
            f"the model gave test row {int(finite.argmin()) + 1} a probability that is not finite; if it was "
            "finetuned, a lower method.learning_rate may help"
        )
    applied = calibration or Calibration()
    answers = applied.answers(probabilities, neighbours)
    alone = probabilities.argmax(axis=1)
    predicted = answers.argmax(axis=1) if applied.context else alone
    units, resampled = resampling_units(rows)
    counts = metrics.class_counts(true, predicted, classes, units)
    confusion = np.bincount(true * classes + predicted, minlength=classes**2).reshape(classes, classes)
    per_class = _class_scores(counts.sum(axis=0), labels)
    bins = reliability(true, answers)
    shown: dict[str, Any] = {"labels": range(classes), "target_names": list(labels), "zero_division": 0}
    return EvaluationReport(
        labels=tuple(labels),
        rows=len(rows),
        accuracy=float((true == predicted).mean()),
        weighted_f1=float(metrics.weighted_f1_of_counts(counts.sum(axis=0))),
        weighted_f1_alone=metrics.weighted_f1(true, alone, classes) if applied.context else None,
        weighted_f1_interval=bootstrap_interval(
            counts, metrics.weighted_f1_of_counts, seed=seed, resamples=resamples
        ),
        resampled=resampled,
        units=len(counts),
        macro_f1=float(np.mean([score.f1 for score in per_class])),
        log_loss=metrics.log_loss(true, answers),
        per_class=per_class,
        confusion=tuple(map(tuple, confusion.tolist())),
        report_text=classification_report(true, predicted, digits=3, **shown),
        report_data=classification_report(true, predicted, output_dict=True, **shown),
        slices=_slice_scores(rows, true, predicted, classes),
        mistakes=_mistakes(rows, answers, labels),
        ece=expected_error(bins),
        ece_uncalibrated=expected_error(reliability(true, probabilities)),
        calibration=applied,
        reliability=bins,
        coverage=coverage(true, answers),
        answered=None if applied.threshold is None else answered(true, answers, applied.threshold),
    )


def predictions(rows: pd.DataFrame, probabilities: Probabilities, labels: Sequence[str]) -> pd.DataFrame:
    """The prediction for each row, arguments as for `evaluate`.

    Returns:
        Columns text, label, predicted and score, the probability of the predicted class.
    """
    predicted = np.array(labels, dtype=object)[probabilities.argmax(axis=1)]
    return rows[["text", "label"]].assign(predicted=predicted, score=probabilities.max(axis=1))


def class_indices(rows: pd.DataFrame, labels: Sequence[str]) -> npt.NDArray[np.int64]:
    """The index in `labels` of each row's label, `(rows,)`; arguments and errors as for `evaluate`."""
    if rows.empty:
        raise JabertError("there are no test rows to evaluate on; raise data.test_share, or give more rows")
    indices = pd.Index(list(labels)).get_indexer(pd.Index(rows["label"])).astype(np.int64)
    if (indices < 0).any():
        at = int(indices.argmin())
        raise JabertError(
            f"test row {at + 1} has the label {rows['label'].iloc[at]!r}, which the model does not know; "
            f"it knows: {', '.join(labels)}"
        )
    return indices


def _class_scores(counts: npt.NDArray[np.int64], labels: Sequence[str]) -> tuple[ClassScore, ...]:
    correct, support, predicted = counts
    precision, recall = correct / np.maximum(predicted, 1), correct / np.maximum(support, 1)
    columns = [values.tolist() for values in (precision, recall, metrics.f1_scores(counts), support)]
    return tuple(ClassScore(*values) for values in zip(labels, *columns, strict=True))


def _slice_scores(
    rows: pd.DataFrame, true: Indices, predicted: Indices, classes: int
) -> dict[str, SliceScore]:
    """Scores on the slices `short`, `unknown` and `truncated`; a slice without rows is left out."""
    members = {"short": (rows["text"].str.len() <= SHORT_TEXT).to_numpy(dtype=bool)}
    for name in ("unknown", "truncated"):
        if name in rows:
            members[name] = (rows[name] > 0).to_numpy(dtype=bool)
    return {
        name: SliceScore(
            rows=int(inside.sum()),
            accuracy=float((true == predicted)[inside].mean()),
            weighted_f1=metrics.weighted_f1(true[inside], predicted[inside], classes),
        )
        for name, inside in members.items()
        if inside.any()
    }


def _mistakes(rows: pd.DataFrame, probabilities: Probabilities, labels: Sequence[str]) -> tuple[Mistake, ...]:
    found = predictions(rows, probabilities, labels).assign(group=rows.get("group"))
    wrong = found[found["predicted"] != found["label"]]
    most_confident = wrong.sort_values("score", ascending=False, kind="stable").head(_MISTAKES)
    return tuple(
        Mistake(str(text), str(label), predicted, float(score), None if pd.isna(group) else str(group))
        for _, text, label, predicted, score, group in most_confident.itertuples()
    )
