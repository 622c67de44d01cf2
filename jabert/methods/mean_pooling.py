"""Logistic regression on the mean of a text's token vectors: quick to fit, and a baseline for any network."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

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
        from jabert.methods._linear import fit_softmax

        own, means = cast(MeanPoolingSettings, job.settings.method), _means(train.stored_vectors())
        centre, scale = means.mean(axis=0), means.std(axis=0)
        scale[scale == 0] = 1.0  # of a column that is the same everywhere
        layer = fit_softmax((means - centre) / scale, train.classes, own.c, own.class_weights)
        kernel = layer.kernel / scale[:, None]
        with atomic_path(job.folder / "softmax.npz") as temporary:
            np.savez(temporary, kernel=kernel, bias=layer.bias - centre @ kernel)
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

        dtype = np.dtype(job.settings.features.dtype)
        with np.load(job.folder / "softmax.npz", allow_pickle=False) as saved:
            return export_network(_head_graph(saved["kernel"], saved["bias"], dtype), job, target)

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


def _head_graph(kernel: "npt.NDArray[Any]", bias: "npt.NDArray[Any]", dtype: "np.dtype[Any]") -> Any:
    """Mean and softmax layer as an `openvino.Model`, as `export_network` wants it."""
    import numpy as np
    from openvino import opset13 as ops

    from jabert.encoder.packed import Layout, fill_texts, graph, ints, size

    vectors = ops.parameter([-1, len(kernel)], dtype)
    lengths = ops.parameter([-1], np.int32)
    filled = fill_texts(lengths)
    layout = Layout(size(vectors), filled, step=1)
    padded = layout.rows.padded(ops.convert(vectors, "f32"))  # (texts, width, hidden)
    real = ops.unsqueeze(ops.convert(layout.are_real, "f32"), ints(2))
    sums = ops.reduce_sum(ops.multiply(padded, real), ints([1]))  # (texts, hidden)
    means = ops.divide(sums, ops.unsqueeze(ops.convert(filled, "f32"), ints(1)))
    scores = ops.add(
        ops.matmul(means, kernel.astype(np.float32), transpose_a=False, transpose_b=False),
        bias.astype(np.float32),
    )
    asked = ops.range(ints(0), size(lengths), ints(1), "i32")
    probabilities = ops.gather(ops.softmax(scores, axis=1), asked, ints(0))
    return graph("head", {"vectors": vectors, "lengths": lengths}, {"probabilities": probabilities})


METHOD = MeanPooling()
