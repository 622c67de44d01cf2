"""Vocabulary, shards and examples: the layout of Google BERT, and the statistics of its masks."""

import dataclasses

import numpy as np
import pytest
import toy
from hypothesis import given
from hypothesis import strategies as st

from jabert.config import PretrainingSettings, VocabularySettings
from jabert.errors import JabertError
from jabert.pretraining import Vocabulary, train_sentencepiece
from jabert.pretraining.examples import batches, examples_of, mask
from jabert.pretraining.shards import read_shard, shards_of, write_shards

TEXTS = [*toy.SENTENCES, *toy.toy_rows()["text"]]
ORDINARY = np.arange(7, 50, dtype=np.int32)
DOCUMENTS = st.lists(
    st.lists(st.lists(st.integers(7, 49), min_size=1, max_size=12), min_size=1, max_size=6),
    min_size=1,
    max_size=5,
)


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory):
    path = tmp_path_factory.mktemp("vocabulary") / "toy.model"
    train_sentencepiece(TEXTS, VocabularySettings(size=320, character_coverage=0.98), path)
    return Vocabulary(path, lower_case=False)


def rng(seed=0):
    return np.random.default_rng(seed)


def arrays(documents):
    return [[np.array(row, dtype=np.int32) for row in document] for document in documents]


def test_the_vocabulary_has_the_layout_of_bert_japanese(vocabulary):
    lines = vocabulary.path.with_suffix(".vocab").read_text(encoding="utf-8").splitlines()
    pieces = [line.split("\t")[0] for line in lines]
    assert pieces[:7] == ["<unk>", "<s>", "</s>", "[PAD]", "[CLS]", "[SEP]", "[MASK]"]
    assert len(pieces) == vocabulary.size == 320
    assert (vocabulary.unknown_id, vocabulary.cls_id, vocabulary.sep_id, vocabulary.mask_id) == (0, 4, 5, 6)
    assert vocabulary.ordinary_ids() == list(range(7, 320))


def test_a_vocabulary_that_the_text_does_not_support_is_refused(tmp_path):
    with pytest.raises(
        JabertError, match=r"vocabulary\.size = 9999, but the text supports at most \d+ pieces"
    ):
        train_sentencepiece(toy.SENTENCES, VocabularySettings(size=9999), tmp_path / "a.model")
    with pytest.raises(JabertError, match=r"vocabulary\.size = 20 is too small"):
        train_sentencepiece(toy.SENTENCES, VocabularySettings(size=20), tmp_path / "a.model")
    assert not list(tmp_path.iterdir())


def test_lower_case_is_applied_before_cutting(vocabulary):
    lower = Vocabulary(vocabulary.path, lower_case=True)
    assert lower.encode(["WEBで調べた。"]) == vocabulary.encode(["webで調べた。"])


def test_a_given_model_tells_whether_it_is_lower_cased(tmp_path):
    for cased in (True, False):
        path = tmp_path / f"{cased}.model"
        toy.train_sentencepiece(path, 320, cased=cased)
        assert Vocabulary(path, lower_case=None).lower_case is not cased


def test_what_is_no_model_of_this_layout_is_refused(tmp_path):
    (tmp_path / "text.model").write_text("無", encoding="utf-8")
    with pytest.raises(JabertError, match="not a SentencePiece model"):
        Vocabulary(tmp_path / "text.model", lower_case=False)
    toy.train_sentencepiece(tmp_path / "b.model", 320, specials=("[PAD]", "[CLS]", "[SEP]"))
    with pytest.raises(JabertError, match=r"has no piece \[MASK\]"):
        Vocabulary(tmp_path / "b.model", lower_case=False)


def test_shards_hold_every_document_once_on_one_side(vocabulary, tmp_path, monkeypatch):
    monkeypatch.setattr("jabert.pretraining.shards._SHARD_PIECES", 40)
    corpus = [toy.SENTENCES[i : i + 2] for i in range(0, 60, 2)]
    write_shards(corpus, vocabulary, tmp_path, 0.2)
    sides = {
        side: [document for path in shards_of(tmp_path, side) for document in read_shard(path)]
        for side in ("train", "validation")
    }
    assert len(shards_of(tmp_path, "train")) > 5
    found = sorted([row.tolist() for row in document] for side in sides.values() for document in side)
    assert found == sorted(vocabulary.encode(document) for document in corpus)
    assert 1 <= len(sides["validation"]) <= 14

    before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    write_shards(corpus, vocabulary, tmp_path, 0.2)  # done already
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}


def test_holding_everything_out_is_refused(vocabulary, tmp_path):
    with pytest.raises(JabertError, match=r"corpus\.validation_share = 0\.999 holds out all"):
        write_shards([["一。"]], vocabulary, tmp_path, 0.999)


