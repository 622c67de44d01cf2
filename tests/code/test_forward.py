"""The forward pass against the article's own procedure, and against BERT written out in NumPy."""

import json
import math
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import openvino
import pytest
import toy
from hypothesis import given
from hypothesis import strategies as st

from jabert.config import EncoderSettings
from jabert.encoder import TokenIds, Tokenizer, load_encoder, open_folder
from jabert.encoder.batching import real_tokens, token_budget_batches
from jabert.encoder.choice import cpu_has_bfloat16
from jabert.encoder.openvino import layout_graph
from jabert.errors import JabertError
from jabert.legacy_keras import gpu_names, import_tensorflow, use_device

# keras-transformer 0.40 gives several layers one initializer (jabert's own loading keeps quiet about it).
pytestmark = pytest.mark.filterwarnings("ignore:The initializer GlorotNormal is unseeded:UserWarning")

HAS_AVX512 = sys.platform == "linux" and "avx512f" in Path("/proc/cpuinfo").read_text(encoding="utf-8")
UNKNOWN = 0


# Every engine at its precisions, with the smallest cosine of a token's vector to keras-bert's and the
# largest difference of a number that it may have; held on the toy here and on KNBC below.
BOUNDS = {
    ("reference", "float32"): (0.999999, 1e-5),
    ("openvino", "float32"): (0.99999, 1e-4),
    ("openvino", "bfloat16"): (0.98, 0.25),
    ("tensorflow", "float32"): (0.99999, 1e-4),
    ("tensorflow", "bfloat16"): (0.97, 0.35),
}
engines = pytest.mark.parametrize("engine", BOUNDS, ids="-".join)


def load(folder, engine="reference", precision="auto", *, layers=1, **settings):
    if (engine, precision) == ("openvino", "bfloat16") and not cpu_has_bfloat16():
        pytest.skip("this CPU has no instructions for bfloat16")
    folder = open_folder(folder)
    settings = EncoderSettings(device="cpu", engine=engine, precision=precision, **settings)
    return load_encoder(folder, settings, layers), Tokenizer(folder, settings)


