"""Tables as people bring them: read to the rows that were written, or refused in one sentence."""

import csv
import gzip
import hashlib
import io
import itertools
import json
import re
import sys
import zipfile
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, assume, event, given, settings
from hypothesis import strategies as st

from jabert.cli import main
from jabert.config import DataSettings, load_settings
from jabert.dataset import read_corpus
from jabert.dataset.chunks import read_chunks
from jabert.dataset.dialects import find_dialect, line_ends
from jabert.dataset.readers import read_files, side_of
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
    assert read(cases / "base.csv", text_column="1", label_column="2").notes == (), "a name tells the header"
    numbered = read(cases / "nfd_header.csv", text_column="1", label_column="2")
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


@pytest.mark.shared
def test_the_rows_of_the_recipes_are_those_of_yesterday(shared):
    """Their order, too: the article's results depend on it."""
    for path, rows, expected in (
        ("sample", 1046, "1685a6be6bb32c30"),
        (str(shared / "data/knbc"), 4186, "3c705fb63e2a123a"),
    ):
        found, digest = read(path).table.drop(columns="file"), hashlib.sha256()
        for row in found.itertuples(index=False):
            digest.update(repr(tuple(row)).encode())
        assert (len(found), digest.hexdigest()[:16]) == (rows, expected)


# Encodings


JAPANESE = "text,label\n京都を歩いた、楽しかった。,旅\n電池が切れた,携帯\n"


@pytest.mark.parametrize(
    ("encoding", "found"),
    [
        ("utf-8", "utf-8"),
        ("utf-8-sig", "utf-8"),
        ("utf-16", "utf-16"),
        ("utf-32", "utf-32"),
        ("cp932", "cp932"),
        ("euc_jp", "euc_jp"),
        ("iso2022_jp", "iso2022_jp"),
    ],
)
@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz", "t.jsonl"])
def test_each_encoding_is_told_from_the_others_and_said(tmp_path, encoding, found, name):
    text = JAPANESE
    if "jsonl" in name:
        rows = [line.split(",") for line in JAPANESE.splitlines()[1:]]
        text = "".join(
            json.dumps({"text": text, "label": label}, ensure_ascii=False) + "\n" for text, label in rows
        )
    data = text.encode(encoding)
    path = write(tmp_path / name, gzip.compress(data) if name.endswith("gz") else data)
    rows = read(path)
    assert pairs(rows) == [["京都を歩いた、楽しかった。", "旅"], ["電池が切れた", "携帯"]]
    assert rows.forms[0].encoding == found
    assert bool(rows.notes) == (found != "utf-8")
    if encoding not in ("utf-8-sig", "utf-8"):
        assert read(path, encoding=encoding).notes == (), "what is set is not said"


def test_bytes_that_can_be_two_encodings_are_refused_with_both_and_the_setting(tmp_path):
    path = write(tmp_path / "t.csv", "text,label\nﾊﾝｶｸ,a\n".encode("cp932"))
    with pytest.raises(JabertError, match=r"EUC-JP or CP932 .* data\.encoding = 'euc_jp' or 'cp932'"):
        read(path)
    assert pairs(read(path, encoding="cp932")) == [["ﾊﾝｶｸ", "a"]]
    path = write(tmp_path / "u.csv", "text,label\n表能,a\n".encode("euc_jp"))
    with pytest.raises(JabertError, match=r"UTF-8 or EUC-JP"):
        read(path)


def test_a_file_that_is_not_in_the_encoding_that_is_set(tmp_path):
    path = write(tmp_path / "t.csv", JAPANESE.encode("cp932"))
    with pytest.raises(
        JabertError, match=r"t\.csv, line 2: the file is not UTF-8 text throughout; data\.encoding"
    ):
        read(path, encoding="utf-8")
    for wrong in ("rot13", "utf-9"):
        with pytest.raises(
            JabertError, match=r"data\.encoding cannot be .*: there is no such encoding of text"
        ):
            load_settings(None, [f"data.encoding={wrong}"])


# Delimiters, quotes and headers


