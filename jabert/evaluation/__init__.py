"""How well a classifier does, how sure that is, and how two of them compare."""

from jabert.evaluation.baselines import (
    Baseline,
    advice,
    baseline_metrics,
    baselines_of,
    measure_baseline,
    measure_chance,
)
from jabert.evaluation.calibration import Calibration, calibrate, scaled
from jabert.evaluation.comparison import Comparison, compare
from jabert.evaluation.context import Context
from jabert.evaluation.leaderboard import Failure, FoldScore, Leaderboard, Score, Standing, make_leaderboard
from jabert.evaluation.metrics import class_counts, weighted_f1
from jabert.evaluation.report import SHORT_TEXT, EvaluationReport, evaluate, predictions
from jabert.evaluation.sweep import OnTestRows, Sweep, Tried

__all__ = [
    "SHORT_TEXT",
    "Baseline",
    "Calibration",
    "Comparison",
    "Context",
    "EvaluationReport",
    "Failure",
    "FoldScore",
    "Leaderboard",
    "OnTestRows",
    "Score",
    "Standing",
    "Sweep",
    "Tried",
    "advice",
    "baseline_metrics",
    "baselines_of",
    "calibrate",
    "class_counts",
    "compare",
    "evaluate",
    "make_leaderboard",
    "measure_baseline",
    "measure_chance",
    "predictions",
    "scaled",
    "weighted_f1",
]
