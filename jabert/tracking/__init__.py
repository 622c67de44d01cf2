"""Runs and models in MLflow."""

from jabert.tracking.attempt import Attempt
from jabert.tracking.fetching import (
    ANCHOR,
    anchor_of,
    differences,
    file_digests,
    load_model,
    model_files,
    unchecked_files,
    with_local_encoder,
)
from jabert.tracking.provenance import provenance
from jabert.tracking.run import Run, name_of, tracked_run
from jabert.tracking.store import connect, find_run, get_or_none, list_runs, read_artifact

__all__ = [
    "ANCHOR",
    "Attempt",
    "Run",
    "anchor_of",
    "connect",
    "differences",
    "file_digests",
    "find_run",
    "get_or_none",
    "list_runs",
    "load_model",
    "model_files",
    "name_of",
    "provenance",
    "read_artifact",
    "tracked_run",
    "unchecked_files",
    "with_local_encoder",
]
