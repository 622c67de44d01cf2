"""The MLflow store: connect to it, its experiments and runs."""

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from datetime import datetime
from pathlib import Path, PurePosixPath
from shlex import quote
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, TypeVar

from jabert.config import TrackingSettings, is_url, local_database, local_path, revealed
from jabert.errors import JabertError, reason_of
from jabert.files import exclusive
from jabert.sockets import reach_directly
from jabert.tracking.full import is_full

if TYPE_CHECKING:
    from mlflow.entities import Experiment
    from mlflow.entities import Run as TrackedRun
    from mlflow.tracking import MlflowClient

DATASET_DIGEST = 32
"""Characters of a digest that a dataset of a run has; MLflow's database takes 36."""

FIRST_RUN = "`jabert retrain --recipe sample` makes one of texts that come with jabert"
"""What to do where there is no run or model yet."""

T = TypeVar("T")
_NAMED_MODELS = 5
_MOST_RUNS = 50_000  # that MLflow searches at a time
_KIND, _TRAINING = "mlflow.experimentKind", "custom_model_development"
_ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # stdout is for the result of a command
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",  # with MLflow's 7, a missing server is reported after minutes
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "PGCONNECT_TIMEOUT": "10",  # seconds; libpq would wait for ever for what accepts and does not answer
}


def connect(settings: TrackingSettings) -> "MlflowClient":
    """Connect to the MLflow store; a local one is created if it does not exist yet.

    Raises:
        JabertError: the store cannot be reached, or its database was emptied; names `tracking.uri`.
    """
    reach_directly()
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    import mlflow
    from mlflow.exceptions import MlflowException
    from mlflow.tracking import MlflowClient
    from sqlalchemy.exc import SQLAlchemyError

    # Again: where MLflow was imported before, the variable came too late.
    logging.getLogger("mlflow").setLevel(os.environ["MLFLOW_LOGGING_LEVEL"])
    uri, whole = str(settings.uri), revealed(settings.uri or "")
    database = local_database(uri)
    if database:
        _refuse_emptied(database, local_path(settings.artifacts))
    try:
        with _created_completely(database) if database else nullcontext():
            # MLflow's global functions use the store too, without a change of the environment.
            before = os.environ.get("MLFLOW_TRACKING_URI")
            mlflow.set_tracking_uri(whole)  # also sets the variable, the default of later settings
            mlflow.set_registry_uri(whole)
            os.environ.pop("MLFLOW_TRACKING_URI", None)
            if before is not None:
                os.environ["MLFLOW_TRACKING_URI"] = before
            client = MlflowClient(whole, whole)
            client.search_experiments(max_results=1)
    except (MlflowException, SQLAlchemyError, OSError, JabertError) as error:
        reason = "the disk is full" if is_full(error) else reason_of(error)
        raise JabertError(f"tracking.uri {uri}: the MLflow store cannot be reached ({reason})") from error
    return client


def _refuse_emptied(database: Path, artifacts: Path | None) -> None:
    """Refuse a database of 0 bytes whose runs have left files: to SQLite it is a new one."""
    if not database.is_file() or database.stat().st_size or _unfinished(database).exists():
        return
    if artifacts and artifacts.is_dir() and any(artifacts.iterdir()):
        raise JabertError(
            f"{database} is empty, though {artifacts} holds files of runs that it knew: restore it from a "
            "backup, or move both away to begin anew"
        )


def _unfinished(database: Path) -> Path:
    """A file beside a database while its tables are created."""
    return database.with_name(f".{database.name}.unfinished")


@contextmanager
def _created_completely(database: Path) -> Iterator[None]:
    """Let one process at a time create a database, and start over if a process was killed in between.

    MLflow creates the tables one by one, which takes seconds, and cannot resume that. Meanwhile a marker file
    is next to the database.
    """
    unfinished = _unfinished(database)
    if database.exists() and not unfinished.exists():
        yield
        return
    waiting = "another process creates the MLflow store; waiting for it"
    with exclusive(unfinished.with_suffix(".lock"), waiting):
        if unfinished.exists():
            # The database is renamed, not deleted, in case something was written to it since.
            for part in [database.with_name(database.name + end) for end in ("", "-journal", "-wal", "-shm")]:
                if part.exists():
                    part.replace(part.with_name(f"unfinished-{part.name}"))
        if not database.exists():
            unfinished.touch()
        yield
        unfinished.unlink(missing_ok=True)


def get_or_none(get: Callable[[], T], *, invalid: bool = False) -> T | None:
    """What `get` reads from the store, None if there is no such thing.

    Args:
        get: calls a method of the client once.
        invalid: return None also for an invalid argument, as which MLflow reports e.g. a missing alias.

    Raises:
        MlflowException: the store does not answer.
    """
    from mlflow.exceptions import MlflowException

    try:
        return get()
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE" if invalid else ""):
            raise
        return None


