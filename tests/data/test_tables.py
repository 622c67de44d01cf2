"""Tables as people bring them: read to the rows that were written, or refused in one sentence."""

import csv
import io
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, event, given, settings
from hypothesis import strategies as st

from jabert.config import DataSettings
from jabert.dataset import read_corpus
from jabert.dataset.chunks import read_chunks
from jabert.dataset.readers import read_files
from jabert.errors import JabertError

CASES = Path(__file__).resolve().parents[3] / "shared" / "cases"
BASE = {"グルメ", "携帯", "京都"}


@pytest.fixture
def cases(shared):
    return shared / "cases"


def read(path, **more):
    return read_files(DataSettings(path=str(path), **more))


def write(path, data):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


def pairs(rows):
    return rows.table[["text", "label"]].to_numpy().tolist()


@pytest.fixture
def base(cases):
    return pairs(read(cases / "base.csv"))


# The inputs of ../shared/cases


@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "form", "note"),
    [
        ("cp932.csv", ("cp932", ",", True), "is read as CP932"),
        ("utf16_excel.tsv", ("utf-16", "\t", True), "is read as UTF-16"),
        ("semicolon.csv", ("utf-8", ";", True), "divided at ';'"),
        ("tabs_named.csv", ("utf-8", "\t", True), "divided at a tab"),
        ("table.txt", ("utf-8", "\t", True), None),
    ],
)
def test_forms_of_the_same_table(cases, base, name, form, note):
    rows = read(cases / name)
    assert Counter(map(tuple, pairs(rows))) <= Counter(map(tuple, base))
    assert len(rows.table) > 200
    (found,) = rows.forms
    assert (found.encoding, found.delimiter, found.header) == form
    assert [note in each for each in rows.notes] == ([True] if note else [])


@pytest.mark.shared
def test_a_table_without_header(cases, base):
    with pytest.raises(JabertError, match=r"no column 'text' but: .*; if line 1 is a row, set data\.header"):
        read(cases / "headerless.csv")
    for header in ("auto", False):
        rows = read(cases / "headerless.csv", text_column="1", label_column="2", header=header)
        assert pairs(rows) == base
        assert rows.table["line"].tolist()[:2] == [1, 2]
        assert any("is read as a row" in note for note in rows.notes) == (header == "auto")
    numbered = read(cases / "base.csv", text_column="1", label_column="2")
    assert pairs(numbered) == base
    assert any("is read as the header" in note for note in numbered.notes)


@pytest.mark.shared
def test_quotes_that_are_not_those_of_rfc_4180(cases):
    rows = read(cases / "unquoted_quotes_min.tsv")
    assert [text for text, _ in pairs(rows)] == [
        '"昨日は暑かった。', "今朝は電池が切れた。", 'ラーメンを食べた"', "嵐山を歩いた。",
    ]  # fmt: skip
    assert any("quotes are read as part of the texts" in note for note in rows.notes)
    rows = read(cases / "quote_then_text.tsv")
    assert pairs(rows)[1] == ['"では、電池ですか？"と店員は言った。', "携帯"]


@pytest.mark.shared
def test_numbers_as_labels(cases):
    rows = read(cases / "int_labels.json")
    assert set(rows.table["label"]) == {"0", "1", "2"}
    rows = read(cases / "int_labels_nan.parquet")
    assert set(rows.table["label"].dropna()) == {"0", "1", "2"}
    assert rows.table["label"].isna().sum() > 0


@pytest.mark.shared
def test_a_column_of_splits(cases):
    corpus = read_corpus(
        DataSettings(path=str(cases / "split_dev.tsv"), text_column="Sentence", split_column="Train/Dev/Test")
    )
    assert corpus.split_by == "given"
    assert corpus.counts["validation"] > 0
    assert any("'dev'" in note and "means validation" in note for note in corpus.notes)


@pytest.mark.shared
def test_a_folder_of_classes(cases):
    rows = read(cases / "livedoor", skip_lines=2)
    assert set(rows.table["label"]) == {"gourmet-news", "keitai-news", "kyoto-news"}
    assert set(rows.table.groupby("label").size()) == {40}
    assert rows.table["text"][0].startswith("見出し0\n")
    assert any("3 files or folders are not read" in note and "LICENSE.txt" in note for note in rows.notes)
    whole = read(cases / "livedoor")
    assert whole.table["text"][0].startswith("http")
    assert any("data.skip_lines leaves lines out, 2 in the livedoor corpus" in note for note in whole.notes)


