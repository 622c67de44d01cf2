"""The steps of a retraining as Prefect tasks, each with its page in the UI."""

from dataclasses import asdict
from pathlib import Path
from urllib.parse import quote

from prefect.events import emit_event
from prefect.runtime import flow_run
from prefect.transactions import Transaction, get_transaction

from flows.automations import PROMOTED
from flows.pages import progress, show_markdown, show_table
from flows.stage import stage
from jabert.config import Settings, TrackingSettings
from jabert.evaluation import Baseline, Calibration
from jabert.experiments import recording, retraining, steps
from jabert.experiments.retraining import Results
from jabert.experiments.steps import Data, Evaluated, Fit, Tokens
from jabert.features import Featurized
from jabert.methods import Epoch
from jabert.registry import Verdict
from jabert.report.pages import baseline_table, comparison_page, evaluation_page
from jabert.tracking import Attempt, Run
from jabert.validation import ValidationReport


@stage("Read and split")
def read(settings: Settings, run: Run | None = None) -> Data:
    """Labelled texts, cleaned and divided."""
    data = steps.read(settings)
    if run:
        recording.record_data(data, settings, run)
    else:
        recording.tell(data.notes)
    show_table(
        "data",
        {"source": data.source, "split by": data.split_by, **data.counts, "notes": "; ".join(data.notes)},
    )
    if data.conflicts:
        show_markdown("texts-under-two-labels", data.conflicts)
    return data


@stage("Validate")
def validate(settings: Settings, data: Data, run: Run) -> ValidationReport:
    """The suite of expectations on the table; a critical finding stops the run."""
    report = steps.validate(settings, data)
    recording.record_validation(report, "texts", run)
    show_markdown("validation", f"{report.to_markdown()}\n{_where(report, 'texts', settings.tracking, run)}")
    report.raise_if_critical()
    return report


@stage("Tokenize")
def tokenize(settings: Settings, data: Data, run: Run | None = None) -> Tokens:
    """Token ids."""
    tokens = steps.tokenize(settings, data)
    if run:
        recording.record_tokens(data, tokens, run)
    else:
        recording.tell(tokens.warnings())
    show_markdown("pieces", tokens.to_markdown())
    return tokens


@stage("Validate pieces")
def validate_pieces(settings: Settings, data: Data, tokens: Tokens, run: Run) -> ValidationReport:
    """The suite of expectations on the pieces; a critical finding stops the run."""
    report = steps.validate_pieces(settings, data, tokens)
    recording.record_validation(report, "pieces", run)
    found = report.to_markdown()
    show_markdown("validation-of-pieces", f"{found}\n{_where(report, 'pieces', settings.tracking, run)}")
    report.raise_if_critical()
    return report


@stage("Featurize")
def featurize(settings: Settings, tokens: Tokens, run: Run | None = None) -> Featurized:
    """Token vectors of BERT, as far as the feature store lacks them."""
    update = progress("featurize-progress")
    features = steps.featurize(settings, tokens, update)
    if run:
        recording.record_features(features, run)
    update(1, 1)  # also when nothing was missing
    show_table("features", features.to_dict())
    return features


@stage("Train")
def train(settings: Settings, data: Data, tokens: Tokens | None, attempt: Attempt, run: Run) -> Fit:
    """The classifier; a training that was killed goes on from its last epoch."""
    update = progress("train-progress")

    def on_epoch(epoch: Epoch) -> None:
        recording.record_epoch(epoch, settings, run)
        update(int(epoch["epoch"]), settings.training.epochs)

    fit = steps.fit(settings, data, tokens, "test", on_epoch=on_epoch, unfinished=attempt.path / "training")
    recording.record_fit(fit, run)
    update(1, 1)  # also when it ended early
    show_markdown("training", fit.fitted.to_markdown())
    return fit


