"""Seconds per Bi-LSTM epoch: the article's, Keras's masked layer, jabert's; and how fast batches are read.

    python benchmarks/bi_lstm.py DATA ENCODER [--rows 3767] [--epochs 3] [--out FOLDER]

The token vectors come from the feature store in the current directory; missing ones are computed first. The
article's epoch (all 512 positions, batch size 128, no mask) is extrapolated from 256 rows. Prints a table and
writes `bi_lstm.json`.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from machine import machine
from workers import RESULTS, say

from jabert import markdown
from jabert.config import Settings, load_settings
from jabert.dataset import read_corpus
from jabert.encoder import Tokenizer, longest_row, open_folder
from jabert.features import featurize, open_store
from jabert.files import write_json
from jabert.legacy_keras import import_tensorflow
from jabert.methods.bi_lstm.training import train
from jabert.training.batches import in_order, shuffled_buckets
from jabert.training.rows import Rows, StoredVectors

ARTICLE_BATCH, ARTICLE_POSITIONS, ARTICLE_ROWS = 128, 512, 256
Seconds = list[float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("encoder")
    parser.add_argument("--rows", type=int, default=3767, help="the article's training rows")
    parser.add_argument(
        "--epochs", type=int, default=3, help="timed epochs after a warm-up epoch; the median counts"
    )
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the results")
    options = parser.parse_args()
    settings = load_settings(
        None,
        [
            "method.kind=bi-lstm",
            f"data.path={options.data}",
            f"encoder.path={options.encoder}",
            f"training.epochs={options.epochs + 1}",
            f"training.patience={options.epochs + 1}",
        ],
    )
    result = {"machine": machine(), **measure(settings, options.rows, options.epochs)}
    write_json(options.out / "bi_lstm.json", result)
    print("\n\n".join(tables(result)))


def measure(settings: Settings, rows: int, epochs: int) -> dict[str, Any]:
    labelled, classes = stored_rows(settings, rows)
    stored, units = labelled.stored_vectors(), settings.method.units
    say("the article's")
    article = article_epoch(labelled, classes, units)
    say("Keras's masked layer")
    keras = masked_epochs(labelled, classes, units, settings.training.batch_size, epochs)
    say("jabert's")
    # In a process of its own, since it configures TensorFlow's threads itself.
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        own = process.submit(own_epochs, settings, rows).result()
    return {
        "rows": len(labelled),
        "tokens": int(stored.lengths.sum()),
        "epochs": {"article": article, "keras": keras, "jabert": own},
        "reading": reading(stored, settings.training.batch_size, epochs),
    }


def stored_rows(settings: Settings, rows: int) -> tuple[Rows, int]:
    """Rows drawn from the corpus with their vectors in the store, and the number of classes."""
    table, folder = read_corpus(settings.data).table, open_folder(settings.encoder.path)
    table = table.sample(min(rows, len(table)), random_state=0)
    ids = Tokenizer(folder, settings.encoder)(table["text"].tolist()).ids
    featurize(ids, folder, settings)
    labels = sorted(table["label"].unique())
    classes = np.array([labels.index(label) for label in table["label"]], dtype=np.int32)
    vectors = StoredVectors.find(open_store(folder, settings), ids, longest_row(folder, settings.encoder))
    return Rows(table["text"].tolist(), classes, ids=ids, vectors=vectors), len(labels)


def article_epoch(rows: Rows, classes: int, units: int) -> Seconds:
    """Extrapolated seconds of the article's epoch, from two batches after a first one."""
    keras, stored = import_tensorflow().keras, rows.stored_vectors()
    model = keras.Sequential(
        [
            keras.Input((ARTICLE_POSITIONS, stored.store.hidden_size)),
            keras.layers.Bidirectional(keras.layers.LSTM(units)),
            keras.layers.Dense(classes, activation="softmax"),
        ]
    )
    model.compile("nadam", "categorical_crossentropy", metrics=["mae", "mse", "acc"])
    one_hot = np.eye(classes, dtype=np.float32)

    def step(numbers: np.ndarray) -> float:
        padded = stored.padded(numbers)
        vectors = np.zeros((len(numbers), ARTICLE_POSITIONS, stored.store.hidden_size), dtype=np.float32)
        vectors[:, : padded.shape[1]] = padded[:, :ARTICLE_POSITIONS]
        started = time.perf_counter()
        model.train_on_batch(vectors, one_hot[rows.classes[numbers]])
        return time.perf_counter() - started

    step(np.arange(min(ARTICLE_BATCH, len(rows))))
    seconds = sum(step(numbers) for numbers in in_order(min(ARTICLE_ROWS, len(rows)), ARTICLE_BATCH))
    return [seconds * len(rows) / min(ARTICLE_ROWS, len(rows))]


