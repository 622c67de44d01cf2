"""How well a classifier does, how sure that is, and how two of them compare."""

from jabert.evaluation.calibration import Calibration, calibrate, scaled
from jabert.evaluation.comparison import Comparison, compare
from jabert.evaluation.metrics import weighted_f1
from jabert.evaluation.report import SHORT_TEXT, EvaluationReport, evaluate, predictions

__all__ = [
    "SHORT_TEXT",
    "Calibration",
    "Comparison",
    "EvaluationReport",
    "calibrate",
    "compare",
    "evaluate",
    "predictions",
    "scaled",
    "weighted_f1",
]
