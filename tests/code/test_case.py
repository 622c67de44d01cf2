"""Whether texts are lower-cased is decided from the vocabulary alone, and told."""

import io
import shutil

import pandas as pd
import pytest
import sentencepiece
import toy
from hypothesis import given
from hypothesis import strategies as st

from jabert.config import EncoderSettings, load_settings
from jabert.encoder import Tokenizer, case_changed, open_folder
from jabert.encoder.case import case_of
from jabert.encoder.inspection import describe
from jabert.encoder.pieces import SentencePiece
from jabert.experiments import steps
from jabert.experiments.keys import kept_of

LOWER = ["の", "##か", *(f"word{chr(97 + i)}{chr(97 + j)}" for i in range(26) for j in range(26))]


@pytest.mark.parametrize(
    "pieces",
    [
        [],
        ["京都", "の"],
        ["a", "b", "京都"],
        LOWER,
        [*LOWER, "[CLS]", "[SEP]", "[MASK]", "[unused12]", "[NUM]", "<S>", "<PAD>", "<URL>"],
        [*LOWER, "C", "▁F", "°C", "TEL", "No", "TM", "MHz", "▁kW", "##KB", "hPa"],
        [*LOWER, "Hello"],  # one in hundreds: letters that only look like upper-case ones
        [*"abcdefghijklmnop", "C", "F", "N", "T", "E", "L"],
    ],
)
def test_a_vocabulary_without_upper_case_words_wants_lower_case(pieces):
    assert case_of(pieces).lower


@pytest.mark.parametrize(
    "pieces",
    [
        ["Hello"],
        ["▁Hello", "world"],
        ["##WORLD", *LOWER[:50]],
        [*LOWER, *(word.capitalize() for word in LOWER[:200])],
        ["Élan", "élan"],
        [*"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"],  # a vocabulary of characters
    ],
)
def test_a_vocabulary_with_upper_case_words_keeps_case(pieces):
    assert not case_of(pieces).lower


@given(st.lists(st.text(st.characters(categories=["Lu", "Ll", "Lo", "Nd", "So"]), max_size=8), max_size=30))
def test_lower_cased_pieces_never_keep_case(pieces):
    assert case_of([piece.lower() for piece in pieces]).lower


@pytest.mark.shared
def test_existing_encoders_keep_their_case(shared):
    folder = open_folder(shared / "models" / "e5-small-ja")
    tokenizer = Tokenizer(folder, EncoderSettings())
    assert not tokenizer.lower_case
    assert "an upper-case letter in 4,100 of its 12,358 pieces" in tokenizer.lower_case_because
    assert not case_changed(folder, EncoderSettings())


def trained(path, texts, **more):
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts),
        model_writer=model,
        vocab_size=320,
        character_coverage=0.985,
        hard_vocab_limit=False,
        normalization_rule_name="nmt_nfkc",
        num_threads=1,
        minloglevel=2,
        **more,
    )
    path.write_bytes(model.getvalue())
    return path


SPECIAL = ["[PAD]", "[CLS]", "[SEP]", "[MASK]"]
SYMBOLS = ["気温は25℃です。", "℡と№と™の話", "周波数は5㎒", "77℉"] * 20


@pytest.fixture
def lowered(toy_encoder, tmp_path):
    """A lower-cased encoder whose vocabulary has user-defined special pieces and what symbols become."""
    folder = shutil.copytree(toy_encoder, tmp_path / "lowered")
    texts = [text.lower() for text in [*toy.SENTENCES, *toy.toy_rows()["text"], *SYMBOLS]]
    trained(folder / "toy-ja.model", texts, user_defined_symbols=SPECIAL)
    return folder


def test_special_pieces_and_symbols_do_not_count(lowered):
    model = SentencePiece(lowered / "toy-ja.model")
    names = model.names()
    assert {"[CLS]", "C"} <= set(names)
    assert model.lower_case
    assert not model.case_before
    tokenizer = Tokenizer(open_folder(lowered), EncoderSettings())
    assert tokenizer(["HELLO DOCOMO"]).unknown[0] == tokenizer(["hello docomo"]).unknown[0]
    facts = describe(lowered)
    assert facts["lower_case"] is True
    assert "upper-case" in facts["lower_case_because"]


