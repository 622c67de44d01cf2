"""Provenance of a result: versions, commit and machine."""

import os
import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

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


def provenance() -> dict[str, str]:
    """Versions, commit and machine as tags of a run."""
    commit = _git_commit()
    return {
        "jabert": version("jabert"),
        "python": platform.python_version(),
        "machine": f"{platform.platform()}, {os.cpu_count()} cores",
        "mlflow.source.name": Path(sys.argv[0]).name,
        "mlflow.source.type": "LOCAL",
        **({"mlflow.source.git.commit": commit} if commit else {}),
        **{f"library.{name}": version(name) for name in _LIBRARIES},
    }


def _git_commit() -> str | None:
    """Commit of the checkout that jabert runs from; None if it is not a checkout or git is missing."""
    command = ["git", "--git-dir", str(Path(__file__).parents[2] / ".git"), "rev-parse", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