def test_what_can_be_divided_in_two_ways_is_refused_unless_a_name_tells(tmp_path):
    path = write(tmp_path / "t.csv", "a;b,c\nd;e,f\n")
    with pytest.raises(JabertError, match=r"t\.csv can be divided at ',' or ';': set data\.delimiter"):
        read(path, text_column="1", label_column="2")
    rows = read(path, text_column="1", label_column="2", delimiter=";", header=False)
    assert pairs(rows) == [["a", "b,c"], ["d", "e,f"]]
    path = write(tmp_path / "u.csv", "text;x,label\nd;e,f\n")
    assert pairs(read(path, text_column="text;x")) == [["d;e", "f"]]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ('text\tlabel\n"x\ty\nz"\tw\n', r"line 2: .*data\.quoting = 'rfc4180' or 'none'"),
        ('text\tlabel\n"x"\ty\nz\tw\n', r"line 2: the quotes around a cell .*data\.quoting = 'none' keeps"),
    ],
)
def test_quotes_that_can_mean_two_things_are_refused_by_their_line(tmp_path, data, message):
    path = write(tmp_path / "t.tsv", data)
    with pytest.raises(JabertError, match=message):
        read(path)
    quoted, plain = (pairs(read(path, quoting=quoting)) for quoting in ("rfc4180", "none"))
    assert quoted != plain


def test_line_breaks_in_quotes_are_said(tmp_path):
    rows = read(write(tmp_path / "t.csv", 'text,label\n"a\nb",c\nd,e\n'))
    assert pairs(rows) == [["a\nb", "c"], ["d", "e"]]
    assert ["1 rows take 2 lines" in note for note in rows.notes] == [True]


def test_all_quoted_and_forced_quotes_are_those_of_rfc_4180(tmp_path):
    assert pairs(read(write(tmp_path / "a.csv", '"text","label"\n"a","b"\n'))) == [["a", "b"]]
    assert pairs(read(write(tmp_path / "b.csv", 'text,label\n"a",b\n"c",d\n'))) == [["a", "b"], ["c", "d"]]


def test_texts_with_commas_under_one_name_are_not_divided(tmp_path):
    (chunk,) = read_chunks(str(write(tmp_path / "t.txt", "text\na,b\nc\n")), 9, lambda names: names)
    assert chunk.cells("text") == ["a,b", "c"]
    assert "not divided at ','" in chunk.form.notes[0]


def test_two_ends_of_a_line(tmp_path):
    rows = read(write(tmp_path / "t.csv", "text,label\na\rb,c\nd,e\n"))
    assert pairs(rows) == [["a\rb", "c"], ["d", "e"]]
    assert pairs(read(write(tmp_path / "u.csv", "text,label\ra,c\rd,e"))) == [["a", "c"], ["d", "e"]]
    with pytest.raises(JabertError, match=r"some lines end in a carriage return, others in a line feed"):
        list(read_chunks(str(write(tmp_path / "v.csv", "text\na\rb\nc\n")), 9, lambda names: names))


@pytest.mark.parametrize(
    ("data", "mixed"),
    [
        (b"text,label\na,x\r\nb,y\n", True),
        (b'text,label\n"a",x\r\n"b",y\n', True),
        (b"text,label\r\na,x\r\nb,y", False),
        (b'text,label\r\n"a\nb",x\r\n"c",y\r\n', False),  # Excel ends lines within cells so
    ],
)
def test_lines_that_end_in_different_ways_are_told(tmp_path, data, mixed):
    notes = read(write(tmp_path / "a.csv", data)).notes
    told = [note for note in notes if "1 of 3 lines end in a carriage return and a line feed" in note]
    assert len(told) == mixed and len([note for note in notes if "carriage" in note]) == mixed


def test_empty_cells_behind_the_header_are_nothing(tmp_path):
    rows = read(write(tmp_path / "t.csv", "text,label\na,b,,\nc,d\n"))
    assert pairs(rows) == [["a", "b"], ["c", "d"]]
    with pytest.raises(JabertError, match=r"line 2: 4 cells under a header of 2; .*data\.delimiter"):
        read(write(tmp_path / "t.csv", "text,label\na,b,,x\nc,d\n"))


def test_a_first_line_that_can_be_a_header_or_a_row(tmp_path):
    path = write(tmp_path / "t.csv", "a,b\nc,d\n")
    with pytest.raises(
        JabertError, match=r"line 1: 'a', 'b' can be a header or a row; data\.header = true or fal"
    ):
        read(path, text_column="1", label_column="2")
    for header, expected in ((True, [["c", "d"]]), (False, [["a", "b"], ["c", "d"]])):
        assert pairs(read(path, text_column="1", label_column="2", header=header)) == expected
    with pytest.raises(
        JabertError, match=r"data\.header cannot be 'maybe': it is neither auto, true nor false"
    ):
        load_settings(None, ["data.header=maybe"])
    settings = load_settings(None, ["data.header=false", "data.text_column=1", "data.delimiter=tab"]).data
    assert (settings.header, settings.text_column, settings.delimiter) == (False, "1", "\t")