def assert_within(bound, vectors, expected):
    smallest_cosine, largest_difference = bound
    a, b = (np.concatenate(list(rows)).astype(np.float64) for rows in (vectors, expected))
    cosines = (a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    assert cosines.min() >= smallest_cosine
    assert np.abs(a - b).max() <= largest_difference


def assert_within_each(bound, vectors, expected, hidden):
    """`assert_within` for the columns of each layer."""
    a, b = (np.concatenate(list(rows)) for rows in (vectors, expected))
    assert a.shape == b.shape and a.shape[1] % hidden == 0
    for start in range(0, a.shape[1], hidden):
        columns = slice(start, start + hidden)
        assert_within(bound, [a[:, columns]], [b[:, columns]])


def vectors_of(encoder, rows):
    """The vectors of each row, computed in one batch."""
    ids = TokenIds.of(rows)
    return ids.parts(encoder(ids))


class Article:
    """The article's procedure: a model of fixed length, one text at a time, padded with id 0."""

    def __init__(self, folder, positions):
        from keras_bert import load_trained_model_from_checkpoint

        self._positions = positions
        self._model = load_trained_model_from_checkpoint(
            str(folder / "bert_config.json"), str(folder / "model.ckpt-1"), seq_len=positions
        )

    def __call__(self, ids):
        """Vectors of all positions, padding included."""
        padded = np.zeros((1, self._positions), dtype=np.int32)
        padded[0, : len(ids)] = ids
        return self._model.predict([padded, np.zeros_like(padded)], verbose=0)[0]


@pytest.fixture(scope="module")
def toys(toy_encoder):
    return load(toy_encoder)


@pytest.fixture(scope="module")
def toys_of(toy_encoder, tmp_path_factory):
    """Encoder and tokenizer of each engine and precision, loaded once."""
    cache = tmp_path_factory.mktemp("engines")
    loaded = {}

    def of(engine):
        if engine not in loaded:
            loaded[engine] = load(toy_encoder, *engine, cache_path=str(cache))
        return loaded[engine]

    return of


@pytest.fixture(scope="module")
def article(toy_encoder):
    return Article(toy_encoder, 64)


@pytest.fixture(scope="module")
def by_formula(toy_encoder):
    """BERT in NumPy on the toy's weights, in which only padding is masked."""
    weights = toy.read_checkpoint(toy_encoder / "model.ckpt-1")
    return lambda ids: toy.numpy_bert(weights, toy.CONFIG, ids)


def known_and_unknown(tokenizer, texts):
    """Token ids of the texts without unknown pieces, and of those with some."""
    tokens = tokenizer(texts)
    known = [ids for ids, unknown in zip(tokens.ids, tokens.unknown, strict=True) if not unknown]
    return known, [ids for ids, unknown in zip(tokens.ids, tokens.unknown, strict=True) if unknown]


def test_texts_without_unknown_pieces_are_as_in_the_article(toys, article):
    encoder, tokenizer = toys
    known, _ = known_and_unknown(tokenizer, [*toy.SENTENCES, *toy.toy_rows()["text"][:20]])
    assert len(known) > 40
    for ids, vectors in zip(known, vectors_of(encoder, known), strict=True):
        assert vectors.dtype == np.float32
        np.testing.assert_allclose(vectors, article(ids)[: len(ids)], atol=1e-5, rtol=0)


@engines
def test_every_engine_is_keras_bert_within_its_bound(toys_of, by_formula, engine):
    encoder, tokenizer = toys_of(engine)
    rows = tokenizer([*toy.SENTENCES[:60], "昨日は😀試合の話をした。", "", "".join(toy.SENTENCES)]).ids
    vectors = vectors_of(encoder, rows)
    assert {row.dtype for row in vectors} == {np.dtype(np.float32)}
    assert_within(BOUNDS[engine], vectors, map(by_formula, rows))


@engines
def test_every_engine_has_the_layers_of_keras_bert_side_by_side(toys_of, toy_encoder, engine, tmp_path):
    """Each layer within the bound, which that of all columns would hide."""
    encoder, tokenizer = load(toy_encoder, *engine, layers=2, cache_path=str(tmp_path))
    rows = tokenizer(toy.SENTENCES[:40]).ids
    weights = toy.read_checkpoint(toy_encoder / "model.ckpt-1")
    expected = [toy.numpy_bert(weights, toy.CONFIG, ids, layers=2) for ids in rows]
    vectors = vectors_of(encoder, rows)
    assert encoder.hidden_size == 32
    assert_within_each(BOUNDS[engine], vectors, expected, hidden=16)
    last, _ = toys_of(engine)
    np.testing.assert_allclose(
        np.concatenate(vectors)[:, 16:], np.concatenate(vectors_of(last, rows)), atol=BOUNDS[engine][1]
    )


@pytest.mark.parametrize("engine", ["reference", "openvino", "tensorflow"])
def test_more_layers_than_there_are_are_refused(toy_encoder, engine):
    with pytest.raises(JabertError, match=r"features\.layers = 3, but .* has 2 layers; set 2 or fewer$"):
        load(toy_encoder, engine, "float32", layers=3)


@engines
def test_every_engine_has_the_articles_rows_of_padding(toy_encoder, article, engine, tmp_path):
    encoder, tokenizer = load(toy_encoder, *engine, pad_to=64, cache_path=str(tmp_path))
    padded = tokenizer([*toy.SENTENCES[:8], "昨日は😀試合の話をした。"]).ids
    assert_within(BOUNDS[engine], vectors_of(encoder, padded), map(article, padded))


def test_texts_with_unknown_pieces_are_as_with_a_mask_by_length(toys, by_formula):
    encoder, tokenizer = toys
    texts = [f"{a}😀{b}😀" for a, b in zip(toy.SENTENCES[:20], toy.SENTENCES[20:40], strict=True)]
    _, unknown = known_and_unknown(tokenizer, texts)
    assert len(unknown) == 20
    for ids, vectors in zip(unknown, vectors_of(encoder, unknown), strict=True):
        np.testing.assert_allclose(vectors, by_formula(ids), atol=1e-5, rtol=0)


def test_the_article_masks_unknown_pieces_and_so_differs(toys, article, toy_encoder):
    encoder, tokenizer = toys
    (ids,) = tokenizer(["昨日は😀試合の話をした。"]).ids
    literal = article(ids)[: len(ids)]
    assert np.abs(vectors_of(encoder, [ids])[0] - literal).max() > 0.05
    weights = toy.read_checkpoint(toy_encoder / "model.ckpt-1")
    masked = toy.numpy_bert(weights, toy.CONFIG, ids, attended=ids != UNKNOWN)
    np.testing.assert_allclose(literal, masked, atol=1e-5, rtol=0)


def test_the_longest_text_uses_every_position(toys, by_formula):
    encoder, tokenizer = toys
    tokens = tokenizer(["".join(toy.SENTENCES)])
    assert len(tokens.ids[0]) == 64
    np.testing.assert_allclose(
        vectors_of(encoder, tokens.ids)[0], by_formula(tokens.ids[0]), atol=1e-5, rtol=0
    )


rows = st.lists(
    st.lists(st.integers(0, 319), min_size=2, max_size=64).map(lambda ids: np.array(ids, dtype=np.int32)),
    min_size=1,
    max_size=6,
)


@pytest.mark.parametrize(
    ("lengths", "shape"), [([5], (1, 16)), ([17], (1, 32)), ([3] * 9, (16, 16)), ([64, 40, 33], (8, 64))]
)
def test_openvino_sees_few_shapes(lengths, shape):
    layout = openvino.Core().compile_model(layout_graph(), "CPU")
    ids = np.arange(1, sum(lengths) + 1, dtype=np.int32)
    found = {
        output.any_name: values
        for output, values in layout({"ids": ids, "lengths": np.array(lengths, dtype=np.int32)}).items()
    }
    step = 16 if len(ids) <= 128 else 64
    assert len(found["tokens"]) == len(found["positions"]) == math.ceil(len(ids) / step) * step
    assert found["rows"].shape == shape
    np.testing.assert_array_equal(found["tokens"][: len(ids)], ids)
    assert (found["mask"][: len(lengths), 0, 0] == 0).sum(axis=1).tolist() == lengths


@pytest.mark.parametrize("engine", ["reference", "openvino"])
@given(rows=rows)
def test_a_text_does_not_depend_on_its_company(toys_of, engine, rows):
    encoder, _ = toys_of((engine, "float32"))
    for row, vectors in zip(rows, vectors_of(encoder, rows), strict=True):
        np.testing.assert_allclose(vectors, encoder(TokenIds.of([row])), atol=1e-5, rtol=0)


def test_padded_texts_are_literally_the_articles_with_the_rows_of_padding(toy_encoder, article):
    encoder, tokenizer = load(toy_encoder, pad_to=64)
    texts = [*toy.SENTENCES[:8], "昨日は😀試合の話をした。", ""]
    padded = tokenizer(texts).ids
    assert {len(ids) for ids in padded} == {64}
    for ids, vectors in zip(padded, vectors_of(encoder, padded), strict=True):
        assert vectors.shape == (64, 16)
        np.testing.assert_allclose(vectors, article(ids), atol=1e-5, rtol=0)


def test_the_forward_function_of_the_reference_is_the_same(toys):
    encoder, tokenizer = toys
    ids = tokenizer(toy.SENTENCES[:5]).ids
    padded = encoder.forward(ids.padded(), ids.lengths).numpy()
    np.testing.assert_array_equal(padded[real_tokens(ids.lengths)], encoder(ids))


def test_a_gpu_that_is_not_there_is_said_and_auto_takes_the_cpu(toy_encoder):
    if gpu_names():
        pytest.skip("this machine has a GPU")
    with pytest.raises(JabertError, match=r"encoder\.device is 'gpu', but TensorFlow sees none"):
        load_encoder(open_folder(toy_encoder), EncoderSettings(device="gpu"))
    assert load_encoder(open_folder(toy_encoder), EncoderSettings(device="auto")).device == "/CPU:0"
    assert use_device("auto") == "/CPU:0"


def test_tensorflow_that_was_loaded_with_keras_3_is_refused(monkeypatch):
    import_tensorflow()
    monkeypatch.delenv("TF_USE_LEGACY_KERAS")
    with pytest.raises(JabertError, match="imported before jabert with Keras 3; set TF_USE_LEGACY_KERAS=1"):
        import_tensorflow()


# Batches

lengths_of = st.lists(st.integers(2, 600), max_size=80).map(lambda n: np.array(n, dtype=np.int64))


@given(lengths_of, st.integers(1, 4096), st.sampled_from([1, 16]))
def test_batches_hold_every_row_once_within_the_budget_longest_first(lengths, budget, step):
    batches = list(token_budget_batches(lengths, budget, step))
    assert sorted(np.concatenate([*batches, []])) == list(range(len(lengths)))
    longest = [int(lengths[batch].max()) for batch in batches]
    assert longest == sorted(longest, reverse=True)
    for batch, width in zip(batches, longest, strict=True):
        assert len(batch) == 1 or len(batch) * math.ceil(width / step) * step <= budget
        assert list(lengths[batch]) == sorted(lengths[batch], reverse=True)


def test_batches_are_as_full_as_the_budget_allows():
    assert [len(batch) for batch in token_budget_batches(np.full(10, 20), 100)] == [5, 5]


@given(st.lists(st.lists(st.integers(1, 9), max_size=5), max_size=6), st.data())
def test_texts_one_behind_the_other_are_taken_and_parted_like_a_list_of_them(texts, data):
    ids = TokenIds.of(texts)
    numbers = data.draw(st.lists(st.sampled_from(range(len(texts))))) if texts else []
    taken = ids.take(np.array(numbers, dtype=np.int64))
    assert [list(row) for row in taken] == [texts[number] for number in numbers]
    assert [list(part) for part in ids.parts(ids.flat * 2)] == [[2 * i for i in text] for text in texts]
    assert ids.padded().shape == (len(texts), max(map(len, texts), default=0))
    assert [list(row[: len(text)]) for row, text in zip(ids.padded(), texts, strict=True)] == texts


def test_rows_are_padded_on_the_right_with_id_0():
    ids = TokenIds.of([[4, 7, 5], [4, 5]])
    assert ids.padded().tolist() == [[4, 7, 5], [4, 5, 0]]
    assert ids.lengths.tolist() == [3, 2]
    assert real_tokens(ids.lengths).tolist() == [[True, True, True], [True, True, False]]
    assert ids.padded().dtype == ids.lengths.dtype == np.int32


# The real encoder on the real corpus


@pytest.mark.shared
@pytest.mark.skipif(not HAS_AVX512, reason="without AVX-512 oneDNN wants other forms for small batches")
@pytest.mark.parametrize("precision", ["float32", "auto"])
def test_a_loaded_encoder_has_its_weights_in_the_form_of_every_batch(shared, tmp_path, precision):
    code = """
        import sys
        from jabert.config import EncoderSettings
        from jabert.encoder import TokenIds, load_encoder, open_folder

        path, cache, precision = sys.argv[1:]
        settings = EncoderSettings(device="cpu", engine="openvino", precision=precision, cache_path=cache)
        encoder = load_encoder(open_folder(path), settings)
        print("loaded", flush=True)
        for texts in (1, 9, 60):
            encoder(TokenIds.of([[5] * 30] * texts))
    """
    program = [sys.executable, "-c", textwrap.dedent(code)]
    # oneDNN, in which OpenVINO multiplies, then names each kernel that it makes.
    environment = {**os.environ, "ONEDNN_VERBOSE": "profile_create"}
    told = subprocess.run(
        [*program, shared / "models/e5-small-ja", tmp_path, precision],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    loading, computing = told.split("loaded")
    weights_converted = re.compile(r",reorder,.*,(384x384|1536x384|384x1536)(x1)?,")
    assert weights_converted.search(loading)
    assert "create:cache_miss" in computing
    assert not weights_converted.search(computing)


@pytest.fixture(scope="module")
def knbc_texts(shared):
    from jabert.config import DataSettings
    from jabert.dataset import read_corpus

    table = read_corpus(DataSettings(path=str(shared / "data/knbc"), format="knbc")).table
    return sorted(table["text"], key=lambda text: (-len(text), text))


@pytest.fixture(scope="module")
def e5(shared):
    return load(shared / "models/e5-small-ja")


@pytest.fixture(scope="module")
def article_512(shared):
    return Article(shared / "models/e5-small-ja", 512)


def assert_as_in_the_article(encoder, article, rows):
    lengths = np.array([len(ids) for ids in rows])
    for batch in token_budget_batches(lengths, 2048):
        chosen = [rows[i] for i in batch]
        for ids, vectors in zip(chosen, vectors_of(encoder, chosen), strict=True):
            np.testing.assert_allclose(vectors, article(ids)[: len(ids)], atol=1e-5, rtol=0)


@pytest.mark.shared
def test_knbc_is_as_in_the_article(e5, article_512, knbc_texts):
    encoder, tokenizer = e5
    known, _ = known_and_unknown(tokenizer, knbc_texts)
    longest = max(known, key=len)
    assert len(longest) == 111
    assert_as_in_the_article(encoder, article_512, [longest, *known[7 :: len(known) // 23]])


@pytest.mark.shared
@pytest.mark.parametrize("precision", ["float32", "auto"])
def test_not_even_the_last_digit_depends_on_company_on_openvino(knbc_texts, shared, precision, tmp_path):
    folder = shared / "models/e5-small-ja"
    encoder, tokenizer = load(folder, engine="openvino", precision=precision, cache_path=str(tmp_path))
    rows = tokenizer(knbc_texts[::80]).ids
    for row, vectors in zip(rows, vectors_of(encoder, rows), strict=True):
        np.testing.assert_array_equal(vectors, encoder(TokenIds.of([row])))


@pytest.fixture(scope="module")
def one_layer(e5, knbc_texts):
    """Token ids of some texts, and keras-bert's vectors."""
    reference, tokenizer = e5
    rows = tokenizer(knbc_texts[::40]).ids
    return rows, in_batches(reference, rows)


def in_batches(encoder, rows):
    """The vectors of each row, of 2,048 tokens at a time."""
    found = {}
    for batch in token_budget_batches(rows.lengths, 2048):
        found |= zip(batch, vectors_of(encoder, [rows[i] for i in batch]), strict=True)
    return [found[i] for i in range(len(rows))]


@pytest.mark.shared
@engines
def test_knbc_is_keras_berts_within_the_bound_of_every_engine(one_layer, shared, engine, tmp_path):
    rows, expected = one_layer
    encoder, _ = load(shared / "models/e5-small-ja", *engine, cache_path=str(tmp_path))
    assert_within(BOUNDS[engine], in_batches(encoder, rows), expected)


@pytest.fixture(scope="module")
def four_layers(knbc_texts, shared):
    """Token ids of some texts, and keras-bert's vectors of four layers."""
    reference, tokenizer = load(shared / "models/e5-small-ja", layers=4)
    rows = tokenizer(knbc_texts[300::300]).ids
    return rows, vectors_of(reference, rows)


@pytest.mark.shared
@engines
def test_four_layers_of_knbc_are_keras_berts_within_the_bound_of_every_engine(
    four_layers, shared, engine, tmp_path
):
    rows, expected = four_layers
    encoder, _ = load(shared / "models/e5-small-ja", *engine, layers=4, cache_path=str(tmp_path))
    assert_within_each(BOUNDS[engine], vectors_of(encoder, rows), expected, hidden=384)


@pytest.mark.shared
@pytest.mark.slow
def test_all_of_knbc_is_keras_berts_within_the_bound_of_the_fast_path(e5, knbc_texts, shared, tmp_path):
    test_knbc = test_knbc_is_keras_berts_within_the_bound_of_every_engine
    for start in range(40):
        test_knbc(e5, knbc_texts[start:], shared, ("openvino", "bfloat16"), tmp_path)


@pytest.mark.shared
@pytest.mark.slow
def test_much_of_knbc_is_as_in_the_article(e5, article_512, knbc_texts):
    encoder, tokenizer = e5
    known, _ = known_and_unknown(tokenizer, knbc_texts)
    assert_as_in_the_article(encoder, article_512, known[:: len(known) // 300])


@pytest.mark.shared
def test_a_slice_of_knbc_at_512_positions_is_literally_the_article_s(article_512, knbc_texts, shared):
    encoder, tokenizer = load(shared / "models/e5-small-ja", pad_to=512)
    _, unknown = known_and_unknown(tokenizer, knbc_texts)  # those are masked there, and here
    rows = [*tokenizer(knbc_texts[::1500]).ids, unknown[0]]
    for ids, vectors in zip(rows, vectors_of(encoder, rows), strict=True):
        assert vectors.shape == (512, 384)
        np.testing.assert_allclose(vectors, article_512(ids), atol=1e-5, rtol=0)


@pytest.mark.shared
def test_knbc_with_unknown_pieces_is_as_with_a_mask_by_length(e5, article_512, knbc_texts, shared):
    encoder, tokenizer = e5
    folder = shared / "models/e5-small-ja"
    config = json.loads((folder / "bert_config.json").read_text(encoding="utf-8"))
    weights = toy.read_checkpoint(folder / "model.ckpt-1")
    _, unknown = known_and_unknown(tokenizer, knbc_texts)
    assert len(unknown) >= 5
    for ids, vectors in zip(unknown, vectors_of(encoder, unknown), strict=True):
        np.testing.assert_allclose(vectors, toy.numpy_bert(weights, config, ids), atol=1e-5, rtol=0)
    ids = unknown[0]
    assert np.abs(article_512(ids)[: len(ids)] - vectors_of(encoder, [ids])[0]).max() > 1e-3


@pytest.mark.shared
def test_a_sentence_of_knbc_has_the_vectors_that_it_always_had(e5, knbc_texts):
    encoder, tokenizer = e5
    text = "一袋２００ｇほどで価格は３００円。"
    assert text in knbc_texts
    (ids,) = tokenizer([text]).ids
    assert ids.tolist() == [4, 14075, 11394, 3486, 155, 9604, 380, 12455, 276, 4432, 8318, 32, 5]
    golden = [  # first columns, from NumPy at float64
        [0.201155, -0.041127, -0.166625, -0.302465],  # [CLS]
        [0.126651, -0.265398, -0.331532, -0.176411],  # 一
        [0.201158, -0.041123, -0.166631, -0.302476],  # [SEP]
    ]
    np.testing.assert_allclose(vectors_of(encoder, [ids])[0][[0, 1, -1], :4], golden, atol=1e-5, rtol=0)
