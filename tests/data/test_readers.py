"""Tables and the article's folders: what is good input, and each refusal by its place."""

import csv
import gzip
import hashlib
import io
import json
import random
import re
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import permutations
from threading import Thread

import fsspec
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jabert.config import DataSettings
from jabert.dataset import content_digest, read_corpus, read_rows, table_digest
from jabert.dataset.chunks import read_chunks
from jabert.dataset.context import with_neighbours
from jabert.dataset.writing import write_table
from jabert.errors import JabertError
from jabert.files import digest_of_file

ODD_TEXTS = [
    "絵文字😀👨‍👩‍👧",
    "ＡＢＣ１２３ｱｲｳ ﾊﾟ",
    "\x01\x07\x1b[31m\x7f",
    "改行\nと\r\nタブ\t",
    'かぎ"かっこ", コンマ',
    "\u2028\u2029\x85\x0b\x0c",
    " 前後の空白\u3000",
    "NA",
    "null",
    "nan",
    "-1.50",
    "が" * 100_000,
]
TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))


def csv_bytes(rows, delimiter=",") -> bytes:
    stream = io.StringIO(newline="")
    csv.writer(stream, delimiter=delimiter).writerows(rows)
    return stream.getvalue().encode()


def parquet_bytes(**columns) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink)
    return sink.getvalue()


def jsonl_bytes(*records) -> bytes:
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records).encode()


@pytest.fixture
def read(tmp_path):
    """Write bytes under a name, read them with settings."""

    def write_and_read(name: str, data: bytes, **settings) -> pd.DataFrame:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_bytes(data)
        return read_rows(DataSettings(path=str(path), **settings))

    return write_and_read


def odd_table(name: str) -> bytes:
    labels = [str(n % 2) for n in range(len(ODD_TEXTS))]
    pairs = list(zip(ODD_TEXTS, labels, strict=True))
    match name.removesuffix(".gz").rpartition(".")[2]:
        case "csv":
            data = csv_bytes([("text", "label"), *pairs])
        case "tsv":
            data = csv_bytes([("text", "label"), *pairs], delimiter="\t")
        case "jsonl":
            data = jsonl_bytes(*({"text": text, "label": label} for text, label in pairs))
        case _:
            data = parquet_bytes(text=ODD_TEXTS, label=labels)
    return gzip.compress(data) if name.endswith(".gz") else data


@pytest.mark.parametrize("name", ["t.csv", "t.TSV", "t.jsonl", "t.parquet", "t.csv.gz", "t.jsonl.gz"])
def test_odd_texts_are_good_input_and_stay_as_they_are(read, name):
    rows = read(name, odd_table(name.lower()))
    assert rows["text"].tolist() == ODD_TEXTS
    assert rows["label"].tolist() == [str(n % 2) for n in range(len(ODD_TEXTS))]
    assert list(rows.columns) == ["text", "label", "file", "line"]
    assert rows["file"].str.endswith(name).all()


@given(st.lists(st.tuples(TEXTS, TEXTS.filter(bool), TEXTS.filter(bool)), min_size=1))
@pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl", "parquet"])
def test_what_is_written_reads_back(tmp_path_factory, ending, rows):
    table = pd.DataFrame(rows, columns=["text", "label", "group"], dtype="str")
    path = tmp_path_factory.mktemp("written") / f"t.{ending}"
    write_table(table, path)
    back = read_rows(DataSettings(path=str(path)))
    pd.testing.assert_frame_equal(back[["text", "label", "group"]], table)
    path.unlink()


def test_endings_in_capitals_are_endings(tmp_path):
    table = pd.DataFrame({"text": ["文"], "label": ["甲"]}, dtype="str")
    for ending in ("CSV", "JSONL", "Parquet"):
        write_table(table, tmp_path / f"t.{ending}")
        assert read_rows(DataSettings(path=str(tmp_path / f"t.{ending}")))["label"].tolist() == ["甲"]


