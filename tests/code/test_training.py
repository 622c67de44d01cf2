import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import toy
from hypothesis import given
from hypothesis import strategies as st

from jabert.classifier import LabelledRows, load_classifier, train
from jabert.classifier import training as training_module
from jabert.classifier.batches import in_order, read_batch, shuffled_buckets
from jabert.classifier.model import build_classifier
from jabert.config import ClassifierSettings, EncoderSettings, FeaturesSettings, Settings, TrainingSettings
from jabert.encoder import Tokenizer, open_folder
from jabert.evaluation import weighted_f1
from jabert.features import FeatureStore, featurize, open_store, row_key

CLASSES = 4


@pytest.fixture(scope="module")
def corpus(toy_encoder, tmp_path_factory):
    """The toy's vectors: the store, and the rows of a training and a watched side, no article on both."""
    return stored(toy_encoder, tmp_path_factory.mktemp("features"), EncoderSettings(device="cpu"))


def stored(toy_encoder, path, encoder):
    folder = open_folder(toy_encoder)
    settings = Settings(encoder=encoder, features=FeaturesSettings(path=str(path)))
    table = toy.toy_rows()
    ids = Tokenizer(folder, encoder)(table["text"].tolist()).ids
    featurize(ids, folder, settings)
    classes = np.array([toy.LABELS.index(label) for label in table["label"]], dtype=np.int32)
    held_out = (table["group"] >= "article-32").to_numpy()

    def side(mask):
        chosen = np.flatnonzero(mask)
        lengths = np.array([len(ids[i]) for i in chosen], dtype=np.int32)
        return LabelledRows([row_key(ids[i]) for i in chosen], lengths, classes[chosen])

    return open_store(folder, settings), side(~held_out), side(held_out)


def run(corpus, folder, on_epoch=None, *, units=6, dropout=0.0, **training):
    store, rows, watched = corpus
    return train(
        store,
        rows,
        watched,
        CLASSES,
        classifier=ClassifierSettings(units=units, dropout=dropout),
        training=TrainingSettings(**{"epochs": 3, "batch_size": 32} | training),
        folder=folder,
        on_epoch=on_epoch,
    )


def weights_of(folder, units=6):
    model = load_classifier(folder, 16, CLASSES, ClassifierSettings(units=units))
    return model.get_weights()


def without_seconds(history):
    return [{name: value for name, value in epoch.items() if name != "seconds"} for epoch in history]


def assert_same(one, other):
    for a, b in zip(weights_of(one), weights_of(other), strict=True):
        np.testing.assert_array_equal(a, b)


# Learning

@pytest.fixture(scope="module")
def learned(corpus, tmp_path_factory):
    """A training long enough to learn the toy's topics."""
    folder = tmp_path_factory.mktemp("learned")
    return run(corpus, folder, units=12, epochs=12, batch_size=16, patience=12)


def test_the_toys_topics_are_learned(learned):
    assert learned.best["val_weighted_f1"] > 0.6  # chance is 0.25
    assert learned.history[-1]["loss"] < learned.history[0]["loss"] / 2


def test_an_epoch_has_the_metrics_of_both_sides(learned):
    metrics = {"loss", "mae", "mse", "acc"}
    expected = {"epoch", "seconds", "val_weighted_f1"} | metrics | {f"val_{name}" for name in metrics}
    assert all(set(epoch) == expected for epoch in learned.history)
    assert [epoch["epoch"] for epoch in learned.history] == list(range(1, len(learned.history) + 1))


