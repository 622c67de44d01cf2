"""Runs and models in MLflow."""

from jabert.tracking.attempt import Attempt
from jabert.tracking.fetching import load_model, with_local_encoder
from jabert.tracking.provenance import provenance
from jabert.tracking.run import Run, tracked_run
from jabert.tracking.store import connect, find_run, get_or_none, list_runs

__all__ = [
    "Attempt",
    "Run",
    "connect",
    "find_run",
    "get_or_none",
    "list_runs",
    "load_model",
    "provenance",
    "tracked_run",
    "with_local_encoder",
]
