"""Fits of a method that are joined, or that learn from what other fits make of the same rows."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from jabert.config import Settings, with_method_of
from jabert.errors import JabertError
from jabert.methods import Description, Epoch, Export, Fitted, Job, Method, needs_of
from jabert.methods._parts import Part, export_parts, out_of_fold, predict_parts
from jabert.training.folds import assign_folds

if TYPE_CHECKING:
    from jabert.training.rows import Rows

_STUDENT = "student"
_TEACHER_FOLDS = 5
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
        targets = train.distributions(len(job.labels)).astype(np.float64)
        for fold, part in enumerate(self._fits[: folds.max() + 1]):
            part.fit(job, train.take(np.flatnonzero(folds != fold)), validation)
            asked = np.flatnonzero(folds == fold)
            found = part.predict(job, train.take(asked))
            targets[asked] = _mixed(targets[asked], found)
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


class Taught(Method):
    """A method that learns, of each row, its label and what another one made of it, half and half.

    The other one, the teacher, did not learn from that row (as in `Ensemble`, but by another method). A label
    that only some of its texts bear out then counts as such, and is not learned by heart.

    Args:
        settings: of a method with the setting `teacher`.
    """

    def __init__(self, settings: Settings) -> None:
        self._recipe = settings.method.model_dump()["teacher"]
        self._student = Part(_STUDENT, _changed(settings, {"teacher": None}, 0))
        self._teacher = Part("teacher", with_method_of(settings, self._recipe))
        method, teacher = self._student.method, self._teacher.method
        if teacher.chooses:
            raise JabertError(
                f"setting method.teacher names {self._recipe!r}, which chooses on validation rows, so it can "
                "tell nothing about rows that it learned from; take one without epochs, such as stack"
            )
        self.needs, self.chooses, self.refits = needs_of([method, teacher]), method.chooses, method.refits
        self.reads = tuple(sorted({"training.seed", *method.reads, *teacher.reads}))
        self.revision = method.revision

    def decides(self, settings: Settings) -> dict[str, Any]:
        """See `Method.decides`; what the teacher's recipe says decides, not its name."""
        teacher = self._teacher.method.decides(self._teacher.settings)
        student = self._student.method.decides(self._student.settings)
        return {**student, "method.teacher": teacher}

    def fit(self, job: Job, train: "Rows", validation: "Rows", on_epoch: Callable[[Epoch], None]) -> Fitted:
        """See `Method.fit`."""
        labels = train.distributions(len(job.labels)).astype(np.float64)
        found = self._out_of_fold(job, train)
        known = np.isfinite(found).all(axis=1)
        labels[known] = _mixed(labels[known], found[known])
        student = self._student.job(job)
        student.folder.mkdir(exist_ok=True)
        return self._student.method.fit(student, replace(train, targets=labels), validation, on_epoch)

    def _out_of_fold(self, job: Job, train: "Rows") -> "npt.NDArray[np.float64]":
        """What the teacher makes of each row, (rows, classes)."""
        self._teacher.fit(job, train, train.take(np.arange(0)))
        found = self._teacher.method.out_of_fold(self._teacher.job(job))
        if found is None:
            folds = assign_folds(train, _TEACHER_FOLDS, job.settings.training.seed)
            found = out_of_fold(self._teacher, job, train, folds)
        return found

    def predict(self, job: Job, rows: "Rows") -> "npt.NDArray[np.float64]":
        """See `Method.predict`."""
        return self._student.method.predict(self._student.job(job), rows)

    def out_of_fold(self, job: Job) -> "npt.NDArray[np.float64] | None":
        """See `Method.out_of_fold`."""
        return self._student.method.out_of_fold(self._student.job(job))

    def export(self, job: Job, target: Path) -> Export:
        """See `Method.export`."""
        return self._student.method.export(self._student.job(job), target)

    def describe(self, job: Job, fitted: Fitted) -> Description:
        """See `Method.describe`."""
        one = self._student.method.describe(self._student.job(job), fitted)
        how = f"It learned, half and half, the labels and what {self._recipe} made of the rows, out of fold."
        return replace(one, protocol=[how, *one.protocol])


def _mixed(labels: "npt.NDArray[np.float64]", found: "npt.NDArray[np.float64]") -> "npt.NDArray[np.float64]":
    """What a student learns of rows, (rows, classes)."""
    return _OF_LABELS * labels + (1 - _OF_LABELS) * found


def _fits_of(settings: Settings) -> tuple[list[Part], bool]:
    """The fits as parts, each with a seed of its own, and whether another one is to learn from them."""
    own = settings.method.model_dump()
    alone = {"ensemble": 1, "distill": False}
    parts = [Part(f"fit-{n + 1}", _changed(settings, alone, n)) for n in range(own["ensemble"])]
    return parts, own["distill"]


def _changed(settings: Settings, method: dict[str, Any], seeds: int) -> Settings:
    """The settings with others in the group `method`, and a later seed."""
    tree = settings.model_dump()
    own: dict[str, Any] = {
        **tree,
        "method": {**tree["method"], **method},
        "training": {**tree["training"], "seed": tree["training"]["seed"] + seeds},
    }
    return type(settings).model_validate(own)


def _summed_up(fits: list[Fitted], rows: int) -> Fitted:
    """The whole as one fit: what was decided on this machine is the same for all."""
    epochs = sum(len(fitted.history) for fitted in fits)
    return Fitted(
        resolved=fits[0].resolved,
        resumed=sum(fitted.resumed for fitted in fits),
        metrics={"rows": rows, "fits": len(fits), "epochs_in_all": epochs, **fits[0].metrics},
    )
