"""A kernel or linear model on the mean of a text's token vectors: quick to fit, and hard to beat."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

from pydantic import Field

from jabert.config import ClassWeights, MethodSettings, Positive
from jabert.methods import Description, Epoch, Export, Fitted, Job, Layer, Method

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from jabert.training.rows import Rows


class MeanPoolingSettings(MethodSettings):
    """The model on the means, whose columns are standardized."""

    kind: str = "mean-pooling"
    classifier: Literal["kernel", "logistic"] = Field("kernel", json_schema_extra={"neutral": "logistic"})
    """ridge regression with a radial basis function, or logistic regression"""
    alpha: Positive = 0.3
    """strength of the regularization, of the ridge regression"""
    c: Positive = Field(0.005, json_schema_extra={"neutral": 0.02})
    """inverse strength of the regularization, of the logistic regression"""
    class_weights: ClassWeights = "none"
    """balanced: each class counts as much as any other, however few its rows"""


class MeanPooling(Method):
    """Means are standardized by those of the rows that it learns from."""

    settings_type = MeanPoolingSettings
    summary = "kernel ridge regression on the mean of the token vectors of a frozen BERT"
    cost = "seconds to fit beside the vectors; serves at the cost of the encoder"
    needs = ("vectors",)
    revision = 2

    def fit(self, job: Job, train: "Rows", validation: "Rows", on_epoch: Callable[[Epoch], None]) -> Fitted:
        """See `Method.fit`."""
        import numpy as np

        from jabert.files import atomic_path
        from jabert.methods._kernel import fit_kernel
        from jabert.methods._linear import fit_standardized

        own, means = cast(MeanPoolingSettings, job.settings.method), train.stored_vectors().means
        if own.classifier == "kernel":
            kernel = fit_kernel(means, train, len(job.labels), own.alpha, own.class_weights)
            kernel.save(job.folder / "kernel.npz")
            return Fitted(metrics={"rows": len(train), "landmarks": len(kernel.landmarks)})
        layer = fit_standardized(means, train.classes, own.c, own.class_weights)
        with atomic_path(job.folder / "softmax.npz") as temporary:
            np.savez(temporary, kernel=layer.kernel, bias=layer.bias)
        return Fitted(metrics={"rows": len(train), "iterations": layer.iterations})

    def predict(self, job: Job, rows: "Rows") -> "npt.NDArray[np.float64]":
        """See `Method.predict`."""
        import numpy as np
        from scipy.special import softmax

        from jabert.methods._kernel import KernelLayer

        means = rows.stored_vectors().means
        if cast(MeanPoolingSettings, job.settings.method).classifier == "kernel":
            return KernelLayer.read(job.folder / "kernel.npz")(means)
        with np.load(job.folder / "softmax.npz", allow_pickle=False) as saved:
            probabilities: npt.NDArray[np.float64] = softmax(means @ saved["kernel"] + saved["bias"], axis=1)
        return probabilities

    def export(self, job: Job, target: Path) -> Export:
        """See `Method.export`."""
        import numpy as np

        from jabert.methods._frozen import export_network
        from jabert.methods._heads import kernel_graph, mean, softmax_graph
        from jabert.methods._kernel import KernelLayer

        dtype = np.dtype(job.settings.features.dtype)
        if cast(MeanPoolingSettings, job.settings.method).classifier == "kernel":
            head = kernel_graph(mean, KernelLayer.read(job.folder / "kernel.npz"), dtype)
        else:
            with np.load(job.folder / "softmax.npz", allow_pickle=False) as saved:
                head = softmax_graph(mean, saved["kernel"], saved["bias"], dtype)
        return export_network(head, job, target)

    def describe(self, job: Job, fitted: Fitted) -> Description:
        """See `Method.describe`."""
        from jabert.methods._frozen import encoder_layers

        frozen, hidden = encoder_layers(job)
        own, classes = cast(MeanPoolingSettings, job.settings.method), len(job.labels)
        layers = [*frozen, Layer("mean", "over the tokens", f"({hidden})", 0)]
        if own.classifier == "kernel":
            landmarks = int(fitted.metrics["landmarks"])
            model = (
                f"Kernel ridge regression (RBF of width 1, alpha {own.alpha}) with {landmarks:,} landmarks"
            )
            layers += [
                Layer("similarity", "to rows of the training", f"({landmarks})", landmarks * hidden),
                Layer("softmax", "ridge regression", f"({classes})", (landmarks + 1) * classes),
            ]
        else:
            model = f"Logistic regression (scikit-learn, C {own.c})"
            layers.append(Layer("softmax", "logistic regression", f"({classes})", (hidden + 1) * classes))
        return Description(
            summary=f"A {own.classifier} model on the mean of the token vectors of a frozen BERT",
            layers=layers,
            protocol=[f"{model} on standardized means, class weights {own.class_weights}."],
            limits=["The encoder is frozen: nothing in it was learned from these labels."],
        )


METHOD = MeanPooling()
