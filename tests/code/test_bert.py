"""The trainable BERT: dropout, frozen variables, inference without variables, gelu."""

import numpy as np
import pytest
import toy

from jabert.encoder.bert import Bert, gelu
from jabert.encoder.folder import BertConfig
from jabert.legacy_keras import import_tensorflow

CONFIG = BertConfig(**{name: toy.CONFIG[name] for name in BertConfig.__annotations__ if name in toy.CONFIG})
WEIGHTS = toy.random_weights(toy.CONFIG)
IDS = np.random.default_rng(0).integers(0, 320, (3, 9)).astype(np.int32)
ATTENDED = np.arange(9) < np.array([[9], [4], [1]])


def bert_of(**options):
    return Bert(WEIGHTS, CONFIG, **options)


def test_it_is_bert_by_the_formula_at_every_attended_position():
    vectors = bert_of()(IDS, ATTENDED).numpy()
    for row, attended, found in zip(IDS, ATTENDED, vectors, strict=True):
        expected = toy.numpy_bert(WEIGHTS, toy.CONFIG, row[attended])
        np.testing.assert_allclose(found[attended], expected, atol=1e-5, rtol=0)


def test_all_in_the_first_segment_is_what_no_segments_mean():
    bert = bert_of()
    np.testing.assert_allclose(bert(IDS, ATTENDED, IDS * 0), bert(IDS, ATTENDED), atol=1e-6, rtol=0)
    assert np.abs(bert(IDS, ATTENDED, IDS * 0 + 1) - bert(IDS, ATTENDED)).max() > 0.1


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_without_variables_it_computes_the_same(precision):
    trainable, frozen = (bert_of(precision=precision, trainable=trainable) for trainable in (True, False))
    assert trainable.variables.keys() == CONFIG.variables().keys()
    assert not frozen.variables
    np.testing.assert_array_equal(frozen(IDS, ATTENDED), trainable(IDS, ATTENDED))


def test_dropout_follows_the_seed_and_goes_on_from_a_saved_state(tmp_path):
    tf = import_tensorflow()
    first, again = bert_of(dropout=0.3, seed=5), bert_of(dropout=0.3, seed=5)
    dropped = first(IDS, ATTENDED, training=True)
    np.testing.assert_array_equal(dropped, again(IDS, ATTENDED, training=True))
    assert np.abs(dropped - first(IDS, ATTENDED)).max() > 0.1  # inference drops nothing

    saved = tf.train.Checkpoint(random=first.random).write(str(tmp_path / "state"))
    following = first(IDS, ATTENDED, training=True)
    other = bert_of(dropout=0.3, seed=6)
    tf.train.Checkpoint(random=other.random).read(saved).assert_consumed()
    np.testing.assert_array_equal(other(IDS, ATTENDED, training=True), following)
    assert (following != dropped).numpy().any()


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_every_variable_has_a_gradient_in_float32(precision):
    tf = import_tensorflow()
    bert = bert_of(precision=precision)
    with tf.GradientTape(persistent=True) as tape:
        loss = tf.reduce_sum(tf.square(bert(IDS, ATTENDED, IDS % 2)))
    for name, variable in bert.variables.items():
        gradient = tf.convert_to_tensor(tape.gradient(loss, variable))
        assert gradient.dtype == tf.float32, name
        assert gradient.shape == variable.shape, name
        # a bias that is added to all keys alike changes no softmax
        assert name.endswith("key/bias") or np.abs(gradient.numpy()).max() > 1e-6, name


def test_gelu_and_its_gradient_are_keras_transformer_s():
    tf = import_tensorflow()
    from keras_transformer import gelu as expected_gelu

    x = tf.constant(np.linspace(-8, 8, 1001))  # float64: in float32 theirs is 0 where tanh rounds to -1
    found, expected = [], []
    for function, results in ((gelu, found), (expected_gelu, expected)):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = function(x)
        results += [y, tape.gradient(y, x)]
    np.testing.assert_allclose(found, expected, atol=1e-12)
