"""Training encoder and head, from one measurement to the next, so that a killed training goes on."""

import time
from collections.abc import Callable
from functools import partial
from itertools import product
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt

from jabert.config import TrainingSettings
from jabert.encoder import TokenIds, longest_row
from jabert.encoder.batching import token_budget_batches
from jabert.encoder.choice import cpu_has_bfloat16
from jabert.encoder.folder import read_variables
from jabert.errors import JabertError
from jabert.files import atomic_path
from jabert.legacy_keras import compute_capability, import_tensorflow
from jabert.methods import Epoch, Fitted, Job
from jabert.methods._linear import fit_standardized
from jabert.methods.finetune.network import Network, Weights, layer_of, new_head
from jabert.training.batches import shuffled_buckets
from jabert.training.epochs import best_of, measure, tensorboard
from jabert.training.optimizer import AdamW, Averages, learning_rate
from jabert.training.rows import Rows
from jabert.training.state import TrainingState

if TYPE_CHECKING:
    from jabert.methods.finetune import FinetuneSettings

tf = import_tensorflow()
_WEIGHTS = "best.npz"
_LSTM_RATE = 20.0  # what is new learns quicker than what is trained already
_SAVED = 100  # steps between saved states
_PACKED = [tf.TensorSpec([None], tf.int32)] * 3  # ids, windows, lengths


class Learner:
    """A network with its optimizer and the averages of its weights.

    Args:
        network: what is trained; its weights are those to begin with.
        own: the procedure.
        steps: that are planned.
        longest: tokens of a window, as `jabert.encoder.longest_row`.
    """

    def __init__(self, network: Network, own: "FinetuneSettings", steps: int, longest: int) -> None:
        self.network, self._own, self._steps, self._longest = network, own, steps, longest
        self.variables = list(network.learning.values())
        layers = network.bert.config.num_hidden_layers
        head_rate = own.head_rate or (_LSTM_RATE if own.head == "bi-lstm" else 1.0)
        rates = [
            own.layer_decay ** (layers - 1 - layer_of(name)) if name.startswith("bert/") else head_rate
            for name in network.learning
        ]
        self._optimizer = AdamW(
            self.variables, weight_decay=own.weight_decay, clip_norm=own.clip_norm, rates=rates
        )
        self.averages = Averages(self.variables, own.ema)
        self._sums: list[Any] = []
        labels = tf.TensorSpec([None, None], tf.float32)
        signature = [*_PACKED, labels, tf.TensorSpec([], tf.float32)]
        self._learn = {  # by whether a part is the first and whether it is the last; traced when needed
            (first, last): tf.function(partial(self._learn_eagerly, (first, last)), input_signature=signature)
            for first, last in product((True, False), repeat=2)
        }
        self._predict = tf.function(
            lambda *packed: tf.nn.softmax(network.logits(*packed)), input_signature=_PACKED
        )
        self._pool = tf.function(network.pool, input_signature=_PACKED)

    def begin(self, ids: TokenIds, classes: npt.NDArray[np.int32]) -> None:
        """Fit the softmax layer on the encoder as it is: else the first steps would spoil the encoder."""
        layer = fit_standardized(self._by_text(self._pool, ids).astype(np.float64), classes, self._own.c)
        self.network.learning["head/kernel"].assign(layer.kernel.astype(np.float32))
        self.network.learning["head/bias"].assign(layer.bias.astype(np.float32))
        self.averages.begin()

    def learn(self, ids: TokenIds, labels: npt.NDArray[np.float32]) -> float:
        """Take a step on a batch, with labels (texts, classes); its loss before is returned.

        A batch with more tokens than the budget is computed in parts, whose gradients are added up.
        """
        parts = list(token_budget_batches(ids.lengths, self._own.token_budget))
        if len(parts) > 1 and not self._sums:
            self._sums = [tf.Variable(tf.zeros_like(variable)) for variable in self.variables]
        loss = 0.0
        for number, part in enumerate(parts):
            learn = self._learn[number == 0, number == len(parts) - 1]
            share = np.float32(len(part) / len(ids))
            loss += float(learn(*self._packed(ids.take(part)), labels[part], share))
        return loss

    def predict(self, ids: TokenIds) -> npt.NDArray[np.float64]:
        """Probabilities (texts, classes)."""
        return self._by_text(self._predict, ids).astype(np.float64)

    def state(self) -> dict[str, Any]:
        """All objects that change in training, for a TensorFlow checkpoint."""
        return {
            "variables": self.variables,
            "optimizer": self._optimizer,
            "averages": self.averages,
            "random_numbers": self.network.bert.random,
        }

    def read(self) -> Weights:
        """The weights that learn, by name."""
        return {name: variable.numpy() for name, variable in self.network.learning.items()}

    def _packed(self, ids: TokenIds) -> tuple[npt.NDArray[np.int32], ...]:
        return ids.flat, ids.divided(self._longest).lengths, ids.lengths

    def _by_text(self, compute: Callable[..., Any], ids: TokenIds) -> npt.NDArray[np.float32]:
        batches = list(token_budget_batches(ids.lengths, self._own.token_budget))
        found = [compute(*self._packed(ids.take(batch))).numpy() for batch in batches]
        values = np.concatenate(found)
        values[np.concatenate(batches)] = values.copy()
        return values

    def _learn_eagerly(self, place: tuple[bool, bool], *arrays: Any) -> Any:
        first, last = place
        *packed, labels, share = arrays
        with tf.GradientTape() as tape:
            logits = self.network.logits(*packed, training=True)
            losses = tf.nn.softmax_cross_entropy_with_logits(labels=labels, logits=logits)
            loss = share * tf.reduce_mean(losses)
        gradients = tape.gradient(loss, self.variables)
        if not first:
            gradients = [sums + gradient for sums, gradient in zip(self._sums, gradients, strict=True)]
        if last:
            done = tf.cast(self._optimizer.step, tf.float32)
            own = self._own
            rate = learning_rate(done, own.learning_rate, own.warmup * self._steps, self._steps, own.decay)
            self._optimizer.apply(gradients, rate)
            self.averages.update(self._optimizer.step)
        else:
            for sums, gradient in zip(self._sums, gradients, strict=True):
                sums.assign(gradient)
        return loss


