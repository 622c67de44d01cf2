"""Checks of encoder folder, feature store, work folder and MLflow store."""

import os
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

from jabert.config import Settings, TrackingSettings, local_database, local_path
from jabert.doctor.check import Check, absent, checked
from jabert.doctor.machine import nearest
from jabert.encoder import Tokenizer, folder_of
from jabert.encoder.inspection import check_weights
from jabert.errors import JabertError
from jabert.features.verification import list_partitions

if TYPE_CHECKING:
    from mlflow.entities import Experiment
    from mlflow.entities import Run as TrackedRun
    from mlflow.tracking import MlflowClient


def encoder(settings: Settings) -> Check:
    """Whether the encoder folder is complete and its files match."""
    from jabert.tracking import with_local_encoder

    path, database = settings.encoder.path, local_database(str(settings.tracking.uri))
    if path is None:
        return absent("encoder", "encoder.path is not set; add --set encoder.path=… to check a folder")
    try:
        if path.startswith("runs:/") and database and not database.exists():  # connecting would create it
            raise JabertError(f"encoder.path {path}: there are no runs, for {database} does not exist")
        folder = folder_of(with_local_encoder(settings).encoder)
        check_weights(folder)
        Tokenizer(folder, settings.encoder)
    except JabertError as error:
        return checked("encoder", str(error), "repair the folder, or set encoder.path to another one")
    config = folder.config
    sizes = f"{config.num_hidden_layers} layers of {config.hidden_size}, {config.vocab_size} pieces"
    return checked("encoder", f"{path}: {sizes}")


def features(path: str) -> Check:
    """What is in the feature store, and whether it is writable."""
    try:
        partitions = list_partitions(Path(path))
    except JabertError as error:
        return checked("features", str(error), "repair the store, or set features.path to another folder")
    rows, size = (sum(partition[name] or 0 for partition in partitions) for name in ("rows", "bytes"))
    contents = f"encoders: {len(partitions)}, rows: {rows:,}, {size / 1e6:.1f} MB"
    return _writable("features", Path(path), contents, "features.path")


def work(path: str) -> Check:
    """The unfinished runs in the work folder, and whether it is writable."""
    folders = [found for name in ("*/table.parquet", "pretrain-*/") for found in Path(path).glob(name)]
    changed = [found.stat().st_mtime for found in folders]
    contents = f"unfinished runs: {len(changed)}"
    if changed:
        oldest = datetime.fromtimestamp(min(changed))
        contents += f", the oldest of {oldest:%Y-%m-%d %H:%M}; repeat a command to resume it, or delete them"
    return _writable("work folder", Path(path), contents, "training.work_path")


def _writable(what: str, path: Path, contents: str, setting: str) -> Check:
    found = f"{path}: {contents}" if path.exists() else f"{path} does not exist yet; the first run creates it"
    folder = nearest(path)
    writable = folder.is_dir() and os.access(folder, os.W_OK)
    remedy = f"{folder} cannot be written to: set {setting} to another folder"
    return checked(what, found, "" if writable else remedy)


def tracking(settings: TrackingSettings) -> Iterator[Check]:
    """Whether the MLflow store answers, its artifacts exist, and there is a champion."""
    from jabert.tracking import connect

    uri = str(settings.uri)
    database = local_database(uri)
    if database and not database.exists():  # connecting would create it
        contents = "no store yet; the first run creates it"
        yield _writable("MLflow store", database.parent, contents, "tracking.uri")
        return
    try:
        client = connect(settings)
    except JabertError as error:
        remedy = "start the server or repair the store, or use another with --set tracking.uri=…"
        yield checked("MLflow store", str(error), remedy)
        return
    experiment = client.get_experiment_by_name(settings.experiment)
    import mlflow  # after `connect`, which sets MLflow's environment

    ids = [experiment.experiment_id] if experiment else []
    runs = mlflow.search_runs(ids, max_results=sys.maxsize, output_format="list") if ids else []
    yield checked("MLflow store", f"{uri}: runs in experiment {settings.experiment!r}: {len(runs)}")
    if experiment:
        yield _artifacts(experiment, runs, settings.artifacts)
    yield _champion(client, settings.model_name)


def _artifacts(experiment: "Experiment", runs: "list[TrackedRun]", setting: str | None) -> Check:
    """Whether the artifacts exist: their paths are absolute, so they are lost when the store is moved."""
    # Every run writes its settings, so a finished run without a folder has lost it.
    finished = [run.info.artifact_uri for run in runs if run.info.status == "FINISHED"]
    gone = sum(_is_gone(uri) for uri in finished)
    folder, wanted = local_path(experiment.artifact_location), local_path(setting)
    lost = f"finished runs that have lost them: {gone} of {len(finished)}"
    if folder is None or wanted is None or folder.resolve() == wanted.resolve():
        remedy = "restore them from a backup, or delete these runs in `jabert ui`"
        return checked("artifacts", f"{experiment.artifact_location}: {lost}", remedy if gone else "")
    differs = f"keeps them at {folder}, but tracking.artifacts is {wanted}"
    if not gone:
        other = "or set another tracking.experiment: the folder of an experiment cannot be changed"
        remedy = f"--set tracking.artifacts={folder}, {other}"
    else:
        link = f"mkdir -p {quote(str(folder.parent))} && ln -s {quote(str(wanted))} {quote(str(folder))}"
        remedy = f"link the old folder to the new one: {link}"
        if folder.exists():
            remedy = f"move the contents of {folder} to {wanted}, delete {folder}, then {remedy}"
    return checked("artifacts", f"experiment {experiment.name!r} {differs}; {lost}", remedy)


def _champion(client: "MlflowClient", name: str) -> Check:
    from jabert.registry.moves import read_state
    from jabert.tracking import how_to_begin

    champion = read_state(client, name).champion
    if champion is None:
        return absent("champion", f"model {name!r} has none yet; {how_to_begin(client)}")
    uri = client.get_model_version_download_uri(name, champion)
    if not _is_gone(uri):
        return checked("champion", f"version {champion} of model {name!r}")
    remedy = "restore its files, or go back to the previous version: `jabert models rollback`"
    return checked("champion", f"version {champion} of model {name!r}: {uri} is gone", remedy)


def _is_gone(uri: str) -> bool:
    path = local_path(uri)
    return path is not None and not path.exists()
