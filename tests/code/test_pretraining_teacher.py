"""What a teacher gives, and where learning from it begins."""

import numpy as np
import pytest
import toy

from jabert.config import EncoderSettings, PretrainingSettings
from jabert.encoder import load_encoder, open_folder
from jabert.pretraining import Vocabulary
from jabert.pretraining.examples import batches, examples_of
from jabert.pretraining.shards import read_shard, shards_of, write_shards
from jabert.pretraining.teacher import Teacher, principal_start

CPU = EncoderSettings(device="cpu")


@pytest.fixture
def taught(toy_encoder, tmp_path):
    """A teacher, its vocabulary and the documents that it was given."""
    vocabulary = Vocabulary(toy_encoder / "toy-ja.model", lower_case=False)
    write_shards([toy.SENTENCES[i : i + 4] for i in range(0, 60, 4)], vocabulary, tmp_path / "shards", 0.2)
    teacher = Teacher(open_folder(toy_encoder), CPU, tmp_path / "shards", vocabulary, columns=8)
    return teacher, vocabulary, read_shard(shards_of(tmp_path / "shards", "train")[0])


def batches_of(documents, vocabulary, **settings):
    settings = PretrainingSettings(max_tokens=32, token_budget=4096, **settings)
    random = np.random.default_rng(0)
    return list(batches(examples_of(documents, settings, random), vocabulary, settings, random))


def test_its_vectors_are_standardized_over_the_corpus(taught):
    teacher, vocabulary, documents = taught
    (batch,) = batches_of(documents, vocabulary, examples="sentences")
    vectors = teacher(batch)
    assert vectors.shape == (batch.lengths.sum(), 16)
    np.testing.assert_allclose(vectors.mean(axis=0), 0, atol=1e-3)
    np.testing.assert_allclose(vectors.std(axis=0), 1, atol=1e-3)


def test_it_is_shown_the_text_and_not_the_masks(taught, toy_encoder):
    teacher, vocabulary, documents = taught
    (batch,) = batches_of(documents[:1], vocabulary, examples="packed", masked_share=0.5)
    assert (batch.ids != batch.clean.padded()).any()
    real = load_encoder(open_folder(toy_encoder), CPU)(batch.clean)
    vectors = teacher(batch)
    for column in range(16):  # the same but for a shift and a scale
        assert np.corrcoef(vectors[:, column], real[:, column])[0, 1] > 0.999


def test_the_start_has_a_row_for_each_piece(taught):
    teacher, vocabulary, _ = taught
    assert teacher.start.table.shape == (vocabulary.size, 8)
    assert teacher.start.kernel.shape == (8, 16) and teacher.start.bias.shape == (16,)


@pytest.mark.parametrize("columns", [3, 6, 9])
def test_the_start_comes_as_close_as_so_many_columns_can(columns):
    random = np.random.default_rng(0)
    vectors = random.normal(size=(200, 6)).astype(np.float32) * [9, 7, 5, 3, 2, 1] + 4
    start = principal_start(vectors, columns)
    error = np.square(start.table @ start.kernel + start.bias - vectors).sum()
    left_out = np.linalg.svd(vectors - vectors.mean(axis=0), compute_uv=False)[columns:]
    assert error == pytest.approx(np.square(left_out).sum(), rel=1e-4, abs=1e-3)
    assert start.table.std() == pytest.approx(1)