def test_a_column_twice_is_named_by_number(tmp_path):
    path = write(tmp_path / "t.csv", "text,label,label\na,b,c\n")
    with pytest.raises(JabertError, match=r"more than one column 'label'; give its number"):
        read(path)
    assert pairs(read(path, label_column="3")) == [["a", "c"]]


def test_validate_says_how_a_table_was_read(tmp_path, capsys, caplog):
    rows = "".join(f"京都の{n}番目の寺;旅{n % 2}\r\n" for n in range(60))
    path = write(tmp_path / "t.csv", f"text;label\r\n{rows}".encode("cp932"))
    with pytest.raises(SystemExit) as ended:
        main(["validate", "--set", f"data.path={path}", "--json"])
    assert not ended.value.code
    facts = json.loads(capsys.readouterr().out)
    expected = {"encoding": "cp932", "delimiter": ";", "quoting": "rfc4180", "header": True}
    assert facts["guessed"] == expected
    assert facts["files"] == [{"file": str(path), **expected}]
    assert expected.items() <= facts.items()
    assert facts["rows"]["rows_read"] == 60
    for said in ("is read as CP932", "divided at ';'"):
        assert any(said in warning for warning in facts["warnings"])
        assert said in caplog.text


# Other files


def test_json_in_lines_or_one_array(tmp_path):
    records = [{"text": "文", "label": 1}, {"text": "字\n", "label": True}]
    lines = "".join(json.dumps(record) + "\n" for record in records)
    for name, data in (
        ("t.json", lines),
        ("t.ndjson", lines),
        ("u.json", json.dumps(records)),
        ("v.json", json.dumps(records, indent=1)),
        ("v.jsonl", json.dumps(records)),
    ):
        assert pairs(read(write(tmp_path / name, data))) == [["文", "1"], ["字\n", "true"]]
    assert read(tmp_path / "v.json").table["line"].tolist() == [2, 6]
    for data, message in (
        ('[{"text": "a"}, 5]', r"w\.json, line 1: a JSON object is expected, not 5"),
        ('[{"text": "a"}\n{"text"', r"w\.json, line 2: not JSON"),
        ('{"data": [\n{"text": "a"}]}', r"w\.json, line 1: not JSON .*an object on each line, or one array"),
    ):
        with pytest.raises(JabertError, match=message):
            read(write(tmp_path / "w.json", data))


def workbook(path, *sheets):
    """An .xlsx file with these sheets of rows of strings and numbers."""
    names = [f"s{number}" for number in range(1, len(sheets) + 1)]
    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    rel = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    kinds = "http://schemas.openxmlformats.org/package/2006"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("[Content_Types].xml", f'<Types xmlns="{kinds}/content-types"/>')
        start = f'<Relationship Id="r" Type="{rel}/officeDocument" Target="xl/workbook.xml"/>'
        archive.writestr(
            "_rels/.rels", f'<Relationships xmlns="{kinds}/relationships">{start}</Relationships>'
        )
        listed = "".join(f'<sheet name="{n}" sheetId="{i}" r:id="r{i}"/>' for i, n in enumerate(names, 1))
        archive.writestr(
            "xl/workbook.xml",
            f'<workbook xmlns="{main}" xmlns:r="{rel}"><sheets>{listed}</sheets></workbook>',
        )
        links = "".join(
            f'<Relationship Id="r{i}" Type="{rel}/worksheet" Target="worksheets/{n}.xml"/>'
            for i, n in enumerate(names, 1)
        )
        archive.writestr(
            "xl/_rels/workbook.xml.rels",
            f'<Relationships xmlns="{kinds}/relationships">{links}</Relationships>',
        )
        for name, rows in zip(names, sheets, strict=True):
            cells = "".join("<row>" + "".join(_cell(value) for value in row) + "</row>" for row in rows)
            archive.writestr(
                f"xl/worksheets/{name}.xml",
                f'<worksheet xmlns="{main}"><sheetData>{cells}</sheetData></worksheet>',
            )
    return path


def _cell(value):
    if isinstance(value, str):
        return f'<c t="inlineStr"><is><t>{value}</t></is></c>'
    return f"<c><v>{value}</v></c>"


def test_a_workbook_is_what_it_would_be_as_csv(tmp_path):
    path = workbook(tmp_path / "t.xlsx", [["text", "label"], ["文", 1], [12, 0]], [["other"]])
    rows = read(path)
    assert pairs(rows) == [["文", "1"], ["12", "0"]]
    assert rows.table["line"].tolist() == [2, 3]
    assert ["only the sheet 's1' is read, not: 's2'" in note for note in rows.notes] == [True]


