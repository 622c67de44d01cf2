"""One MLflow run, from its first parameter to a status that is true."""

import atexit
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from jabert.config import Settings, TrackingSettings, is_url, local_database, local_path
from jabert.errors import JabertError, reason_of, redacted
from jabert.files import digest_of_json, exclusive

if TYPE_CHECKING:
    import pandas as pd
    from mlflow.entities import Run as TrackedRun
    from mlflow.pyfunc import PyFuncModel
    from mlflow.tracking import MlflowClient

__all__ = [
    "Run",
    "connect",
    "find_run",
    "list_runs",
    "load_model",
    "provenance",
    "tracked_run",
    "with_local_encoder",
]

_SIGN_OF_LIFE = "sign_of_life"
_LIBRARIES = (
    "tensorflow",
    "tf-keras",
    "keras-bert",
    "openvino",
    "sentencepiece",
    "mlflow",
    "scikit-learn",
    "numpy",
    "pandas",
)
_ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # stdout is for jabert's own result
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",  # MLflow's 7 take minutes to say that a server is away
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
}


class Run:
    """A run that is being recorded. Methods write at once; the run can be watched while it goes on.

    Attributes:
        client: of the tracking store.
        id: MLflow's run id.
        experiment_id: of the experiment that the run belongs to.
        seconds: duration of each finished stage.
    """

    def __init__(self, client: "MlflowClient", run_id: str, experiment_id: str) -> None:
        self.client = client
        self.id = run_id
        self.experiment_id = experiment_id
        self.seconds: dict[str, float] = {}

    def tags(self, values: Mapping[str, Any]) -> None:
        """Set tags."""
        for name, value in values.items():
            self.client.set_tag(self.id, name, str(value))

    def params(self, values: Mapping[str, Any]) -> None:
        """Log parameters; None is written as such."""
        from mlflow.entities import Param

        self.client.log_batch(self.id, params=[Param(name, str(value)) for name, value in values.items()])

    def metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        """Log metrics; names are ASCII, `/` groups them in the UI."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        metrics = [Metric(name, float(value), now, step) for name, value in values.items()]
        self.client.log_batch(self.id, metrics=metrics)

    def text(self, name: str, text: str) -> None:
        """Write a text file among the artifacts."""
        self.client.log_text(self.id, text, name)

    def json(self, name: str, value: Any) -> None:
        """Write a JSON file among the artifacts, Japanese text as it is."""
        self.client.log_dict(self.id, value, name)

    def folder(self, path: Path, name: str) -> None:
        """Copy a folder to the artifacts."""
        self.client.log_artifacts(self.id, str(path), name)

    def file(self, path: Path, folder: str) -> None:
        """Copy a file to a folder of the artifacts."""
        self.client.log_artifact(self.id, str(path), folder)

    def table(self, name: str, columns: Mapping[str, list[Any]]) -> None:
        """Write the run's table among the artifacts, a JSON file that the UI shows as one."""
        # Not MLflow's log_table, which appends to what an earlier try has written.
        rows = [list(row) for row in zip(*columns.values(), strict=True)]
        self.json(name, {"columns": list(columns), "data": rows})
        self.tags({"mlflow.loggedArtifacts": json.dumps([{"path": name, "type": "table"}])})

    def has_model(self, uri: str) -> bool:
        """Whether the store holds a logged model, whole."""
        from mlflow.exceptions import MlflowException

        try:
            return bool(self.client.get_logged_model(uri.removeprefix("models:/")).status == "READY")
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return False
            raise

    def dataset(self, table: "pd.DataFrame", source: str, digest: str, context: str) -> None:
        """Record the rows of one side of the split as an input of the run."""
        from mlflow.entities import Dataset, DatasetInput, InputTag

        # The entity itself: mlflow.data would guess the kind of source and warn that it has two guesses.
        dataset = Dataset(
            name=context,
            digest=digest[:32],
            source_type="remote" if is_url(source) else "local",
            source=json.dumps({"uri": source}),
            schema=json.dumps({"mlflow_colspec": [{"name": name, "type": "string"} for name in table]}),
            profile=json.dumps({"num_rows": len(table)}),
        )
        tags = [InputTag("mlflow.data.context", context)]
        self.client.log_inputs(self.id, [DatasetInput(dataset, tags)])

    def end_killed(self, run_id: str) -> None:
        """Give another run the status KILLED if it still says that it is running: its process is gone."""
        from mlflow.exceptions import MlflowException

        try:
            other = self.client.get_run(run_id)
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":  # another store, or deleted for good
                return
            raise
        if other.info.status == "RUNNING":
            self.client.set_terminated(run_id, "KILLED")

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a stage; its seconds are kept in `seconds` and logged as `seconds/<name>`."""
        started = time.perf_counter()
        self.tags({"stage": name})
        yield
        self.seconds[name] = round(time.perf_counter() - started, 3)
        self.metrics({f"seconds/{name}": self.seconds[name]})


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
    except (MlflowException, SQLAlchemyError, OSError) as error:
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


def with_local_encoder(settings: Settings, name: str = "encoder.path") -> Settings:
    """The settings with an encoder as a folder here if it is one of a run's artifacts, `runs:/…`.

    Artifacts that lie on this machine are used where they are; others are fetched once by each process,
    which removes them when it ends.

    Args:
        settings: those of a job.
        name: of the setting that is the encoder.

    Raises:
        JabertError: there is no such run or artifact; names the setting.
    """
    group, key = name.split(".")
    values = getattr(settings, group)
    uri = getattr(values, key)
    if uri is None or not uri.startswith("runs:/"):
        return settings
    from mlflow.exceptions import MlflowException

    try:
        folder = _fetched(uri, settings.tracking)
    except (MlflowException, OSError) as error:
        raise JabertError(f"{name} {uri} cannot be fetched from MLflow ({reason_of(error)})") from error
    return settings.model_copy(update={group: values.model_copy(update={key: folder})})


@cache
def _fetched(uri: str, store: TrackingSettings) -> str:
    """A folder of a run's artifacts on this machine."""
    from mlflow.artifacts import download_artifacts

    run_id, _, name = uri.removeprefix("runs:/").partition("/")
    artifacts = local_path(connect(store).get_run(run_id).info.artifact_uri)
    if artifacts and (artifacts / name).is_dir():  # MLflow would make a copy
        return str(artifacts / name)
    copy = tempfile.mkdtemp(prefix="jabert-encoder-")
    atexit.register(shutil.rmtree, copy, ignore_errors=True)
    return download_artifacts(artifact_uri=uri, dst_path=copy)