def test_the_best_weights_have_the_metrics_of_the_best_epoch(learned, corpus):
    store, _, watched = corpus
    model = load_classifier(learned.folder, 16, CLASSES, ClassifierSettings(units=12))
    batch = read_batch(store, watched, np.arange(len(watched)))
    truth = np.eye(CLASSES)[batch.classes]
    loss, mae, mse, acc = model.evaluate([batch.vectors, batch.lengths], truth, verbose=0, batch_size=1000)
    predicted = model.predict([batch.vectors, batch.lengths], verbose=0).argmax(axis=1)
    best = learned.best
    assert loss == pytest.approx(best["val_loss"], abs=1e-6)
    assert mae == pytest.approx(best["val_mae"], abs=1e-6)
    assert mse == pytest.approx(best["val_mse"], abs=1e-6)
    assert acc == pytest.approx(best["val_acc"], abs=1e-6)
    assert weighted_f1(batch.classes, predicted, CLASSES) == pytest.approx(best["val_weighted_f1"])


def test_training_metrics_are_those_of_keras_on_the_same_batches(corpus, tmp_path):
    """One batch that holds all rows: the epoch's loss is that of the untrained weights."""
    import tensorflow as tf

    store, rows, _ = corpus
    trained = run(corpus, tmp_path, epochs=1, batch_size=1000)
    tf.keras.utils.set_random_seed(0)
    model = build_classifier(16, CLASSES, ClassifierSettings(units=6))
    batch = read_batch(store, rows, np.arange(len(rows)))
    expected = model.evaluate(
        [batch.vectors, batch.lengths], np.eye(CLASSES)[batch.classes], verbose=0, batch_size=1000
    )
    for name, value in zip(("loss", "mae", "mse", "acc"), expected, strict=True):
        assert trained.history[0][name] == pytest.approx(value, abs=1e-6)


def test_the_logs_of_tensorboard_hold_both_sides(learned):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for side, prefix in (("train", ""), ("validation", "val_")):
        events = EventAccumulator(str(learned.folder / "tensorboard" / side)).Reload()
        steps = [event.step for event in events.Tensors("epoch_loss")]
        assert steps == [epoch["epoch"] for epoch in learned.history]
        values = [float(event.tensor_proto.float_val[0]) for event in events.Tensors("epoch_loss")]
        assert values == pytest.approx([epoch[f"{prefix}loss"] for epoch in learned.history], rel=1e-6)


def test_the_history_reads_as_a_table(learned):
    lines = learned.to_markdown().splitlines()
    assert lines[0].startswith("| epoch | loss |")
    assert len([line for line in lines if line.startswith("|")]) == 2 + len(learned.history)
    assert f"epoch {learned.best['epoch']}" in lines[-1]


# The same again

def test_the_same_seed_gives_the_same_weights_and_history(corpus, tmp_path):
    one = run(corpus, tmp_path / "one", dropout=0.3)
    other = run(corpus, tmp_path / "other", dropout=0.3)
    assert without_seconds(one.history) == without_seconds(other.history)
    assert_same(tmp_path / "one", tmp_path / "other")


def test_another_seed_gives_other_weights(corpus, tmp_path):
    run(corpus, tmp_path / "one", epochs=1)
    run(corpus, tmp_path / "other", epochs=1, seed=1)
    assert any((a != b).any() for a, b in zip(weights_of(tmp_path / "one"), weights_of(tmp_path / "other"), strict=True))


class Killed(Exception):
    """What the test raises in the middle of a training."""


@pytest.mark.parametrize("shuffle", [True, False])
def test_a_killed_training_goes_on_and_ends_as_if_it_had_not_been(corpus, tmp_path, shuffle):
    seen = []

    def kill(epoch):
        seen.append(epoch["epoch"])
        if epoch["epoch"] == 2:
            raise Killed

    options = {"dropout": 0.4, "epochs": 5, "patience": 5, "shuffle": shuffle}
    whole = run(corpus, tmp_path / "whole", **options)
    with pytest.raises(Killed):
        run(corpus, tmp_path / "killed", kill, **options)
    continued = run(corpus, tmp_path / "killed", lambda epoch: seen.append(epoch["epoch"]), **options)
    assert continued.resumed == 2
    assert seen == [1, 2, 1, 2, 3, 4, 5]  # a second process reports the epochs of the first as well
    assert without_seconds(continued.history) == without_seconds(whole.history)
    assert continued.best["epoch"] == whole.best["epoch"]
    assert_same(tmp_path / "killed", tmp_path / "whole")