def test_a_workbook_without_its_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "python_calamine", None)
    with pytest.raises(
        JabertError, match=r"t\.xlsx: workbooks need python-calamine: pip install 'jabert\[excel\]'"
    ):
        read(write(tmp_path / "t.xlsx", b""))


TABLE = "text,label\n{0},a\n{0}です,b\n"


def test_several_files_and_globs(tmp_path):
    for name in ("1.csv", "2.csv", "x.csv"):
        write(tmp_path / name, TABLE.format(name))
    found = [text for text, _ in pairs(read(tmp_path / "[12].csv"))]
    assert found == ["1.csv", "1.csvです", "2.csv", "2.csvです"]
    settings = load_settings(
        None, [f"data.path=['{tmp_path}/x.csv', '{tmp_path}/1*', '{tmp_path}/1.csv']"]
    ).data
    assert [text for text, _ in pairs(read_files(settings))] == ["x.csv", "x.csvです", "1.csv", "1.csvです"]
    assert read_corpus(settings).source == f"{tmp_path}/x.csv, {tmp_path}/1*, {tmp_path}/1.csv"
    with pytest.raises(JabertError, match=r"no file or folder .*/none\*\.csv, and none that matches it"):
        read(tmp_path / "none*.csv")


@pytest.mark.parametrize("ending", ["csv", "txt", "jsonl"])
def test_a_folder_of_a_file_for_each_split(tmp_path, ending):
    for name in ("train", "dev", "test"):
        data = TABLE.format(name)
        if ending == "jsonl":
            data = json.dumps({"text": name, "label": "a"}) + "\n"
        write(tmp_path / f"{name}.{ending}", data)
    corpus = read_corpus(DataSettings(path=str(tmp_path)))
    assert corpus.split_by == "given"
    sides = dict(zip(corpus.table["text"], corpus.table["split"], strict=True))
    assert {sides["train"], sides["dev"], sides["test"]} == {"train", "validation", "test"}
    assert sides["dev"] == "validation"
    assert any("dev.csv validation" in note or f"dev.{ending} validation" in note for note in corpus.notes)
    assert (
        read_corpus(DataSettings(path=str(tmp_path), split="sentence", test_share=0.5)).split_by == "sentence"
    )


def test_a_column_of_splits_goes_before_the_name_of_its_file(tmp_path):
    write(tmp_path / "train.csv", "text,label,split\na,x,val\nb,x,train\n")
    write(tmp_path / "test.csv", "text,label\nc,x\n")
    table = read(tmp_path).table
    sides = dict(zip(table["text"], table["split"], strict=True))
    assert sides == {"a": "validation", "b": "train", "c": "test"}


def test_names_of_which_only_some_say_a_split(tmp_path):
    for name in ("train.csv", "test.csv", "more.csv"):
        write(tmp_path / name, TABLE.format(name))
    rows = read(tmp_path)
    assert "split" not in rows.table
    assert any("none is taken from them (more.csv)" in note for note in rows.notes)


@pytest.mark.parametrize(
    ("name", "side"),
    [
        ("train.csv", "train"), ("TRAIN_ja.tsv", "train"), ("train-00000-of-00002.parquet", "train"),
        ("valid.json", "validation"), ("ja-dev.txt", "validation"), ("eval.csv", "validation"),
        ("test.csv.gz", "test"), ("train_test.csv", None), ("latest.csv", None), ("2026-01.csv", None),
    ],
)  # fmt: skip
def test_the_split_that_a_name_says(name, side):
    assert side_of(name) == side


def test_a_folder_of_classes_for_each_split(tmp_path):
    for number, side in enumerate(("train", "test")):
        for label in ("pos", "neg"):
            for n in range(3):
                write(tmp_path / side / label / f"{n}.txt", f"{label} {n + 3 * number}\n".encode("utf-16"))
    write(tmp_path / "train" / "README.txt", "about")
    corpus = read_corpus(DataSettings(path=str(tmp_path)))
    assert corpus.counts["test"] == 6
    assert set(corpus.table["label"]) == {"pos", "neg"}
    assert set(corpus.table["text"]) == {f"{label} {n}" for label in ("pos", "neg") for n in range(6)}
    assert any("12 as UTF-16" in note for note in corpus.notes)
    assert any("train/README.txt" in note for note in corpus.notes)


# Labels


def labelled(folder, cells, **more):
    rows = "".join(f"文{n}\t{label}\n" for n, label in enumerate(cells))
    return read(write(folder / "t.tsv", f"text\tlabel\n{rows}"), **more)


