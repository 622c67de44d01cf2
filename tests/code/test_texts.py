"""What is wrong with a text, and that the runtime of a registered model says the same of any value."""

import csv

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jabert.runtime.text_classifier import TextClassifier
from jabert.texts import fault_of, is_unicode, visible_characters

INVISIBLE = [
    "\u034f", "\u115f", "\u1160", "\u17b4", "\u17b5", "\u180b", "\u180c", "\u180d", "\u180e", "\u180f",
    "\u2800", "\u3164", "\ufe00", "\ufe0f", "\uffa0", "\U000e0100", "\U000e01ef",
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
