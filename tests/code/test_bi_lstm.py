"""The packed Bi-LSTM is Keras's own layer: the same weights, outputs and gradients."""

import numpy as np
import openvino
import pytest

from jabert.legacy_keras import import_tensorflow

tf = import_tensorflow()

from jabert.methods.bi_lstm.export import head_graph  # noqa: E402
from jabert.methods.bi_lstm.layer import LayerMix, bi_lstm  # noqa: E402
from jabert.methods.bi_lstm.network import build_classifier  # noqa: E402

UNITS, HIDDEN = 5, 3


def layers(every=False):
    ours = bi_lstm(UNITS, "ours", every=every)
    keras = tf.keras.layers.Bidirectional(tf.keras.layers.LSTM(UNITS, return_sequences=every))
    for layer in (ours, keras):
        layer.build((None, None, HIDDEN))
    keras.set_weights(ours.get_weights())
    return ours, keras


@pytest.mark.parametrize("lengths", [[4, 1, 7, 7, 2], [1], [3, 3, 3], list(range(1, 12))])
@pytest.mark.parametrize("in_graph", [False, True])
@pytest.mark.parametrize("every", [False, True])
def test_outputs_and_gradients_are_those_of_keras(lengths, in_graph, every):
    random = np.random.default_rng(len(lengths))
    vectors = tf.Variable(random.normal(size=(len(lengths), max(lengths), HIDDEN)).astype(np.float32))
    shape = (*vectors.shape[:2], 2 * UNITS) if every else (len(lengths), 2 * UNITS)
    towards = tf.constant(random.normal(size=shape).astype(np.float32))

    def run(layer):
        with tf.GradientTape() as tape:
            output = layer(vectors, mask=tf.sequence_mask(lengths))
            if every:  # states of padding mean nothing
                output = tf.where(tf.sequence_mask(lengths)[:, :, None], output, 0.0)
            loss = tf.reduce_sum(output * towards)
        return [
            output,
            *map(tf.convert_to_tensor, tape.gradient(loss, [vectors, *layer.trainable_variables])),
        ]

    ours, keras = (
        (tf.function(run, reduce_retracing=True) if in_graph else run)(layer) for layer in layers(every)
    )
    for mine, theirs in zip(ours, keras, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=2e-6)


def test_padding_and_the_order_of_rows_are_of_no_account():
    layer, _ = layers()
    random = np.random.default_rng(0)
    rows = [random.normal(size=(length, HIDDEN)).astype(np.float32) for length in (6, 2, 9)]
    alone = [layer(row[None], mask=tf.ones((1, len(row)), bool))[0] for row in rows]
    padded = random.normal(size=(3, 12, HIDDEN)).astype(np.float32)
    for place, row in enumerate(rows):
        padded[place, : len(row)] = row
    together = layer(padded, mask=tf.sequence_mask([6, 2, 9], 12))
    np.testing.assert_allclose(together, alone, atol=1e-6)


def test_layers_are_mixed_by_the_softmax_of_their_scores_times_a_scale():
    mix = LayerMix(3, "mix")
    vectors = np.random.default_rng(0).normal(size=(2, 5, 6)).astype(np.float32)
    parts = vectors[..., :2], vectors[..., 2:4], vectors[..., 4:]
    np.testing.assert_allclose(mix(vectors), sum(parts) / 3, atol=1e-6)
    mix.set_weights([np.log([1.0, 2.0, 5.0]), 4.0])
    np.testing.assert_allclose(mix(vectors), (parts[0] + 2 * parts[1] + 5 * parts[2]) / 2, atol=1e-5)


@pytest.mark.parametrize("shape", [{}, {"pooling": "attention"}, {"mixed_layers": 3}])
@pytest.mark.parametrize("lengths", [[4, 1, 7, 7, 2], [1], list(range(1, 12))])
def test_the_exported_head_is_the_network(shape, lengths):
    model = build_classifier(6, 4, UNITS, **shape)
    random = np.random.default_rng(0)
    model.set_weights([random.normal(0, 1.2, weight.shape) for weight in model.get_weights()])
    vectors = random.normal(size=(len(lengths), max(lengths), 6)).astype(np.float32)
    counts = np.array(lengths, dtype=np.int32)
    expected = model.predict_on_batch([vectors, counts])
    head = openvino.Core().compile_model(
        head_graph(model, vectors.dtype), "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )
    packed = np.concatenate([row[:length] for row, length in zip(vectors, lengths, strict=True)])
    found = head({"vectors": packed, "lengths": counts})["probabilities"]
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_products_in_bfloat16_leave_outputs_and_gradients_near_those_of_keras():
    random = np.random.default_rng(0)
    exact, quick = bi_lstm(32, "exact"), bi_lstm(32, "quick", "bfloat16")
    for layer in (exact, quick):
        layer.build((None, None, 24))
    quick.set_weights(exact.get_weights())
    vectors = random.normal(size=(8, 15, 24)).astype(np.float32)
    towards = tf.constant(random.normal(size=(8, 64)).astype(np.float32))
    gradients = []
    for layer in (exact, quick):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(layer(vectors, mask=tf.sequence_mask(range(1, 16, 2), 15)) * towards)
        gradients.append(tape.gradient(loss, layer.trainable_variables))
    for mine, theirs in zip(*gradients, strict=True):
        assert mine.dtype == theirs.dtype == tf.float32
        error = tf.norm(mine - theirs) / tf.norm(mine)
        assert 0 < error < 0.02  # a bfloat16 has 8 bits