def test_named_columns_and_a_bom(read):
    data = b"\xef\xbb\xbf" + csv_bytes([("本文", "x", "分類", "記事"), ("文", "-", "甲", "k1")])
    rows = read("t.csv", data, text_column="本文", label_column="分類", group_column="記事")
    assert rows[["text", "label", "group"]].to_numpy().tolist() == [["文", "甲", "k1"]]


def test_a_column_named_group_is_the_group(read):
    assert read("t.csv", b"group,label,text\ng,a,b\n")["group"].tolist() == ["g"]


def test_a_table_at_a_url_of_fsspec():
    with fsspec.open("memory://data/t.csv", "wb") as file:
        file.write(b"text,label\na,b\n")
    assert read_rows(DataSettings(path="memory://data/t.csv"))["text"].tolist() == ["a"]


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz", "t.jsonl", "t.parquet", "t.parquet.gz"])
def test_a_long_table_at_a_web_server_without_ranges(tmp_path, name):
    """It is longer than a block of fsspec, which asks for ranges of bytes."""
    texts = [f"{number}の" + random.Random(number).randbytes(1000).hex() for number in range(8000)]
    labels = [str(number % 2) for number in range(8000)]
    table = pd.DataFrame({"text": texts, "label": labels}, dtype="str")
    write_table(table, tmp_path / name.removesuffix(".gz"))
    if name.endswith(".gz"):
        (tmp_path / name).write_bytes(gzip.compress((tmp_path / name[:-3]).read_bytes(), 1))
    assert (tmp_path / name).stat().st_size > 6_000_000
    digest = digest_of_file(tmp_path / name)

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=tmp_path)) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/{name}"
        for sha256 in (None, digest):
            assert read_rows(DataSettings(path=url, sha256=sha256))["text"].tolist() == texts
        with pytest.raises(JabertError, match=rf"has the SHA-256 {digest}, but data\.sha256 is beef"):
            read_rows(DataSettings(path=url, sha256="beef"))
        server.shutdown()


def test_a_key_of_jsonl_may_come_late(read):
    """Later than the first chunk: the rows before have none of it."""
    early, late = {"text": "文", "label": "a"}, {"text": "字", "label": "b", "group": "g"}
    rows = read("t.jsonl", jsonl_bytes(*[early] * 5000, late))
    assert rows["group"].isna().sum() == 5000
    assert rows.iloc[-1][["text", "label", "group", "line"]].tolist() == ["字", "b", "g", 5001]


def test_a_password_in_a_url_is_not_kept_with_the_rows():
    url = "memory://me:secret@data/t.csv"
    with fsspec.open(url, "wb") as file:
        file.write(b"text,label\n" + b"".join(b"%d,%d\n" % (i, i % 2) for i in range(40)))
    corpus = read_corpus(DataSettings(path=url, test_rows=10))
    assert corpus.source == "memory://data/t.csv"
    assert set(corpus.table["file"]) == {corpus.source}


def test_a_password_in_a_url_is_not_in_what_is_said_of_it():
    sentence = r"^http://127.0.0.1:1/t.csv could not be read \(Connect call failed"
    with pytest.raises(JabertError, match=sentence) as error:
        read_rows(DataSettings(path="http://me:secret@127.0.0.1:1/t.csv"))
    assert "secret" not in str(error.value)


def test_lines_are_those_where_a_record_starts(read):
    data = 'text,label\n"一\n二\n三",a\n\n四,b\r\n"五\r\n",c\n六,d'.encode()
    assert read("t.csv", data)["line"].tolist() == [2, 6, 7, 9]
    assert read("t.jsonl", b'\n{"text":"a","label":"b"}\n\n{"text":"c","label":"d"}')["line"].tolist() == [
        2,
        4,
    ]
    assert read("t.parquet", parquet_bytes(text=["a", "b"], label=["c", "d"]))["line"].tolist() == [1, 2]


