"""One MLflow run, from its first parameter to a status that is true."""

import json
import logging
import time
import traceback
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from jabert.config import Settings, is_url
from jabert.errors import reason_of
from jabert.files import digest_of_json, exclusive
from jabert.logs import shown
from jabert.process import raise_missed_signals, with_last_words
from jabert.safe import printable
from jabert.tracking.full import told_if_full
from jabert.tracking.provenance import provenance
from jabert.tracking.store import DATASET_DIGEST, connect, get_or_none, open_experiment

if TYPE_CHECKING:
    import pandas as pd
    from mlflow.tracking import MlflowClient

log = logging.getLogger("jabert")

_SIGN_OF_LIFE = "sign_of_life"


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
        self._last_step = -1

    def rename(self, name: str) -> None:
        """Give the run another name in the UI."""
        self.client.update_run(self.id, name=name)

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

    def metrics_once(self, values: Mapping[str, float], step: int) -> None:
        """Log a step of the run's one series of metrics, unless a first try of the stage has logged it."""
        if step > self._last_step:
            self.metrics(values, step)
            self._last_step = step

    def text(self, name: str, text: str) -> None:
        """Write a text file among the artifacts, with escapes for control characters; a table as it is."""
        self.client.log_text(self.id, text if name.endswith(".csv") else printable(text), name)

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
        model = get_or_none(lambda: self.client.get_logged_model(uri.removeprefix("models:/")))
        return model is not None and model.status == "READY"

    def dataset(self, table: "pd.DataFrame", source: str, digest: str, context: str) -> None:
        """Record the rows of one split as an input of the run."""
        from mlflow.entities import Dataset, DatasetInput, InputTag

        # The entity itself: mlflow.data would guess the kind of source and warn that it has two guesses.
        dataset = Dataset(
            name=context,
            digest=digest[:DATASET_DIGEST],
            source_type="remote" if is_url(source) else "local",
            source=json.dumps({"uri": source}),
            schema=json.dumps({"mlflow_colspec": [{"name": name, "type": "string"} for name in table]}),
            profile=json.dumps({"num_rows": len(table)}),
        )
        tags = [InputTag("mlflow.data.context", context)]
        self.client.log_inputs(self.id, [DatasetInput(dataset, tags)])

    def end_killed(self, run_id: str) -> None:
        """Give another run the status KILLED if it still says that it is running: its process is gone."""
        other = get_or_none(lambda: self.client.get_run(run_id))  # None: another store, or deleted for good
        if other and other.info.status == "RUNNING":
            self.client.set_terminated(run_id, "KILLED")

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a stage; its seconds are kept in `seconds` and logged as `seconds/<name>`."""
        started = time.perf_counter()
        self.tags({"stage": name})
        yield
        self.seconds[name] = round(time.perf_counter() - started, 3)
        self.metrics({f"seconds/{name}": self.seconds[name]})


def name_of(settings: Settings) -> str:
    """Recipe and method, the first words of a run's name."""
    return f"{Path(settings.recipe).stem or 'own'} {settings.method.kind}"


@contextmanager
def tracked_run(settings: Settings, tags: Mapping[str, Any] | None = None) -> Iterator[Run]:
    """Record a run of `settings`; its status at the end is FINISHED, FAILED or KILLED, as it was.

    Args:
        settings: logged as parameters and as the artifact `config.toml`, a recipe that repeats the run.
        tags: further tags, e.g. a link to the orchestrator's page.

    Raises:
        JabertError: the store cannot be reached.
    """
    with told_if_full(settings), ExitStack() as held:
        client = connect(settings.tracking)
        experiment = open_experiment(client, settings.tracking)
        sign = held.enter_context(_sign_of_life(settings, client, experiment))
        created = client.create_run(experiment, run_name=name_of(settings), tags={_SIGN_OF_LIFE: sign.name})
        run = Run(client, created.info.run_id, experiment)
        with _true_status(run, sign), told_if_full(settings), raise_missed_signals():
            run.tags({**provenance(), **(tags or {}), "config_digest": settings.digest()})
            run.params(settings.flat())
            run.text("config.toml", settings.to_toml())
            if settings.note:
                run.tags({"mlflow.note.content": settings.note})
            yield run


@dataclass
class _Sign:
    """A lock that is held for as long as the process of a run lives.

    Attributes:
        name: of the lock.
        untold: the status of the run, if that could not be told to the store.
    """

    name: str
    untold: str | None = None


@contextmanager
def _sign_of_life(settings: Settings, client: "MlflowClient", experiment: str) -> Iterator[_Sign]:
    """Hold a lock for as long as this process lives; end the runs of processes that died before they told it.

    The kernel frees the lock of a process that is killed at any moment. One that could not tell the status of
    its run leaves the lock too, with the status in its name.
    """
    from mlflow.exceptions import MlflowException

    store = digest_of_json([settings.tracking.uri, experiment])[:12]
    folder = Path(settings.training.work_path) / "living"
    for left in folder.glob(f"{store}-*.lock"):
        with suppress(Timeout), FileLock(left, timeout=0):
            name, _, status = left.stem.partition(".")
            _end_runs(client, experiment, name, status or "KILLED")
            left.unlink(missing_ok=True)
    lock = folder / f"{store}-{uuid.uuid4().hex}.lock"
    with exclusive(lock, waiting=""):  # nobody else has it
        sign = _Sign(lock.stem)
        end_run = partial(_end_runs, client, experiment, sign.name, "KILLED")
        try:
            with with_last_words(end_run):
                yield sign
        except BaseException:
            with suppress(MlflowException, OSError):  # the store may be what failed: the next run does it
                if not sign.untold:
                    end_run()  # if it was interrupted while it was created or ended
                _leave(lock, sign)
            raise
        _leave(lock, sign)


def _leave(lock: Path, sign: _Sign) -> None:
    """Remove the lock, or leave it with the status that the next run is to tell."""
    if sign.untold:
        lock.replace(lock.with_suffix(f".{sign.untold}.lock"))
    else:
        lock.unlink(missing_ok=True)


def _end_runs(client: "MlflowClient", experiment: str, sign: str, status: str) -> None:
    """End the runs, one at most, whose process had this sign of life."""
    wanted = f"attributes.status = 'RUNNING' AND tags.{_SIGN_OF_LIFE} = '{sign}'"
    for run in client.search_runs([experiment], wanted):
        client.set_terminated(run.info.run_id, status)


@contextmanager
def _true_status(run: Run, sign: _Sign) -> Iterator[None]:
    """Give the run the status that it has at the end of the block."""
    try:
        yield
    except Exception as error:
        with suppress(Exception):  # the store may be what failed: `error` is raised on
            run.tags({"error": shown(f"{type(error).__name__}: {error}")[:5000]})
            run.text("error.txt", shown("".join(traceback.format_exception(error))))
        _tell(run, "FAILED", sign)
        raise
    except BaseException as stop:  # Ctrl-C, SIGTERM: not an error of the run
        traceback.clear_frames(stop.__traceback__)  # a cursor in one of them would keep SQLite's file locked
        _tell(run, "KILLED", sign)
        raise
    _tell(run, "FINISHED", sign)


def _tell(run: Run, status: str, sign: _Sign) -> None:
    """End a run with its status; if that fails, as on a full disk, the next run tells it."""
    try:
        run.client.set_terminated(run.id, status)
    except Exception as error:
        sign.untold = status
        log.warning(
            "run %s is %s, as the next run will tell the store (%s)", run.id, status, reason_of(error)
        )
