"""The state of a training on disk, from which a killed training is resumed."""

import json
import re
import shutil
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from jabert.errors import DamagedError, JabertError, refusing
from jabert.files import atomic_path, write_json
from jabert.legacy_keras import import_tensorflow

_HISTORY = "history.json"
_CHECK = "check"  # in its last entry, the CRC-32 of all without it
_OPERATION = re.compile(r"\{\{.*?\}\} | \[Op:.*")  # what TensorFlow writes around the reason of an error


class TrainingState:
    """TensorFlow's objects and the history of a training. The history is written last: it is the commit.

    Args:
        objects: weights, optimizer and random numbers, by any names.
        folder: of the last state and `history.json`.
        unit: the key in an entry of the history that numbers it, e.g. `epoch`.
    """

    def __init__(self, objects: Mapping[str, Any], folder: Path, unit: str) -> None:
        self._checkpoint = import_tensorflow().train.Checkpoint(**objects)
        self._folder, self._unit = folder, unit

    def history(self) -> list[dict[str, float]]:
        """The history up to the last saved state, empty without one.

        Raises:
            DamagedError: it cannot be read.
        """
        path = self._folder / _HISTORY
        if not path.exists():
            return []
        with refusing(f"{path} is damaged", DamagedError):
            history: list[dict[str, float]] = json.loads(path.read_text(encoding="utf-8"))
            if not isinstance(history, list):
                raise TypeError("it is no list")
            noted = history[-1].pop(_CHECK, None) if history else None
            if noted not in (None, _check_of(history)):  # version 0.1 noted none
                raise ValueError("it was changed")
            numbers = [int(epoch[self._unit]) for epoch in history]
            if sorted(set(numbers)) != numbers or not all(
                isinstance(value, int | float) for epoch in history for value in epoch.values()
            ):
                raise ValueError("it is no history")
        return history

    def restore(self) -> list[dict[str, float]]:
        """Restore the objects to the last saved state; returns the history, empty without a state.

        Raises:
            DamagedError: the history or the state cannot be read.
        """
        if history := self.history():
            prefix = self._prefix(history[-1])
            with refusing(f"{prefix} is damaged", DamagedError):
                self._checkpoint.read(str(prefix)).assert_consumed()
        return history

    def discard(self) -> None:
        """Remove the state of a training that is over; the history stays."""
        shutil.rmtree(self._prefix(self.history()[-1]).parent, ignore_errors=True)

    def save(self, history: list[dict[str, float]]) -> None:
        """Save the objects as the state after the last entry of the history, and remove the previous state.

        Raises:
            JabertError: the disk is full, or the folder cannot be written to.
        """
        prefix = self._prefix(history[-1])
        with writing(prefix):
            self._checkpoint.write(str(prefix))
        checked = [*history[:-1], {**history[-1], _CHECK: _check_of(history)}]
        write_json(self._folder / _HISTORY, checked)
        for earlier in history[-2:-1]:
            shutil.rmtree(self._prefix(earlier).parent, ignore_errors=True)

    def _prefix(self, entry: Mapping[str, float]) -> Path:
        return self._folder / f"{self._unit}-{int(entry[self._unit])}" / "state"


def _check_of(history: list[dict[str, float]]) -> int:
    return zlib.crc32(json.dumps(history, sort_keys=True).encode())


Weights = dict[str, npt.NDArray[np.float32]]
"""Arrays by name."""


def write_weights(path: Path, weights: Weights) -> None:
    """Save weights as an NPZ file, whole or not at all; that has a CRC-32 of each array."""
    with atomic_path(path) as temporary:
        np.savez(temporary, **weights)  # type: ignore[arg-type]


def read_weights(path: Path) -> Weights:
    """Weights as `write_weights` saved them.

    Raises:
        DamagedError: the file cannot be read, or is not as it was written.
    """
    with refusing(f"{path} is damaged", DamagedError), np.load(path, allow_pickle=False) as saved:
        return dict(saved)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn an error of TensorFlow about a file it cannot write into a `JabertError` that names the file."""
    tf = import_tensorflow()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield
    except (tf.errors.OpError, OSError) as error:
        reason = _OPERATION.sub("", str(error).splitlines()[0])
        if "No space left" in reason or "quota" in reason.lower():
            raise JabertError(f"{path}: the disk is full; nothing was written") from error
        raise JabertError(f"{path} cannot be written: {reason}") from error