@pytest.mark.parametrize("moment", ["checkpoint", "weights"])
def test_a_kill_while_an_epoch_is_saved_repeats_that_epoch(corpus, tmp_path, monkeypatch, moment):
    whole = run(corpus, tmp_path / "whole", dropout=0.4)
    real, calls = training_module.write_json, []

    def die_before_the_second_commit(path, value):
        calls.append(path)
        if len(calls) == 2:
            if moment == "checkpoint":  # died earlier still: the weights of the epoch are not there
                (Path(path).parent / "best.h5").write_bytes(b"older")
            raise Killed
        return real(path, value)

    monkeypatch.setattr(training_module, "write_json", die_before_the_second_commit)
    with pytest.raises(Killed):
        run(corpus, tmp_path / "killed", dropout=0.4)
    monkeypatch.setattr(training_module, "write_json", real)
    continued = run(corpus, tmp_path / "killed", dropout=0.4)
    assert continued.resumed == 1
    assert without_seconds(continued.history) == without_seconds(whole.history)
    if whole.best["epoch"] > 1:
        assert_same(tmp_path / "killed", tmp_path / "whole")


def test_a_finished_training_is_only_read_again(corpus, tmp_path):
    first = run(corpus, tmp_path)
    before = weights_of(tmp_path)
    again = run(corpus, tmp_path)
    assert again.resumed == len(first.history) == 3
    assert again.history == first.history
    for a, b in zip(before, weights_of(tmp_path), strict=True):
        np.testing.assert_array_equal(a, b)


