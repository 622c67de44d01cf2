"""Several fits of one method in one model, so that the chance in a single seed decides less."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from jabert.config import Settings
from jabert.methods import Description, Epoch, Export, Fitted, Job, Method
from jabert.methods._parts import Part, export_parts, predict_parts
from jabert.training.folds import assign_folds

if TYPE_CHECKING:
    from jabert.training.rows import Rows

_STUDENT = "student"
_OF_LABELS = 0.5  # weight of the true label in what a student learns


class Ensemble(Method):
    """A method that is fitted `method.ensemble` times.

    Its fits differ in their seed, and the geometric mean of their probabilities is the answer. With
    `method.distill` each learns from other folds of the rows instead, and one more fit learns, of each row,
    the label and what the others made of the row half and half (Hinton, Vinyals and Dean, Distilling the
    Knowledge in a Neural Network, 2015; out of fold, since what they learned by heart would teach nothing).
    Only that one is packaged.

    Args:
        settings: of a method with the settings `ensemble` and `distill`.
    """

    def __init__(self, settings: Settings) -> None:
        self._fits, self._distills = _fits_of(settings)
        self._student = Part(_STUDENT, self._fits[0].settings)
        method = self._fits[0].method
        self.needs, self.reads, self.chooses = method.needs, method.reads, method.chooses
        self.revision = method.revision

    def decides(self, settings: Settings) -> dict[str, Any]:
        """See `Method.decides`; what else decides a single fit, such as files, decides these."""
        return self._fits[0].method.decides(settings)

    def fit(self, job: Job, train: "Rows", validation: "Rows", on_epoch: Callable[[Epoch], None]) -> Fitted:
        """See `Method.fit`."""
        if not self._distills:
            fitted = [part.fit(job, train, validation) for part in self._fits]
            return _summed_up(fitted, len(train))
        folds = assign_folds(train, len(self._fits), job.settings.training.seed)
        targets = np.eye(len(job.labels))[train.classes]
        for fold, part in enumerate(self._fits[: folds.max() + 1]):
            part.fit(job, train.take(np.flatnonzero(folds != fold)), validation)
            asked = np.flatnonzero(folds == fold)
            found = part.predict(job, train.take(asked))
            targets[asked] = _OF_LABELS * targets[asked] + (1 - _OF_LABELS) * found
        student = self._student.fit(job, replace(train, targets=targets), validation)
        return _summed_up([student], len(train))

    def predict(self, job: Job, rows: "Rows") -> "npt.NDArray[np.float64]":
        """See `Method.predict`."""
        if self._distills:
            return self._student.predict(job, rows)
        return predict_parts(self._fits, job, rows, self._equal_weights(), [0.0] * len(job.labels))

    def export(self, job: Job, target: Path) -> Export:
        """See `Method.export`."""
        if self._distills:
            return self._student.method.export(self._student.job(job), target)
        return export_parts(self._fits, job, self._equal_weights(), [0.0] * len(job.labels), target)

    def _equal_weights(self) -> dict[str, float]:
        return {part.name: 1 / len(self._fits) for part in self._fits}

    def describe(self, job: Job, fitted: Fitted) -> Description:
        """See `Method.describe`."""
        count, shown = len(self._fits), self._student if self._distills else self._fits[0]
        one = shown.method.describe(shown.job(job), shown.fitted(job))
        how = (
            f"One fit learned the labels and, half and half, what {count} fits on other folds made of them."
            if self._distills
            else f"{count} fits that differ in their seed; the geometric mean of their probabilities is the "
            "answer. What follows is said of the first."
        )
        return replace(one, protocol=[how, *one.protocol])


def _fits_of(settings: Settings) -> tuple[list[Part], bool]:
    """The fits as parts, each with a seed of its own, and whether another one is to learn from them."""
    tree = settings.model_dump()
    count, distills = tree["method"]["ensemble"], tree["method"]["distill"]
    parts = []
    for number in range(count):
        own: dict[str, Any] = {
            **tree,
            "method": {**tree["method"], "ensemble": 1, "distill": False},
            "training": {**tree["training"], "seed": tree["training"]["seed"] + number},
        }
        parts.append(Part(f"fit-{number + 1}", type(settings).model_validate(own)))
    return parts, distills


def _summed_up(fits: list[Fitted], rows: int) -> Fitted:
    """The whole as one fit: what was decided on this machine is the same for all."""
    epochs = sum(len(fitted.history) for fitted in fits)
    return Fitted(
        resolved=fits[0].resolved,
        resumed=sum(fitted.resumed for fitted in fits),
        metrics={"rows": rows, "fits": len(fits), "epochs_in_all": epochs, **fits[0].metrics},
    )