def load_model(uri: str) -> "PyFuncModel":
    """A logged or registered model in memory, from a copy that is gone when it is loaded.

    MLflow by itself leaves what it fetches from a server in the temporary folder, for good.

    Raises:
        Exception: whatever the store, the model's own code or its files come up with.
    """
    import mlflow.pyfunc

    with TemporaryDirectory(prefix="jabert-model-") as folder:
        loaded: PyFuncModel = mlflow.pyfunc.load_model(uri, dst_path=folder)
        return loaded


def _use_store(uri: str) -> None:
    """Make MLflow's global functions use the store, in this process and not in its environment."""
    import mlflow

    before = os.environ.get("MLFLOW_TRACKING_URI")
    mlflow.set_tracking_uri(uri)  # also sets the variable, which would become the default of later settings
    mlflow.set_registry_uri(uri)
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    if before is not None:
        os.environ["MLFLOW_TRACKING_URI"] = before


@contextmanager
def tracked_run(settings: Settings, tags: Mapping[str, Any] | None = None) -> Iterator[Run]:
    """Record a run of `settings`; its status at the end is FINISHED, FAILED or KILLED, as it was.

    Args:
        settings: logged as parameters and as the artifact `config.toml`, a recipe that repeats the run.
        tags: further tags, e.g. a link to the orchestrator's page.

    Raises:
        JabertError: the store cannot be reached.
    """
    client = connect(settings.tracking)
    experiment = _experiment(client, settings.tracking)
    with _sign_of_life(settings, client, experiment) as sign:
        name = f"{Path(settings.recipe).stem or 'run'} {settings.digest()[:6]}"
        created = client.create_run(experiment, run_name=name, tags={_SIGN_OF_LIFE: sign})
        with _true_status(run := Run(client, created.info.run_id, experiment)):
            run.tags({**provenance(), **(tags or {}), "config_digest": settings.digest()})
            run.params(settings.flat())
            run.text("config.toml", settings.to_toml())
            if settings.note:
                run.tags({"mlflow.note.content": settings.note})
            yield run


