"""The numbers of an evaluation under the names of MLflow metrics."""

import re

from jabert.evaluation import EvaluationReport

_WHOLE = ("accuracy", "weighted_f1", "macro_f1", "log_loss", "ece", "ece_uncalibrated")


def evaluation_metrics(report: EvaluationReport, split: str) -> dict[str, float]:
    """Numbers under names that MLflow accepts: ASCII, `/` between groups.

    A class has its label in the name if that is plain ASCII, else `class_` and its index.

    Args:
        report: to take the numbers from.
        split: that was evaluated; the first group of each name, e.g. `test/weighted_f1`.
    """
    low, high = report.weighted_f1_interval
    values = {
        **{name: getattr(report, name) for name in _WHOLE},
        "weighted_f1_low": low,
        "weighted_f1_high": high,
        **{f"f1/{_slug(index, score.label)}": score.f1 for index, score in enumerate(report.per_class)},
        "temperature": report.calibration.temperature,
        **{f"slice/{name}_weighted_f1": score.weighted_f1 for name, score in report.slices.items()},
    }
    if report.weighted_f1_alone is not None:
        values["weighted_f1_alone"] = report.weighted_f1_alone
    if answered := report.answered:
        values |= {"answered": answered.share, "answered_accuracy": answered.accuracy}
    return {f"{split}/{name}": value for name, value in values.items()}


def _slug(index: int, label: str) -> str:
    # A label such as `class_1` is replaced too, or two metrics could share a name.
    plain = re.fullmatch(r"(?!class_\d)[A-Za-z0-9][A-Za-z0-9_. -]{0,99}", label)
    return label if plain else f"class_{index}"