def test_an_empty_cell_is_a_blank_text_and_a_missing_label_or_group(read):
    rows = read("t.csv", b"text,label,group\n,a,g\nb,,\n")
    assert rows["text"].tolist() == ["", "b"]
    assert rows["label"].isna().tolist() == [False, True]
    assert rows["group"].isna().tolist() == [False, True]


@pytest.mark.parametrize("name", ["t.jsonl", "t.parquet"])
def test_nulls_stay_for_validation_to_refuse(read, name):
    if name == "t.jsonl":
        data = jsonl_bytes({"text": None, "label": "a"}, {"text": "b", "label": None}, {"text": "c"})
    else:
        data = parquet_bytes(text=[None, "b", "c"], label=["a", None, None])
    rows = read(name, data)
    assert rows["text"].isna().tolist() == [True, False, False]
    assert rows["label"].isna().tolist() == [False, True, True]
    assert rows.dtypes[["text", "label"]].astype(str).tolist() == ["str", "str"]
    path = rows["file"].iloc[0]
    kept = read_corpus(DataSettings(path=path)).table
    assert (kept["text"].isna().sum(), kept["label"].isna().sum()) == (1, 2)


def test_whole_numbers_are_labels(read):
    assert read("t.jsonl", jsonl_bytes({"text": "a", "label": 3}))["label"].tolist() == ["3"]
    assert read("t.parquet", parquet_bytes(text=["a"], label=[3]))["label"].tolist() == ["3"]


def test_parquet_dictionaries_are_text(read):
    words = pa.array(["a", "b", "a"]).dictionary_encode()
    assert read("t.parquet", parquet_bytes(text=words, label=words))["text"].tolist() == ["a", "b", "a"]


