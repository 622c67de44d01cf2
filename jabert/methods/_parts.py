"""What methods share that are made of others: their parts are fitted, exported and joined like any method."""

import filecmp
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt

from jabert.config import Settings
from jabert.errors import DamagedError, refusing
from jabert.files import atomic_path, write_json
from jabert.methods import Export, Fitted, Job, Join, Layer, Member, Method, method_of
from jabert.training.rows import Rows

_FITTED = "fitted.json"
_ENCODER = (
    *("network.json", "sentencepiece.model", "tokenizer.json", "layout.xml", "layout.bin"),
    *("encoder.xml", "encoder.bin"),
)
_TOKENIZERS = ("sentencepiece.model", "tokenizer.json")
_TELLING = ("network.json", *_TOKENIZERS, "encoder.bin")  # in .xml files OpenVINO counts its layers


@dataclass(frozen=True)
class Part:
    """A method that is part of another.

    Attributes:
        name: of its folder.
        settings: of the run, with its own in the group `method`.
    """

    name: str
    settings: Settings

    @property
    def method(self) -> Method:
        """Of the settings."""
        return method_of(self.settings)

    def job(self, whole: Job) -> Job:
        """What it is given, with a folder of its own in that of the whole."""
        return replace(whole, settings=self.settings, folder=whole.folder / self.name)

    def fit(self, whole: Job, train: Rows, validation: Rows) -> Fitted:
        """Fit it, or find that an earlier process did; its epochs are told to nobody."""
        job = self.job(whole)
        if not (job.folder / _FITTED).exists():
            job.folder.mkdir(parents=True, exist_ok=True)
            fitted = self.method.fit(job, train, validation, lambda _: None)
            write_json(job.folder / _FITTED, asdict(fitted))
        return self.fitted(whole)

    def fitted(self, whole: Job) -> Fitted:
        """What a finished fit did.

        Raises:
            DamagedError: its record cannot be read.
        """
        path = self.job(whole).folder / _FITTED
        with refusing(f"{path} is damaged", DamagedError):
            return Fitted(**json.loads(path.read_text(encoding="utf-8")))

    def predict(self, whole: Job, rows: Rows) -> npt.NDArray[np.float64]:
        """Probabilities (rows, classes)."""
        return self.method.predict(self.job(whole), rows)

    def layer(self, whole: Job) -> Layer:
        """It as one box of a drawing."""
        layers = self.method.describe(self.job(whole), self.fitted(whole)).layers
        parameters = sum(layer.parameters * layer.repeated for layer in layers)
        return Layer(self.name, self.method.summary, f"({len(whole.labels)})", parameters)


def out_of_fold(part: Part, job: Job, train: Rows, folds: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Probabilities (rows, classes) of a member for the rows of each fold, learned from the others."""
    predicted = np.full((len(train), len(job.labels)), np.nan)
    for fold in range(folds.max() + 1):
        of_fold = replace(job, folder=job.folder / "folds" / str(fold))
        asked, file = np.flatnonzero(folds == fold), of_fold.folder / f"{part.name}.npz"
        if not file.exists():
            part.fit(of_fold, train.take(np.flatnonzero(folds != fold)), train.take(np.arange(0)))
            with atomic_path(file) as temporary:
                np.savez(temporary, predicted=part.predict(of_fold, train.take(asked)))  # with a checksum
            shutil.rmtree(part.job(of_fold).folder)
        with refusing(f"{file} is damaged", DamagedError), np.load(file, allow_pickle=False) as saved:
            predicted[asked] = saved["predicted"]
    return predicted


def predict_parts(
    parts: Sequence[Part], whole: Job, rows: Rows, weights: Mapping[str, float], bias: Sequence[float]
) -> npt.NDArray[np.float64]:
    """Probabilities (rows, classes) of parts together, as the export of `export_parts` gives them.

    Args:
        parts: to ask.
        whole: of which they are parts.
        rows: with what the parts need.
        weights: of the logarithms of each part's probabilities, by its name.
        bias: (classes,), added to the weighted sum before the softmax.
    """
    from scipy.special import softmax

    from jabert.runtime.text_classifier import log_probabilities

    scores = np.tile(np.array(bias, dtype=np.float64), (len(rows), 1))
    for part in parts:
        scores += weights[part.name] * log_probabilities(part.predict(whole, rows))
    probabilities: npt.NDArray[np.float64] = softmax(scores, axis=1)
    return probabilities


def export_parts(
    parts: Sequence[Part], whole: Job, weights: Mapping[str, float], bias: Sequence[float], target: Path
) -> Export:
    """Export parts side by side, and those on the same encoder as heads of one network.

    Args:
        parts: to export.
        whole: of which they are parts.
        weights: of the logarithms of each part's probabilities, by its name.
        bias: (classes,), added to the weighted sum before the softmax.
        target: an empty folder.
    """
    members: list[Member] = []
    kernels: list[list[npt.NDArray[np.float64]]] = []  # of each member, one (classes, classes) for each head
    total = np.array(bias, dtype=np.float64)
    for part in parts:
        (target / part.name).mkdir()
        export = part.method.export(part.job(whole), target / part.name)
        join, weight = _join_of(export, len(whole.labels)), weights[part.name]
        # A part that is joined itself is log-linear too: its softmax takes the same off all classes.
        blocks = [
            weight * np.array(join.kernel[i : i + len(bias)]) for i in range(0, len(join.kernel), len(bias))
        ]
        total += weight * np.array(join.bias)
        for member in export.members:
            below = _below(part.name, member)
            own, blocks = blocks[: len(below.heads) or 1], blocks[len(below.heads) or 1 :]
            for number, other in enumerate(members):
                if _same_encoder(target / other.folder, target / below.folder):
                    members[number] = replace(other, heads=(*_heads(other), *_heads(below)))
                    kernels[number] += own
                    for name in _ENCODER:
                        (target / below.folder / name).unlink(missing_ok=True)
                    break
            else:
                members.append(below)
                kernels.append(own)
    kernel = np.concatenate([block for blocks in kernels for block in blocks])
    return Export(tuple(members), Join(kernel.tolist(), total.tolist()))


def _join_of(export: Export, classes: int) -> Join:
    return export.join or Join(np.eye(classes).tolist(), [0.0] * classes)


def _below(folder: str, member: Member) -> Member:
    heads = tuple((PurePosixPath(folder) / head).as_posix() for head in member.heads)
    return replace(member, folder=(PurePosixPath(folder) / member.folder).as_posix(), heads=heads)


def _heads(member: Member) -> tuple[str, ...]:
    return member.heads or ((PurePosixPath(member.folder) / "head.xml").as_posix(),)


def _same_encoder(one: Path, other: Path) -> bool:
    """Whether both are networks with the same tokenizer and encoder."""
    files = [
        (one / name, other / name) for name in _TELLING if name not in _TOKENIZERS or (one / name).exists()
    ]
    return all(a.exists() and b.exists() and filecmp.cmp(a, b, shallow=False) for a, b in files)
