"""The article's classifier: a bidirectional LSTM and a softmax layer on the vectors of a frozen BERT."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from pydantic import Field

from jabert.config import Count, MethodSettings, Share
from jabert.errors import JabertError
from jabert.methods import Description, Epoch, Export, Fitted, Job, Layer, Method, Need

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from jabert.training.rows import Rows


class BiLstmSettings(MethodSettings):
    """Sizes of the Bi-LSTM."""

    kind: str = "bi-lstm"
    units: Count = 356
    """of the LSTM, in each direction"""
    dropout: Share = Field(0.3, json_schema_extra={"neutral": 0.0})
    """share of the Bi-LSTM's output dropped in training"""
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
            raise JabertError(f"there are no {procedure.watch} rows to choose the epoch on")
        own, device = cast(BiLstmSettings, job.settings.method), use_device(job.settings.encoder.device)
        fitted = training.train(
            _shortened(train, own.positions),
            _shortened(validation, own.positions),
            len(job.labels),
            units=own.units,
            dropout=own.dropout,
            training=procedure,
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

        own = cast(BiLstmSettings, job.settings.method)
        vectors = rows.stored_vectors().shortened(own.positions)
        model = training.load_classifier(job.folder, vectors.store.hidden_size, len(job.labels), own.units)
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
        from jabert.methods.bi_lstm.training import load_classifier

        own, hidden = cast(BiLstmSettings, job.settings.method), self._below(job)[1]
        model = load_classifier(job.folder, hidden, len(job.labels), own.units)
        return head_graph(model, dtype, own.positions if own.positions < longest_text(job) else None)

    def describe(self, job: Job, fitted: Fitted) -> Description:
        """See `Method.describe`."""
        own, training = cast(BiLstmSettings, job.settings.method), job.settings.training
        frozen, hidden = self._below(job)
        lstm_parameters = 8 * own.units * (hidden + own.units + 1)  # 2 directions, 4 gates
        classes = len(job.labels)
        return Description(
            summary="A Bi-LSTM on the token vectors of a frozen BERT",
            layers=[
                *frozen,
                Layer("bi_lstm", "Bidirectional LSTM", f"({2 * own.units})", lstm_parameters),
                Layer("softmax", "Dense", f"({classes})", (2 * own.units + 1) * classes),
            ],
            protocol=[
                f"The {training.watch} rows chose the epoch, by {training.monitor}: epoch "
                f"{fitted.best_epoch} of {len(fitted.history):,}{_ended(fitted)}.",
                f"Bi-LSTM: {own.units} units in each direction, dropout {own.dropout}, batches of "
                f"{training.batch_size}, averaging {training.averaging}, seed {training.seed}.",
            ],
            limits=["The encoder is frozen: nothing in it was learned from these labels."],
            environment={"LSTM": fitted.resolved["training_precision"], "GPU": fitted.resolved["gpu"]},
        )

    def _below(self, job: Job) -> tuple[list[Layer], int]:
        """The layers from a text to its vectors, and the columns of a vector."""
        from jabert.methods._frozen import encoder_layers

        return encoder_layers(job)


def _shortened(rows: "Rows", positions: int) -> "Rows":
    return replace(rows, vectors=rows.stored_vectors().shortened(positions))


def _ended(fitted: Fitted) -> str:
    by_time = fitted.resolved.get("ended_by") == "training.max_minutes"
    return ", after which training.max_minutes ended the training" if by_time else ""


METHOD = BiLstm()