JSON_ROW = b'{"text":"a","label":"b"}\n'
BAD_TABLES = {
    "empty file": ("t.csv", b"", r"t\.csv is empty"),
    "blank lines only": ("t.csv", b"\n\n", r"t\.csv is empty"),
    "header only": ("t.csv", b"text,label\n", r"t\.csv has no rows"),
    "no JSON rows": ("t.jsonl", b"\n", r"t\.jsonl has no rows"),
    "no Parquet rows": ("t.parquet", parquet_bytes(text=pa.array([], "string"), label=[]), r"has no rows"),
    "missing header": (
        "t.csv",
        b"a,b\nc,d\n",
        r"no column 'text' but: 'a', 'b'; data\.text_column names it; if line 1 is a row, set data\.header",
    ),
    "near header": ("t.csv", b"texts,label\nc,d\n", r"no column 'text' but: .*; the nearest is 'texts'"),
    "missing JSON key": ("t.jsonl", b'{"text":"a"}\n', r"t\.jsonl has no column 'label' but: 'text'"),
    "missing Parquet column": ("t.parquet", parquet_bytes(text=["a"]), r"has no column 'label' but: 'text'"),
    "column twice": ("t.csv", b"text,label,text\na,b,c\n", r"more than one column 'text'"),
    "short row": ("t.csv", b"text,label\na,b\nc\n", r"t\.csv, line 3: 1 cells under a header of 2"),
    "long row": ("t.tsv", b"text\tlabel\na\tb\tc\n", r"t\.tsv, line 2: 3 cells under a header of 2"),
    "open quote": ("t.csv", b'text,label\na,b\n"c,d,e\ne,f\n', r"t\.csv, line 3: the quotes of a cell"),
    "UTF-16 without a mark": (
        "t.csv",
        "text,label\n文,a\n".encode("utf-16-le"),
        r"t\.csv, line 1: there is a NUL byte .*data\.encoding = 'utf-16-le'",
    ),
    "mixed": ("t.csv", b"text,label\n\xe6\x96\x87,a\n\xa4\xa2,b\n", r"t\.csv, line 3: the file is not UTF-8"),
    "mixed JSON": (
        "t.jsonl",
        b'{"text":"\xe6\x96\x87","label":"a"}\n{"text":"\xa4\xa2","label":"b"}',
        r"t\.jsonl, line 2: the file is",
    ),
    "NUL": ("t.csv", b"text,label\na,b\nc\0,d\n", r"t\.csv, line 3: there is a NUL byte"),
    "NUL in JSON": ("t.jsonl", b'{"text":"\\u0000","label":"b"}', r"line 1, column 'text': there is a NUL"),
    "NUL in Parquet": (
        "t.parquet",
        parquet_bytes(text=["a", "\0"], label=["b", "b"]),
        r"line 2, column 'text': th",
    ),
    "half a pair": (
        "t.jsonl",
        b'{"text":"\\ud83d","label":"b"}',
        r"line 1, column 'text': half of a surrogate",
    ),
    "not JSON": ("t.jsonl", JSON_ROW + b"{'text'}", r"t\.jsonl, line 2: not JSON"),
    "deep JSON": ("t.jsonl", b"[" * 100_000, r"t\.jsonl, line 1: not JSON"),
    "more than the array": (
        "t.json",
        b'[{"text":"a","label":"b"}]\n[]',
        r"t\.json, line 2: not JSON \(there is more behind the array",
    ),
    "nested JSON": (
        "t.jsonl",
        b'{"text":"a","label":"b","more":' + b"[" * 100 + b"]" * 100 + b"}",
        r"t\.jsonl, line 1: the JSON value is nested more than 100 levels deep",
    ),
    "no object": ("t.jsonl", JSON_ROW + b'["a", "b"]', r"t\.jsonl, line 2: a JSON object is expected"),
    "number as text": (
        "t.jsonl",
        JSON_ROW + b'{"text":5,"label":"b"}',
        r"line 2, column 'text': 5 is not text",
    ),
    "number as Parquet text": (
        "t.parquet",
        parquet_bytes(text=[5], label=["b"]),
        r"'text' holds int64, not text",
    ),
    "broken number as label": (
        "t.jsonl",
        b'{"text":"a","label":1.5}',
        r"line 1, column 'label': 1\.5 is not",
    ),
    "float as Parquet label": (
        "t.parquet",
        parquet_bytes(text=["a"], label=[1.5]),
        r"line 1, .*: 1\.5 is not",
    ),
    "labels in JSON": (
        "t.jsonl",
        b'{"text":"a","label":["b"]}',
        r"line 1, column 'label': \['b'\] are several",
    ),
    "labels in Parquet": (
        "t.parquet",
        parquet_bytes(text=["a"], label=[["b"]]),
        r"\['b'\] are several labels",
    ),
    "not Parquet": ("t.parquet", b"text,label\n", r"t\.parquet cannot be read as Parquet"),
    "not gzip": ("t.csv.gz", b"text,label\n", r"t\.csv\.gz cannot be unpacked"),
    "half a gzip": ("t.csv.gz", gzip.compress(b"text,label\na,b\n")[:-9], r"t\.csv\.gz cannot be unpacked"),
    "no workbook": ("t.xlsx", b"text", r"t\.xlsx cannot be read as a workbook"),
    "unknown ending": ("t.dat", b"text", r"t\.dat is neither .*\.parquet.*; data\.format can say"),
}


@pytest.mark.parametrize("case", BAD_TABLES)
def test_a_bad_table_is_refused_by_its_place(read, case):
    name, data, message = BAD_TABLES[case]
    with pytest.raises(JabertError, match=message) as error:
        read(name, data)
    assert "\n" not in str(error.value)


def test_bytes_that_are_not_utf_8_in_parquet(read):
    broken = pa.Array.from_buffers(
        pa.string(), 1, [None, pa.py_buffer(b"\0\0\0\0\2\0\0\0"), pa.py_buffer(b"\xa4\xa2")]
    )
    with pytest.raises(JabertError, match=r"column 'text' holds bytes that are not UTF-8"):
        read("t.parquet", parquet_bytes(text=broken, label=["a"]))


def test_ten_megabytes_of_white_space_are_no_json(read):
    with pytest.raises(JabertError, match=r"t\.json, .*10,000,000 bytes of white space and nothing"):
        read("t.json", b"[" + b" " * 12_000_000 + JSON_ROW + b"]")


