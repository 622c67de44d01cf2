"""How well a classifier does, how sure that is, and how two of them compare."""

from jabert.evaluation.comparison import Comparison, Flip, compare, gain_interval
from jabert.evaluation.metrics import weighted_f1
from jabert.evaluation.report import ClassScore, EvaluationReport, Mistake, evaluate, predictions
from jabert.evaluation.slices import SHORT_TEXT, SliceScore

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
