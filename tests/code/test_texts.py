"""What is wrong with a text, and that the runtime of a registered model says the same of any value."""

import csv
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jabert.runtime.text_classifier import TextClassifier
from jabert.texts import fault_of, in_reading_form, is_unicode, visible_characters

INVISIBLE = [
    "\u034f", "\u115f", "\u1160", "\u17b4", "\u17b5", "\u180b", "\u180c", "\u180d", "\u180e", "\u180f",
    "\u2800", "\u3164", "\ufe00", "\ufe0f", "\uffa0", "\U000e0100", "\U000e01ef",
    "\u2065", "\ufff5", "\U00016fe4", "\U0001d159", "\U000e0000", "\U000e0041", "\U000e0fff",
    "\x00", "\x1f", "\x7f", "\xa0", "\xad", "\u200b", "\u2028", "\u2029", "\u3000", "\ufeff",
]  # fmt: skip
VALUES = st.one_of(
    st.text(),
    st.text(st.sampled_from([*INVISIBLE, "あ", "\ud800"])),
    st.text(st.characters(categories=["Cs", "Mn", "Lo", "Cn"])),
    st.none(), st.floats(), st.integers(), st.booleans(), st.binary(), st.lists(st.text()),
)  # fmt: skip


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        (None, "null"),
        (float("nan"), "null"),
        (1.5, "1.5, not a string"),
        (["京都"], "['京都'], not a string"),
        ("", "blank"),
        (" \n\u3000", "blank"),
        ("京\ud800", "not Unicode: it holds half of a surrogate pair"),
        ("a", None),
        ("\u200b京", None),
        ("☕\ufe0f", None),
    ],
)
def test_what_is_wrong_is_said(value, fault):
    assert fault_of(value) == fault


@pytest.mark.parametrize("character", INVISIBLE, ids=ascii)
def test_a_text_of_invisible_characters_is_blank(character):
    assert fault_of(character) == fault_of(f" {character * 3}\n") == "blank"
    assert visible_characters(f"あ{character}い") == 2
    assert fault_of(f"あ{character}") is None


@pytest.mark.shared
def test_the_known_invisible_texts_are_blank(shared):
    lines = (shared / "cases/invisible.csv").read_text(encoding="utf-8").splitlines()
    *invisible, battery = [text for (text,) in csv.reader(lines[1:])]
    assert len(invisible) == 8
    assert {fault_of(text) for text in invisible} == {"blank"}
    assert fault_of(battery) is None


@given(VALUES)
def test_the_runtime_of_a_model_finds_the_same_fault(value):
    assert TextClassifier.fault_of(value) == fault_of(value)


@given(st.text(st.characters(categories=["Cs", "Lo"])))
def test_a_lone_surrogate_is_not_unicode(text):
    assert is_unicode(text) == (not any("\ud800" <= character <= "\udfff" for character in text))


@given(st.text(), st.sampled_from(["NFC", "NFD", "NFKC", "NFKD"]))
def test_composition_does_not_count(text, form):
    assert in_reading_form(unicodedata.normalize(form, text)) == in_reading_form(text)


@given(st.text(st.characters(exclude_categories=["Cs", "Mn", "Mc", "Me", "Lo", "Lm", "Sk"])), st.data())
def test_what_is_invisible_does_not_count(text, data):
    added = data.draw(st.sampled_from([c for c in INVISIBLE if not c.isspace()]))
    place = data.draw(st.integers(0, len(text)))
    assert in_reading_form(text[:place] + added + text[place:]) == in_reading_form(text)


@given(st.text())
def test_the_form_is_a_fixed_point_and_blank_where_the_text_is(text):
    form = in_reading_form(text)
    assert in_reading_form(form) == form
    assert (not form) == (fault_of(text) == "blank")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("ＡＢＣ１２３！", "ABC123!"),
        ("ｶﾞｯｺｳ", "ガッコウ"),
        ("か\u3099っこう", "がっこう"),
        ("か\u200d\u3099っこう", "がっこう"),
        ("葛\U000e0100城", "葛城"),
        (" 京都\n\nへ\u3000", "京都 へ"),
        ("❤\ufe0f", "❤"),
    ],
)
def test_twins_have_one_form(one, other):
    assert in_reading_form(one) == in_reading_form(other)


@pytest.mark.parametrize(
    ("one", "other"), [("京都 へ", "京都へ"), ("Abc", "abc"), ("かき", "がき"), ("ヘ", "へ")]
)
def test_what_a_reader_tells_apart_has_two_forms(one, other):
    assert in_reading_form(one) != in_reading_form(other)