def test_a_delimiter_that_is_set_is_taken_as_it_is(read):
    with pytest.raises(JabertError, match=r"has no column 'text' but: 'text;label'; data.*; if line 1"):
        read("t.csv", "text;label\n一つ, 二つ;a\n".encode(), delimiter=",")
    assert read("t.csv", "text;label\n一つ, 二つ;a\n".encode())["text"].tolist() == ["一つ, 二つ"]


@given(st.lists(st.tuples(TEXTS, TEXTS.filter(bool)), min_size=1), st.integers(1, 5))
@pytest.mark.parametrize("ending", ["csv", "tsv.gz", "jsonl", "parquet"])
def test_training_reads_the_rows_that_scoring_reads(tmp_path_factory, ending, rows, chunk_rows):
    path = tmp_path_factory.mktemp("both") / f"t.{ending}"
    write_table(pd.DataFrame(rows, columns=["text", "label"], dtype="str"), path)
    chunks = list(read_chunks(str(path), chunk_rows, lambda names: names))
    trained = read_rows(DataSettings(path=str(path)))
    assert [text for chunk in chunks for text in chunk.cells("text")] == trained["text"].tolist()
    assert [line for chunk in chunks for line in chunk.lines] == trained["line"].tolist()
    assert chunks[-1].share == 1
    path.unlink()


def test_a_missing_group_or_split_column_is_named(read):
    data = b"text,label,grp\na,b,c\n"
    with pytest.raises(JabertError, match=r"has no column 'group'.*the nearest is 'grp'"):
        read("t.csv", data, group_column="group")
    with pytest.raises(JabertError, match=r"has no column 'split'"):
        read("t.csv", data, split="given")


def test_the_digest_of_a_table_is_checked(read):
    with pytest.raises(JabertError, match=r"t\.csv has the SHA-256 \w{64}, but data\.sha256 is beef"):
        read("t.csv", b"text,label\na,b\n", sha256="beef")


def test_any_ending_is_a_table_when_a_table_is_asked_for(read):
    assert read("t.dat", b"text,label\na,b\n", format="table")["label"].tolist() == ["b"]


@pytest.mark.parametrize("wanted", ["auto", "table", "knbc", "seed"])
@pytest.mark.parametrize("name", ["nowhere", "nowhere.csv", "nowhere.zip"])
def test_what_is_not_there_is_named(tmp_path, name, wanted):
    with pytest.raises(JabertError, match=name):
        read_rows(DataSettings(path=str(tmp_path / name), format=wanted))


def test_a_folder_that_is_nothing_known_is_named(tmp_path):
    with pytest.raises(JabertError, match=rf"{tmp_path} is neither a folder with trains/"):
        read_rows(DataSettings(path=str(tmp_path)))
    with pytest.raises(JabertError, match=rf"there is no table in the folder {tmp_path}: \.csv, \.tsv"):
        read_rows(DataSettings(path=str(tmp_path), format="table"))
    with pytest.raises(JabertError, match=rf"{tmp_path} has no folder with \.txt files for each class"):
        read_rows(DataSettings(path=str(tmp_path), format="classes"))


def test_a_folder_of_tables_is_read_file_after_file_and_may_grow(tmp_path):
    (tmp_path / "2026-02.jsonl").write_bytes(jsonl_bytes({"text": "駅", "label": "b"}))
    (tmp_path / "2026-01.csv").write_bytes(csv_bytes([["text", "label"], ["空港", "a"]]))
    for ignored in ("_SUCCESS.csv", ".2026-03-half.csv", "notes.txt"):
        (tmp_path / ignored).write_text("not a table")
    rows = read_rows(DataSettings(path=f"{tmp_path}/"))

    assert rows[["text", "label", "line"]].to_numpy().tolist() == [["空港", "a", 2], ["駅", "b", 1]]
    assert [file.rpartition("/")[2] for file in rows["file"]] == ["2026-01.csv", "2026-02.jsonl"]
    (tmp_path / "2026-03.tsv").write_bytes(csv_bytes([["text", "label"], ["港", "a"]], "\t"))
    assert len(read_rows(DataSettings(path=str(tmp_path)))) == 3
    with pytest.raises(JabertError, match=r"data\.sha256 is the digest of a file"):
        read_rows(DataSettings(path=str(tmp_path), sha256="0" * 64))


