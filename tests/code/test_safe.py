"""Text that is shown: what a terminal, a spreadsheet or a reader of JSON gets of it."""

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jabert.markdown import code, escaped
from jabert.safe import json_text, printable, safe_cell

BIDIRECTIONAL = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
ANY = st.text(st.characters(codec=None) | st.sampled_from(f"\x1b\x9b\x00\r{BIDIRECTIONAL}"))


@given(ANY)
def test_no_terminal_obeys_what_is_printed(text):
    for made in (printable(text), json_text({"text": text}), escaped(text), code(text)):
        assert not [c for c in made if unicodedata.category(c) in ("Cc", "Cs") and c not in "\t\n"]
        assert not set(made) & {*BIDIRECTIONAL, "\u2028", "\u2029"}
    assert printable(printable(text)) == printable(text)


@given(ANY)
def test_json_is_the_same_data(text):
    assert json.loads(json_text([text, {text: text}])) == [text, {text: text}]


def test_japanese_emoji_and_lines_are_left():
    text = "京都へ。\n\tｶﾞ👩‍👩‍👧 é"
    assert printable(text) == text
    assert "京都" in json_text(text)


@pytest.mark.parametrize(
    "cell",
    ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "\n=1", " =1", "＝１", "＠x", "-"],
)
def test_no_spreadsheet_takes_a_cell_for_a_formula(cell):
    assert safe_cell(cell) == f"'{cell}"


@pytest.mark.parametrize("cell", ["", "京都", "-1.5", "+3", "1e-5", "-.5", "a=1", "'x", "0.25"])
def test_other_cells_are_left(cell):
    assert safe_cell(cell) == cell
