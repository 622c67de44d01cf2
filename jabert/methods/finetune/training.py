"""Training encoder and head, from one measurement to the next, so that a killed training goes on."""

import time
from collections.abc import Callable
from functools import partial
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt
from isal import isal_zlib

from jabert.config import TrainingSettings
from jabert.encoder import TokenIds, longest_row
from jabert.encoder.batching import token_budget_batches
from jabert.encoder.choice import cpu_has_bfloat16
from jabert.encoder.folder import read_variables
from jabert.errors import JabertError
from jabert.files import atomic_path, set_aside
from jabert.legacy_keras import compute_capability, import_tensorflow
from jabert.methods import Epoch, Fitted, Job
from jabert.methods._linear import fit_standardized
from jabert.methods.finetune.network import Network, layer_of, new_head
from jabert.training.batches import shuffled_buckets
from jabert.training.epochs import best_of, measure, tensorboard
from jabert.training.optimizer import AdamW, Averages, learning_rate
from jabert.training.rows import Rows
from jabert.training.state import TrainingState, Weights, read_weights, write_weights

if TYPE_CHECKING:
    from jabert.methods.finetune import FinetuneSettings

tf = import_tensorflow()
_WEIGHTS = "best.npz"
_LSTM_RATE = 20.0  # what is new learns quicker than what is trained already
_SAVED = 100  # steps between saved states
_INTS = tf.TensorSpec([None], tf.int32)


