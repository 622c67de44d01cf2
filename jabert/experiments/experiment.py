"""An experiment: one method on one split of the data, measured on rows that it did not learn from.

It registers nothing. The flow `retrain` strings the same steps together as Prefect tasks.
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from jabert.config import Settings
from jabert.evaluation import EvaluationReport
from jabert.experiments import recording, steps
from jabert.experiments.packaging import build_package
from jabert.methods import Epoch, method_of
from jabert.tracking import tracked_run, with_local_encoder


@dataclass(frozen=True)
class Experiment:
    """What is measured.

    Attributes:
        settings: data, split, method and seed.
        measured_on: `validation` rows, to choose a method or settings by, or `test` rows, to be looked at
            once.

    Example:
        >>> jabert.Experiment(jabert.load_settings("sample"), "validation").measured_on
        'validation'
    """

    settings: Settings
    measured_on: Literal["validation", "test"] = "test"


def run(experiment: Experiment, parent: str | None = None) -> EvaluationReport:
    """Measure a method, and record that as an MLflow run. What was made before is found and not made again.

    Args:
        experiment: what to measure.
        parent: id of the run that this one is a child of.

    Raises:
        JabertError: the data do not meet their suite of expectations, or something is missing.

    Example:
        >>> settings = jabert.load_settings("sample", ["method.kind=tfidf"])
        >>> jabert.run_experiment(jabert.Experiment(settings, "validation")).rows
        196
    """
    settings, measured_on = with_local_encoder(experiment.settings), experiment.measured_on
    method = method_of(settings)
    tags = {"measured_on": measured_on, **({"mlflow.parentRunId": parent} if parent else {})}
    tokens = None
    with tracked_run(settings, tags) as tracked, tempfile.TemporaryDirectory() as scratch:
        with tracked.stage("read"):
            data = steps.read(settings)
            recording.record_data(data, settings, tracked)
        with tracked.stage("validate"):
            validated = steps.validate(settings, data)
            recording.record_validation(validated, "texts", tracked)
            validated.raise_if_critical()
        if method.needs_tokens:
            with tracked.stage("tokenize"):
                tokens = steps.tokenize(settings, data)
                recording.record_tokens(data, tokens, tracked)
                validated = steps.validate_pieces(settings, data, tokens)
                recording.record_validation(validated, "pieces", tracked)
                validated.raise_if_critical()
        if tokens and "vectors" in method.needs:
            with tracked.stage("featurize"):
                recording.record_features(steps.featurize(settings, tokens), tracked)

        def on_epoch(epoch: Epoch) -> None:
            recording.record_epoch(epoch, settings, tracked)

        with tracked.stage("train"):
            fit = steps.fit(settings, data, tokens, measured_on, on_epoch=on_epoch)
            recording.record_fit(fit, tracked)

        def package() -> Path:
            return build_package(fit.job, Path(scratch) / "package")

        with tracked.stage("evaluate"):
            evaluated = steps.evaluate(settings, data, tokens, fit, measured_on, package=package)
            recording.record_evaluation(evaluated, tracked)
            return evaluated.report
