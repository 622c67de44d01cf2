import json

import numpy as np
import pandas as pd
import pytest
import toy
from hypothesis import given
from hypothesis import strategies as st

from jabert.config import DataSettings, EncoderSettings, load_settings
from jabert.encoder import Tokenizer, open_folder
from jabert.errors import JabertError

CLS, SEP, UNKNOWN = 4, 5, 0


def tokenizer_of(folder, **settings):
    return Tokenizer(open_folder(folder), EncoderSettings(**settings))


@pytest.fixture(scope="module")
def tokenizer(toy_encoder):
    return tokenizer_of(toy_encoder)


def linked(folder, where, text):
    """The encoder folder with this encoder.toml."""
    where.mkdir()
    for path in folder.iterdir():
        (where / path.name).symlink_to(path)
    (where / "encoder.toml").write_text(text, encoding="utf-8")
    return where


# Lower case


def test_a_vocabulary_without_upper_case_latin_means_lower_case(toy_encoder, cased_encoder):
    assert tokenizer_of(toy_encoder).lower_case
    assert not tokenizer_of(cased_encoder).lower_case


def test_special_tokens_in_upper_case_do_not_make_a_vocabulary_cased(tokenizer):
    assert tokenizer.pieces("[CLS]") != ["[CLS]"]
    assert tokenizer.lower_case


@pytest.mark.parametrize("lower_case", [True, False])
def test_encoder_toml_wins_over_the_vocabulary(toy_encoder, cased_encoder, tmp_path, lower_case):
    for number, folder in enumerate([toy_encoder, cased_encoder]):
        copy = linked(folder, tmp_path / str(number), f"lower_case = {str(lower_case).lower()}")
        assert tokenizer_of(copy).lower_case is lower_case


@pytest.mark.parametrize("lower_case", [True, False])
def test_the_setting_wins_over_encoder_toml(toy_encoder, tmp_path, lower_case):
    folder = linked(toy_encoder, tmp_path / "linked", f"lower_case = {str(not lower_case).lower()}")
    assert tokenizer_of(folder, lower_case=lower_case).lower_case is lower_case


def test_an_encoder_toml_that_says_nothing_of_case_leaves_it_to_the_vocabulary(toy_encoder, tmp_path):
    assert tokenizer_of(linked(toy_encoder, tmp_path / "linked", "licence = 'MIT'")).lower_case


def test_lower_casing_spares_upper_case_from_becoming_unknown(toy_encoder, tokenizer):
    assert tokenizer(["HELLO"]).ids[0].tolist() == tokenizer(["hello"]).ids[0].tolist()
    assert tokenizer(["HELLO"]).unknown[0] == 0
    assert tokenizer_of(toy_encoder, lower_case=False)(["HELLO"]).unknown[0] > 0


def test_lower_casing_keeps_the_voiced_marks_of_kana(tokenizer):
    assert tokenizer.pieces("電話が") != tokenizer.pieces("電話か")  # what keras-bert's own tokenizer loses


# Form


def test_a_text_is_framed_by_cls_and_sep(tokenizer):
    (ids,) = tokenizer(["昨日は試合の話をした。"]).ids
    assert ids.dtype == np.int32
    assert (ids[0], ids[-1]) == (CLS, SEP)
    assert len(ids) == len(tokenizer.pieces("昨日は試合の話をした。")) + 2


def test_the_ids_are_those_of_sentencepiece(toy_encoder, tokenizer):
    import sentencepiece

    processor = sentencepiece.SentencePieceProcessor(model_file=str(toy_encoder / "toy-ja.model"))
    texts = toy.toy_rows()["text"].tolist() + toy.SENTENCES
    for text, ids in zip(texts, tokenizer(texts).ids, strict=True):
        assert ids.tolist() == [CLS, *processor.encode(text.lower()), SEP]


def test_no_texts_are_no_rows(tokenizer):
    tokens = tokenizer([])
    assert list(tokens.ids) == []
    assert len(tokens.pieces) == len(tokens.unknown) == len(tokens.truncated) == 0


def test_an_empty_text_is_its_frame(tokenizer):
    tokens = tokenizer([""])
    assert tokens.ids[0].tolist() == [CLS, SEP]
    assert (tokens.pieces[0], tokens.unknown[0], tokens.truncated[0]) == (2, 0, False)


