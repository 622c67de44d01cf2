"""The smoke check: a version that is downloaded into a fresh process predicts what it did in its run."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from jabert.config import revealed
from jabert.redaction import redacted

_SCRIPT = Path(__file__).with_name("fresh_process.py")
_TOLERANCE = 1e-5  # absolute difference of a probability, for the same batch
_TIMEOUT_SECONDS = 600


def smoke_check(
    uri: str,
    store: str,
    texts: list[str],
    expected: pd.DataFrame,
    files: Mapping[str, str] | None = None,
) -> str | None:
    """Download a version into a fresh process and compare its predictions with the expected ones.

    Args:
        uri: URI of the version, `models:/name/version`.
        store: URI of the MLflow store.
        texts: the canary texts, one batch.
        expected: their probabilities in this process, one row per text, one column per label.
        files: the version's anchor, with which the fresh process compares what it downloads.

    Returns:
        None if they agree, else what is wrong, a sentence without a full stop.
    """
    with tempfile.TemporaryDirectory(prefix="jabert-smoke-") as folder:
        wanted = {"uri": uri, "store": revealed(store), "texts": texts, "files": files}
        command = [sys.executable, "-I", str(_SCRIPT), folder]
        try:
            answer = subprocess.run(
                command,
                input=json.dumps(wanted),  # in no file and on no command line: the store may have a password
                capture_output=True,
                text=True,
                timeout=_TIMEOUT_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return f"in a fresh process it gave no answer within {_TIMEOUT_SECONDS} seconds"
    if answer.returncode != 0:
        messages = [line for line in answer.stderr.splitlines() if line.strip()] or ["no message"]
        return f"in a fresh process it fails: {redacted(messages[-1].strip())[:300]}"
    got = pd.DataFrame(json.loads(answer.stdout.splitlines()[-1]))
    if sorted(got.columns) != sorted(expected.columns) or len(got) != len(expected):
        return "in a fresh process it gives other labels"
    off = float(np.abs(got[expected.columns].to_numpy() - expected.to_numpy()).max())
    if not off <= _TOLERANCE:  # also where it is NaN
        return f"in a fresh process its probabilities differ by {off:.1e}"
    return None
