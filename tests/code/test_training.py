import itertools
import json
import math
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import toy
from hypothesis import given, settings
from hypothesis import strategies as st

from jabert.config import EncoderSettings, FeaturesSettings, Settings, TrainingSettings
from jabert.encoder import TokenIds, Tokenizer, open_folder
from jabert.errors import JabertError
from jabert.evaluation import weighted_f1
from jabert.features import featurize, open_store
from jabert.methods import Fitted
from jabert.methods.bi_lstm import BiLstmSettings
from jabert.methods.bi_lstm import training as training_module
from jabert.methods.bi_lstm.network import build_classifier
from jabert.methods.bi_lstm.training import load_classifier, train
from jabert.training import state as training_state
from jabert.training.batches import bounded, in_order, shuffled_buckets
from jabert.training.rows import Rows, StoredVectors

CLASSES = 4


@pytest.fixture(scope="module")
def corpus(toy_encoder, tmp_path_factory):
    """The toy's rows with their vectors: a training and a watched split, no article in both."""
    return stored(toy_encoder, tmp_path_factory.mktemp("features"), EncoderSettings(device="cpu"))


def stored(toy_encoder, path, encoder):
    folder = open_folder(toy_encoder)
    settings = Settings(encoder=encoder, features=FeaturesSettings(path=str(path)))
    table = toy.toy_rows()
    ids = Tokenizer(folder, encoder)(table["text"].tolist()).ids
    featurize(ids, folder, settings)
    classes = np.array([toy.LABELS.index(label) for label in table["label"]], dtype=np.int32)
    vectors = StoredVectors.find(open_store(folder, settings), ids, 64)
    rows = Rows(table["text"].tolist(), classes, table["group"].tolist(), ids, vectors)
    held_out = (table["group"] >= "article-32").to_numpy()
    return rows.take(np.flatnonzero(~held_out)), rows.take(np.flatnonzero(held_out))


@dataclass(frozen=True)
class Trained:
    """A finished training and its folder."""

    fitted: Fitted
    folder: Path

    @property
    def history(self):
        return self.fitted.history

    @property
    def best(self):
        return self.history[self.fitted.best_epoch - 1]


OWN = set(BiLstmSettings.model_fields)
QUICK = {"epochs": 3, "batch_size": 32, "precision": "float32", "averaging": 0.0}


def run(corpus, folder, on_epoch=lambda _: None, **given):
    rows, watched = corpus
    own = {name: given[name] for name in OWN & given.keys()}
    training = {name: given[name] for name in given.keys() - OWN}
    fitted = train(
        rows,
        watched,
        CLASSES,
        own=BiLstmSettings(**{"units": 6, "dropout": 0.0} | own),
        training=TrainingSettings(**{**QUICK, **training}),
        folder=folder,
        on_epoch=on_epoch,
    )
    return Trained(fitted, folder)


def weights_of(folder, units=6):
    return load_classifier(folder, 16, CLASSES, units).get_weights()


def whole_batch(rows, count=None):
    """The first rows, or all, as one batch: padded vectors, lengths and classes."""
    numbers = np.arange(len(rows) if count is None else count)
    vectors = rows.stored_vectors()
    return vectors.padded(numbers), vectors.lengths[numbers], rows.classes[numbers]


def without_seconds(history):
    return [{name: value for name, value in epoch.items() if name != "seconds"} for epoch in history]


# Learning


@pytest.fixture(scope="module")
def learned(corpus, tmp_path_factory):
    """A training long enough to learn the toy's topics."""
    folder = tmp_path_factory.mktemp("learned")
    return run(corpus, folder, units=16, epochs=10, batch_size=8, patience=10)


def test_the_toys_topics_are_learned(learned):
    assert learned.best["val_weighted_f1"] > 0.6  # chance is 0.25
    assert learned.history[-1]["loss"] < 0.7 * learned.history[0]["loss"]


def test_an_epoch_has_the_metrics_of_both_sides(learned):
    metrics = {"loss", "mae", "mse", "acc"}
    expected = {"epoch", "seconds", "val_weighted_f1"} | metrics | {f"val_{name}" for name in metrics}
    assert all(set(epoch) == expected for epoch in learned.history)
    assert [epoch["epoch"] for epoch in learned.history] == list(range(1, len(learned.history) + 1))


