"""The last stages of a retraining: the version is registered, judged, described."""

from prefect.events import emit_event
from prefect.runtime import flow_run
from prefect.transactions import Transaction, get_transaction

from flows.automations import PROMOTED
from flows.pages import show_markdown, show_table
from flows.stage import stage
from jabert.config import Settings, TrackingSettings
from jabert.errors import redacted
from jabert.experiments import retraining
from jabert.experiments.retraining import Data, Evaluated, Results
from jabert.registry import Verdict
from jabert.tracking import Run

__all__ = ["describe", "promote", "register"]


@stage("Register")
def register(settings: Settings, run: Run, evaluated: Evaluated) -> str:
    """A new version of the registered model."""
    version = retraining.register(settings, run, evaluated)
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
    show_table("verdict", verdict.facts())
    if verdict.comparison:
        show_markdown("comparison", verdict.comparison.to_markdown())
    if verdict.promoted:
        _announce(settings.tracking, verdict, run)
    return verdict


@stage("Describe")
def describe(settings: Settings, data: Data, run: Run, results: Results) -> None:
    """The model card."""
    show_markdown("card", retraining.describe(settings, data, run, results).to_description())


def _announce(tracking: TrackingSettings, verdict: Verdict, run: Run) -> None:
    """Say on the server that there is a new champion, why, and where to look."""
    links = [str(flow_run.ui_url or "")]
    if str(tracking.uri).startswith("http"):
        server = redacted(str(tracking.uri))
        links += [
            f"{server}/#/experiments/{run.experiment_id}/runs/{run.id}",
            f"{server}/#/models/{tracking.model_name}/versions/{verdict.version}",
        ]
    emit_event(
        PROMOTED,
        resource={
            "prefect.resource.id": f"jabert.model.{tracking.model_name}.{verdict.version}",
            "prefect.resource.name": f"{tracking.model_name} {verdict.version}",
        },
        payload={"reason": verdict.reason, "links": "\n".join(filter(None, links))},
    )