@stage("Calibrate")
def calibrate(settings: Settings, data: Data, tokens: Tokens | None, fit: Fit) -> Calibration:
    """Temperature and threshold of the classifier, from rows that it did not learn from."""
    calibration = steps.calibrate(settings, data, tokens, fit)
    show_table("calibration", asdict(calibration))
    return calibration


@stage("Evaluate")
def evaluate(
    settings: Settings,
    data: Data,
    tokens: Tokens | None,
    fit: Fit,
    calibration: Calibration,
    *,
    attempt: Attempt,
    run: Run,
) -> Evaluated:
    """The packaged classifier on the test rows, from text."""

    def package() -> Path:
        return retraining.package(fit, calibration, attempt)

    evaluated = steps.evaluate(settings, data, tokens, fit, "test", package=package, calibration=calibration)
    recording.record_evaluation(evaluated, run)
    show_markdown("report", evaluation_page(evaluated.report))
    return evaluated


@stage("Baselines")
def baselines(settings: Settings, data: Data, evaluated: Evaluated, run: Run) -> list[Baseline]:
    """Simple methods that learn from the same rows."""
    found = retraining.measure_baselines(settings, data, evaluated)
    if found:
        recording.record_baselines(found, evaluated, run)
        show_markdown("baselines", baseline_table(evaluated.report, found))
    return found


@stage("Register")
def register(
    settings: Settings, data: Data, fit: Fit, calibration: Calibration, *, attempt: Attempt, run: Run
) -> str:
    """A new version of the registered model."""
    version = retraining.register(settings, data, fit, calibration, attempt=attempt, run=run)
    if begun := get_transaction():
        begun.set("version", (settings, version))
    return version


@register.on_rollback
def withdraw(begun: Transaction) -> None:
    """The gate failed: the version says so."""
    retraining.withdraw(*begun.get("version"))


@stage("Promote")
def promote(settings: Settings, data: Data, run: Run, version: str) -> Verdict:
    """The champion changes if weighted F1 is strictly higher on the same rows, now."""
    verdict = retraining.promote(settings, data, run, version)
    show_table("verdict", {**verdict.facts(), "evidence": "; ".join(verdict.evidence)})
    if verdict.comparison:
        show_markdown("comparison", comparison_page(verdict.comparison))
    if verdict.promoted:
        _announce(settings.tracking, verdict, run)
    return verdict


@stage("Describe")
def describe(settings: Settings, data: Data, run: Run, results: Results, attempt: Attempt) -> None:
    """Report and model card."""
    show_markdown("card", retraining.describe(settings, data, run, results, attempt).to_description())


def _where(report: ValidationReport, name: str, tracking: TrackingSettings, run: Run) -> str:
    """Where Great Expectations' page is: a link if MLflow is a server, which Prefect's page can lead to."""
    path = recording.validation_page(report, name)
    if page := _page_of(run, tracking):
        return f"[Each expectation]({page}/artifacts/{quote(path)})"
    return f"Each expectation: `{path}` among the artifacts of run {run.id}."


def _page_of(run: Run, tracking: TrackingSettings) -> str:
    """The page of a run, if MLflow is a server; else empty."""
    server = str(tracking.uri)
    return f"{server}/#/experiments/{run.experiment_id}/runs/{run.id}" if server.startswith("http") else ""


def _announce(tracking: TrackingSettings, verdict: Verdict, run: Run) -> None:
    """Say on the server that there is a new champion, why, and where to look."""
    links = [str(flow_run.ui_url or "")]
    if page := _page_of(run, tracking):
        links += [page, f"{tracking.uri}/#/models/{tracking.model_name}/versions/{verdict.version}"]
    emit_event(
        PROMOTED,
        resource={
            "prefect.resource.id": f"jabert.model.{tracking.model_name}.{verdict.version}",
            "prefect.resource.name": f"{tracking.model_name} {verdict.version}",
        },
        payload={
            "reason": "; ".join([verdict.reason, *verdict.evidence]),
            "links": "\n".join(filter(None, links)),
        },
    )