@given(
    lengths=st.lists(st.integers(3, 40), min_size=1, max_size=20),
    share=st.sampled_from([0.05, 0.15, 0.5]),
    seed=st.integers(0, 999),
)
def test_masks_have_the_right_number_in_every_row_and_touch_nothing_else(lengths, share, seed):
    lengths = np.array(lengths)
    inside = np.arange(40) < lengths[:, None]
    clean = np.where(inside, rng(seed).integers(7, 50, inside.shape), 0).astype(np.int32)
    candidates = inside & (np.arange(40) > 0) & (np.arange(40) < lengths[:, None] - 1)
    options = {"share": share, "mask_id": 6, "ordinary": ORDINARY}
    shown, chosen = mask(clean, lengths, candidates, **options, random=rng(seed))

    wanted = np.maximum(1, np.rint(lengths * share))
    assert (chosen.sum(axis=1) == np.minimum(wanted, candidates.sum(axis=1))).all()
    assert not (chosen & ~candidates).any()
    assert (shown == clean)[~chosen].all()
    assert set(np.unique(shown[chosen])) <= {6, *ORDINARY}


def test_of_the_chosen_pieces_80_percent_are_hidden_and_10_replaced():
    clean = np.full((2000, 40), 7, dtype=np.int32)
    lengths = np.full(2000, 40)
    candidates = np.ones(clean.shape, dtype=bool)
    shown, chosen = mask(
        clean, lengths, candidates, share=0.15, mask_id=6, ordinary=np.arange(8, 1000), random=rng()
    )
    fates = shown[chosen]
    assert chosen.mean() == pytest.approx(0.15)
    assert chosen.mean(axis=0).std() < 0.02  # no place is preferred
    assert (fates == 6).mean() == pytest.approx(0.8, abs=0.01)
    assert (fates == 7).mean() == pytest.approx(0.1, abs=0.01)
    assert len(np.unique(fates[fates > 7])) > 600


@given(documents=DOCUMENTS, max_tokens=st.integers(5, 40), seed=st.integers(0, 99))
@pytest.mark.parametrize("kind", ["pairs", "packed", "sentences"])
def test_examples_fit_and_lose_no_sentence(vocabulary, kind, documents, max_tokens, seed):
    settings = PretrainingSettings(examples=kind, max_tokens=max_tokens)
    examples = examples_of(arrays(documents), settings, rng(seed))
    assert all(3 <= len(example.ids(vocabulary)) <= max_tokens for example in examples)
    if kind == "sentences":
        wanted = [row[: max_tokens - 2] for document in documents for row in document]
        assert [example.first.tolist() for example in examples] == wanted
    if kind != "pairs":
        assert all(example.follows and not len(example.second) for example in examples)
    if len(documents) == 1:
        assert all(example.follows for example in examples)


def test_of_the_pairs_half_are_random_and_the_others_follow():
    # Each piece tells its document (tens) and its place.
    documents = arrays([[[10 * (d + 1) + s] for s in range(8)] for d in range(20)])
    settings = PretrainingSettings(examples="pairs", max_tokens=7)
    pairs = [pair for seed in range(40) for pair in examples_of(documents, settings, rng(seed))]
    assert np.mean([pair.follows for pair in pairs]) == pytest.approx(0.5, abs=0.06)
    for pair in pairs:
        last, first = int(pair.first[-1]), int(pair.second[0])
        assert (first == last + 1) if pair.follows else (first // 10 != last // 10)


def test_batches_hold_every_example_once_and_keep_the_budget(vocabulary):
    documents = arrays([vocabulary.encode(toy.SENTENCES)])
    settings = PretrainingSettings(examples="packed", max_tokens=40, token_budget=200)
    examples = examples_of(documents, settings, rng())
    made = list(batches(examples, vocabulary, settings, rng()))
    assert sum(len(batch.lengths) for batch in made) == len(examples)
    for batch in made:
        assert batch.ids.size <= 200
        assert (batch.clean.padded().ravel()[batch.positions] == batch.targets).all()
        assert not set(batch.targets.tolist()) & set(range(7))
        inside = np.arange(batch.ids.shape[1]) < batch.lengths[:, None]
        assert not batch.ids[~inside].any()


def test_the_same_text_is_masked_differently_each_time(vocabulary):
    documents = arrays([vocabulary.encode(toy.SENTENCES[:4])])
    settings = PretrainingSettings(examples="sentences", max_tokens=40)
    examples = examples_of(documents, settings, rng())
    first, again, other = (next(batches(examples, vocabulary, settings, rng(seed))) for seed in (0, 0, 1))
    assert dataclasses.asdict(first).keys() == dataclasses.asdict(again).keys()
    assert (first.ids == again.ids).all()
    assert not np.array_equal(np.sort(first.ids, axis=0), np.sort(other.ids, axis=0))
