"""The pretraining model against keras-bert itself, and a killed training against an uninterrupted one."""

import errno
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import toy

from jabert.config import PretrainingSettings, VocabularySettings, load_settings
from jabert.encoder import open_folder
from jabert.encoder.folder import BertConfig, read_variables
from jabert.encoder.inspection import describe
from jabert.errors import JabertError
from jabert.legacy_keras import import_tensorflow
from jabert.pretraining import Vocabulary, pretrain, train_sentencepiece
from jabert.pretraining.export import write_checkpoint, write_encoder
from jabert.pretraining.learning import Learner
from jabert.pretraining.model import PretrainingModel, head_shapes, initial_weights
from jabert.pretraining.shards import write_shards
from jabert.pretraining.stages import read
from jabert.tracking import tracked_run
from jabert.training.optimizer import learning_rate

pytestmark = pytest.mark.filterwarnings("ignore:The initializer GlorotNormal is unseeded:UserWarning")

TEXTS = [*toy.SENTENCES, *toy.toy_rows()["text"]]
SETTINGS = PretrainingSettings(
    max_tokens=32, token_budget=256, steps=9, warmup_steps=2, report_steps=3, learning_rate=1e-3
)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Vocabulary of the toy sentences and a folder of shards."""
    folder = tmp_path_factory.mktemp("corpus")
    train_sentencepiece(TEXTS, VocabularySettings(size=320, character_coverage=0.98), folder / "toy.model")
    vocabulary = Vocabulary(folder / "toy.model", lower_case=False)
    documents = [toy.SENTENCES[i : i + 4] for i in range(0, 60, 4)]
    write_shards(documents, vocabulary, folder, 0.2)
    return vocabulary, folder


def config_of(vocabulary):
    return BertConfig(vocabulary.size, 16, 2, 2, 32, 40)


def learner_of(vocabulary, settings, weights=None):
    config = config_of(vocabulary)
    weights = weights or initial_weights(config, 0)
    model = PretrainingModel(weights, config, dropout=settings.dropout, precision=settings.precision)
    return Learner(model, settings)


def run(corpus, settings, folder, on_point=lambda point: None):
    vocabulary, shards = corpus
    learner = learner_of(vocabulary, settings)
    return learner, pretrain(learner, vocabulary, shards, settings, folder, on_point=on_point)


def losses(history):
    return [{k: v for k, v in point.items() if "second" not in k or "sentence" in k} for point in history]


def exported(corpus, weights, out, **options):
    vocabulary, _ = corpus
    options = {"step": 9, "dropout": 0.1, "settings": {"lower_case": False}, "card": "# toy\n"} | options
    return write_encoder(out, weights, config_of(vocabulary), vocabulary.path, **options)


@pytest.fixture(scope="module")
def trained(corpus, tmp_path_factory):
    return run(corpus, SETTINGS, tmp_path_factory.mktemp("work"))


def test_keras_bert_loads_the_encoder_and_gives_the_same_outputs(corpus, trained, tmp_path):
    from keras_bert import load_trained_model_from_checkpoint

    learner, pretrained = trained
    folder = exported(corpus, pretrained.weights, tmp_path / "encoder")
    files = str(folder / "bert_config.json"), str(folder / "model.ckpt-9")
    vectors = load_trained_model_from_checkpoint(*files, seq_len=12)
    heads = load_trained_model_from_checkpoint(*files, seq_len=12, training=True)

    ids = np.random.default_rng(0).integers(7, 320, (3, 12)).astype(np.int32)
    segments = np.repeat([[0] * 6 + [1] * 6], 3, axis=0)
    hidden = learner.model.hidden(ids, segments, np.full(3, 12), training=False)
    masked_lm = learner.model.masked_lm_logits(hidden, np.arange(36)).numpy()
    next_sentence = learner.model.next_sentence_logits(hidden).numpy()

    expected_masked_lm, expected_next = heads.predict([ids, segments, np.ones_like(ids)], verbose=0)
    of_known = expected_masked_lm.reshape(36, 320)[:, 1:]  # <unk> is not predicted
    assert np.abs(vectors.predict([ids, segments], verbose=0) - hidden).max() < 1e-6
    assert np.abs(softmax(masked_lm) - of_known / of_known.sum(axis=1, keepdims=True)).max() < 1e-6
    assert np.abs(softmax(next_sentence) - expected_next).max() < 1e-6


def softmax(logits):
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    return shares / shares.sum(axis=1, keepdims=True)


def test_the_folder_is_described_and_has_google_s_variables(corpus, trained, tmp_path):
    _, pretrained = trained
    folder = exported(corpus, pretrained.weights, tmp_path / "encoder")
    facts = describe(folder)
    assert (facts["vocabulary"], facts["layers"], facts["lower_case"]) == (320, 2, False)
    written = toy.read_checkpoint(folder / "model.ckpt-9")
    assert written.keys() == toy.random_weights(toy.CONFIG).keys()
    names = {"README.md", "encoder.toml", "bert_config.json", "sentencepiece.model", "sentencepiece.vocab"}
    assert names <= {path.name for path in folder.iterdir()}


def test_weights_stored_as_float16_load_as_their_float32_values(corpus, trained, tmp_path):
    from keras_bert import load_trained_model_from_checkpoint

    halves = {name: value.astype(np.float16) for name, value in trained[1].weights.items()}
    whole = {name: value.astype(np.float32) for name, value in halves.items()}
    ids = np.full((1, 6), 9, dtype=np.int32)
    outputs = []
    for name, weights in (("half", halves), ("whole", whole)):
        folder = exported(corpus, weights, tmp_path / name)
        files = str(folder / "bert_config.json"), str(folder / "model.ckpt-9")
        model = load_trained_model_from_checkpoint(*files, seq_len=6)
        assert {weight.dtype for weight in model.get_weights()} == {np.dtype(np.float32)}
        outputs.append(model.predict([ids, ids * 0], verbose=0))
    assert (outputs[0] == outputs[1]).all()


def test_it_learns(corpus, tmp_path):
    settings = SETTINGS.model_copy(update={"steps": 120, "report_steps": 20, "learning_rate": 5e-3})
    _, pretrained = run(corpus, settings, tmp_path)
    first, *_, last = pretrained.history
    assert last["masked_lm_loss"] < first["masked_lm_loss"] - 0.3
    assert last["val_masked_lm_loss"] < np.log(299) - 0.3  # better than a guess among all pieces
    assert {"next_sentence_accuracy", "val_next_sentence_accuracy", "pieces_per_second"} <= last.keys()


@pytest.mark.parametrize("kept", [1, 2])
def test_a_training_that_was_cut_off_goes_on_as_if_nothing_had_happened(corpus, trained, tmp_path, kept):
    def cut_off(point):
        if point["step"] == 3 * kept:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(corpus, SETTINGS, tmp_path, cut_off)
    seen = []
    _, resumed = run(corpus, SETTINGS, tmp_path, seen.append)

    _, whole = trained
    assert resumed.resumed == kept
    assert losses(resumed.history) == losses(whole.history) == losses(seen)
    assert all((resumed.weights[name] == value).all() for name, value in whole.weights.items())


def warm_weights(folder):
    optional = head_shapes(folder.config)
    return initial_weights(folder.config, 1) | read_variables(folder, optional=optional)


def test_a_warm_start_begins_where_the_other_ended(corpus, trained, tmp_path):
    vocabulary, _ = corpus
    _, pretrained = trained
    folder = open_folder(exported(corpus, pretrained.weights, tmp_path / "encoder"))
    weights = warm_weights(folder)
    assert all((weights[name] == value).all() for name, value in pretrained.weights.items())
    again = learner_of(vocabulary, SETTINGS, weights).model.read()
    assert all((again[name] == value).all() for name, value in pretrained.weights.items())


def test_heads_that_a_checkpoint_lacks_begin_anew(corpus, trained, tmp_path):
    _, pretrained = trained
    without = {k: v for k, v in pretrained.weights.items() if not k.startswith(("cls/", "bert/pooler"))}
    weights = warm_weights(open_folder(exported(corpus, without, tmp_path / "encoder")))
    assert weights.keys() == pretrained.weights.keys()
    assert weights["bert/pooler/dense/kernel"].std() == pytest.approx(0.02, rel=0.3)


def test_a_real_unknown_piece_is_attended_and_learned(corpus):
    vocabulary, _ = corpus
    model = learner_of(vocabulary, SETTINGS).model
    ids = np.array([[4, 9, 0, 5]], dtype=np.int32)
    vectors = model.hidden(ids, ids * 0, np.array([4]), training=False).numpy()
    config = vars(model.config)
    expected = toy.numpy_bert(model.read(), config, ids[0])
    assert np.abs(vectors[0] - expected).max() < 1e-5


def test_bfloat16_gives_nearly_the_same_losses(corpus, trained, tmp_path):
    settings = SETTINGS.model_copy(update={"precision": "bfloat16"})
    _, pretrained = run(corpus, settings, tmp_path)
    _, whole = trained
    for point, expected in zip(pretrained.history, whole.history, strict=True):
        assert point["loss"] == pytest.approx(expected["loss"], rel=0.01)
    assert {value.dtype for value in pretrained.weights.values()} == {np.dtype(np.float32)}


def test_bfloat16_ends_with_the_training(corpus, tmp_path):
    """A retraining that follows in the same process is computed in float32."""
    tf = import_tensorflow()
    run(corpus, SETTINGS.model_copy(update={"precision": "bfloat16", "steps": 2}), tmp_path)
    a = tf.constant(np.random.default_rng(0).normal(size=(64, 64)).astype(np.float32))
    product = tf.function(lambda x: tf.nn.relu(x @ x + 1.0))(a).numpy()
    np.testing.assert_allclose(product, np.maximum(a.numpy() @ a.numpy() + 1, 0), atol=1e-4)


def test_the_learning_rate_rises_and_falls():
    tf = import_tensorflow()
    steps = [tf.constant(float(step)) for step in range(100)]
    for shape, falling in (
        ("linear", np.arange(90, 0, -1) / 90),
        ("cosine", (1 + np.cos(np.pi * np.arange(90) / 90)) / 2),
    ):
        rates = [float(learning_rate(step, 1.0, 10, 100, shape)) for step in steps]
        assert rates[:10] == pytest.approx(np.arange(1, 11) / 10)
        assert rates[10:] == pytest.approx(falling, abs=1e-6)


def test_an_encoder_is_never_written_over(corpus, trained, tmp_path):
    (tmp_path / "mine").write_text("x")
    with pytest.raises(JabertError, match=r"pretraining\.out .* is there already"):
        exported(corpus, trained[1].weights, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_a_full_disk_leaves_no_encoder(corpus, trained, tmp_path, monkeypatch):
    def no_space(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(JabertError, match="the disk is full"):
        exported(corpus, trained[1].weights, tmp_path / "encoder")
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_tensorflow_s_own_words_for_a_full_disk_become_the_same_sentence(tmp_path):
    from jabert.training.state import writing

    tf = import_tensorflow()
    with pytest.raises(JabertError, match="the disk is full"), writing(tmp_path / "model.ckpt-1"):
        file = tf.io.gfile.GFile("/dev/full", "w")
        file.write("x" * 1_000_000)
        file.close()


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(JabertError, match="cannot be written"):
        write_checkpoint(tmp_path / "file" / "model.ckpt-1", {"a": np.zeros(1)})


@pytest.mark.parametrize("name", ["pretraining.start", "pretraining.teacher"])
def test_an_encoder_that_is_not_there_is_named_by_its_setting(name):
    with pytest.raises(JabertError, match=rf"^{name} /.*nowhere is not a folder;"):
        read(load_settings(None, [f"{name}=nowhere"]), run=None)


@pytest.mark.parametrize("name", ["pretraining.start", "pretraining.teacher"])
def test_an_encoder_without_a_sentencepiece_model_is_named_by_its_setting(name, toy_encoder, tmp_path):
    folder = shutil.copytree(toy_encoder, tmp_path / "other")
    (folder / "toy-ja.model").rename(folder / "vocab.txt")
    with pytest.raises(JabertError, match=rf"^{name} .*other has the tokenizer vocab\.txt; .* SentencePiece"):
        read(load_settings(None, [f"{name}={folder}"]), run=None)


@pytest.mark.parametrize("name", ["pretraining.start", "pretraining.teacher"])
def test_an_encoder_may_lie_among_the_artifacts_of_a_run(name, toy_encoder):
    with tracked_run(load_settings()) as run:
        run.folder(toy_encoder, "encoder")
    with pytest.raises(JabertError, match=rf"^{name} runs:/0/encoder cannot be fetched"):
        read(load_settings(None, [f"{name}=runs:/0/encoder"]), run=None)
    Path("text.txt").write_text("京都の話をした。\n", encoding="utf-8")
    overrides = [f"{name}=runs:/{run.id}/encoder", "corpus.paths=text.txt", "pretraining.max_tokens=32"]
    with tracked_run(load_settings()) as run:
        texts = read(load_settings(None, overrides), run)
    assert list(texts.origin.values()) == [open_folder(toy_encoder).fingerprint]
