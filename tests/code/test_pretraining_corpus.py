"""Raw text: what is a document, and sentences for what is no text."""

import bz2
import gzip
import tracemalloc
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import groupby
from threading import Thread

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jabert.cli import main
from jabert.dataset.raw_text import files_of, write_documents
from jabert.errors import JabertError
from jabert.pretraining import documents, examine

LINES = st.lists(st.text("あい漢A 　\t", max_size=6), max_size=30)


def read(*paths):
    return list(documents([str(path) for path in paths]))


@given(lines=LINES, ending=st.sampled_from(["\n", "\r\n"]), closed=st.booleans())
def test_documents_are_the_runs_of_lines_between_blank_ones(tmp_path_factory, lines, ending, closed):
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_bytes((ending.join(lines) + ending * closed).encode())
    sentences = [line.strip() for line in lines]
    expected = [list(run) for filled, run in groupby(sentences, key=bool) if filled]
    if expected:
        assert read(path) == expected
    else:
        with pytest.raises(JabertError, match=r"text\.txt is empty"):
            read(path)


def test_files_globs_folders_and_compression(tmp_path):
    (tmp_path / "a.txt").write_text("\ufeff一。\n二。\n\n三。\n", encoding="utf-8")
    (tmp_path / "b.txt.gz").write_bytes(gzip.compress("四。\n".encode()))
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "c.txt.bz2").write_bytes(bz2.compress("五。\n".encode()))
    (tmp_path / ".hidden").write_text("無い。", encoding="utf-8")

    assert read(tmp_path / "a.txt") == [["一。", "二。"], ["三。"]]
    assert read(tmp_path / "*.gz") == [["四。"]]
    assert read(tmp_path) == [["一。", "二。"], ["三。"], ["四。"], ["五。"]]
    assert read(f"file://{tmp_path}/a.txt") == read(tmp_path / "a.txt")
    assert len(files_of([str(tmp_path), str(tmp_path / "a.txt")])) == 3  # each once


def test_a_url_is_read_as_it_is(tmp_path):
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *words):
            pass

    (tmp_path / "a.txt.gz").write_bytes(gzip.compress("一。\n\n二。\n".encode()))
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=tmp_path)) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        there = f"http://127.0.0.1:{server.server_port}"
        assert read(f"{there}/a.txt.gz") == [["一。"], ["二。"]]
        with pytest.raises(JabertError, match=r"http://.*/none\.txt could not be read"):
            read(f"{there}/none.txt")
        server.shutdown()


def test_a_document_ends_with_its_file(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).write_text(f"{name}。\n", encoding="utf-8")
    assert read(tmp_path) == [["a。"], ["b。"]]


def test_the_facts_and_the_digest_follow_from_the_documents(tmp_path):
    (tmp_path / "a").write_text("一。\n\n二三。\n", encoding="utf-8")
    (tmp_path / "b").write_bytes("一。\r\n \r\n\r\n二三。".encode())
    (tmp_path / "c").write_text("一。\n二三。\n", encoding="utf-8")
    a, b, c = (examine([str(tmp_path / name)]) for name in "abc")
    assert (a.files, a.documents, a.sentences, a.characters) == (1, 2, 2, 5)
    assert a == b
    assert c.digest != a.digest


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", r"bad\.txt is empty"),
        (b"\n \n\r\n", r"bad\.txt is empty"),
        ("良い。\n".encode() + "悪い。\n".encode("euc_jp"), r"bad\.txt, line 2: this is not UTF-8"),
        ("良い。\n\n\0\n".encode(), r"bad\.txt, line 3: there is a NUL byte"),
        (b"a\n" + b"x" * 1_000_001, r"bad\.txt, line 2: longer than 1,000,000 bytes"),
    ],
    ids=["empty", "only blank lines", "EUC-JP", "NUL", "one endless line"],
)
def test_what_is_no_text_is_refused_with_file_and_line(tmp_path, content, sentence):
    (tmp_path / "a-good.txt").write_text("良い。\n", encoding="utf-8")
    (tmp_path / "bad.txt").write_bytes(content)
    with pytest.raises(JabertError, match=sentence) as caught:
        examine([str(tmp_path)])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("none.txt", "matches no file"),
        ("*.none", "matches no file"),
        ("cut.txt.gz", "cannot be unpacked"),
        ("file:///nowhere/text.txt", "matches no file"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path, path, sentence):
    (tmp_path / "cut.txt.gz").write_bytes(gzip.compress("長い文。".encode() * 99)[:-9])
    with pytest.raises(JabertError, match=sentence) as caught:
        examine([path])  # the test runs in tmp_path
    assert path in str(caught.value)


def test_without_paths_the_setting_is_named():
    with pytest.raises(JabertError, match=r"corpus\.paths is not set"):
        examine([])


def test_memory_does_not_grow_with_the_corpus(tmp_path):
    peaks = []
    for times in (1, 10):
        path = tmp_path / f"{times}.txt"
        path.write_text("これはとても普通の文です。\n" * (20_000 * times), encoding="utf-8")
        tracemalloc.start()
        assert examine([str(path)]).sentences == 20_000 * times
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.1 * peaks[0] + 100_000


@given(
    rows=st.lists(st.tuples(st.text("あい\n\r\u2028　", min_size=1).filter(str.strip), st.sampled_from("ab")))
)
def test_written_texts_are_read_as_the_documents_that_their_groups_are(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("text") / "text.txt"
    table = pd.DataFrame(rows, columns=["text", "group"])

    assert write_documents(table, path) == table["group"].nunique()

    expected: dict[str, list[str]] = {}
    for text, group in rows:
        expected.setdefault(group, []).extend(line.strip() for line in text.splitlines() if line.strip())
    assert (read(path) if rows else []) == list(expected.values())


def test_the_training_rows_alone_are_written_for_pretraining(toy_table, tmp_path, capsys):
    out, settings = tmp_path / "train.txt", ["--set", f"data.path={toy_table}"]
    with pytest.raises(SystemExit, match="0"):
        main(["data", "texts", str(out), *settings])

    table = pd.read_csv(toy_table)
    assert "texts" in capsys.readouterr().out
    written = [sentence for document in read(out) for sentence in document]
    assert 0 < len(written) < len(table) and set(written) < set(table["text"])
    for arguments, sentence in [([], "is there already"), (["--split", "dev"], "no row has the split 'dev'")]:
        with pytest.raises(SystemExit, match="1"):
            main(["data", "texts", str(out), *settings, *arguments])
        assert sentence in capsys.readouterr().err