def test_the_content_digest_is_of_names_and_contents_and_not_of_the_place(tmp_path):
    def digest(folder, **files):
        for name, data in files.items():
            path = tmp_path / folder / f"{name}.csv"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(data)
        return content_digest(DataSettings(path=str(tmp_path / folder)))

    first = digest("a", x=b"1", y=b"2")
    (tmp_path / "a" / "notes.txt").write_text("not a table")
    (tmp_path / "a" / "_SUCCESS.csv").write_text("not read")
    assert digest("a") == digest("b", y=b"2", x=b"1") == first, "what is not read does not count"
    others = [
        digest("c", x=b"1", z=b"2"),
        digest("d", x=b"12", y=b""),
        digest("b", w=b""),
        digest("a", x=b"3"),
    ]
    assert len({first, *others}) == 5
    assert content_digest(DataSettings(path=f"{tmp_path}/b/")) == digest("b")


def test_the_content_digest_of_a_file_parses_nothing_and_heeds_no_other_setting(tmp_path):
    path = tmp_path / "t.csv.gz"
    path.write_bytes(b"neither gzip nor a table")
    lines = f"{digest_of_file(path)}  t.csv.gz\n"
    expected = hashlib.sha256(lines.encode()).hexdigest()
    assert content_digest(DataSettings(path=str(path))) == expected
    assert content_digest(DataSettings(path=str(path), text_column="x", seed=3)) == expected
    moved = path.replace(tmp_path / "u.csv.gz")
    assert content_digest(DataSettings(path=str(moved))) != expected


def test_the_content_digest_of_a_url_is_that_of_the_file(tmp_path):
    (tmp_path / "t.csv").write_bytes(b"text,label\na,b\n")
    with fsspec.open("memory://digests/t.csv", "wb") as file:
        file.write((tmp_path / "t.csv").read_bytes())
    expected = content_digest(DataSettings(path=str(tmp_path / "t.csv")))
    assert content_digest(DataSettings(path="memory://digests/t.csv")) == expected
    known = digest_of_file(tmp_path / "t.csv").upper()
    unreachable = "http://127.0.0.1:1/t.csv"
    assert content_digest(DataSettings(path=unreachable, sha256=known)) == expected, "it is not fetched"
    with pytest.raises(JabertError, match=r"t\.csv could not be read"):
        content_digest(DataSettings(path=unreachable))


def test_the_content_digest_is_of_data_that_is_there(tmp_path):
    assert re.fullmatch("[0-9a-f]{64}", content_digest(DataSettings(path="sample")))
    for path in (None, str(tmp_path / "nowhere.csv"), str(tmp_path)):
        with pytest.raises(JabertError):
            content_digest(DataSettings(path=path))
    (tmp_path / "t.csv").touch()
    with pytest.raises(JabertError, match=r"data\.sha256 is the digest of a file"):
        content_digest(DataSettings(path=str(tmp_path), sha256="0"))


def test_the_path_must_be_set():
    with pytest.raises(JabertError, match=r"the setting data\.path is missing"):
        read_rows(DataSettings())


@pytest.fixture
def seed_folder(tmp_path):
    def write(trains, tests, headers=("feature", "label")):
        for folder, pairs in (("trains", trains), ("tests", tests)):
            (tmp_path / "seed" / folder).mkdir(parents=True)
            for place, name in enumerate(("features", "labels")):
                cells = [(headers[place],), *((pair[place],) for pair in pairs)]
                (tmp_path / "seed" / folder / f"{name}.csv").write_bytes(csv_bytes(cells))
        return tmp_path / "seed"

    return write