def test_only_the_last_state_is_kept_on_disk(corpus, tmp_path):
    run(corpus, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best.h5", "epoch-3", "history.json", "tensorboard"]


# When it stops, and which epoch is kept

def scripted(monkeypatch, values, monitor):
    """Trainings whose watched metrics are these, one an epoch."""
    metrics = iter(values)
    name = monitor.removeprefix("val_")
    nothing = dict.fromkeys(("loss", "mae", "mse", "acc", "weighted_f1"), 0.5)
    monkeypatch.setattr(training_module, "_measure", lambda *arguments: nothing | {name: next(metrics)})


@pytest.mark.parametrize(
    ("monitor", "values", "patience", "epochs", "best"),
    [
        ("val_weighted_f1", [0.1, 0.3, 0.2, 0.3, 0.9], 2, 4, 2),  # equal is no better
        ("val_acc", [0.5, 0.4, 0.6, 0.5, 0.5, 0.5], 3, 6, 3),
        ("val_loss", [0.5, 0.6, 0.4, 0.9, 0.8, 0.1], 2, 5, 3),
        ("val_loss", [math.nan, 0.6, 0.7, 0.8], 2, 4, 2),
        ("val_weighted_f1", [0.1, 0.2, 0.3, 0.4, 0.5, 0.6], 1, 6, 6),
        ("val_weighted_f1", [0.9, 0.2], 1, 2, 1),
    ],
)
def test_it_stops_after_so_many_epochs_without_a_better_value(
    corpus, tmp_path, monkeypatch, monitor, values, patience, epochs, best
):
    scripted(monkeypatch, values, monitor)
    trained = run(corpus, tmp_path, units=1, epochs=6, patience=patience, monitor=monitor)
    assert len(trained.history) == epochs
    assert trained.best["epoch"] == best


def test_the_weights_kept_are_those_of_the_best_epoch(corpus, tmp_path, monkeypatch):
    scripted(monkeypatch, [0.1, 0.9, 0.2, 0.3], "val_acc")
    run(corpus, tmp_path / "long", epochs=4, monitor="val_acc")
    scripted(monkeypatch, [0.1, 0.9], "val_acc")
    run(corpus, tmp_path / "short", epochs=2, monitor="val_acc")
    assert_same(tmp_path / "long", tmp_path / "short")


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


@given(st.integers(0, 200), st.integers(1, 50))
def test_without_shuffling_the_order_is_that_of_the_data(rows, batch_size):
    batches = [batch.tolist() for batch in in_order(rows, batch_size)]
    assert sum(batches, []) == list(range(rows))
    assert all(len(batch) == batch_size for batch in batches[:-1])


@pytest.mark.parametrize("shuffle", [True, False])
def test_training_reads_the_rows_in_the_order_asked_for(corpus, tmp_path, monkeypatch, shuffle):
    _, rows, _ = corpus
    read, real = [], training_module.read_batch

    def noting(store, chosen, numbers):
        if chosen is rows:
            read.extend(numbers.tolist())
        return real(store, chosen, numbers)

    monkeypatch.setattr(training_module, "read_batch", noting)
    run(corpus, tmp_path, units=1, epochs=2, shuffle=shuffle)
    first, second = read[: len(rows)], read[len(rows) :]
    assert sorted(first) == sorted(second) == list(range(len(rows)))
    assert (first == list(range(len(rows)))) is not shuffle
    assert (first == second) is not shuffle


def test_a_batch_is_padded_on_the_right_with_zeros(corpus):
    store, rows, _ = corpus
    numbers = np.array([3, 0, 5])
    batch = read_batch(store, rows, numbers)
    assert batch.vectors.dtype == np.float32
    assert batch.vectors.shape == (3, rows.lengths[numbers].max(), 16)
    for vectors, length, number in zip(batch.vectors, batch.lengths, numbers, strict=True):
        np.testing.assert_array_equal(vectors[:length], store.read(rows.keys[number]))
        assert not vectors[length:].any()
    assert batch.classes.tolist() == rows.classes[numbers].tolist()


# The model

@pytest.fixture(scope="module")
def classifier():
    return build_classifier(16, CLASSES, ClassifierSettings(units=6))


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
    model = build_classifier(384, CLASSES, ClassifierSettings())
    shapes = [tuple(weight.shape) for weight in model.get_weights()]
    lstm = [(384, 4 * 356), (356, 4 * 356), (4 * 356,)]
    assert shapes == [*lstm, *lstm, (2 * 356, CLASSES), (CLASSES,)]
    assert type(model.optimizer).__name__ == "Nadam"
    assert model.loss == "categorical_crossentropy"


def test_texts_padded_by_setting_are_fed_whole_as_in_the_article(toy_encoder, tmp_path):
    store, rows, _ = stored(toy_encoder, tmp_path / "features", EncoderSettings(device="cpu", pad_to=24))
    assert set(rows.lengths.tolist()) == {24}
    batch = read_batch(store, rows, np.arange(4))
    model = build_classifier(16, CLASSES, ClassifierSettings(units=6))
    before = model.predict_on_batch([batch.vectors, batch.lengths])
    changed = batch.vectors.copy()
    changed[:, -1] += 1  # the last row of padding
    assert np.abs(model.predict_on_batch([changed, batch.lengths]) - before).max() > 1e-4


def test_history_on_disk_is_plain_json(learned):
    written = json.loads((Path(learned.folder) / "history.json").read_text(encoding="utf-8"))
    assert written == learned.history


def test_a_row_that_the_store_lost_is_an_error_not_a_wrong_training(corpus, tmp_path):
    store, rows, watched = corpus
    lost = LabelledRows([*rows.keys[:-1], b"\x00" * 16], rows.lengths, rows.classes)
    with pytest.raises(Exception, match="KeyError"):
        run((store, lost, watched), tmp_path, epochs=1)
    shutil.rmtree(tmp_path)
    assert isinstance(store, FeatureStore)
