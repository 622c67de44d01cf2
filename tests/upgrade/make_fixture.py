"""How `jabert-0.1.tar.xz` and `expected.json` were made: what users of jabert 0.1 have, in small.

The archive holds a toy encoder and table, an MLflow store with two versions of the registered model, a
feature store, and the work folder of a retraining that was killed after its second epoch. `expected.json`
says which settings made each of them, what the versions answer, and how the killed retraining would have
ended.

It has to be run with the code of jabert 0.1, which is not that of this checkout, so it is kept to be read and
not to be run again:

    git worktree add /tmp/jabert-0.1 12001e0
    PYTHONPATH=/tmp/jabert-0.1:/tmp/jabert-0.1/tests python tests/upgrade/make_fixture.py OUT
"""

import json
import lzma
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tarfile
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

from unpack import PLACEHOLDER, replace_everywhere, unpack

ARCHIVE = "jabert-0.1.tar.xz"
EXPECTED = "expected.json"

TEXTS = [
    "駅前の食堂でラーメンを食べた。",
    "友達とケーキの美味しい店に行った。",
    "昨日の試合は最後まで応援した。",
    "嵐山の紅葉は静かできれいだ。",
    "電池がすぐに切れるので機種を買い替えた。",
    "今日は朝から雨が降っている。",
]

LOCATIONS = [
    "data.path={root}/toy.csv",
    "encoder.path={root}/encoder",
    "encoder.cache_path={root}/engines",
    "features.path={root}/features",
    "training.work_path={root}/work",
    "tracking.uri=sqlite:///{root}/mlflow.db",
]
COMMON = [
    *LOCATIONS,
    "encoder.device=cpu",
    "encoder.precision=float32",
    "training.precision=float32",
    "data.test_share=0.25",
    "data.validation_share=0.25",
]
# The second is better and becomes champion; the last is interrupted.
FIRST = [*COMMON, "classifier.units=1", "training.epochs=1", "training.batch_size=16"]
SECOND = [*COMMON, "classifier.units=24", "training.epochs=12", "training.batch_size=8"]
KILLED = [
    *COMMON,
    "classifier.units=8",
    "classifier.dropout=0.3",
    "training.epochs=5",
    "training.batch_size=4",
    "training.averaging=0.5",
    "training.monitor=val_loss",
    "training.seed=3",
]
KILLED_AFTER = 2  # epochs

COMMAND = "from jabert.cli import main; main()"
KILLED_COMMAND = f"""
import os, signal
from jabert.stages import retraining

record_epoch = retraining.record_epoch

def record_and_die(epoch, run):
    record_epoch(epoch, run)
    if epoch["epoch"] == {KILLED_AFTER}:
        os.kill(os.getpid(), signal.SIGKILL)

retraining.record_epoch = record_and_die
{COMMAND}
"""

# Pages and pictures that no command reads again, and what is made anew where it is missing.
LEFT_OUT = [
    "engines",
    "artifacts/*/artifacts/tensorboard",
    "artifacts/*/artifacts/validation",
    "artifacts/*/artifacts/report/*.png",
    "artifacts/*/artifacts/promotion/*.png",
    "artifacts/*/artifacts/training/*.png",
    "work/*/validation",
    "work/*/training/tensorboard",
    "**/__pycache__",
    "**/*.lock",
]
IMAGE = rb"(?<=data:image/png;base64,)[A-Za-z0-9+/=]+"  # in the page of a model card


def main(out: Path) -> None:
    """Write the archive and the expectations to `out`."""
    import jabert

    print(f"made with {Path(jabert.__file__).parent}")
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="jabert-fixture-") as scratch:
        _set_apart(Path(scratch))
        root = Path(scratch) / "root"
        expected = {"placeholder": PLACEHOLDER, **_two_versions(root)}
        pack(root, Path(scratch) / "before.tar.xz")
        elsewhere = Path(scratch) / "elsewhere"
        unpack(Path(scratch) / "before.tar.xz", elsewhere)
        expected["killed"] = _killed(root) | {"uninterrupted": _uninterrupted(elsewhere)}
        pack(root, out / ARCHIVE)
    text = json.dumps(expected, ensure_ascii=False, indent=2).replace(str(root), PLACEHOLDER)
    (out / EXPECTED).write_text(text + "\n", encoding="utf-8")
    print(f"{ARCHIVE}: {(out / ARCHIVE).stat().st_size:,} bytes")