TRAINS = [(f"文,{n}\nです", str(n % 2)) for n in range(100)]
TESTS = [("試験", "0"), ("検査", "1")]


def test_the_articles_folders(seed_folder):
    path = seed_folder(TRAINS, TESTS)
    rows = read_rows(DataSettings(path=str(path)))
    assert list(rows[["text", "label"]].itertuples(index=False, name=None)) == TRAINS + TESTS
    assert rows["split"].tolist() == ["train"] * 100 + ["test"] * 2
    assert rows.iloc[1][["file", "line"]].tolist() == [str(path / "trains/features.csv"), 4]
    corpus = read_corpus(DataSettings(path=str(path)))
    assert corpus.split_by == "given"
    assert corpus.counts["test"] == 2
    assert 0 < corpus.counts["validation"] < 30


def test_the_articles_folders_can_be_pooled(seed_folder):
    corpus = read_corpus(DataSettings(path=str(seed_folder(TRAINS, TESTS)), split="sentence", test_rows=30))
    assert (corpus.split_by, corpus.counts["test"]) == ("sentence", 30)


def test_features_and_labels_of_different_length_are_refused(seed_folder):
    path = seed_folder(TRAINS, TESTS)
    labels = path / "tests" / "labels.csv"
    labels.write_text("label\n0\n1\n0\n")
    with pytest.raises(JabertError, match=r"tests/features\.csv has 2 rows, but .*tests/labels\.csv has 3"):
        read_rows(DataSettings(path=str(path)))


def test_an_empty_line_among_the_features_is_a_blank_text(seed_folder):
    path = seed_folder(TRAINS, TESTS)
    (path / "tests" / "features.csv").write_text("feature\n\n検査\n\n")
    rows = read_rows(DataSettings(path=str(path))).tail(2)
    assert rows["text"].tolist() == ["", "検査"]
    assert rows["line"].tolist() == [2, 3]


@pytest.mark.parametrize(
    ("headers", "named"), [(("text", "label"), "features"), (("feature", "y"), "labels")]
)
def test_a_missing_header_of_the_articles_files_is_named(seed_folder, headers, named):
    with pytest.raises(JabertError, match=rf"trains/{named}\.csv has no column"):
        read_rows(DataSettings(path=str(seed_folder(TRAINS, TESTS, headers))))


def test_the_content_digest_of_the_articles_folders_is_of_four_files(seed_folder):
    path = seed_folder(TRAINS, TESTS)
    settings = DataSettings(path=str(path))
    first = content_digest(settings)
    (path / "trains" / "notes.csv").touch()
    assert content_digest(settings) == first
    (path / "tests" / "labels.csv").write_text("label\n1\n1\n")
    assert content_digest(settings) != first
    (path / "tests" / "labels.csv").unlink()
    with pytest.raises(JabertError, match=r"tests/labels\.csv cannot be read"):
        content_digest(settings)


@pytest.mark.parametrize("missing", ["tests", "trains/labels.csv"])
def test_a_missing_part_of_the_articles_folders_is_named(seed_folder, missing):
    path = seed_folder(TRAINS, TESTS)
    (path / missing).rename(path / "elsewhere")
    with pytest.raises(JabertError, match=rf"seed/{missing}"):
        read_rows(DataSettings(path=str(path)))


def test_a_digest_is_of_a_file_not_of_the_articles_folders(seed_folder):
    with pytest.raises(JabertError, match=r"data\.sha256 is the digest of a file, but .*seed is a folder"):
        read_rows(DataSettings(path=str(seed_folder(TRAINS, TESTS)), sha256="0"))


ROWS = [
    ("text", "label", "n"),
    ("同じ", "a", "1"), ("違う", "a", "2"), ("同じ", "a", "3"), ("違う", "b", "4"), ("違う", "a", "5"),
    ("一つ", "b", "6"), ("", "a", "7"), ("", "b", "8"), ("\u3000", "a", "9"), ("\u3000", "a", "10"),
    ("無し", "", "11"), ("無し", "a", "12"), ("無し", "", "13"),
]  # fmt: skip