@contextmanager
def _sign_of_life(settings: Settings, client: "MlflowClient", experiment: str) -> Iterator[str]:
    """Hold a lock, whose name is yielded, for as long as this process lives; end the runs of those that died.

    The kernel frees the lock of a process that is killed at any moment.
    """
    store = digest_of_json([settings.tracking.uri, experiment])[:12]
    folder = Path(settings.training.work_path) / "living"
    for left in folder.glob(f"{store}-*.lock"):
        _end_if_dead(left, client, experiment)
    lock = folder / f"{store}-{uuid.uuid4().hex}.lock"
    with exclusive(lock, waiting=""):  # nobody else has it
        try:
            yield lock.stem
        finally:
            lock.unlink(missing_ok=True)


def _end_if_dead(left: Path, client: "MlflowClient", experiment: str) -> None:
    lock = FileLock(left)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return
    wanted = f"attributes.status = 'RUNNING' AND tags.{_SIGN_OF_LIFE} = '{left.stem}'"
    for run in client.search_runs([experiment], wanted):
        client.set_terminated(run.info.run_id, "KILLED")
    left.unlink(missing_ok=True)
    lock.release()


@contextmanager
def _true_status(run: Run) -> Iterator[None]:
    """End the run as FINISHED, FAILED or KILLED."""
    try:
        yield
    except Exception as error:
        _end_failed(run, error)
        raise
    except BaseException:  # Ctrl-C, SIGTERM: not an error of the run
        run.client.set_terminated(run.id, "KILLED")
        raise
    run.client.set_terminated(run.id, "FINISHED")


def _end_failed(run: Run, error: Exception) -> None:
    """Give a run the status FAILED, and before that its error as a tag and the traceback as `error.txt`."""
    from mlflow.exceptions import MlflowException

    try:
        with suppress(MlflowException, OSError):  # the store may be what failed: `error` itself is raised on
            run.tags({"error": redacted(f"{type(error).__name__}: {error}")[:5000]})
            run.text("error.txt", redacted("".join(traceback.format_exception(error))))
    finally:
        run.client.set_terminated(run.id, "FAILED")


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


def _experiment(client: "MlflowClient", settings: TrackingSettings) -> str:
    experiment = client.get_experiment_by_name(settings.experiment)
    if experiment is None:
        return _create_experiment(client, settings)
    if experiment.lifecycle_stage == "deleted":
        raise JabertError(
            f"tracking.experiment {settings.experiment!r} was deleted in MLflow; restore it or name another"
        )
    return experiment.experiment_id


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


def provenance() -> dict[str, str]:
    """Versions, commit and machine, by the names of a run's tags."""
    libraries = {f"library.{name}": version(name) for name in _LIBRARIES}
    commit = _git_commit()
    return {
        "jabert": version("jabert"),
        "python": platform.python_version(),
        "machine": f"{platform.platform()}, {os.cpu_count()} cores",
        "mlflow.source.name": Path(sys.argv[0]).name,
        "mlflow.source.type": "LOCAL",
        **({"mlflow.source.git.commit": commit} if commit else {}),
        **libraries,
    }


def _git_commit() -> str | None:
    """Commit of the checkout that jabert runs from, None where it is installed or git is missing."""
    checkout = Path(__file__).parents[1]
    if not (checkout / ".git").exists():
        return None
    try:
        command = ["git", "-C", str(checkout), "rev-parse", "HEAD"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