def pack(root: Path, archive: Path) -> None:
    """Pack a copy of the folder, without what is heavy and with the placeholder for its path."""
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / "copy"
        shutil.copytree(root, copy)
        for pattern in LEFT_OUT:
            for path in list(copy.glob(pattern)):
                shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        for card in copy.glob("artifacts/*/artifacts/card/card.html"):
            card.write_bytes(re.sub(IMAGE, b"", card.read_bytes()))
        replace_everywhere(copy, str(root), PLACEHOLDER)
        with closing(sqlite3.connect(copy / "mlflow.db")) as database:
            database.execute("VACUUM")
        _check_no_trace(copy, str(root.parent))
        with (
            lzma.open(archive, "wb", preset=9 | lzma.PRESET_EXTREME) as compressed,
            tarfile.open(fileobj=compressed, mode="w") as packed,
        ):
            for path in sorted(copy.rglob("*")):
                packed.add(path, str(path.relative_to(copy)), recursive=False, filter=_of_nobody)


def _two_versions(root: Path) -> dict[str, Any]:
    import toy

    toy.make_encoder(root / "encoder")
    toy.toy_rows().to_csv(root / "toy.csv", index=False)
    versions = []
    for version, overrides in (("1", FIRST), ("2", SECOND)):
        result = _retrain(root, overrides)
        assert result["model_version"] == version and result["outcome"] == "promoted", result
        versions.append({"version": version, "overrides": _placed(overrides), "result": result})
    for entry in versions:
        entry["probabilities"] = _probabilities(root, entry["version"])
    listing = _jabert(root, ["models", *_options(root, SECOND), "--json"])
    return {
        "model_name": "jabert",
        "champion": "2",
        "previous": "1",
        "texts": TEXTS,
        "versions": versions,
        "listing": json.loads(listing),
    }


def _killed(root: Path) -> dict[str, Any]:
    options = _options(root, KILLED)
    _jabert(root, ["retrain", *options], KILLED_COMMAND, ends_with=-signal.SIGKILL)
    (history,) = root.glob("work/*/training/history.json")
    work = history.parents[1]
    return {
        "overrides": _placed(KILLED),
        "attempt": work.name,
        "run_id": (work / "run_id").read_text(encoding="utf-8"),
        "history": _timeless(json.loads(history.read_text(encoding="utf-8"))),
    }


def _uninterrupted(root: Path) -> dict[str, Any]:
    import pandas as pd

    result = _retrain(root, KILLED)
    (table,) = root.glob(f"artifacts/{result['run_id']}/artifacts/training/history.csv")
    history = pd.read_csv(table).to_dict("records")
    return {
        "result": result,
        "history": _timeless(history),
        "probabilities": _probabilities(root, result["model_version"]),
    }


def _retrain(root: Path, overrides: list[str]) -> dict[str, Any]:
    result: dict[str, Any] = json.loads(_jabert(root, ["retrain", *_options(root, overrides), "--json"]))
    return result


def _jabert(root: Path, words: list[str], command: str = COMMAND, ends_with: int = 0) -> str:
    """What a command prints; each is a process of its own, as on a user's machine."""
    words = [sys.executable, "-c", command, *words]
    ended = subprocess.run(words, cwd=root, stdout=subprocess.PIPE, check=False)
    assert ended.returncode == ends_with, f"{words} ended with {ended.returncode}"
    return ended.stdout.decode()


def _probabilities(root: Path, version: str) -> list[dict[str, float]]:
    """Of each of `TEXTS`, by label."""
    import pandas as pd

    from jabert.config import load_settings
    from jabert.registry import classify, open_registry

    registry = open_registry(load_settings("", [text.format(root=root) for text in SECOND]))
    probabilities = classify(registry.load(version), pd.Series(TEXTS))
    return probabilities.to_dict("records")


def _options(root: Path, overrides: list[str]) -> list[str]:
    return [word for override in overrides for word in ("--set", override.format(root=root))]


def _placed(overrides: list[str]) -> list[str]:
    return [override.format(root=PLACEHOLDER) for override in overrides]


def _timeless(history: list[dict[str, float]]) -> list[dict[str, float]]:
    return [{name: value for name, value in epoch.items() if name != "seconds"} for epoch in history]


def _set_apart(scratch: Path) -> None:
    """Keep what this user has set, and is called, out of it."""
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI", "MLFLOW_EXPERIMENT_NAME", "PREFECT_API_URL"):
        os.environ.pop(name, None)
    os.environ |= {
        "CUDA_VISIBLE_DEVICES": "",
        "GX_ANALYTICS_ENABLED": "false",
        "LOGNAME": "somebody",  # whom MLflow notes as the user
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MPLBACKEND": "agg",
        "PREFECT_HOME": str(scratch / "prefect"),
    }


def _check_no_trace(folder: Path, root: str) -> None:
    """The path of the scratch folder stands in no file but the table of the work folder, made anew anyway."""
    traces = [path for path in folder.rglob("*") if path.is_file() and root.encode() in path.read_bytes()]
    assert all(path.suffix == ".parquet" for path in traces), traces


def _of_nobody(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = entry.mtime = 0
    entry.uname = entry.gname = ""
    return entry


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute())
