"""The article's classifier: a bidirectional LSTM and a softmax layer on the vectors of a frozen BERT."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

from pydantic import Field

from jabert.config import Count, MethodSettings, Settings, Share
from jabert.errors import JabertError
from jabert.methods import Description, Epoch, Export, Fitted, Layer, Method

if TYPE_CHECKING:
    from jabert.encoder import EncoderFolder
    from jabert.training.rows import Rows

__all__ = ["METHOD", "BiLstm", "BiLstmSettings"]


class BiLstmSettings(MethodSettings):
    """Sizes of the Bi-LSTM."""

    kind: str = "bi-lstm"
    units: Count = Field(356, description="of the LSTM, in each direction")
    dropout: Share = Field(0.0, description="share of the Bi-LSTM's output dropped in training")


class BiLstm(Method):
    """Trained with nadam until the monitored metric no longer improves; the best epoch is kept."""

    settings_type = BiLstmSettings
    summary = "a Bi-LSTM on the token vectors of a frozen BERT, the article's method"
    cost = "minutes to train on a CPU; serves at the cost of the encoder and as much again"
    needs = ("vectors",)
    reads = tuple(
        f"training.{name}"
        for name in (
            "epochs",
            "batch_size",
            "patience",
            "monitor",
            "watch",
            "averaging",
            "shuffle",
            "precision",
            "seed",
        )
    )
    chooses = True

    def fit(
        self,
        settings: Settings,
        train: "Rows",
        validation: "Rows",
        labels: Sequence[str],
        *,
        folder: Path,
        on_epoch: Callable[[Epoch], None],
    ) -> Fitted:
        """See `Method.fit`."""
        from jabert.legacy_keras import gpu_names, use_device
        from jabert.methods.bi_lstm import training

        if not len(validation):
            raise JabertError(f"there are no {settings.training.watch} rows to choose the epoch on")
        own, device = cast(BiLstmSettings, settings.method), use_device(settings.encoder.device)
        fitted = training.train(
            train,
            validation,
            len(labels),
            units=own.units,
            dropout=own.dropout,
            training=settings.training,
            folder=folder,
            on_epoch=on_epoch,
        )
        resolved = {
            "training_device": device,
            "training_precision": training.training_precision(settings.training),
            "gpu": ", ".join(gpu_names()) or "none",
        }
        return replace(fitted, resolved=resolved)

    def export(
        self,
        settings: Settings,
        folder: Path,
        labels: Sequence[str],
        *,
        encoder: "EncoderFolder | None",
        target: Path,
    ) -> Export:
        """See `Method.export`; encoder and Bi-LSTM become OpenVINO graphs."""
        import numpy as np

        from jabert.methods._frozen import export_network
        from jabert.methods.bi_lstm.export import head_graph
        from jabert.methods.bi_lstm.training import load_classifier

        assert encoder is not None, "it needs vectors, so there is an encoder"
        own = cast(BiLstmSettings, settings.method)
        model = load_classifier(folder, encoder.config.hidden_size, len(labels), own.units)
        head = head_graph(model, np.dtype(settings.features.dtype))
        return export_network(head, encoder, settings, target)

    def describe(
        self, settings: Settings, fitted: Fitted, labels: Sequence[str], encoder: "EncoderFolder | None"
    ) -> Description:
        """See `Method.describe`."""
        from jabert.methods._frozen import encoder_layers

        assert encoder is not None, "it needs vectors, so there is an encoder"
        own, training = cast(BiLstmSettings, settings.method), settings.training
        hidden, classes = encoder.config.hidden_size, len(labels)
        lstm_parameters = 8 * own.units * (hidden + own.units + 1)  # 2 directions, 4 gates
        return Description(
            summary="A Bi-LSTM on the token vectors of a frozen BERT",
            layers=[
                *encoder_layers(encoder.config),
                Layer("bi_lstm", "Bidirectional LSTM", f"({2 * own.units})", lstm_parameters),
                Layer("softmax", "Dense", f"({classes})", (2 * own.units + 1) * classes),
            ],
            protocol=[
                f"The {training.watch} rows chose the epoch, by {training.monitor}: epoch "
                f"{fitted.best_epoch} of {len(fitted.history):,}.",
                f"Bi-LSTM: {own.units} units in each direction, dropout {own.dropout}, batches of "
                f"{training.batch_size}, averaging {training.averaging}, seed {training.seed}.",
            ],
            limits=["The encoder is frozen: nothing in it was learned from these labels."],
            environment={"LSTM": fitted.resolved["training_precision"], "GPU": fitted.resolved["gpu"]},
        )


METHOD = BiLstm()
