"""The MLflow store: reached or made, its experiments and what runs are in them."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jabert.config import TrackingSettings, is_url, local_database
from jabert.errors import JabertError, reason_of
from jabert.files import exclusive

if TYPE_CHECKING:
    from mlflow.entities import Run as TrackedRun
    from mlflow.tracking import MlflowClient

__all__ = ["connect", "find_run", "list_runs", "open_experiment"]

_ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # stdout is for jabert's own result
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",  # MLflow's 7 take minutes to say that a server is away
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
}


def connect(settings: TrackingSettings) -> "MlflowClient":
    """A client of the tracking store, which is made if it is a local one that does not exist yet.

    Raises:
        JabertError: the store cannot be reached; names `tracking.uri`.
    """
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    from mlflow.exceptions import MlflowException
    from mlflow.tracking import MlflowClient
    from sqlalchemy.exc import SQLAlchemyError

    uri = str(settings.uri)
    try:
        with _made_whole(local_database(uri)):
            _use_store(uri)
            client = MlflowClient(uri, uri)
            client.search_experiments(max_results=1)
    except (MlflowException, SQLAlchemyError, OSError, JabertError) as error:
        raise JabertError(
            f"tracking.uri {uri}: the MLflow store cannot be reached ({reason_of(error)})"
        ) from error
    return client


@contextmanager
def _made_whole(database: Path | None) -> Iterator[None]:
    """Let one process at a time make a database that is not there, and begin anew where one was killed at it.

    MLflow makes the tables one by one, which takes seconds, and cannot go on with some of them. While that
    lasts a file beside the database says so.
    """
    if database is None:
        yield
        return
    unfinished = database.with_name(f".{database.name}.unfinished")
    if database.exists() and not unfinished.exists():
        yield
        return
    with exclusive(unfinished.with_suffix(".lock"), "another process makes the MLflow store; waiting for it"):
        if unfinished.exists():
            _put_aside(database)
        if database.exists():
            yield
            return
        unfinished.touch()
        yield
        unfinished.unlink()


def _put_aside(database: Path) -> None:
    """Make room for another; moved and not deleted, in case somebody has put something into it since."""
    for ending in ("", "-journal", "-wal", "-shm"):
        part = database.with_name(database.name + ending)
        if part.exists():
            part.replace(part.with_name(f"unfinished-{part.name}"))


def _use_store(uri: str) -> None:
    """Make MLflow's global functions use the store, in this process and not in its environment."""
    import mlflow

    before = os.environ.get("MLFLOW_TRACKING_URI")
    mlflow.set_tracking_uri(uri)  # also sets the variable, which would become the default of later settings
    mlflow.set_registry_uri(uri)
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    if before is not None:
        os.environ["MLFLOW_TRACKING_URI"] = before


def open_experiment(client: "MlflowClient", settings: TrackingSettings) -> str:
    """The id of the experiment of the settings, which is made if it is not there.

    Raises:
        JabertError: it was deleted.
    """
    experiment = client.get_experiment_by_name(settings.experiment)
    if experiment is None:
        return _create_experiment(client, settings)
    if experiment.lifecycle_stage == "deleted":
        raise JabertError(
            f"tracking.experiment {settings.experiment!r} was deleted in MLflow; restore it or name another"
        )
    return experiment.experiment_id


def _create_experiment(client: "MlflowClient", settings: TrackingSettings) -> str:
    from mlflow.exceptions import MlflowException

    location = settings.artifacts and _artifact_uri(settings.artifacts)
    try:
        return client.create_experiment(settings.experiment, artifact_location=location)
    except MlflowException:
        experiment = client.get_experiment_by_name(settings.experiment)
        if experiment is None:
            raise
        return experiment.experiment_id  # another process was quicker


def _artifact_uri(location: str) -> str:
    return location if is_url(location) else Path(location).as_uri()


def find_run(settings: TrackingSettings, tags: Mapping[str, str]) -> "TrackedRun | None":
    """The newest finished run of the experiment that has these tags, None if there is none.

    Args:
        settings: name store and experiment.
        tags: with their values, which hold no quotation mark.

    Raises:
        JabertError: the store cannot be reached.
    """
    client = connect(settings)
    experiment = client.get_experiment_by_name(settings.experiment)
    if experiment is None:
        return None
    wanted = ["attributes.status = 'FINISHED'", *(f"tags.{name} = '{value}'" for name, value in tags.items())]
    order = ["attributes.start_time DESC"]
    runs = client.search_runs([experiment.experiment_id], " AND ".join(wanted), order_by=order, max_results=1)
    return runs[0] if runs else None


def list_runs(client: "MlflowClient", experiment: str, limit: int) -> list[dict[str, Any]]:
    """The runs of an experiment, newest first, at most `limit`, JSON-ready; none if there is no experiment.

    `started` is in ISO 8601 with the local offset; `seconds` is None while a run goes on; `reason` says
    why the model was promoted or kept, or what stopped the run.
    """
    found = client.get_experiment_by_name(experiment)
    if found is None:
        return []
    runs = client.search_runs(
        [found.experiment_id], order_by=["attributes.start_time DESC"], max_results=limit
    )
    return [_describe_run(run) for run in runs]


def _describe_run(run: "TrackedRun") -> dict[str, Any]:
    info, tags, metrics = run.info, run.data.tags, run.data.metrics
    started = datetime.fromtimestamp(info.start_time / 1000).astimezone()
    return {
        "run_id": info.run_id,
        "name": info.run_name,
        "status": info.status,
        "started": started.isoformat(timespec="seconds"),
        "seconds": round((info.end_time - info.start_time) / 1000, 1) if info.end_time else None,
        "weighted_f1": metrics.get("test/weighted_f1"),
        "version": tags.get("version"),
        "promoted": tags["promoted"] == "true" if "promoted" in tags else None,
        "reason": tags.get("reason") or tags.get("error"),
    }