def train(job: Job, rows: Rows, watched: Rows, on_epoch: Callable[[Epoch], None]) -> Fitted:
    """Train until the planned epochs are over, or the monitored metric has not improved for a while.

    The state is on disk after each epoch and every hundred steps; a call with the same folder goes on from
    there and ends as an uninterrupted one would (on a CPU). At the end only the kept epoch's weights are.

    Args:
        job: encoder, settings, labels, and the folder of the state.
        rows: to learn from, with token ids.
        watched: the rows whose metrics choose the epoch, with token ids; without any the last is kept.
        on_epoch: called with the metrics of each epoch, also those of an earlier process.
    """
    own, procedure, ids = own_settings(job), job.settings.training, rows.token_ids()
    steps = own.epochs * -(-len(rows) // own.batch_size)
    learner = new_learner(job, own.dropout, steps)
    state = TrainingState(learner.state(), job.folder, "step")
    history = state.history()
    epochs = [entry for entry in history if _is_whole(entry)]
    for epoch in epochs:
        on_epoch(epoch)
    resumed, log = len(epochs), tensorboard(job.folder / "tensorboard")

    def best() -> Epoch:
        return best_of(epochs, procedure) if len(watched) else epochs[-1]

    def end() -> str | None:
        """The setting that ends the training after the last epoch, None if it goes on."""
        if not epochs:
            return None
        if len(epochs) >= own.epochs:
            return "method.epochs"
        if epochs[-1]["epoch"] - best()["epoch"] >= procedure.patience:
            return "training.patience"
        minutes = sum(epoch["seconds"] for epoch in epochs) / 60
        return "training.max_minutes" if procedure.max_minutes and minutes >= procedure.max_minutes else None

    if not end() and not state.restore():
        learner.begin(ids, rows.classes)
    while not (ended_by := end()):
        epoch = _learn(learner, rows, job, state, history)
        learner.averages.swap()
        if len(watched):
            measured = measure(learner.predict(watched.token_ids()), watched.classes)
            epoch |= {f"val_{name}": value for name, value in measured.items()}
        history.append(epoch)
        epochs.append(epoch)
        if best() is epoch:
            with atomic_path(job.folder / _WEIGHTS) as temporary:
                np.savez(temporary, **learner.read())  # type: ignore[arg-type]
        learner.averages.swap()
        state.save(history)
        log(epoch)
        on_epoch(epoch)
    state.discard()
    return Fitted(epochs, int(best()["epoch"]), resumed, {"ended_by": ended_by})


def _learn(learner: Learner, rows: Rows, job: Job, state: TrainingState, history: list[Epoch]) -> Epoch:
    """Learn from all rows once, or from those that a killed process left of them; saves the state on the way.

    Returns:
        Number, steps until its end, loss and seconds of the epoch.
    """
    own, ids, labels = own_settings(job), rows.token_ids(), rows.distributions(len(job.labels))
    epoch = 1 + sum(map(_is_whole, history))
    seed = [job.settings.training.seed, epoch]
    batches = list(shuffled_buckets(ids.lengths, own.batch_size, seed))
    before = (epoch - 1) * len(batches)
    entry: Epoch = {"epoch": epoch, "step": before, "loss": 0.0, "seconds": 0.0}
    if history and not _is_whole(history[-1]):
        entry = {name: value for name, value in history[-1].items() if name != "whole"}
    for chosen in batches[int(entry["step"]) - before :]:
        started = time.perf_counter()
        loss = learner.learn(ids.take(chosen), labels[chosen])
        entry["step"] += 1
        entry["loss"] += loss * len(chosen) / len(rows)
        entry["seconds"] = round(entry["seconds"] + time.perf_counter() - started, 3)
        if entry["step"] % _SAVED == 0 and entry["step"] < before + len(batches):
            history.append({**entry, "whole": 0.0})
            state.save(history)
    return entry


def _is_whole(entry: Epoch) -> bool:
    return "whole" not in entry


def load_weights(job: Job) -> Weights:
    """The weights that learned, of the best epoch of a finished training, by name."""
    with np.load(job.folder / _WEIGHTS, allow_pickle=False) as saved:
        return dict(saved)


def new_learner(job: Job, dropout: float, steps: int, trained: Weights | None = None) -> Learner:
    """For the encoder with a head that says nothing yet, or with the weights of a training."""
    own, training, encoder = own_settings(job), job.settings.training, job.encoder
    assert encoder is not None, "the method needs tokens, so there is an encoder"
    layers = encoder.config.num_hidden_layers
    if own.frozen_layers >= layers:
        raise JabertError(f"method.frozen_layers is {own.frozen_layers}, but the encoder has {layers} layers")
    head = new_head(own.head, encoder.config.hidden_size, len(job.labels), own.units, training.seed)
    network = Network(
        {**read_variables(encoder), **head, **(trained or {})},
        encoder.config,
        own.head,
        frozen=own.frozen_layers,
        precision=precision_of(training),
        dropout=dropout,
        seed=training.seed,
    )
    return Learner(network, own, steps, longest_row(encoder, job.settings.encoder))


def precision_of(training: TrainingSettings) -> str:
    """What `training.precision` is on this machine, `float32` or `bfloat16`."""
    if training.precision != "auto":
        return training.precision
    on_gpu = tf.config.get_visible_devices("GPU")
    fast = compute_capability() >= (8, 0) if on_gpu else cpu_has_bfloat16()
    return "bfloat16" if fast else "float32"


def own_settings(job: Job) -> "FinetuneSettings":
    """The settings in the group `method`."""
    return cast("FinetuneSettings", job.settings.method)
