"""Runs and models in MLflow."""

from jabert.tracking.attempt import Attempt
from jabert.tracking.fetching import (
    ANCHOR,
    anchor_of,
    differences,
    file_digests,
    load_model,
    model_files,
    parse_anchor,
    unchecked_files,
    with_local_encoder,
)
from jabert.tracking.full import told_if_full
from jabert.tracking.provenance import provenance
from jabert.tracking.run import Run, name_of, tracked_run
from jabert.tracking.signing import SIGNATURE, TrustedKey, sign, signer_of, trusted_keys
from jabert.tracking.store import (
    FIRST_RUN,
    connect,
    find_run,
    get_or_none,
    how_to_begin,
    list_runs,
    read_artifact,
    versions_judged,
)

__all__ = [
    "ANCHOR",
    "FIRST_RUN",
    "SIGNATURE",
    "Attempt",
    "Run",
    "TrustedKey",
    "anchor_of",
    "connect",
    "differences",
    "file_digests",
    "find_run",
    "get_or_none",
    "how_to_begin",
    "list_runs",
    "load_model",
    "model_files",
    "name_of",
    "parse_anchor",
    "provenance",
    "read_artifact",
    "sign",
    "signer_of",
    "told_if_full",
    "tracked_run",
    "trusted_keys",
    "unchecked_files",
    "versions_judged",
    "with_local_encoder",
]
