"""Training the Bi-LSTM, an epoch at a time, so that a killed training goes on from its last one."""

import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from jabert.config import TrainingSettings
from jabert.encoder.choice import cpu_has_bfloat16
from jabert.estimates import Estimate
from jabert.legacy_keras import import_tensorflow, run_two_at_once
from jabert.methods import Epoch, Fitted
from jabert.methods.bi_lstm import BiLstmSettings
from jabert.methods.bi_lstm.network import build_classifier
from jabert.training.batches import bounded, in_order, shuffled_buckets
from jabert.training.epochs import best_of, measure, tensorboard
from jabert.training.rows import Rows, StoredVectors
from jabert.training.state import TrainingState, read_weights, write_weights

log = logging.getLogger("jabert")

_WEIGHTS = "best.npz"
_WEIGHTS_0_1 = "best.h5"  # of a training that version 0.1 began
_MOST_TOKENS = 65_536  # of a batch, padding included: 2 GB of the LSTM's states and gradients


def train(
    rows: Rows,
    watched: Rows,
    classes: int,
    *,
    own: BiLstmSettings,
    training: TrainingSettings,
    mixed_layers: int = 1,
    folder: Path,
    on_epoch: Callable[[Epoch], None],
) -> Fitted:
    """Train until the monitored metric has not improved for `training.patience` epochs, or time is up.

    After each epoch the weights, the optimizer's state and the history are on disk in `folder`; a call with
    the same folder goes on from there and ends as an uninterrupted one would (on a CPU).

    Args:
        rows: to learn from, with vectors.
        watched: the rows whose metrics choose the best epoch, with vectors.
        classes: number of labels.
        own: network and loss.
        training: the procedure.
        mixed_layers: as for `build_classifier`.
        folder: for checkpoints and TensorBoard's logs; must belong to the same settings and rows.
        on_epoch: called with the metrics of each epoch, also those of an earlier process.
    """
    learned_from, watched_vectors = rows.stored_vectors(), watched.stored_vectors()
    labels = rows.distributions(classes)
    store = learned_from.store
    tf = import_tensorflow()
    run_two_at_once()
    tf.keras.backend.experimental.enable_tf_random_generator()  # with a state that can be saved
    tf.keras.utils.set_random_seed(training.seed)
    precision = training_precision(training)
    shape: dict[str, Any] = {"pooling": own.pooling, "mixed_layers": mixed_layers}
    model = build_classifier(store.hidden_size, classes, own.units, own.dropout, precision, **shape)
    loss = tf.keras.losses.CategoricalCrossentropy(label_smoothing=own.label_smoothing)
    model.compile(_nadam(training), loss, metrics=["mae", "mse", "acc"])
    step = _train_step(model, store.dtype, _class_weights(rows.classes, classes, own))
    state = _state(model, folder)
    history = state.restore()
    resumed = len(history)
    if history and (folder / _WEIGHTS).exists():
        read_weights(folder / _WEIGHTS)  # damage is told before the training ends with it
    for epoch in history:
        on_epoch(epoch)
    write = tensorboard(folder / "tensorboard")
    estimate = _estimate(learned_from, training, len(history))
    while not (ended_by := _end(history, training)):
        started = time.perf_counter()
        number = len(history) + 1
        batches = _batches(learned_from, labels, training, number)
        learned = _learn(model, step, _counted(batches, estimate))
        watched_metrics = measure(predict(model, watched_vectors, training.batch_size), watched.classes)
        metrics = learned | {f"val_{name}": value for name, value in watched_metrics.items()}
        epoch = {"epoch": number, **metrics, "seconds": round(time.perf_counter() - started, 3)}
        history.append(epoch)
        if best_of(history, training) is epoch:
            write_weights(
                folder / _WEIGHTS, {f"{n:02}": array for n, array in enumerate(model.get_weights())}
            )
        state.save(history)
        write(epoch)
        on_epoch(epoch)
    if ended_by == "training.max_minutes":
        log.info(
            "training.max_minutes = %g ended the training after %d epochs", training.max_minutes, len(history)
        )
    return Fitted(history, int(best_of(history, training)["epoch"]), resumed, {"ended_by": ended_by})


def training_precision(training: TrainingSettings) -> str:
    """What `training.precision` is on this machine, `float32` or `bfloat16`; on a GPU cuDNN's float32."""
    if import_tensorflow().config.get_visible_devices("GPU"):
        return "float32"
    if training.precision == "auto":
        return "bfloat16" if cpu_has_bfloat16() else "float32"
    return training.precision


def load_classifier(folder: Path, hidden_size: int, classes: int, units: int, **shape: Any) -> Any:
    """The classifier with the best weights of a finished training, a Keras model.

    Args:
        folder: of the training.
        hidden_size: as for `build_classifier`, as are the following.
        classes: number of labels.
        units: of the LSTM.
        shape: `pooling` and `mixed_layers`.
    """
    model = build_classifier(hidden_size, classes, units, **shape)
    if (folder / _WEIGHTS).exists():
        model.set_weights([array for _, array in sorted(read_weights(folder / _WEIGHTS).items())])
    else:
        model.load_weights(folder / _WEIGHTS_0_1)
    return model