def read_clean(tmp_path, **settings):
    path = tmp_path / "t.csv"
    path.write_bytes(csv_bytes(ROWS))
    return read_corpus(DataSettings(path=str(path), **settings))


def test_repeated_and_contradictory_texts_are_dropped_and_counted(tmp_path):
    corpus = read_clean(tmp_path)
    # Line 2 is the first 「同じ」; blank texts and null labels must reach validation.
    assert sorted(corpus.table["line"]) == [2, 7, 8, 9, 10, 11, 12, 13, 14]
    assert list(corpus.table.columns) == ["text", "label", "split", "file", "line"]
    assert corpus.table.index.tolist() == list(range(9))
    expected = {
        "rows_read": 13,
        "tag_only": 0,
        "duplicates": 1,
        "conflicting_texts": 1,
        "conflicting_rows": 3,
    }
    assert expected.items() <= corpus.counts.items()
    assert (
        corpus.counts["rows"] == 9 == sum(corpus.counts[split] for split in ("train", "validation", "test"))
    )
    assert corpus.conflicts[["text", "label", "line"]].to_numpy().tolist() == [
        ["違う", "a", 3], ["違う", "b", 5], ["違う", "a", 6],
    ]  # fmt: skip


def test_duplicates_can_be_kept_and_are_still_counted(tmp_path):
    corpus = read_clean(tmp_path, drop_duplicates=False)
    assert len(corpus.table) == 13
    assert (corpus.counts["duplicates"], corpus.counts["conflicting_rows"]) == (1, 3)
    assert len(corpus.conflicts) == 3


def test_data_of_contradictions_only_is_refused(tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes(b"text,label\nx,a\nx,b\n")
    with pytest.raises(JabertError, match=r"t\.csv: every text has two labels"):
        read_corpus(DataSettings(path=str(path)))


def test_the_digest_of_a_table_ignores_order_and_place():
    table = pd.DataFrame({"text": ["あ", "い", "い"], "label": ["x", "y", "y"], "split": ["train"] * 3})
    digests = {
        table_digest(table.iloc[list(order)].assign(line=order, file="f")) for order in permutations(range(3))
    }
    assert len(digests) == 1


def test_the_digest_of_a_table_sees_every_difference():
    def digest(text="あ", label="x", group="g", split="train", times=1):
        row = {"text": text, "label": label, "group": group, "split": split}
        return table_digest(pd.DataFrame([row] * times, dtype="str"))

    changed = [
        digest(), digest(text="い"), digest(text=""), digest(text=None), digest(text="-"), digest(label="y"),
        digest(label=None), digest(group="h"), digest(group=None), digest(split="test"), digest(times=2),
        digest(text="あx", label=""),
    ]  # fmt: skip
    assert len(set(changed)) == len(changed)
    assert digest(group=None) == table_digest(
        pd.DataFrame({"text": ["あ"], "label": ["x"], "split": ["train"]})
    )


ORDERED = [{"text": f"{place}", "label": "a", "group": "g", "n": place} for place in (10, 9, 100)]


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_whole_numbers_are_the_order_of_a_group_in_each_format(tmp_path, ending):
    write_table(pd.DataFrame(ORDERED), tmp_path / f"t.{ending}")
    rows = read_rows(DataSettings(path=str(tmp_path / f"t.{ending}"), order_column="n"))
    assert rows["order"].tolist() == ["10", "9", "100"]
    assert with_neighbours(rows, 1)["before"].tolist() == [["9"], [], ["10"]]


def test_an_order_that_is_no_text_is_refused(tmp_path):
    table = pd.DataFrame(ORDERED)
    write_table(table.assign(n=table["n"] + 0.5), tmp_path / "t.parquet")
    with pytest.raises(JabertError, match=r"t\.parquet, line 1, column 'n': 10\.5 is not text"):
        read_rows(DataSettings(path=str(tmp_path / "t.parquet"), order_column="n"))