def test_the_best_weights_have_the_metrics_of_the_best_epoch(learned, corpus):
    _, watched = corpus
    model = load_classifier(learned.folder, 16, CLASSES, 16)
    model.compile("nadam", "categorical_crossentropy", metrics=["mae", "mse", "acc"])
    vectors, lengths, classes = whole_batch(watched)
    truth = np.eye(CLASSES)[classes]
    loss, mae, mse, acc = model.evaluate([vectors, lengths], truth, verbose=0, batch_size=1000)
    predicted = model.predict([vectors, lengths], verbose=0).argmax(axis=1)
    best = learned.best
    assert loss == pytest.approx(best["val_loss"], abs=1e-6)
    assert mae == pytest.approx(best["val_mae"], abs=1e-6)
    assert mse == pytest.approx(best["val_mse"], abs=1e-6)
    assert acc == pytest.approx(best["val_acc"], abs=1e-6)
    assert weighted_f1(classes, predicted, CLASSES) == pytest.approx(best["val_weighted_f1"])


def test_the_seed_decides_the_first_weights_and_metrics_are_those_of_keras(corpus, tmp_path):
    """One batch holds all rows, so the metrics of the epoch are those of the untrained weights."""
    import tensorflow as tf

    rows, _ = corpus
    trained = run(corpus, tmp_path, epochs=1, batch_size=1000, seed=7)
    tf.keras.utils.set_random_seed(7)
    model = build_classifier(16, CLASSES, 6)
    model.compile("nadam", "categorical_crossentropy", metrics=["mae", "mse", "acc"])
    vectors, lengths, classes = whole_batch(rows)
    truth = np.eye(CLASSES)[classes]
    expected = model.evaluate([vectors, lengths], truth, verbose=0, batch_size=1000)
    for name, value in zip(("loss", "mae", "mse", "acc"), expected, strict=True):
        assert trained.history[0][name] == pytest.approx(value, abs=1e-6)


def test_a_smoothed_and_balanced_loss_is_that_of_keras_and_scikit_learn(corpus, tmp_path):
    import tensorflow as tf
    from sklearn.utils.class_weight import compute_sample_weight

    rows, watched = corpus
    few = rows.take(np.flatnonzero((rows.classes > 0) | (np.arange(len(rows)) % 5 == 0)))
    one_batch = {"epochs": 1, "batch_size": 1000, "seed": 7}
    settings = {"label_smoothing": 0.2, "class_weights": "balanced"}
    (epoch,) = run((few, watched), tmp_path / "weighted", **one_batch, **settings).history
    tf.keras.utils.set_random_seed(7)
    model = build_classifier(16, CLASSES, 6)
    loss = tf.keras.losses.CategoricalCrossentropy(label_smoothing=0.2)
    vectors, lengths, classes = whole_batch(few)
    counts = compute_sample_weight("balanced", classes)
    predicted = model.predict_on_batch([vectors, lengths])
    assert len(set(counts)) > 1
    assert epoch["loss"] == pytest.approx(float(loss(np.eye(CLASSES)[classes], predicted, counts)), abs=1e-6)
    (plain,) = run((few, watched), tmp_path / "plain", **one_batch).history
    assert plain["acc"] == epoch["acc"], "metrics are of the rows as they are"


def test_the_logs_of_tensorboard_hold_both_sides(learned):
    import tensorflow as tf
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for side, prefix in (("train", ""), ("validation", "val_")):
        folder = str(learned.folder / "tensorboard" / side)
        events = EventAccumulator(folder, size_guidance={"tensors": 0}).Reload()
        steps = [event.step for event in events.Tensors("epoch_loss")]
        assert steps == [epoch["epoch"] for epoch in learned.history]
        values = [float(tf.make_ndarray(event.tensor_proto)) for event in events.Tensors("epoch_loss")]
        assert values == pytest.approx([epoch[f"{prefix}loss"] for epoch in learned.history], rel=1e-6)


def test_the_history_reads_as_a_table(learned):
    lines = learned.fitted.to_markdown().splitlines()
    assert lines[0].startswith("| epoch | loss |")
    assert len([line for line in lines if line.startswith("|")]) == 2 + len(learned.history)
    assert f"epoch {learned.fitted.best_epoch}." in lines[-1]


# The same again

OPTIONS = {"dropout": 0.4, "averaging": 0.9, "epochs": 4, "patience": 4}


@pytest.fixture(scope="module")
def whole(corpus, tmp_path_factory):
    """An uninterrupted training with dropout."""
    return run(corpus, tmp_path_factory.mktemp("whole"), **OPTIONS)