def test_whole_numbers_are_one_class_however_they_are_written(tmp_path):
    rows = labelled(tmp_path, ["1", "1.0", "2.0"])
    assert rows.table["label"].tolist() == ["1", "1", "2.0"]
    assert "'1' (1 rows) and '1.0' (1) are one class" in rows.notes[0]
    table = pa.table({"text": ["a", "b", "c"], "label": [1.0, None, 2.0]})
    pq.write_table(table, tmp_path / "t.parquet")
    assert read(tmp_path / "t.parquet").table["label"].fillna("-").tolist() == ["1", "-", "2"]
    words = pa.array([1, 2, 1]).dictionary_encode()
    pq.write_table(pa.table({"text": ["a", "b", "c"], "label": words}), tmp_path / "t.parquet")
    assert read(tmp_path / "t.parquet").table["label"].tolist() == ["1", "2", "1"]
    pq.write_table(pa.table({"text": ["a"], "label": [True]}), tmp_path / "t.parquet")
    assert read(tmp_path / "t.parquet").table["label"].tolist() == ["true"]


def test_spellings_are_told_and_joined_on_demand(tmp_path):
    spellings = ["Sports", "sports", "ｓｐｏｒｔｓ", "sports ", "other"]
    rows = labelled(tmp_path, spellings)
    assert rows.table["label"].tolist() == spellings
    assert "'sports ' (1 rows)" in rows.notes[0] and "data.normalize_labels = true" in rows.notes[0]
    rows = labelled(tmp_path, spellings, normalize_labels=True)
    assert rows.table["label"].tolist() == ["sports"] * 4 + ["other"]
    assert "label 'sports' stands for" in rows.notes[0]
    rows = labelled(tmp_path, spellings, normalize_labels=True, labels=("Sports", "other"))
    assert set(rows.table["label"]) == {"Sports", "other"}


def test_a_label_that_looks_like_a_missing_one_is_told(tmp_path):
    assert (
        "'NaN' (1 rows) is a class, though it looks like a missing one"
        in labelled(tmp_path, ["NaN", "a"]).notes[0]
    )


def test_a_label_that_is_no_name_is_refused_with_its_start(tmp_path):
    with pytest.raises(JabertError, match=r"line 3: the label has 1,000,000 char.*label_column") as raised:
        labelled(tmp_path, ["京都", "長" * 1_000_000])
    assert len(str(raised.value)) < 500


@pytest.mark.parametrize(
    "labels",
    [["a", "b", "a|b"], ["a", "b", "a, b"], ["a;b", "b;a"], ['["a", "b"]'], ["['a']"], ["a", "b", "a、b"]],
)
def test_cells_of_several_labels_are_refused_by_line(tmp_path, labels):
    with pytest.raises(JabertError, match=r"t\.tsv, line \d: .* are several labels .*data\.labels"):
        labelled(tmp_path, labels)
    assert labelled(tmp_path, labels, labels=tuple(labels)).table["label"].tolist() == labels


@pytest.mark.parametrize(
    "labels", [["京都/料理", "京都/観光", "大阪/料理"], ["R&D", "[広告]", "a|", "1,000"]]
)
def test_labels_with_signs_of_their_own_are_labels(tmp_path, labels):
    assert labelled(tmp_path, labels).table["label"].tolist() == labels


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


# How long it takes to find out


@given(pieces=st.lists(st.text("a\r\n", max_size=4)))
def test_what_can_end_a_line_is_the_same_however_the_text_is_cut(pieces):
    ends = re.findall("\r\n|\r|\n", "".join(pieces))
    first = next((end for end in ends if end != "\n"), None)
    alone = first == "\r"
    fed = {"\n", "\r\n"} & {*ends}
    assert line_ends(pieces) == ["\n"] * bool(fed or not alone) + ["\r"] * alone


@pytest.mark.parametrize("start", ['text,label\na,"', "text,label\na\n", "text\tlabel\na,b\n"])
def test_what_rules_a_reading_out_ends_it(start):
    read = Counter()

    def open_lines(newline):
        for number, line in enumerate(itertools.chain(start.splitlines(keepends=True), ["a\n"] * 1_000_000)):
            read[newline] = max(read[newline], number)
            yield line

    dialect = find_dialect(
        open_lines,
        "bomb.csv",
        newlines=["\n"],
        delimiters=[",", "\t"],
        quoting="auto",
        text_column="text",
    )
    assert not dialect.fits
    assert read["\n"] == (1_000_001 if '"' in start else 1), "a quote may be closed a long record later"