def test_a_decision_that_was_another_makes_other_keys(lowered, toy_encoder, cased_encoder):
    settings = load_settings(None, [])
    changes = [kept_of([], settings, open_folder(folder)) for folder in (toy_encoder, cased_encoder, lowered)]
    assert changes == [[], [], ["case by words"]]
    said = settings.model_copy(update={"encoder": EncoderSettings(lower_case=True)})
    assert kept_of([], said, open_folder(lowered)) == []
    (lowered / "encoder.toml").write_text("lower_case = true", encoding="utf-8")
    assert kept_of([], settings, open_folder(lowered)) == []


@pytest.mark.parametrize("text", ["電話[SEP]電話", "[CLS][SEP]", "[MASK]", "<s>電話</s>"])
def test_a_user_defined_special_piece_is_not_spelled_by_a_text(lowered, text, tmp_path):
    from jabert.runtime.text_classifier import tokenizer_of

    tokenizer = Tokenizer(open_folder(lowered), EncoderSettings())
    plain = sentencepiece.SentencePieceProcessor(model_file=str(lowered / "toy-ja.model"))
    special = {plain.piece_to_id(piece) for piece in [*SPECIAL, "<s>", "</s>"]}
    assert special & set(plain.encode("電話[SEP]"))
    assert not special & set(tokenizer.encode([text])[0])
    tokenizer.model.write(tmp_path)
    assert tokenizer_of(tmp_path, {"lower_case": True})(text) == tokenizer.encode([text])[0]


# What the texts say


def with_case(folder, target, lower_case):
    copy = shutil.copytree(folder, target)
    (copy / "encoder.toml").write_text(f"lower_case = {str(lower_case).lower()}\n", encoding="utf-8")
    return copy


UPPER = ["HELLO", "DOCOMOの電話", "WEBで調べた。", "料理の味", "BLACKの電話"]


def test_texts_that_case_makes_unknown_raise_a_warning(toy_encoder, tmp_path):
    folder = open_folder(with_case(toy_encoder, tmp_path / "kept", False))
    doubt = Tokenizer(folder, EncoderSettings()).doubt_of_case(UPPER)
    assert doubt.startswith("case is kept (encoder.toml says so), and ")
    assert doubt.endswith("if the encoder was made so, set encoder.lower_case = true")


def test_texts_never_decide_on_case(toy_encoder, tmp_path):
    folder = open_folder(with_case(toy_encoder, tmp_path / "kept", False))
    tokenizer = Tokenizer(folder, EncoderSettings())
    tokenizer(UPPER * 100)
    assert not tokenizer.lower_case


def test_nothing_is_said_where_case_is_right_set_or_makes_no_difference(toy_encoder, cased_encoder, tmp_path):
    kept = open_folder(with_case(toy_encoder, tmp_path / "kept", False))
    assert Tokenizer(open_folder(toy_encoder), EncoderSettings()).doubt_of_case(UPPER) is None
    assert Tokenizer(kept, EncoderSettings(lower_case=False)).doubt_of_case(UPPER) is None
    assert Tokenizer(kept, EncoderSettings()).doubt_of_case(["料理の味", "電話"]) is None
    assert Tokenizer(kept, EncoderSettings()).doubt_of_case([]) is None
    assert Tokenizer(open_folder(cased_encoder), EncoderSettings()).doubt_of_case(["SNSとAとB"]) is None


def test_the_warning_is_there_at_each_tokenization(toy_encoder, tmp_path):
    folder = with_case(toy_encoder, tmp_path / "kept", False)
    table = pd.DataFrame({"text": UPPER, "label": [*"ababa"]})
    table.to_csv("texts.csv", index=False)
    settings = load_settings(None, ["data.path=texts.csv", f"encoder.path={folder}"])
    for _ in range(2):  # the second time it is found
        tokens = steps.tokenize(settings, steps.read(settings))
        assert any("set encoder.lower_case = true" in each for each in tokens.warnings())
    assert tokens.doubt_of_case