def masked_epochs(rows: Rows, classes: int, units: int, batch_size: int, epochs: int) -> Seconds:
    """Keras's own layer on jabert's batches, with a mask; the first epoch is not counted."""
    tf, stored = import_tensorflow(), rows.stored_vectors()
    keras = tf.keras
    vectors, mask = keras.Input((None, stored.store.hidden_size)), keras.Input((None,), dtype="bool")
    both = keras.layers.Bidirectional(keras.layers.LSTM(units))(vectors, mask=mask)
    model = keras.Model([vectors, mask], keras.layers.Dense(classes, activation="softmax")(both))
    model.compile("nadam", "categorical_crossentropy", metrics=["mae", "mse", "acc"])
    one_hot = np.eye(classes, dtype=np.float32)
    shapes = [tf.TensorSpec([None, None, stored.store.hidden_size]), tf.TensorSpec([None, None], tf.bool)]

    @tf.function(input_signature=[*shapes, tf.TensorSpec([None, classes])])  # type: ignore[untyped-decorator]
    def step(vectors: Any, mask: Any, labels: Any) -> Any:
        return model.train_step(((vectors, mask), labels))

    def learn(epoch: int) -> None:
        for numbers in order_of(stored, batch_size, epoch):
            padded = stored.padded(numbers)
            mask = np.arange(padded.shape[1]) < stored.lengths[numbers][:, None]
            step(padded, mask, one_hot[rows.classes[numbers]])

    return timed(learn, epochs)


def own_epochs(settings: Settings, count: int) -> Seconds:
    """jabert's training, with one row to watch; the first epoch is not counted."""
    rows, classes = stored_rows(settings, count)
    with tempfile.TemporaryDirectory() as folder:
        trained = train(
            rows,
            rows.take(np.arange(1)),
            classes,
            own=settings.method,
            training=settings.training,
            folder=Path(folder) / "training",
            on_epoch=lambda _: None,
        )
    return [epoch["seconds"] for epoch in trained.history[1:]]


def reading(rows: StoredVectors, batch_size: int, epochs: int) -> dict[str, float]:
    """Bytes a second of an epoch's padded batches, each in new memory, by where they come from."""
    batches = list(batches_of(rows, batch_size, 0))
    made = sum(batch.nbytes for batch in batches)
    everything = [rows.read(number) for number in range(len(rows))]
    starts, everything_flat = np.cumsum([0, *map(len, everything)]), np.concatenate(everything)

    def take(numbers: np.ndarray) -> np.ndarray:
        lengths = rows.lengths[numbers][:, None]  # (batch, 1)
        tokens = np.arange(int(lengths.max()))
        taken = everything_flat.take(np.where(tokens < lengths, starts[numbers][:, None] + tokens, 0), axis=0)
        taken[tokens >= lengths] = 0
        return taken

    sources: dict[str, Callable[[int], Iterator[Any]]] = {
        "read": lambda number: batches_of(rows, batch_size, number),
        "taken": lambda number: map(take, order_of(rows, batch_size, number)),
        "copied": lambda _: (batch.copy() for batch in batches),
    }

    def consume(source: Callable[[int], Iterator[Any]]) -> Callable[[int], None]:
        def run(number: int) -> None:
            for _ in source(number):  # as in training, a batch is kept until the next one is ready
                pass

        return run

    # A pass takes hundredths of a second, so many are timed.
    times = {name: statistics.median(timed(consume(source), 5 * epochs)) for name, source in sources.items()}
    return {name: made / seconds for name, seconds in times.items()}


def order_of(rows: StoredVectors, batch_size: int, epoch: int) -> Iterator[np.ndarray]:
    """Row numbers of the batches of one epoch, in the order of jabert's training."""
    return shuffled_buckets(rows.lengths, batch_size, [0, epoch])


def batches_of(rows: StoredVectors, batch_size: int, epoch: int) -> Iterator[np.ndarray]:
    """The padded vectors of one epoch, as jabert's training reads them."""
    return map(rows.padded, order_of(rows, batch_size, epoch))


def timed(run: Callable[[int], None], times: int) -> Seconds:
    """Seconds of each run, without the first."""
    seconds = []
    for number in range(times + 1):
        started = time.perf_counter()
        run(number)
        seconds.append(time.perf_counter() - started)
    return seconds[1:]


def tables(result: dict[str, Any]) -> list[str]:
    """The docs' tables."""
    labels = {
        "article": f"the article's: 512 steps, no mask (extrapolated from {ARTICLE_ROWS} rows)",
        "keras": "Keras's layer, masked, batches of similar length",
        "jabert": "jabert's",
    }
    medians = {name: statistics.median(seconds) for name, seconds in result["epochs"].items()}
    epochs = [
        (labels[name], f"{seconds:.1f}", f"{medians['article'] / seconds:.0f}")
        for name, seconds in medians.items()
    ]
    paces = {
        "read": "read from the store and padded",
        "taken": "taken by NumPy from one array of all vectors in memory and padded",
        "copied": "whole batches, padded before, copied one after the other",
    }
    rates = [(label, f"{result['reading'][name] / 1e9:.2f}") for name, label in paces.items()]
    return [
        markdown.table([f"an epoch of {result['rows']:,} rows", "seconds", "× the article's"], epochs),
        markdown.table(["the batches of an epoch", "GB/s"], rates),
    ]


if __name__ == "__main__":
    main()