class Texts:
    """Texts as the layers that learn see them.

    What the layers below make of a text stays the same in all epochs, so it is computed once and kept in a
    file; without such layers there is little to compute, and nothing is kept.

    Args:
        ids: token ids of each text.
        below: computes what the layers that stay as they are make of texts, float32 (tokens, hidden).
        kept: the file; None to compute it each time.
        budget: tokens computed together.
    """

    def __init__(
        self, ids: TokenIds, below: Callable[[TokenIds], Any], kept: Path | None, budget: int
    ) -> None:
        self.ids, self._below, self._kept = ids, below, None
        self._numbers = TokenIds(np.arange(len(ids.flat), dtype=np.int32), ids.offsets)
        if not kept or not len(ids):
            return
        if kept.exists() and not _is_sound(kept):
            set_aside(kept, f"{kept} is damaged")
        if not kept.exists():
            self._write(kept, budget)
        self._kept = np.memmap(kept, np.float32, "r")[:-1].reshape(len(ids.flat), -1)

    def _write(self, kept: Path, budget: int) -> None:
        """Write the vectors of all texts, and their CRC-32."""
        _, starts = np.unique(self.ids.offsets[:-1] // budget, return_index=True)
        checksum = 0
        with atomic_path(kept) as temporary, temporary.open("wb") as file:
            for batch in np.split(np.arange(len(self.ids)), starts[1:]):
                vectors = self._below(self.ids.take(batch)).numpy()
                checksum = isal_zlib.crc32(vectors, checksum)
                file.write(vectors)
            file.write(np.uint32(checksum).tobytes())

    def vectors(self, chosen: npt.NDArray[np.integer]) -> Any:
        """What the learning layers get of the texts of these numbers, float32 (tokens, hidden)."""
        if self._kept is None:
            return self._below(self.ids.take(chosen))
        return self._kept[self._numbers.take(chosen).flat]


def _is_sound(kept: Path) -> bool:
    """Whether a file of vectors is as it was written."""
    size = kept.stat().st_size
    if size == 0 or size % 4:
        return False
    content = np.memmap(kept, np.uint32, "r")
    return bool(isal_zlib.crc32(content[:-1]) == content[-1])


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
        packed = [tf.TensorSpec([None, network.bert.config.hidden_size], tf.float32), _INTS, _INTS]
        signature = [*packed, labels, tf.TensorSpec([], tf.float32)]
        self._learn = {  # by whether a part is the first and whether it is the last; traced when needed
            (first, last): tf.function(partial(self._learn_eagerly, (first, last)), input_signature=signature)
            for first, last in product((True, False), repeat=2)
        }
        self._predict = tf.function(
            lambda *packed: tf.nn.softmax(network.logits(*packed)), input_signature=packed
        )
        self._pool = tf.function(network.pool, input_signature=packed)
        self._below = tf.function(network.below, input_signature=[_INTS, _INTS])

    def texts(self, ids: TokenIds, kept: Path | None = None) -> Texts:
        """Texts to learn or to predict.

        Args:
            ids: of their tokens.
            kept: a file for what the layers that do not learn make of them, if there are such.
        """
        return Texts(ids, self._of_frozen, kept if self.network.frozen else None, self._own.token_budget)

    def begin(self, texts: Texts, classes: npt.NDArray[np.int32]) -> None:
        """Fit the softmax layer on the encoder as it is: else the first steps would spoil the encoder."""
        layer = fit_standardized(self._by_text(self._pool, texts).astype(np.float64), classes, self._own.c)
        self.network.learning["head/kernel"].assign(layer.kernel.astype(np.float32))
        self.network.learning["head/bias"].assign(layer.bias.astype(np.float32))
        self.averages.begin()

    def learn(self, texts: Texts, batch: npt.NDArray[np.integer], labels: npt.NDArray[np.float32]) -> float:
        """Take a step on the texts of these numbers; the loss before it is returned.

        A batch with more tokens than the budget is computed in parts, whose gradients are added up.

        Args:
            texts: of which some are learned.
            batch: their numbers.
            labels: float32 (numbers, classes), what the network is to answer.
        """
        parts = list(token_budget_batches(texts.ids.lengths[batch], self._own.token_budget))
        if len(parts) > 1 and not self._sums:
            self._sums = [tf.Variable(tf.zeros_like(variable)) for variable in self.variables]
        loss = 0.0
        for number, part in enumerate(parts):
            learn = self._learn[number == 0, number == len(parts) - 1]
            share = np.float32(len(part) / len(batch))
            loss += float(learn(*self._packed(texts, batch[part]), labels[part], share))
        return loss

    def predict(self, texts: Texts) -> npt.NDArray[np.float64]:
        """Probabilities (texts, classes)."""
        return self._by_text(self._predict, texts).astype(np.float64)

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

    def _packed(self, texts: Texts, batch: npt.NDArray[np.integer]) -> tuple[Any, ...]:
        ids = texts.ids.take(batch)
        return texts.vectors(batch), ids.divided(self._longest).lengths, ids.lengths

    def _of_frozen(self, ids: TokenIds) -> Any:
        return self._below(ids.flat, ids.divided(self._longest).lengths)

    def _by_text(self, compute: Callable[..., Any], texts: Texts) -> npt.NDArray[np.float32]:
        batches = list(token_budget_batches(texts.ids.lengths, self._own.token_budget))
        found = [compute(*self._packed(texts, batch)).numpy() for batch in batches]
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
    own, procedure = own_settings(job), job.settings.training
    steps = own.epochs * -(-len(rows) // own.batch_size)
    learner = new_learner(job, own.dropout, steps)
    kept = [job.folder / "frozen-rows", job.folder / "frozen-watched"]
    state = TrainingState(learner.state(), job.folder, "step")
    history = state.history()
    epochs = [entry for entry in history if _is_whole(entry)]
    if epochs:
        load_weights(job)  # damage is told before the training ends with it
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

    if not end():
        texts, others = (
            learner.texts(of.token_ids(), path) for of, path in zip((rows, watched), kept, strict=True)
        )
        if not state.restore():
            learner.begin(texts, rows.classes)
    while not (ended_by := end()):
        epoch = _learn(
            learner, texts, rows.distributions(len(job.labels)), job=job, state=state, history=history
        )
        learner.averages.swap()
        if len(watched):
            measured = measure(learner.predict(others), watched.classes)
            epoch |= {f"val_{name}": value for name, value in measured.items()}
        history.append(epoch)
        epochs.append(epoch)
        if best() is epoch:
            write_weights(job.folder / _WEIGHTS, learner.read())
        learner.averages.swap()
        state.save(history)
        log(epoch)
        on_epoch(epoch)
    state.discard()
    for path in kept:
        path.unlink(missing_ok=True)
    return Fitted(epochs, int(best()["epoch"]), resumed, {"ended_by": ended_by})


def _learn(
    learner: Learner,
    texts: Texts,
    labels: npt.NDArray[np.float32],
    *,
    job: Job,
    state: TrainingState,
    history: list[Epoch],
) -> Epoch:
    """Learn from all rows once, or from those that a killed process left of them; saves the state on the way.

    Returns:
        Number, steps until its end, loss and seconds of the epoch.
    """
    own = own_settings(job)
    epoch = 1 + sum(map(_is_whole, history))
    seed = [job.settings.training.seed, epoch]
    batches = list(shuffled_buckets(texts.ids.lengths, own.batch_size, seed))
    before = (epoch - 1) * len(batches)
    entry: Epoch = {"epoch": epoch, "step": before, "loss": 0.0, "seconds": 0.0}
    if history and not _is_whole(history[-1]):
        entry = {name: value for name, value in history[-1].items() if name != "whole"}
    for chosen in batches[int(entry["step"]) - before :]:
        started = time.perf_counter()
        loss = learner.learn(texts, chosen, labels[chosen])
        entry["step"] += 1
        entry["loss"] += loss * len(chosen) / len(labels)
        entry["seconds"] = round(entry["seconds"] + time.perf_counter() - started, 3)
        if entry["step"] % _SAVED == 0 and entry["step"] < before + len(batches):
            history.append({**entry, "whole": 0.0})
            state.save(history)
    return entry


def _is_whole(entry: Epoch) -> bool:
    return "whole" not in entry


def load_weights(job: Job) -> Weights:
    """The weights that learned, of the best epoch of a finished training, by name."""
    return read_weights(job.folder / _WEIGHTS)


def new_learner(job: Job, dropout: float, steps: int, trained: Weights | None = None) -> Learner:
    """For the encoder with a head that says nothing yet, or with the weights of a training."""
    own, training, encoder = own_settings(job), job.settings.training, job.encoder
    assert encoder is not None, "the method needs tokens, so there is an encoder"
    layers = encoder.config.num_hidden_layers
    frozen = own.frozen_of(layers)
    if frozen >= layers:
        raise JabertError(f"method.frozen_layers is {frozen}, but the encoder has {layers} layers")
    head = new_head(own.head, encoder.config.hidden_size, len(job.labels), own.units, training.seed)
    network = Network(
        {**read_variables(encoder), **head, **(trained or {})},
        encoder.config,
        own.head,
        frozen=frozen,
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
