"""Logistic regression on the mean of a text's token vectors: quick to fit, and a baseline for any network."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, cast

from jabert.config import ClassWeights, MethodSettings, Positive
from jabert.methods import Description, Epoch, Export, Fitted, Job, Layer, Method

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from jabert.training.rows import Rows, StoredVectors


class MeanPoolingSettings(MethodSettings):
    """The logistic regression."""

    kind: str = "mean-pooling"
    c: Positive = 0.02
    """inverse strength of the regularization; columns are standardized"""
    class_weights: ClassWeights = "none"
    """balanced: each class counts as much as any other, however few its rows"""


class MeanPooling(Method):
    """Means are standardized by those of the rows that it learns from; the regression is multinomial."""

    settings_type = MeanPoolingSettings
    summary = "logistic regression on the mean of the token vectors of a frozen BERT"
    cost = "seconds to fit beside the vectors; serves at the cost of the encoder"
    needs = ("vectors",)

    def fit(self, job: Job, train: "Rows", validation: "Rows", on_epoch: Callable[[Epoch], None]) -> Fitted:
        """See `Method.fit`."""
        import numpy as np

        from jabert.files import atomic_path
        from jabert.methods._linear import fit_standardized

        own, means = cast(MeanPoolingSettings, job.settings.method), _means(train.stored_vectors())
        layer = fit_standardized(means, train.classes, own.c, own.class_weights)
        with atomic_path(job.folder / "softmax.npz") as temporary:
            np.savez(temporary, kernel=layer.kernel, bias=layer.bias)
        return Fitted(metrics={"rows": len(train), "iterations": layer.iterations})

    def predict(self, job: Job, rows: "Rows") -> "npt.NDArray[np.float64]":
        """See `Method.predict`."""
        import numpy as np
        from scipy.special import softmax

        with np.load(job.folder / "softmax.npz", allow_pickle=False) as saved:
            scores = _means(rows.stored_vectors()) @ saved["kernel"] + saved["bias"]
        probabilities: npt.NDArray[np.float64] = softmax(scores, axis=1)
        return probabilities

    def export(self, job: Job, target: Path) -> Export:
        """See `Method.export`."""
        import numpy as np

        from jabert.methods._frozen import export_network
        from jabert.methods._heads import mean, softmax_graph

        dtype = np.dtype(job.settings.features.dtype)
        with np.load(job.folder / "softmax.npz", allow_pickle=False) as saved:
            return export_network(softmax_graph(mean, saved["kernel"], saved["bias"], dtype), job, target)

    def describe(self, job: Job, fitted: Fitted) -> Description:
        """See `Method.describe`."""
        from jabert.methods._frozen import encoder_layers

        frozen, hidden = encoder_layers(job)
        own, classes = cast(MeanPoolingSettings, job.settings.method), len(job.labels)
        return Description(
            summary="A logistic regression on the mean of the token vectors of a frozen BERT",
            layers=[
                *frozen,
                Layer("mean", "over the tokens", f"({hidden})", 0),
                Layer("softmax", "logistic regression", f"({classes})", (hidden + 1) * classes),
            ],
            protocol=[
                f"Logistic regression (scikit-learn, C {own.c}, class weights {own.class_weights}) on "
                "standardized means."
            ],
            limits=["The encoder is frozen: nothing in it was learned from these labels."],
        )


def _means(vectors: "StoredVectors") -> "npt.NDArray[np.float64]":
    """The mean vector of each text, (rows, hidden)."""
    import numpy as np

    return np.stack([vectors.read(number).mean(axis=0, dtype=np.float64) for number in range(len(vectors))])


METHOD = MeanPooling()
