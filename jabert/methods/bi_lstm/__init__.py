"""The article's classifier: a bidirectional LSTM and a softmax layer on the vectors of a frozen BERT."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from pydantic import Field

from jabert.config import ClassWeights, Count, EnsembleSettings, Share
from jabert.errors import JabertError
from jabert.methods import Description, Epoch, Export, Fitted, Job, Layer, Method, Need

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from jabert.training.rows import Rows

Pooling = Literal["last", "attention"]


class BiLstmSettings(EnsembleSettings):
    """Network and loss."""

    kind: str = "bi-lstm"
    units: Count = 356
    """of the LSTM, in each direction"""
    dropout: Share = Field(0.3, json_schema_extra={"neutral": 0.0})
    """share of the Bi-LSTM's output dropped in training"""
    pooling: Pooling = "last"
    """what stands for a text: the last state of each direction, or the mean of all states with learned
    weights"""
    mix: bool = False
    """with features.layers above 1: the Bi-LSTM gets the mean of their vectors, with learned weights, instead
    of all columns"""
    label_smoothing: Share = 0.0
    """of the loss in training: this share of a label is spread over all labels"""
    class_weights: ClassWeights = "none"
    """of the loss in training; balanced: each class counts as much as any other, however few its rows"""
    positions: Count = 512
    """vectors of a text at most; in a longer one neighbours are averaged, which bounds the time"""


class BiLstm(Method):
    """Trained with nadam until the monitored metric no longer improves; the best epoch is kept."""

    settings_type = BiLstmSettings
    summary = "a Bi-LSTM on the token vectors of a frozen BERT, the article's method"
    cost = "minutes to train on a CPU; serves at the cost of the encoder and as much again"
    needs: tuple[Need, ...] = ("vectors",)
    reads = (
        *("training.epochs", "training.batch_size", "training.patience", "training.monitor"),
        *("training.watch", "training.averaging", "training.shuffle", "training.precision", "training.seed"),
        "training.max_minutes",
    )
    chooses = True

    def fit(self, job: Job, train: "Rows", validation: "Rows", on_epoch: Callable[[Epoch], None]) -> Fitted:
        """See `Method.fit`."""
        from jabert.legacy_keras import gpu_names, use_device
        from jabert.methods.bi_lstm import training

        procedure = job.settings.training
        if not len(validation):
            raise JabertError(
                f"there are no {procedure.watch} rows to choose the epoch on; raise "
                f"data.{procedure.watch}_share, or give more rows"
            )
        own = cast(BiLstmSettings, job.settings.method)
        if own.mix and ("vectors" not in self.needs or job.settings.features.layers == 1):
            raise JabertError(
                "method.mix is true, but features.layers is 1: there are no layers to mix; set 2 or more"
            )
        device = use_device(job.settings.encoder.device)
        fitted = training.train(
            _shortened(train, own.positions),
            _shortened(validation, own.positions),
            len(job.labels),
            own=own,
            training=procedure,
            mixed_layers=_mixed_layers(job),
            folder=job.folder,
            on_epoch=on_epoch,
        )
        resolved = {
            **fitted.resolved,
            "training_device": device,
            "training_precision": training.training_precision(procedure),
            "gpu": ", ".join(gpu_names()) or "none",
        }
        return replace(fitted, resolved=resolved)

    def predict(self, job: Job, rows: "Rows") -> "npt.NDArray[np.float64]":
        """See `Method.predict`."""
        from jabert.methods.bi_lstm import training

        own, vectors = cast(BiLstmSettings, job.settings.method), rows.stored_vectors()
        vectors = vectors.shortened(own.positions)
        model = _load(job, vectors.store.hidden_size)
        return training.predict(model, vectors, job.settings.training.batch_size)

    def export(self, job: Job, target: Path) -> Export:
        """See `Method.export`; encoder and Bi-LSTM become OpenVINO graphs."""
        import numpy as np

        from jabert.methods._frozen import export_network

        return export_network(self._head(job, np.dtype(job.settings.features.dtype)), job, target)

    def _head(self, job: Job, dtype: "np.dtype[Any]") -> Any:
        """The head of `export_network`, for vectors of a dtype."""
        from jabert.methods._frozen import longest_text
        from jabert.methods.bi_lstm.export import head_graph

        own, model = cast(BiLstmSettings, job.settings.method), _load(job, self._below(job)[1])
        return head_graph(model, dtype, own.positions if own.positions < longest_text(job) else None)

    def describe(self, job: Job, fitted: Fitted) -> Description:
        """See `Method.describe`."""
        own, training = cast(BiLstmSettings, job.settings.method), job.settings.training
        frozen, columns = self._below(job)
        return Description(
            summary="A Bi-LSTM on the token vectors of a frozen BERT",
            layers=[*frozen, *_network(own, columns, _mixed_layers(job), len(job.labels))],
            protocol=[
                f"The {training.watch} rows chose the epoch, by {training.monitor}: epoch "
                f"{fitted.best_epoch} of {len(fitted.history):,}{_ended(fitted)}.",
                f"Bi-LSTM: {own.units} units in each direction, dropout {own.dropout}, batches of "
                f"{training.batch_size}, averaging {training.averaging}, seed {training.seed}.",
                f"Loss: label smoothing {own.label_smoothing}, class weights {own.class_weights}.",
            ],
            limits=["The encoder is frozen: nothing in it was learned from these labels."],
            environment={"LSTM": fitted.resolved["training_precision"], "GPU": fitted.resolved["gpu"]},
        )

    def _below(self, job: Job) -> tuple[list[Layer], int]:
        """The layers from a text to its vectors, and the columns of a vector."""
        from jabert.methods._frozen import encoder_layers

        return encoder_layers(job)


def _network(own: BiLstmSettings, columns: int, mixed_layers: int, classes: int) -> Iterator[Layer]:
    """The layers from token vectors of so many columns to the probabilities."""
    states, learned = 2 * own.units, "mean, learned weights"
    columns //= mixed_layers
    if own.mix:
        yield Layer("mix", learned, f"(tokens, {columns})", mixed_layers + 1)
    parameters = 8 * own.units * (columns + own.units + 1)  # 2 directions, 4 gates
    attends = own.pooling == "attention"
    shape = f"(tokens, {states})" if attends else f"({states})"
    yield Layer("bi_lstm", "Bidirectional LSTM", shape, parameters)
    if attends:
        yield Layer("attention", learned, f"({states})", states)
    yield Layer("softmax", "Dense", f"({classes})", (states + 1) * classes)


def _load(job: Job, columns: int) -> Any:
    """The fitted Keras model, for token vectors of so many columns."""
    from jabert.methods.bi_lstm.training import load_classifier

    own = cast(BiLstmSettings, job.settings.method)
    shape = {"pooling": own.pooling, "mixed_layers": _mixed_layers(job)}
    return load_classifier(job.folder, columns, len(job.labels), own.units, **shape)


def _mixed_layers(job: Job) -> int:
    return job.settings.features.layers if cast(BiLstmSettings, job.settings.method).mix else 1


def _shortened(rows: "Rows", positions: int) -> "Rows":
    return replace(rows, vectors=rows.stored_vectors().shortened(positions))


def _ended(fitted: Fitted) -> str:
    by_time = fitted.resolved.get("ended_by") == "training.max_minutes"
    return ", after which training.max_minutes ended the training" if by_time else ""


METHOD = BiLstm()
