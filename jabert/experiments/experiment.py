"""An experiment: one method on one split of the data, measured on rows that it did not learn from.

It registers nothing. Its steps are those of `jabert.experiments.steps`, here each with what it leaves in an
MLflow run. The flow `retrain` strings the same functions together as Prefect tasks.
"""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from jabert.config import Settings
from jabert.evaluation import EvaluationReport
from jabert.experiments import recording, steps
from jabert.experiments.packaging import build_package
from jabert.experiments.steps import Data, Evaluated, Fit, Tokens
from jabert.features import Featurized, Progress
from jabert.methods import Epoch, encoder_of, method_of
from jabert.tracking import Run, tracked_run, with_local_encoder
from jabert.validation import ValidationReport


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
    needs = method_of(settings.method.kind).needs
    tags = {"measured_on": measured_on, **({"mlflow.parentRunId": parent} if parent else {})}
    tokens = None
    with tracked_run(settings, tags) as tracked, tempfile.TemporaryDirectory() as scratch:
        with tracked.stage("read"):
            data = read(settings, tracked)
        with tracked.stage("validate"):
            validate(settings, data, tracked).raise_if_critical()
        if "tokens" in needs or "vectors" in needs:
            with tracked.stage("tokenize"):
                tokens = tokenize(settings, data, tracked)
                validate_pieces(settings, data, tokens, tracked).raise_if_critical()
        if tokens and "vectors" in needs:
            with tracked.stage("featurize"):
                featurize(settings, tokens, tracked)
        with tracked.stage("train"):
            fitted = fit(settings, data, tokens, measured_on, run=tracked)

        def package() -> Path:
            return build_package(fitted.job, Path(scratch) / "package")

        with tracked.stage("evaluate"):
            return evaluate(settings, data, tokens, fitted, measured_on, package=package, run=tracked).report


def read(settings: Settings, run: Run | None = None) -> Data:
    """Read, clean and split the texts."""
    data = steps.read(settings)
    encoder = encoder_of(settings)  # one that is missing is told before anything is computed
    if run:
        recording.record_data(data, encoder, settings, run)
    return data


def validate(settings: Settings, data: Data, run: Run | None = None) -> ValidationReport:
    """Check the table against its suite of expectations."""
    report = steps.validate(settings, data)
    if run:
        recording.record_validation(report, "texts", run)
    return report


def tokenize(settings: Settings, data: Data, run: Run | None = None) -> Tokens:
    """Turn the texts into token ids."""
    tokens = steps.tokenize(settings, data)
    if run:
        recording.record_tokens(tokens, run)
    return tokens


def validate_pieces(
    settings: Settings, data: Data, tokens: Tokens, run: Run | None = None
) -> ValidationReport:
    """Check the pieces of the texts against their suite of expectations."""
    report = steps.validate_pieces(settings, data, tokens)
    if run:
        recording.record_validation(report, "pieces", run)
    return report


def featurize(
    settings: Settings, tokens: Tokens, run: Run | None = None, on_progress: Progress | None = None
) -> Featurized:
    """Fill the feature store with what it lacks of these texts."""
    features = steps.featurize(settings, tokens, on_progress)
    if run:
        recording.record_features(features, run)
    return features


def fit(
    settings: Settings,
    data: Data,
    tokens: Tokens | None,
    measured_on: Literal["validation", "test"] = "test",
    *,
    run: Run,
    on_epoch: Callable[[Epoch], None] = lambda _: None,
    unfinished: Path | None = None,
) -> Fit:
    """Fit the classifier, or finish what a killed run began; arguments as for `steps.fit`."""

    def report(epoch: Epoch) -> None:
        recording.record_epoch(epoch, settings.training.monitor, run)
        on_epoch(epoch)

    fitted = steps.fit(settings, data, tokens, measured_on, on_epoch=report, unfinished=unfinished)
    recording.record_fit(fitted, run)
    return fitted


def evaluate(
    settings: Settings,
    data: Data,
    tokens: Tokens | None,
    fitted: Fit,
    measured_on: Literal["validation", "test"] = "test",
    *,
    package: Callable[[], Path],
    run: Run,
) -> Evaluated:
    """Measure the packaged classifier, from text; arguments as for `steps.evaluate`."""
    evaluated = steps.evaluate(settings, data, tokens, fitted, measured_on, package=package)
    recording.record_evaluation(evaluated, data.labels, measured_on, run)
    return evaluated