def _nadam(training: TrainingSettings) -> Any:
    """Nadam at Keras's own learning rate; with averaging, an epoch leaves the averaged weights in the model.

    On small data one epoch's weights are a lucky or unlucky draw around a mean that is better than most.
    """
    keras = import_tensorflow().keras
    if not training.averaging:
        return keras.optimizers.Nadam()
    return keras.optimizers.Nadam(use_ema=True, ema_momentum=training.averaging)


def _state(model: Any, folder: Path) -> TrainingState:
    model.optimizer.build(model.trainable_variables)  # else a state that is read has nowhere to go
    # tf-keras 2.21 leaves the random numbers of dropout out of a model's checkpoint (BaseRandomLayer).
    random_numbers = model.get_layer("dropout")._random_generator
    objects = {"model": model, "optimizer": model.optimizer, "random_numbers": random_numbers}
    return TrainingState(objects, folder, "epoch")


def _class_weights(true: npt.NDArray[np.int32], classes: int, own: BiLstmSettings) -> npt.NDArray[np.float32]:
    """What a row of each class counts in the loss, (classes,); 1 in the mean over the rows."""
    if own.class_weights == "none":
        return np.ones(classes, dtype=np.float32)
    from sklearn.utils.class_weight import compute_class_weight

    weights = compute_class_weight(own.class_weights, classes=np.arange(classes), y=true)
    return np.asarray(weights, dtype=np.float32)


def _train_step(
    model: Any, dtype: np.dtype[Any], class_weights: npt.NDArray[np.float32]
) -> Callable[..., dict[str, Any]]:
    """Keras's own training step as a function of arrays, traced once for every shape of batch.

    Not `fit` on a tf.data generator: taking that apart stalls for five seconds in every other epoch.
    """
    tf = import_tensorflow()
    vectors = tf.TensorSpec([None, None, model.input_shape[0][-1]], dtype)
    lengths, labels = (
        tf.TensorSpec([None], tf.int32),
        tf.TensorSpec([None, model.output_shape[-1]], tf.float32),
    )

    @tf.function(input_signature=[vectors, lengths, labels])  # type: ignore[untyped-decorator]
    def step(vectors: Any, lengths: Any, labels: Any) -> Any:
        return model.train_step(((vectors, lengths), labels, tf.linalg.matvec(labels, class_weights)))

    return step  # type: ignore[no-any-return]


_Batch = tuple[npt.NDArray[np.floating[Any]], npt.NDArray[np.int32], npt.NDArray[np.float32]]


def _batches(
    vectors: StoredVectors, labels: npt.NDArray[np.float32], training: TrainingSettings, epoch: int
) -> Iterator[_Batch]:
    """Padded vectors (batch, tokens, hidden), lengths (batch,) and labels (batch, classes) of an epoch."""
    numbers = (
        shuffled_buckets(vectors.lengths, training.batch_size, [training.seed, epoch])
        if training.shuffle
        else in_order(len(vectors), training.batch_size)
    )
    within = bounded(numbers, vectors.lengths, _MOST_TOKENS)
    return ((vectors.padded(chosen), vectors.lengths[chosen], labels[chosen]) for chosen in within)


def _estimate(vectors: StoredVectors, training: TrainingSettings, finished: int) -> Estimate:
    """Of all epochs that may come, by their vectors."""
    limit = f" or {training.max_minutes:g} minutes" if training.max_minutes else ""
    total = int(vectors.lengths.sum()) * (training.epochs - finished)
    return Estimate(f"training for at most {training.epochs} epochs{limit}", total)


def _counted(batches: Iterator[_Batch], estimate: Estimate) -> Iterator[_Batch]:
    for batch in batches:
        yield batch
        estimate.add(int(batch[1].sum()))


def _learn(model: Any, step: Callable[..., dict[str, Any]], batches: Iterator[_Batch]) -> Epoch:
    model.reset_metrics()
    means: dict[str, Any] = {}
    for vectors, lengths, labels in batches:
        means = step(vectors, lengths, labels)
    model.optimizer.finalize_variable_values(model.trainable_variables)  # the average, if there is one
    return {name: float(value) for name, value in means.items()}


def predict(model: Any, vectors: StoredVectors, batch_size: int) -> npt.NDArray[np.float64]:
    """Class probabilities (rows, classes), computed in batches of similar length."""
    predicted = np.empty((len(vectors), model.output_shape[-1]))
    order = np.argsort(vectors.lengths, kind="stable")
    batches = (order[chosen] for chosen in in_order(len(vectors), batch_size))
    for numbers in bounded(batches, vectors.lengths, _MOST_TOKENS):
        predicted[numbers] = model.predict_on_batch([vectors.padded(numbers), vectors.lengths[numbers]])
    return predicted


def _end(history: list[Epoch], training: TrainingSettings) -> str | None:
    """The setting that ends the training after the last of these epochs, None if it goes on."""
    if not history:
        return None
    if len(history) >= training.epochs:
        return "training.epochs"
    if len(history) - best_of(history, training)["epoch"] >= training.patience:
        return "training.patience"
    minutes = sum(epoch["seconds"] for epoch in history) / 60
    return "training.max_minutes" if training.max_minutes and minutes >= training.max_minutes else None