def open_experiment(client: "MlflowClient", settings: TrackingSettings) -> str:
    """Id of the experiment of the settings, which is created if it does not exist.

    It is marked as one of models that are trained, so that the UI does not open in its view for GenAI.

    Raises:
        JabertError: the experiment was deleted, or would be made with a secret in its location.
    """
    found = _experiment(client, settings)
    if (found.tags or {}).get(_KIND) != _TRAINING:
        client.set_experiment_tag(found.experiment_id, _KIND, _TRAINING)
    return found.experiment_id


def _experiment(client: "MlflowClient", settings: TrackingSettings) -> "Experiment":
    from mlflow.exceptions import MlflowException

    experiment = client.get_experiment_by_name(settings.experiment)
    if experiment is None:
        location = settings.artifacts
        if location and revealed(location) != str(location):
            raise JabertError(
                f"tracking.artifacts {location} holds a secret, which MLflow would write into its database; "
                "give the place alone, and its credentials as the file system takes them, e.g. in variables "
                "of the environment"
            )
        if location and not is_url(location):
            location = Path(location).as_uri()
        try:
            created = client.create_experiment(settings.experiment, artifact_location=location)
            return client.get_experiment(created)
        except MlflowException:
            experiment = client.get_experiment_by_name(settings.experiment)
            if experiment is None:
                raise
            return experiment  # another process has just created it
    if experiment.lifecycle_stage == "deleted":
        raise JabertError(
            f"tracking.experiment {settings.experiment!r} was deleted in MLflow; restore it or name another"
        )
    return experiment


def read_artifact(client: "MlflowClient", run_id: str, name: str) -> bytes | None:
    """Contents of an artifact of a run, None if the run has none of that name."""
    parent = str(PurePosixPath(name).parent)
    listed = client.list_artifacts(run_id, None if parent == "." else parent)
    if name not in {file.path for file in listed}:
        return None
    with TemporaryDirectory() as folder:
        return Path(client.download_artifacts(run_id, name, folder)).read_bytes()


def find_run(settings: TrackingSettings, tags: Mapping[str, str]) -> "TrackedRun | None":
    """The newest finished run of the experiment that has these tags, None if there is none.

    Args:
        settings: store and experiment.
        tags: values by name; a value must not contain quotation marks.

    Raises:
        JabertError: the store cannot be reached.
    """
    wanted = ["attributes.status = 'FINISHED'", *(f"tags.{name} = '{value}'" for name, value in tags.items())]
    return next(iter(_newest_runs(connect(settings), settings.experiment, 1, " AND ".join(wanted))), None)


def versions_judged(client: "MlflowClient", experiment_id: str, model_name: str, digest: str) -> set[str]:
    """Numbers of the versions of a model that runs of an experiment judged on the same rows.

    Args:
        client: of the store.
        experiment_id: of the experiment.
        model_name: of the registered model.
        digest: of the rows, as for `Run.dataset`.
    """
    wanted = f"datasets.digest = '{digest[:DATASET_DIGEST]}' AND tags.model_name = '{model_name}'"
    runs = client.search_runs([experiment_id], wanted, max_results=_MOST_RUNS)
    return {run.data.tags["version"] for run in runs if {"promotion", "version"} <= run.data.tags.keys()}


def list_runs(client: "MlflowClient", experiment: str, limit: int) -> list[dict[str, Any]]:
    """List the newest runs of an experiment, at most `limit`, as `jabert runs --json` does.

    `started` is in ISO 8601 with the local offset; `seconds` is None while the run goes on; `reason` says why
    the model was promoted or kept, or what stopped the run. What the run did not record is None.
    """
    runs = [(run.info, run.data.tags, run.data.metrics) for run in _newest_runs(client, experiment, limit)]
    return [
        {
            "run_id": info.run_id,
            "name": info.run_name,
            "status": info.status,
            "started": datetime.fromtimestamp(info.start_time // 1000).astimezone().isoformat(),
            "seconds": round((info.end_time - info.start_time) / 1000, 1) if info.end_time else None,
            "weighted_f1": metrics.get("test/weighted_f1"),
            "version": tags.get("version"),
            "promoted": tags["promoted"] == "true" if "promoted" in tags else None,
            "reason": tags.get("reason") or tags.get("error"),
        }
        for info, tags, metrics in runs
    ]


def _newest_runs(client: "MlflowClient", experiment: str, limit: int, wanted: str = "") -> "list[TrackedRun]":
    found = client.get_experiment_by_name(experiment)
    order = ["attributes.start_time DESC"]
    return client.search_runs([found.experiment_id], wanted, 1, limit, order) if found else []


def how_to_begin(client: "MlflowClient") -> str:
    """What to do where a model is asked for that has no version: name those there are, or make one."""
    names = [model.name for model in client.search_registered_models(max_results=_NAMED_MODELS)]
    if names:
        listed = ", ".join(f"--set tracking.model_name={quote(name)}" for name in sorted(names))
        return f"what there is: {listed}"
    return f"{FIRST_RUN}, and `jabert retrain --set data.path=… --set encoder.path=…` one of your own"
