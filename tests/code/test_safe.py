"""Text that is shown: what a terminal, a spreadsheet or a reader of JSON gets of it."""

import csv
import json
import unicodedata

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jabert.dataset.writing import Encoding, require_writable_ending, write_chunks
from jabert.errors import JabertError
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


@pytest.mark.parametrize("ending", [".csv", ".tsv"])
def test_a_table_has_safe_cells_where_that_is_wished_and_else_comes_back_as_it_was(tmp_path, ending):
    names, cells = ["=head", "text"], ["=1+1", "京都", "-1.5", "+x", None]
    table = pa.table({names[0]: pa.array(cells, pa.string()), "text": [1.5, -2.5, 0.0, None, -1.0]})
    for safe in (False, True):
        path = tmp_path / f"{safe}{ending}"
        write_chunks([table], table.schema, path, encoding=Encoding(safe_cells=safe))
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.reader(file, delimiter="\t" if ending == ".tsv" else ","))
        quote = "'" if safe else ""
        assert rows[0] == [f"{quote}=head", "text"]
        assert [row[0] for row in rows[1:]] == [f"{quote}=1+1", "京都", "-1.5", f"{quote}+x", ""]
        assert [row[1] for row in rows[1:]] == ["1.5", "-2.5", "0.0", "", "-1.0"]


def test_safe_cells_are_of_tables_for_spreadsheets(tmp_path):
    with pytest.raises(JabertError, match=r"--encoding, --bom and --safe-cells are for \.csv and \.tsv"):
        require_writable_ending(tmp_path / "x.jsonl", Encoding(safe_cells=True))
