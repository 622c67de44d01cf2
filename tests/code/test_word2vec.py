"""Vectors of pieces: learned the same way each time, from what was given, looked up where it is served."""

import json
import subprocess
import sys

import numpy as np
import pytest
import toy
from toy_fits import results_of, settings_of

from jabert.config import load_settings
from jabert.encoder import Tokenizer, open_folder
from jabert.errors import JabertError
from jabert.experiments import steps
from jabert.experiments.packaging import build_package, open_package
from jabert.methods import method_of

pytest.importorskip("gensim")


@pytest.fixture
def word2vec(toy_table, toy_encoder):
    def fitted(*more):
        few = ("method.size=6", "method.passes=2")
        return results_of(settings_of("word2vec", toy_table, toy_encoder, *few, *more))

    return fitted


def vectors_of(fit):
    return np.load(fit.job.folder / "vectors.npy")


def test_what_is_served_is_what_keras_answers(word2vec, tmp_path):
    data, tokens, fit = word2vec()
    rows = steps.rows_of(fit.job.settings, data, tokens, ["test"])
    predicted = method_of(fit.job.settings).predict(fit.job, rows)
    served = open_package(build_package(fit.job, tmp_path / "package")).classify(list(rows.texts))
    assert served == pytest.approx(predicted, abs=1e-4)


def test_the_vectors_are_named_unlike_those_of_the_encoder(word2vec, toy_encoder, tmp_path):
    fits = [word2vec(*more)[-1] for more in ((), ("training.seed=1",))]
    packages = [build_package(fit.job, tmp_path / str(number)) for number, fit in enumerate(fits)]
    named = [json.loads((each / "word2vec" / "network.json").read_text("utf-8")) for each in packages]
    fingerprints = {each["encoder_fingerprint"] for each in named}
    assert len(fingerprints | {open_folder(toy_encoder).fingerprint}) == 3


def test_vectors_are_those_of_the_pieces_that_the_training_rows_have(word2vec):
    data, tokens, fit = word2vec()
    table = vectors_of(fit)
    rows = steps.rows_of(fit.job.settings, data, tokens, ["train"])
    counts = np.bincount(rows.ids.flat, minlength=len(table))
    tokenizer = Tokenizer(fit.job.encoder, fit.job.settings.encoder)
    counts[[tokenizer.cls_id, tokenizer.sep_id]] = 0
    assert table.shape == (tokenizer.size, 6)
    assert np.array_equal(table.any(axis=1), counts >= 2)
    assert table[table.any(axis=1)].std() == pytest.approx(1)
    assert fit.fitted.metrics["pieces_with_vectors"] == (counts >= 2).sum()


def test_no_hash_of_strings_has_a_part_in_the_vectors(toy_table, toy_encoder):
    program = f"""
import hashlib, sys
sys.path.insert(0, {str(toy.__file__.rpartition("/")[0])!r})
from types import SimpleNamespace
from jabert.encoder import open_folder
from jabert.methods.word2vec.vectors import make_table
from toy_fits import settings_of
settings = settings_of("word2vec", {str(toy_table)!r}, {str(toy_encoder)!r}, "method.passes=1")
job = SimpleNamespace(settings=settings, encoder=open_folder({str(toy_encoder)!r}))
texts = ["京都のお寺を歩いた。", "京都の電話の電池が切れた。"]
print(hashlib.sha256(make_table(job, SimpleNamespace(texts=texts)).tobytes()).hexdigest())
"""
    digests = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(digests) == 1


def test_raw_text_is_learned_from_and_another_one_is_another_fit(word2vec, tmp_path):
    raw = tmp_path / "raw.txt"
    raw.write_text("今日は天気が良い。\n" * 3, encoding="utf-8")
    without, first = word2vec()[-1], word2vec(f"corpus.paths={raw}")[-1]
    raw.write_text("明日は雨が降る。\n" * 3, encoding="utf-8")
    second = word2vec(f"corpus.paths={raw}")[-1]
    assert len({fit.key for fit in (without, first, second)}) == 3
    assert not np.array_equal(vectors_of(without), vectors_of(first))


def test_a_killed_fit_keeps_its_vectors(word2vec, monkeypatch, tmp_path):
    def killed(*given, **more):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("jabert.methods.bi_lstm.training.train", killed)
        word2vec()
    monkeypatch.setattr("jabert.methods.word2vec.vectors.make_table", killed)
    assert word2vec()[-1].fitted.history


@pytest.mark.parametrize("suffix", [".txt", ".bin"])
def test_vectors_are_read_from_a_file(word2vec, toy_encoder, tmp_path, suffix):
    from gensim.models import KeyedVectors

    pieces = ["京", "都", "piece-of-another-model"]
    vectors = KeyedVectors(4)
    vectors.add_vectors(pieces, np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32))
    path = tmp_path / f"vectors{suffix}"
    vectors.save_word2vec_format(str(path), binary=suffix == ".bin")
    settings = load_settings(None, [f"encoder.path={toy_encoder}"])
    tokenizer = Tokenizer(open_folder(toy_encoder), settings.encoder)
    known = [piece for piece in pieces if tokenizer.find(piece) is not None]

    table = vectors_of(word2vec(f"method.vectors_path={path}")[-1])

    assert known and table.any(axis=1).sum() == len(known)
    row = table[tokenizer.find(known[0])]
    assert row / row[0] == pytest.approx(vectors[known[0]] / vectors[known[0]][0], rel=1e-4)


REFUSED = [
    (b"\x80\x04\x95", "its first line is not 'words columns'"),
    (b"2 3\n\xe4\xba\xac 1 2 3\n", "has no vectors in word2vec's text or binary format"),
    (b"1 2\nother 1 2\n", "has no piece of"),
]


@pytest.mark.parametrize(("content", "sentence"), REFUSED)
def test_a_file_without_vectors_is_refused_in_one_sentence(word2vec, tmp_path, content, sentence):
    path = tmp_path / "vectors.txt"
    path.write_bytes(content)
    with pytest.raises(JabertError, match=sentence) as refused:
        word2vec(f"method.vectors_path={path}")
    assert str(path) in str(refused.value) and "\n" not in str(refused.value)


def test_a_file_that_is_not_there_is_named(word2vec, tmp_path):
    with pytest.raises(JabertError, match=r"nothing\.bin"):
        word2vec(f"method.vectors_path={tmp_path}/nothing.bin")


def test_two_sources_of_vectors_are_refused(word2vec, tmp_path):
    (tmp_path / "a.txt").write_text("1 2\na 1 2\n", encoding="utf-8")
    with pytest.raises(JabertError, match="are both set: leave one out"):
        word2vec(f"method.vectors_path={tmp_path}/a.txt", f"corpus.paths={tmp_path}/a.txt")


def test_layers_are_refused_as_its_vectors_have_none(word2vec):
    with pytest.raises(
        JabertError, match=r"method\.mix is true, .* word2vec have no layers to mix; leave it"
    ):
        word2vec("method.mix=true")


def test_text_without_a_piece_that_stands_there_often_enough_is_refused(word2vec, monkeypatch):
    monkeypatch.setattr("jabert.methods.word2vec.vectors._FEWEST", 100_000)
    with pytest.raises(JabertError, match=r"too little text: .* 100000 times; corpus\.paths can name more"):
        word2vec()


def test_without_gensim_it_is_refused_with_what_to_install(word2vec, monkeypatch):
    monkeypatch.setattr("jabert.methods.word2vec.find_spec", lambda name: None)
    with pytest.raises(JabertError, match=r"needs gensim: pip install 'jabert\[word2vec\]'"):
        word2vec()