def assert_same(one, other):
    """Equal to the last bit: the history but for its seconds, the best epoch and its weights."""
    assert without_seconds(one.history) == without_seconds(other.history)
    assert one.fitted.best_epoch == other.fitted.best_epoch
    for a, b in zip(weights_of(one.folder), weights_of(other.folder), strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_same_seed_gives_the_same_weights_and_history(corpus, tmp_path, whole):
    assert_same(run(corpus, tmp_path, **OPTIONS), whole)


class Killed(Exception):  # noqa: N818
    """What a test raises in the middle of a training."""


def test_a_training_killed_twice_goes_on_and_ends_as_if_it_had_not_been(corpus, tmp_path, whole, monkeypatch):
    real, seen = training_state.write_json, []

    def killed_before_epoch_2_is_committed(path, history):
        if len(history) == 2:
            raise Killed
        return real(path, history)

    def killed_after_epoch_3(epoch):
        seen.append(epoch["epoch"])
        if epoch["epoch"] == 3:
            raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(training_state, "write_json", killed_before_epoch_2_is_committed)
        run(corpus, tmp_path, **OPTIONS)
    with pytest.raises(Killed):
        run(corpus, tmp_path, killed_after_epoch_3, **OPTIONS)
    assert seen == [1, 2, 3]  # epoch 1 is that of the first process, 2 was made again
    continued = run(corpus, tmp_path, lambda epoch: seen.append(epoch["epoch"]), **OPTIONS)
    assert continued.fitted.resumed == 3
    assert seen == [1, 2, 3, 1, 2, 3, 4]
    assert_same(continued, whole)


@pytest.mark.parametrize("taken", ["epoch-2", "tensorboard", "tensorboard/train"])
def test_what_cannot_be_written_is_one_sentence(corpus, tmp_path, taken):
    (tmp_path / taken).parent.mkdir(exist_ok=True)
    (tmp_path / taken).write_text("a file where a folder is wanted")
    named = taken.split("/")[0]
    with pytest.raises(JabertError, match=rf"{named}[/a-z]* cannot be written: .") as caught:
        run(corpus, tmp_path)
    assert not [noise for noise in ("{{", "[Op:", "\n") if noise in str(caught.value)]


def test_a_finished_training_is_only_read_again(corpus, tmp_path, whole, monkeypatch):
    shutil.copytree(whole.folder, tmp_path / "again")
    monkeypatch.setattr(training_module, "_learn", None)
    again = run(corpus, tmp_path / "again", **OPTIONS)
    assert again.fitted.resumed == 4
    assert again.history == whole.history
    assert_same(again, whole)


def test_only_the_last_state_is_kept_on_disk(whole):
    names = sorted(path.name for path in whole.folder.iterdir())
    assert names == ["best.npz", "epoch-4", "history.json", "tensorboard"]


# When it stops, and which epoch is kept


@pytest.fixture
def scripted(monkeypatch):
    """Trainings whose watched metrics are given, one an epoch; all weights become the epoch's number."""

    numbers = itertools.count(1)

    def learn(model, step, batches):
        number = next(numbers)
        model.set_weights([np.full(weight.shape, number) for weight in model.get_weights()])
        return dict.fromkeys(("loss", "mae", "mse", "acc"), 0.5)

    def script(monitor, values):
        metrics = iter(values)
        others = dict.fromkeys(("loss", "mae", "mse", "acc", "weighted_f1"), 0.5)
        name = monitor.removeprefix("val_")
        monkeypatch.setattr(training_module, "_learn", learn)
        monkeypatch.setattr(training_module, "measure", lambda *arguments: others | {name: next(metrics)})

    return script


@pytest.mark.parametrize(
    ("monitor", "values", "patience", "epochs", "best"),  # epochs: that are run
    [
        ("val_weighted_f1", [0.1, 0.3, 0.2, 0.3, 0.9], 2, 4, 2),  # equal is no better
        ("val_acc", [0.5, 0.4, 0.6, 0.5, 0.5, 0.5], 3, 6, 3),
        ("val_loss", [0.5, 0.6, 0.4, 0.9, 0.8, 0.1], 2, 5, 3),
        ("val_loss", [math.nan, 0.6, 0.7, 0.8], 2, 4, 2),
        ("val_weighted_f1", [0.1, 0.2, 0.3, 0.4, 0.5, 0.6], 1, 6, 6),
        ("val_weighted_f1", [0.9, 0.2], 1, 2, 1),
    ],
)
def test_it_stops_after_so_many_epochs_without_a_better_value_and_keeps_the_best(
    corpus, tmp_path, scripted, *, monitor, values, patience, epochs, best
):
    scripted(monitor, values)
    trained = run(corpus, tmp_path, units=1, epochs=6, patience=patience, monitor=monitor)
    assert len(trained.history) == epochs
    assert trained.fitted.best_epoch == best
    assert all((weight == best).all() for weight in weights_of(tmp_path, units=1))


# Batches


@given(
    st.lists(st.integers(2, 60), min_size=1, max_size=200).map(np.array),
    st.integers(1, 40),
    st.lists(st.integers(0, 2**31), min_size=1, max_size=2),
)
def test_shuffled_buckets_hold_every_row_once(lengths, batch_size, seed):
    batches = list(shuffled_buckets(lengths, batch_size, seed))
    assert sorted(np.concatenate(batches)) == list(range(len(lengths)))
    assert all(1 <= len(batch) <= batch_size for batch in batches)
    again = list(shuffled_buckets(lengths, batch_size, seed))
    assert [batch.tolist() for batch in again] == [batch.tolist() for batch in batches]


def test_another_epoch_or_seed_means_another_order():
    lengths = np.arange(2, 202)
    orders = {
        tuple(np.concatenate(list(shuffled_buckets(lengths, 8, seed))).tolist())
        for seed in ([0, 1], [0, 2], [1, 1], [1, 2])
    }
    assert len(orders) == 4


def test_buckets_hold_texts_of_similar_length():
    lengths = np.random.default_rng(0).integers(2, 200, 1600)
    padded = sum(len(batch) * lengths[batch].max() for batch in shuffled_buckets(lengths, 32, [0]))
    assert padded < 1.2 * lengths.sum()  # in random batches it is about 1.9 times


@given(st.lists(st.integers(1, 90), max_size=60), st.integers(1, 9), st.integers(1, 200))
def test_a_batch_has_at_most_so_many_tokens_or_one_row(lengths, batch_size, most):
    lengths = np.array(lengths, dtype=np.int32)
    parts = list(bounded(in_order(len(lengths), batch_size), lengths, most))
    assert [row for part in parts for row in part] == list(range(len(lengths)))
    for part in parts:
        assert len(part) == 1 or len(part) * lengths[part].max() <= most
    assert list(map(list, bounded(in_order(4, 3), np.ones(4), 3))) == [[0, 1, 2], [3]]


@given(st.integers(0, 200), st.integers(1, 50))
def test_without_shuffling_the_order_is_that_of_the_data(rows, batch_size):
    batches = [batch.tolist() for batch in in_order(rows, batch_size)]
    assert [number for batch in batches for number in batch] == list(range(rows))
    assert all(len(batch) == batch_size for batch in batches[:-1])


def epoch_of(corpus, number=1, **training):
    """The batches that an epoch is given."""
    rows, _ = corpus
    settings = TrainingSettings(batch_size=32, **training)
    return list(training_module._batches(rows.stored_vectors(), rows.classes, settings, number))


def test_an_epoch_is_fed_every_row_once_with_its_class(corpus):
    rows, _ = corpus
    stored = rows.stored_vectors()
    fed = [
        (length, classes[row], vectors[row, :length].tobytes())
        for vectors, lengths, classes in epoch_of(corpus)
        for row, length in enumerate(lengths)
    ]
    expected = [
        (length, label, stored.read(number).tobytes())
        for number, (length, label) in enumerate(zip(stored.lengths, rows.classes, strict=True))
    ]
    assert fed != expected
    assert sorted(fed) == sorted(expected)


def order_of(batches):
    """What tells two orders of the rows apart."""
    return [text.tobytes() for vectors, _, _ in batches for text in vectors]


def test_each_epoch_and_seed_has_an_order_of_its_own_and_always_the_same(corpus):
    orders = [order_of(epoch_of(corpus, epoch, seed=seed)) for epoch in (1, 2) for seed in (0, 1)]
    assert len({tuple(order) for order in orders}) == 4
    assert order_of(epoch_of(corpus, 2, seed=1)) == orders[-1]


def test_without_shuffling_every_epoch_is_in_the_order_of_the_data(corpus):
    rows, _ = corpus
    for epoch in (1, 2):
        _, lengths, classes = zip(*epoch_of(corpus, epoch, shuffle=False), strict=True)
        assert np.concatenate(lengths).tolist() == rows.ids.lengths.tolist()
        assert np.concatenate(classes).tolist() == rows.classes.tolist()


def test_a_batch_is_padded_on_the_right_with_zeros(corpus):
    rows, _ = corpus
    numbers = np.array([3, 0, 5])
    stored = rows.stored_vectors()
    batch = stored.padded(numbers)
    assert batch.dtype == stored.store.dtype == np.float16
    assert batch.shape == (3, stored.lengths[numbers].max(), 16)
    for vectors, number in zip(batch, numbers, strict=True):
        length = stored.lengths[number]
        np.testing.assert_array_equal(vectors[:length], stored.read(number))
        assert not vectors[length:].any()


def test_some_rows_keep_what_belongs_to_them(corpus):
    rows, _ = corpus
    numbers = np.array([3, 0, 5])
    taken = rows.take(numbers)
    assert taken.texts == [rows.texts[number] for number in numbers]
    assert taken.groups == [rows.groups[number] for number in numbers]
    assert taken.classes.tolist() == rows.classes[numbers].tolist()
    for row, number in enumerate(numbers):
        assert taken.ids[row].tolist() == rows.ids[number].tolist()
        np.testing.assert_array_equal(taken.stored_vectors().read(row), rows.stored_vectors().read(number))


def test_rows_without_vectors_say_whose_fault_it_is(corpus):
    rows, _ = corpus
    with pytest.raises(ValueError, match="the method does not name them in `needs`"):
        Rows(rows.texts, rows.classes).stored_vectors()


# The model


@pytest.fixture(scope="module", params=["last", "attention"])
def classifier(request):
    return build_classifier(16, CLASSES, 6, pooling=request.param)


@settings(max_examples=20)
@given(st.lists(st.integers(1, 12), min_size=1, max_size=5), st.floats(-100, 100), st.integers(0, 5))
def test_the_classifier_does_not_see_what_stands_in_the_padding(classifier, lengths, filler, extra):
    random = np.random.default_rng(0)
    lengths = np.array(lengths, dtype=np.int32)
    clean = random.normal(size=(len(lengths), lengths.max() + extra, 16)).astype(np.float32)
    dirty = clean.copy()
    for row, length in enumerate(lengths):
        dirty[row, length:] = filler
    expected = classifier.predict_on_batch([clean, lengths])
    np.testing.assert_allclose(classifier.predict_on_batch([dirty, lengths]), expected, atol=1e-6)
    for row, length in enumerate(lengths):
        alone = classifier.predict_on_batch([clean[row : row + 1, :length], lengths[row : row + 1]])
        np.testing.assert_allclose(alone[0], expected[row], atol=1e-6)


def test_probabilities_sum_to_one_and_the_output_is_as_wide_as_the_classes(classifier):
    vectors = np.random.default_rng(0).normal(size=(3, 7, 16)).astype(np.float32)
    probabilities = classifier.predict_on_batch([vectors, np.array([7, 3, 1], dtype=np.int32)])
    assert probabilities.shape == (3, CLASSES)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-6)


