"""What `jabert models promote` does: the gate, by hand."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from jabert.config import Settings
from jabert.dataset import class_shares, read_corpus
from jabert.errors import JabertError
from jabert.experiments.recording import record_comparison, record_verdict
from jabert.experiments.retraining import judged_before
from jabert.registry import Gate, Registry, Verdict, open_registry
from jabert.tracking import Run

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion


def promote(settings: Settings, version: str, *, force: bool) -> Verdict:
    """Judge a version by hand on the test rows of the settings' data; it is recorded in the version's run.

    Args:
        settings: name the registered model and the data.
        version: of the registered model.
        force: promote it whatever the comparison says; the smoke check holds all the same.

    Raises:
        JabertError: there is no such version, it is the champion already, or the data cannot be read.
    """
    registry = open_registry(settings)
    entry = registry.get(version)
    run = _run_of(entry, registry)
    table = read_corpus(settings.data).table
    rows = table[table["split"] == "test"].reset_index(drop=True)
    folder = f"promotion/by hand {datetime.now(UTC):%Y-%m-%d %H-%M-%S}"
    gate = Gate(
        registry,
        rows,
        settings.promotion,
        record=lambda verdict: record_comparison(verdict, run, folder),
        shares=class_shares(table),
        seed=settings.data.seed,
        judged_before=judged_before(table[table["split"] == "test"], settings, run, str(entry.version)),
    )
    verdict = gate.judge(str(entry.version), force=force)
    record_verdict(verdict, settings.note, registry.history(), run)
    return verdict


def _run_of(entry: "ModelVersion", registry: Registry) -> Run:
    """The run that judged a version, else the one that made it."""
    run_id = entry.tags.get("judged_in", entry.run_id)
    if not run_id:
        raise JabertError(
            f"version {entry.version} of {registry.name!r} was not made by a run, so it cannot be judged; "
            "`jabert retrain` makes one that can"
        )
    return Run(registry.client, run_id, registry.client.get_run(run_id).info.experiment_id)