def test_more_texts_than_a_chunk_keep_their_order(tokenizer, monkeypatch):
    texts = toy.toy_rows()["text"].tolist()
    whole = tokenizer(texts)
    monkeypatch.setattr("jabert.encoder.tokenizer._CHUNK", 7)
    chunked = tokenizer(texts)
    assert [ids.tolist() for ids in chunked.ids] == [ids.tolist() for ids in whole.ids]
    assert chunked.pieces.tolist() == whole.pieces.tolist() == [len(ids) for ids in whole.ids]


# Length


def test_a_longer_text_is_cut_and_still_ends_with_sep(toy_encoder):
    tokenizer = tokenizer_of(toy_encoder, max_tokens=5)
    text = "昨日は試合の話をした。"
    whole = tokenizer_of(toy_encoder)([text]).ids[0]
    tokens = tokenizer([text, ""])
    assert tokens.ids[0].tolist() == [*whole[:4], SEP]
    assert tokens.pieces.tolist() == [len(whole), 2]
    assert tokens.truncated.tolist() == [True, False]


@pytest.mark.parametrize(("extra", "truncated"), [(0, False), (1, True)])
def test_a_text_is_cut_only_beyond_the_limit(toy_encoder, tokenizer, extra, truncated):
    text = "昨日は試合の話をした。"
    limit = len(tokenizer(["昨日は試合の話をした。"]).ids[0]) - extra
    tokens = tokenizer_of(toy_encoder, max_tokens=limit)([text])
    assert tokens.truncated[0] == truncated
    assert len(tokens.ids[0]) == limit


def test_without_a_limit_it_is_the_positions_of_the_encoder(tokenizer):
    assert tokenizer.max_tokens == 64


@pytest.mark.parametrize("text", ["京都" * 50_000, "😀" * 100_000, "Ａ" * 100_000, " " * 100_000])
def test_a_text_of_100_000_characters_is_good_input(tokenizer, text):
    tokens = tokenizer([text])
    assert len(tokens.ids[0]) == min(64, tokens.pieces[0])
    assert tokens.ids[0][-1] == SEP
    assert tokens.truncated[0] == (tokens.pieces[0] > 64)


@pytest.mark.parametrize("name", ["max_tokens", "pad_to"])
def test_a_limit_beyond_the_positions_is_named(toy_encoder, name):
    with pytest.raises(JabertError, match=rf"encoder\.{name} = 65, but .* has 64 positions"):
        tokenizer_of(toy_encoder, **{name: 65})


def test_padding_fills_every_text_with_id_0(toy_encoder, tokenizer):
    texts = ["昨日は試合の話をした。", ""]
    padded = tokenizer_of(toy_encoder, pad_to=32)(texts)
    for row, plain in zip(padded.ids, tokenizer(texts).ids, strict=True):
        assert row.tolist() == plain.tolist() + [0] * (32 - len(plain))
    assert padded.pieces.tolist() == tokenizer(texts).pieces.tolist()
    assert padded.unknown.tolist() == [0, 0]  # padding is not counted as unknown


def test_padding_is_a_limit_as_well(toy_encoder):
    tokens = tokenizer_of(toy_encoder, pad_to=8)(["昨日は試合の話をした。" * 3])
    assert len(tokens.ids[0]) == 8
    assert tokens.ids[0][-1] == SEP
    assert tokens.truncated[0]


# Any input


@pytest.mark.parametrize(
    ("one", "other"),
    [("ｶﾚｰ", "カレー"), ("ＳＮＳ", "sns"), ("２０年", "20年"), ("料理　と", "料理 と"), ("料理\x07", "料理")],
)
def test_half_and_full_width_and_control_characters_are_normalised(tokenizer, one, other):
    assert tokenizer([one]).ids[0].tolist() == tokenizer([other]).ids[0].tolist()


def test_an_emoji_is_one_unknown_piece_and_is_counted(tokenizer):
    tokens = tokenizer(["料理😀", "料理"])
    assert tokens.unknown.tolist() == [1, 0]
    assert UNKNOWN in tokens.ids[0]


def test_unknown_pieces_are_counted_before_cutting(toy_encoder):
    tokens = tokenizer_of(toy_encoder, max_tokens=4)(["料理の話をした😀"])
    assert UNKNOWN not in tokens.ids[0]
    assert tokens.unknown[0] == 1