def test_the_model_is_the_articles():
    model = build_classifier(384, CLASSES, BiLstmSettings().units)
    shapes = [tuple(weight.shape) for weight in model.get_weights()]
    lstm = [(384, 4 * 356), (356, 4 * 356), (4 * 356,)]
    assert shapes == [*lstm, *lstm, (2 * 356, CLASSES), (CLASSES,)]


def test_texts_padded_by_setting_are_fed_whole_as_in_the_article(toy_encoder, tmp_path, classifier):
    rows, _ = stored(toy_encoder, tmp_path / "features", EncoderSettings(device="cpu", pad_to=24))
    assert set(rows.ids.lengths.tolist()) == {24}
    vectors, lengths, _ = whole_batch(rows, 4)
    before = classifier.predict_on_batch([vectors, lengths])
    changed = vectors.copy()
    changed[:, -1] += 1  # the last row of padding
    assert np.abs(classifier.predict_on_batch([changed, lengths]) - before).max() > 1e-4


def test_history_on_disk_is_plain_json(learned):
    written = json.loads((learned.folder / "history.json").read_text(encoding="utf-8"))
    assert written[-1].pop("check") > 0
    assert written == learned.history


def test_a_row_that_the_store_lost_is_an_error_not_a_wrong_training(corpus):
    rows, _ = corpus
    lost = TokenIds.of([*list(rows.ids)[:-1], [7, 7, 7]])
    with pytest.raises(JabertError, match=rf"lacks 1 of {len(rows)} rows; `jabert featurize` computes them"):
        StoredVectors.find(rows.stored_vectors().store, lost, 64)