@pytest.mark.shared
def test_spellings_of_labels(cases, base):
    rows = read(cases / "label_trailing_space.csv")
    assert any("'グルメ '" in note and "differ only in width" in note for note in rows.notes)
    rows = read(cases / "label_trailing_space.csv", normalize_labels=True)
    assert set(rows.table["label"]) == {label for _, label in base}
    assert any("stands for" in note for note in rows.notes)


@pytest.mark.shared
def test_names_of_columns(cases, base):
    rows = read(cases / "nfd_header.csv", text_column="テキスト本文バ", label_column="ラベル")
    assert pairs(rows) == base
    rows = read(cases / "excel_trailing_columns.csv")
    assert [label for _, label in pairs(rows)] == ["携帯", "京都", "グルメ"]
    (chunk,) = read_chunks(str(cases / "excel_trailing_columns.csv"), 9, lambda names: names)
    assert chunk.names == ["text", "label", "3", "4"]


# What others are like


ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "cp932", "euc_jp", "iso2022_jp"]
ODD = "\0\x1b\ufeff¢£¬‖−〜¥‾"  # are not texts, or not the same behind an encoding
TEXTS = {
    encoding: st.text(
        st.one_of(
            st.sampled_from('あいカナ漢字表能日本語、。"",\t;|\n\r A1'),
            st.characters(codec=encoding, exclude_characters=ODD, exclude_categories=["Cs"]),
        ),
        max_size=8,
    )
    for encoding in ENCODINGS
}
LABELS = st.sampled_from(["グルメ", "京都", "携帯電話", "a", "1"])
QUOTINGS = {"minimal": csv.QUOTE_MINIMAL, "all": csv.QUOTE_ALL, "none": csv.QUOTE_NONE}


@st.composite
def tables(draw):
    """A table, and its bytes in some form."""
    delimiter = draw(st.sampled_from(",\t;|"))
    quoting = draw(st.sampled_from(list(QUOTINGS)))
    end = draw(st.sampled_from(["\n", "\r\n", "\r"]))
    encoding = draw(st.sampled_from(ENCODINGS))
    texts = TEXTS[encoding]
    if quoting == "none":
        texts = texts.map(lambda text: "".join(c for c in text if c not in f"\r\n{delimiter}"))
    rows = draw(st.lists(st.tuples(texts, LABELS, texts), min_size=1, max_size=6))
    lines = [("text", "label", "note"), *rows]
    if quoting == "none":
        text = "".join(delimiter.join(line) + end for line in lines)
    else:
        stream = io.StringIO(newline="")
        csv.writer(stream, delimiter=delimiter, quoting=QUOTINGS[quoting], lineterminator=end).writerows(
            lines
        )
        text = stream.getvalue()
    try:
        data = text.encode(encoding)
    except UnicodeEncodeError:
        data = b""
    assume(data and data.decode(encoding) == text)  # not all of a character set is in each encoding
    event(f"{encoding} {quoting}")
    name = draw(st.sampled_from(["t.csv", "t.tsv", "t.txt"]))
    return name, data, [list(row) for row in rows]


def read_back(folder, table):
    """A table is read to what was written, or refused in one sentence that names the file."""
    name, data, rows = table
    path = write(folder / name, data)
    try:
        chunks = list(read_chunks(str(path), 3, lambda names: names))
    except JabertError as error:
        assert name in str(error) and "\n" not in str(error) and "data." in str(error)
        event(f"refused: {str(error).partition(name)[2][:60]}")
        return
    found = [list(row) for chunk in chunks for row in zip(*chunk.table.to_pydict().values(), strict=True)]
    assert chunks[0].names == ["text", "label", "note"]
    assert found == rows


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(table=tables())
def test_what_anyone_writes_is_read_back_or_refused(tmp_path_factory, table):
    read_back(tmp_path_factory.getbasetemp(), table)


@pytest.mark.slow
@settings(max_examples=2000, deadline=None, suppress_health_check=list(HealthCheck))
@given(table=tables())
def test_what_anyone_writes_is_read_back_or_refused_at_length(tmp_path_factory, table):
    read_back(tmp_path_factory.getbasetemp(), table)
