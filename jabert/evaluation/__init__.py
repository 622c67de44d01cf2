"""How well a classifier does, how sure that is, and how two of them compare."""

from jabert.evaluation.comparison import Comparison, Flip, compare
from jabert.evaluation.report import (
    SHORT_TEXT,
    ClassScore,
    EvaluationReport,
    Mistake,
    SliceScore,
    evaluate,
    gain_interval,
    predictions,
    weighted_f1,
)

__all__ = [
    "SHORT_TEXT",
    "ClassScore",
    "Comparison",
    "EvaluationReport",
    "Flip",
    "Mistake",
    "SliceScore",
    "compare",
    "evaluate",
    "gain_interval",
    "predictions",
    "weighted_f1",
]
