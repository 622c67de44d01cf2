"""Always the most frequent class: what every other method has to beat."""

from collections.abc import Callable
from pathlib import Path
from shutil import copyfile
from typing import TYPE_CHECKING

from jabert.config import MethodSettings
from jabert.methods import Description, Epoch, Export, Fitted, Job, Layer, Member, Method

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from jabert.training.rows import Rows


class MajoritySettings(MethodSettings):
    """There are none."""

    kind: str = "majority"


class Majority(Method):
    """Each class has its share of the rows that were learned from as its probability."""

    settings_type = MajoritySettings
    summary = "always the most frequent class"
    cost = "nothing to speak of; it is there to be compared with"
    needs = ("texts",)

    def fit(self, job: Job, train: "Rows", validation: "Rows", on_epoch: Callable[[Epoch], None]) -> Fitted:
        """See `Method.fit`."""
        import numpy as np

        from jabert.files import atomic_path, write_json

        counts = np.bincount(train.classes, minlength=len(job.labels))
        write_json(job.folder / "ngrams.json", {"longest": 1, "ngrams": ["。"]})  # one that weighs nothing
        with atomic_path(job.folder / "ngrams.npz") as temporary:
            kernel, bias = np.zeros((1, len(counts))), np.log(counts / counts.sum())
            np.savez(temporary, idf=np.ones(1), kernel=kernel, bias=bias)
        return Fitted(metrics={"rows": len(train)})

    def predict(self, job: Job, rows: "Rows") -> "npt.NDArray[np.float64]":
        """See `Method.predict`."""
        from jabert.runtime.text_classifier import Ngrams

        return Ngrams(job.folder, len(job.labels)).classify(list(rows.texts))

    def export(self, job: Job, target: Path) -> Export:
        """See `Method.export`."""
        for name in ("ngrams.json", "ngrams.npz"):
            copyfile(job.folder / name, target / name)
        return Export((Member("ngrams", ("scikit-learn",)),))

    def describe(self, job: Job, fitted: Fitted) -> Description:
        """See `Method.describe`."""
        classes = len(job.labels)
        return Description(
            summary="The most frequent class, always",
            layers=[
                Layer("text", "not read", "()", 0),
                Layer("shares", "of the rows", f"({classes})", classes),
            ],
        )


METHOD = Majority()
