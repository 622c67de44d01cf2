"""The whole encoder is trained on the labels, from a softmax layer that was fitted on it as it was."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, cast

from pydantic import Field

from jabert.config import Count, EnsembleSettings, Positive, Settings, Share
from jabert.errors import JabertError
from jabert.methods import Description, Epoch, Export, Fitted, Job, Layer, Method

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from jabert.training.rows import Rows


class FinetuneSettings(EnsembleSettings):
    """The head, and how it and the encoder are trained."""

    kind: str = "finetune"
    teacher: str | None = Field("stack", json_schema_extra={"neutral": None})
    """a kind of method or a recipe: what it makes of a row, out of fold, is half of the row's label, so that
    none is learned by heart"""
    head: Literal["mean", "cls", "attention", "bi-lstm"] = "mean"
    """what of the token vectors the softmax layer looks at: their mean, the first, their mean with learned
    weights, or what a Bi-LSTM makes of them"""
    units: Count = 128
    """of the Bi-LSTM, in each direction"""
    layers: Count | None = None
    """of the encoder that are kept, the lowest; without it all. Half of them serve twice as fast"""
    epochs: Count = 3
    """in which the learning rate falls to 0"""
    early_stopping: bool = Field(False, json_schema_extra={"neutral": True})
    """whether the rows of training.watch choose the epoch, by training.monitor and .patience; else the last
    is kept, and the validation rows are learned from"""
    batch_size: Count = 32
    """texts of a step"""
    token_budget: Count = 768
    """tokens computed together at most; the gradients of a larger batch are added up. Bounds memory"""
    learning_rate: Positive = Field(1e-4, json_schema_extra={"neutral": 5e-5})
    """of the highest layer, at its highest"""
    head_rate: Positive | None = None
    """learning rate of the head, times that of the highest layer; without it 1, of a Bi-LSTM 20"""
    layer_decay: Annotated[float, Field(gt=0, le=1)] = 0.9
    """learning rate of a layer, times that of the layer above"""
    warmup: Share = 0.1
    """share of the steps in which the learning rate rises"""
    decay: Literal["linear", "cosine"] = "cosine"
    """how it falls"""
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    """of kernels"""
    clip_norm: Positive = 1.0
    """longest gradient, over all variables"""
    dropout: Share = 0.1
    """share of hidden units dropped in training"""
    ema: Share = 0.98
    """decay of the exponential moving average of the weights, which is measured and kept; 0: none"""
    frozen_layers: Annotated[int, Field(ge=0)] | None = Field(None, json_schema_extra={"neutral": 0})
    """lower layers that stay as they are; without it the lower half. What they make of the texts is computed
    once"""
    c: Positive = 0.02
    """inverse strength of the regularization of the softmax layer that training begins with"""

    def frozen_of(self, layers: int) -> int:
        """How many of so many layers stay as they are."""
        return layers // 2 if self.frozen_layers is None else self.frozen_layers


class Finetune(Method):
    """The embeddings stay as they are; the averages of the weights are kept."""

    settings_type = FinetuneSettings
    summary = "a whole BERT, trained on the labels"
    cost = "minutes to train on a CPU; serves at the cost of the encoder"
    needs = ("tokens",)
    reads: tuple[str, ...] = ("training.precision", "training.seed", "training.max_minutes")

    def bound_to(self, settings: Settings) -> Method:
        """See `Method.bound_to`."""
        own = cast(FinetuneSettings, settings.method)
        if own.early_stopping and own.ensemble == 1 and not own.teacher:
            return _Choosing()
        return super().bound_to(settings)

    def fit(self, job: Job, train: "Rows", validation: "Rows", on_epoch: Callable[[Epoch], None]) -> Fitted:
        """See `Method.fit`."""
        from jabert.legacy_keras import gpu_names, use_device
        from jabert.methods.finetune import training

        if self.chooses and not len(validation):
            raise JabertError(
                f"there are no {job.settings.training.watch} rows to choose the epoch on; raise "
                f"data.{job.settings.training.watch}_share, or give more rows"
            )
        if job.settings.encoder.pad_to is not None:
            raise JabertError(
                "encoder.pad_to is set, but method.kind 'finetune' computes nothing for padding; leave it out"
            )
        device = use_device(job.settings.encoder.device)
        fitted = training.train(_kept(job), train, validation, on_epoch)
        resolved = {
            **fitted.resolved,
            "training_device": device,
            "training_precision": training.precision_of(job.settings.training),
            "gpu": ", ".join(gpu_names()) or "none",
        }
        return replace(fitted, resolved=resolved)

    def predict(self, job: Job, rows: "Rows") -> "npt.NDArray[np.float64]":
        """See `Method.predict`; by what is exported, since TensorFlow rounds otherwise in bfloat16."""
        from tempfile import TemporaryDirectory

        from jabert.runtime.text_classifier import Network

        with TemporaryDirectory() as folder:
            self.export(job, Path(folder))
            return Network(Path(folder), len(job.labels)).classify_ids(list(rows.token_ids()))

    def export(self, job: Job, target: Path) -> Export:
        """See `Method.export`."""
        from jabert.methods._frozen import export_network
        from jabert.methods.finetune.export import head_graph, trained_encoder
        from jabert.methods.finetune.training import load_weights

        job, weights = _kept(job), load_weights(job)
        own = cast(FinetuneSettings, job.settings.method)
        head = head_graph(own.head, weights)
        return export_network(head, job, target, trained_encoder(job, weights))

    def describe(self, job: Job, fitted: Fitted) -> Description:
        """See `Method.describe`."""
        from jabert.methods._frozen import encoder_layers

        own, training, classes = (
            cast(FinetuneSettings, job.settings.method),
            job.settings.training,
            len(job.labels),
        )
        job = _kept(job)
        assert job.encoder is not None, "the method needs tokens, so there is an encoder"
        kept, left_out = job.encoder.config.num_hidden_layers, job.encoder.left_out
        frozen_layers = own.frozen_of(kept)
        encoder, hidden = encoder_layers(job, frozen_layers)
        pooling = {
            "mean": Layer("mean", "over the tokens", f"({hidden})", 0),
            "cls": Layer("[CLS]", "vector of the first token", f"({hidden})", 0),
            "attention": Layer("attention", "weighted mean over the tokens", f"({hidden})", hidden),
            "bi-lstm": Layer(
                "bi_lstm",
                "Bidirectional LSTM",
                f"({2 * own.units})",
                8 * own.units * (hidden + own.units + 1),  # 2 directions, 4 gates
            ),
        }
        columns = 2 * own.units if own.head == "bi-lstm" else hidden
        frozen = (
            f"The embeddings and the {frozen_layers} lowest layers" if frozen_layers else "The embeddings"
        )
        choice = (
            f"The {training.watch} rows chose the epoch, by {training.monitor}: epoch {fitted.best_epoch} of "
            f"{len(fitted.history):,}."
            if self.chooses
            else f"The last epoch, {fitted.best_epoch} of {own.epochs} that were planned, is kept."
        )
        return Description(
            summary="A BERT that was trained as a whole, with a softmax layer",
            layers=[
                *encoder,
                pooling[own.head],
                Layer("softmax", "Dense", f"({classes})", (columns + 1) * classes),
            ],
            protocol=[
                choice,
                f"AdamW, learning rate {own.learning_rate} of the highest layer and {own.layer_decay} times "
                f"that in each layer below, batches of {own.batch_size}, dropout {own.dropout}, moving "
                f"average {own.ema}, seed {training.seed}.",
                "Training began with a softmax layer that was fitted on the encoder as it was.",
                f"{frozen} stayed as they were.",
                *([f"Layers kept of the encoder: the lowest {kept} of {kept + left_out}."] * bool(left_out)),
            ],
            limits=["It has seen few texts beside its labels: it may have learned their articles by heart."],
            environment={"training": fitted.resolved["training_precision"], "GPU": fitted.resolved["gpu"]},
        )


class _Choosing(Finetune):
    """The same where the settings have an epoch chosen."""

    reads = (*Finetune.reads, "training.monitor", "training.patience")
    chooses = True


def _kept(job: Job) -> Job:
    """The job with the encoder's layers that are kept."""
    layers, encoder = cast(FinetuneSettings, job.settings.method).layers, job.encoder
    if layers is None or encoder is None:
        return job
    if layers > encoder.config.num_hidden_layers:
        there_are = encoder.config.num_hidden_layers
        raise JabertError(
            f"method.layers is {layers}, but the encoder has {there_are}; set {there_are} or fewer"
        )
    return replace(job, encoder=encoder.lowest(layers))


METHOD = Finetune()
