"""Encoder, feature store, work folder, MLflow store: what jabert reads and keeps."""

import os
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

from jabert.config import Settings, TrackingSettings, local_database, local_path
from jabert.doctor.check import Check, checked
from jabert.doctor.machine import nearest
from jabert.encoder import EncoderFolder, Tokenizer, open_folder
from jabert.encoder.checkpoint import read_variables
from jabert.errors import JabertError, redacted
from jabert.features.verification import list_partitions

if TYPE_CHECKING:
    from mlflow.entities import Experiment
    from mlflow.entities import Run as TrackedRun
    from mlflow.tracking import MlflowClient

__all__ = ["encoder", "features", "tracking", "work"]


def encoder(settings: Settings) -> Check:
    """Whether the encoder folder is complete and its files fit each other."""
    if settings.encoder.path is None:
        return checked("encoder", "encoder.path is not set; with --set encoder.path=… it is checked")
    try:
        folder = _encoder_folder(settings)
        read_variables(folder)
        Tokenizer(folder, settings.encoder)
    except JabertError as error:
        return checked("encoder", str(error), "put that right, or set encoder.path to another folder")
    config = folder.config
    sizes = f"{config.num_hidden_layers} layers of {config.hidden_size}, {config.vocab_size} pieces"
    return checked("encoder", f"{settings.encoder.path}: {sizes}")


def _encoder_folder(settings: Settings) -> EncoderFolder:
    """The folder that `encoder.path` means, also one among a run's artifacts."""
    from jabert.tracking import with_local_encoder

    path, database = str(settings.encoder.path), local_database(str(settings.tracking.uri))
    if path.startswith("runs:/") and database and not database.exists():  # connecting would make it
        raise JabertError(f"encoder.path {path}: there are no runs, for {database} does not exist")
    return open_folder(with_local_encoder(settings).encoder.path)


def features(path: str) -> Check:
    """What the feature store holds, and whether more can be written."""
    try:
        spaces = list_partitions(Path(path))
    except JabertError as error:
        return checked("features", str(error), "put that right, or set features.path to another folder")
    rows, size = (sum(space[name] or 0 for space in spaces) for name in ("rows", "bytes"))
    held = f"encoders: {len(spaces)}, rows: {rows:,}, {size / 1e6:.1f} MB"
    return _writable("features", Path(path), held, "features.path")


def work(path: str) -> Check:
    """What killed runs have left; the same command goes on with one."""
    folders = [found for name in ("*/table.parquet", "pretrain-*/") for found in Path(path).glob(name)]
    left = [found.stat().st_mtime for found in folders]
    held = f"unfinished runs: {len(left)}"
    if left:
        oldest = datetime.fromtimestamp(min(left))
        held += f", the oldest of {oldest:%Y-%m-%d %H:%M}; the same command goes on with one, or delete them"
    return _writable("work folder", Path(path), held, "training.work_path")


def _writable(what: str, path: Path, held: str, setting: str) -> Check:
    found = f"{path}: {held}" if path.exists() else f"{path} is not there yet; the first run makes it"
    place = nearest(path)
    fits = place.is_dir() and os.access(place, os.W_OK)
    return checked(
        what, found, "" if fits else f"{place} cannot be written to: set {setting} to another place"
    )


def tracking(settings: TrackingSettings) -> Iterator[Check]:
    """Whether the MLflow store answers, its artifacts are where it says, and there is a champion."""
    from jabert.tracking import connect

    uri = str(settings.uri)
    database = local_database(uri)
    if database and not database.exists():  # connecting would make it
        yield _writable(
            "MLflow store", database.parent, "no store yet; the first run makes it", "tracking.uri"
        )
        return
    try:
        client = connect(settings)
    except JabertError as error:
        remedy = "make it reachable, or name another store with --set tracking.uri=…"
        yield checked("MLflow store", str(error), remedy)
        return
    experiment = client.get_experiment_by_name(settings.experiment)
    runs = _runs(client, experiment) if experiment else []
    yield checked("MLflow store", f"{redacted(uri)}: runs in experiment {settings.experiment!r}: {len(runs)}")
    if experiment:
        yield _artifacts(experiment, runs, settings.artifacts)
    yield _champion(client, settings.model_name)


def _runs(client: "MlflowClient", experiment: "Experiment") -> "list[TrackedRun]":
    runs: list[TrackedRun] = []
    token = None
    while page := client.search_runs([experiment.experiment_id], max_results=1000, page_token=token):
        runs += page
        token = page.token
        if not token:
            break
    return runs


def _artifacts(experiment: "Experiment", runs: "list[TrackedRun]", setting: str | None) -> Check:
    """The store keeps absolute paths, so after a move of its folder they are wrong."""
    # A run writes its settings first of all, so a finished one without a folder has lost it.
    finished = [run.info.artifact_uri for run in runs if run.info.status == "FINISHED"]
    gone = sum(_is_gone(uri) for uri in finished)
    place, wanted = local_path(experiment.artifact_location), local_path(setting)
    lost = f"finished runs that have lost them: {gone} of {len(finished)}"
    if place is None or wanted is None or place.resolve() == wanted.resolve():
        remedy = "put them back from a copy, or delete these runs in `jabert ui`"
        return checked("artifacts", f"{experiment.artifact_location}: {lost}", remedy if gone else "")
    found = (
        f"experiment {experiment.name!r} keeps them at {place}, but tracking.artifacts is {wanted}; {lost}"
    )
    if not gone:
        remedy = (
            f"--set tracking.artifacts={place}, or another tracking.experiment: an experiment keeps its place"
        )
    else:
        link = f"mkdir -p {quote(str(place.parent))} && ln -s {quote(str(wanted))} {quote(str(place))}"
        first = f"move what is in {place} to {wanted}, delete {place}, then " if place.exists() else ""
        remedy = f"{first}let the old place lead to the new: {link}"
    return checked("artifacts", found, remedy)


def _champion(client: "MlflowClient", name: str) -> Check:
    from jabert.registry import champion_of

    champion = champion_of(client, name)
    if champion is None:
        return checked("champion", f"model {name!r} has none yet; `jabert retrain` makes one")
    uri = client.get_model_version_download_uri(name, champion)
    if not _is_gone(uri):
        return checked("champion", f"version {champion} of model {name!r}")
    remedy = "put its files back, or go back to the version before: `jabert models rollback`"
    return checked("champion", f"version {champion} of model {name!r}: {uri} is gone", remedy)


def _is_gone(uri: str) -> bool:
    path = local_path(uri)
    return path is not None and not path.exists()