@pytest.mark.parametrize("text", ["\x00", "\n\t\r", "\u200b", "\ufeff", "\U0010ffff", "e\u0301", "👩‍👩‍👧‍👦"])
def test_odd_characters_are_good_input(tokenizer, text):
    (ids,) = tokenizer([text]).ids
    assert (ids[0], ids[-1]) == (CLS, SEP)


texts = st.text(max_size=80) | st.text("京都電話のＡａ😀 ｶﾞガ\x00\n", max_size=80)


@given(st.lists(texts, max_size=5), st.integers(3, 64))
def test_any_text_becomes_ids_in_range_in_its_frame(toy_encoder, batch, limit):
    tokens = tokenizer_of(toy_encoder, max_tokens=limit)(batch)
    assert len(tokens.ids) == len(batch)
    for row, ids in enumerate(tokens.ids):
        assert (ids[0], ids[-1]) == (CLS, SEP)
        assert ids.min() >= 0
        assert ids.max() < 320
        assert CLS not in ids[1:]  # a text cannot smuggle in a special token
        assert SEP not in ids[1:-1]
        assert len(ids) == min(limit, tokens.pieces[row])
        assert tokens.truncated[row] == (tokens.pieces[row] > limit)
        assert 0 <= tokens.unknown[row] <= tokens.pieces[row] - 2


@given(st.lists(texts, max_size=5))
def test_a_text_is_tokenized_the_same_alone_and_in_company(tokenizer, batch):
    together = tokenizer(batch)
    assert [ids.tolist() for ids in together.ids] == [tokenizer([text]).ids[0].tolist() for text in batch]


@pytest.fixture(scope="module")
def packaged(tmp_path_factory):
    """The package's own tokenizer, for some settings, as `build_package` and `Network` set it up."""
    from jabert.runtime.text_classifier import Network, tokenizer_of

    folder = tmp_path_factory.mktemp("packaged")

    def of(tokenizer):
        network = Network.__new__(Network)
        tokenizer.model.write(folder)
        names = (
            "lower_case",
            "cls_id",
            "sep_id",
            "prefix_ids",
            "max_tokens",
            "pad_to",
            "long_texts",
            "windows",
            "overlap",
        )
        habits = {name: getattr(tokenizer, name) for name in names} | {"max_characters": 100_000}
        network._habits = json.loads(json.dumps(habits))
        network._encode = tokenizer_of(folder, network._habits)
        return network

    return of


@given(
    text=texts,
    lower_case=st.booleans(),
    max_tokens=st.none() | st.integers(3, 64),
    pad_to=st.none() | st.integers(3, 64),
    long_texts=st.sampled_from(["head", "tail", "head-tail", "windows"]),
    windows=st.integers(1, 5),
)
def test_the_package_tokenizes_any_text_as_training_does(
    toy_encoder, packaged, *, text, lower_case, max_tokens, pad_to, long_texts, windows
):
    encoder = EncoderSettings(lower_case=lower_case, max_tokens=max_tokens, pad_to=pad_to)
    data = DataSettings(long_texts=long_texts, windows=windows)
    tokenizer = Tokenizer(open_folder(toy_encoder), encoder, data)
    assert packaged(tokenizer).token_ids(text).tolist() == tokenizer([text]).ids[0].tolist()


def test_token_ids_survive_the_work_folder(toy_encoder, tokenizer, tmp_path):
    from jabert.experiments import steps

    texts = ["昨日は試合の話をした。", "-", "😀" * 100]
    pd.DataFrame({"text": texts, "label": ["a", "b", "a"]}).to_csv("texts.csv", index=False)
    settings = load_settings(None, ["data.path=texts.csv", f"encoder.path={toy_encoder}"])
    tokens = tokenizer(texts)
    read = steps.tokenize(settings, steps.read(settings)).tokenized
    assert [ids.tolist() for ids in read.ids] == [ids.tolist() for ids in tokens.ids]
    assert all(ids.dtype == np.int32 for ids in read.ids)
    for name in ("pieces", "unknown", "truncated"):
        assert getattr(read, name).tolist() == getattr(tokens, name).tolist()
    assert pd.api.types.is_bool_dtype(read.truncated)
