"""The KNB corpus in every form it comes in, and what is refused."""

import hashlib
import io
import tarfile
import zipfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pandas as pd
import pytest

from jabert.config import DataSettings
from jabert.dataset import content_digest, import_knbc, read_corpus, read_rows, table_digest
from jabert.errors import JabertError
from jabert.files import digest_of_file

TOPICS = {"Gourmet": "グルメ", "Keitai": "携帯電話", "Kyoto": "京都", "Sports": "スポーツ"}
TAGS = {"Gourmet": "［グルメ］", "Keitai": "［携帯電話］", "Kyoto": "［京都観光］", "Sports": "［スポーツ］"}
ARTICLES = {"グルメ": 57, "スポーツ": 22, "京都": 91, "携帯電話": 79}
SENTENCES = {"グルメ": 888, "スポーツ": 522, "京都": 1498, "携帯電話": 1278}


def topic_text(topic: str) -> str:
    """Three articles: a tag before a sentence, a tag alone, a tag before a full-width blank."""
    openings = [f"{TAGS[topic]}{topic}の話", TAGS[topic], f"{TAGS[topic]}\u3000〜{topic}"]
    lines = []
    for number, opening in enumerate(openings):
        for place, text in ((1, opening), (2, f"「{topic}」{number}の本文。"), (3, "")):
            lines.append(f"KN{number}_{topic}_{number}-1-{place}-01\t{text}\t[著者]\t当為\t\t\n")
    return "".join(lines)


def files(encoding: str = "euc_jp") -> dict[str, bytes]:
    return {f"{topic}.tsv": topic_text(topic).encode(encoding) for topic in TOPICS}


@pytest.fixture
def corpus(tmp_path):
    """A folder as of the unpacked archive: one folder deep."""
    folder = tmp_path / "unpacked" / "KNBC_v1.0" / "corpus2"
    folder.mkdir(parents=True)
    for name, data in files().items():
        (folder / name).write_bytes(data)
    return tmp_path / "unpacked"


def write_tar(path, members: dict[str, bytes]):
    mode = {"bz2": "w:bz2", "gz": "w:gz", "tgz": "w:gz"}[path.name.rpartition(".")[2]]
    with tarfile.open(path, mode) as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def write_zip(path, members: dict[str, bytes]):
    with zipfile.ZipFile(path, "w") as packed:
        for name, data in members.items():
            packed.writestr(name, data)
    return path


def write_archive(path, encoding="utf-8", folder="KNBC_v1.0/corpus2"):
    members = {f"{folder}/{name}": data for name, data in files(encoding).items()}
    members["KNBC_v1.0/corpus1/KN0_Gourmet_0/KN0_Gourmet_0-1-1-01"] = b"* 0\xff"
    return (write_zip if path.suffix == ".zip" else write_tar)(path, members)


def read(path, **settings) -> pd.DataFrame:
    return read_rows(DataSettings(path=str(path), **settings))


def contents(rows) -> list[tuple[str, ...]]:
    return list(rows[["text", "label", "group", "line"]].itertuples(index=False, name=None))


def test_labels_groups_and_places(corpus):
    rows = read(corpus)
    assert len(rows) == 36
    assert set(rows["label"]) == set(TOPICS.values())
    assert rows["group"].nunique() == 12
    first = rows[rows["label"] == "京都"].iloc[0]
    assert tuple(first[["text", "group", "line"]]) == ("［京都観光］Kyotoの話", "KN0_Kyoto_0", 1)
    assert first["file"] == str(corpus / "KNBC_v1.0/corpus2/Kyoto.tsv")


@pytest.mark.parametrize("depth", ["", "KNBC_v1.0", "KNBC_v1.0/corpus2"])
def test_a_folder_at_any_depth(corpus, depth):
    assert contents(read(corpus / depth)) == contents(read(corpus))


@pytest.mark.parametrize("name", ["k.tar.bz2", "k.tar.gz", "k.tgz", "k.zip"])
@pytest.mark.parametrize("encoding", ["euc_jp", "utf-8", "utf-8-sig"])
def test_an_archive_reads_as_the_folder_does(corpus, tmp_path, name, encoding):
    assert contents(read(write_archive(tmp_path / name, encoding))) == contents(read(corpus))


def test_each_file_may_have_its_own_encoding_and_line_ends(corpus):
    expected = contents(read(corpus))
    kyoto = corpus / "KNBC_v1.0/corpus2/Kyoto.tsv"
    kyoto.write_bytes(topic_text("Kyoto").replace("\n", "\r\n").encode())
    assert contents(read(corpus)) == expected


def test_quotes_are_ordinary_characters(corpus):
    gourmet = corpus / "KNBC_v1.0/corpus2/Gourmet.tsv"
    gourmet.write_bytes('KN1_Gourmet_1-1-1-01\t"未完\nKN1_Gourmet_1-1-2-01\tb"\n'.encode("euc_jp"))
    assert read(corpus)["text"].head(2).tolist() == ['"未完', 'b"']


def test_the_tag_is_removed_and_rows_of_it_alone_are_dropped(corpus):
    stripped = read_corpus(DataSettings(path=str(corpus)))
    assert not stripped.table["text"].str.contains("［").any()
    assert {"Kyotoの話", "〜Kyoto"} <= set(stripped.table["text"])
    assert stripped.counts["tag_only"] == 4
    kept = read_corpus(DataSettings(path=str(corpus), strip_topic_tag=False))
    assert kept.counts["tag_only"] == 0
    assert kept.table["text"].str.contains("［").sum() == 12


def test_a_sentence_that_was_blank_stays_for_validation_to_refuse(corpus):
    assert read_corpus(DataSettings(path=str(corpus))).table["text"].eq("").sum() == 12


def test_a_member_that_points_out_of_the_archive_is_ignored(corpus, tmp_path):
    evil = {"../evil/corpus2/Gourmet.tsv": b"KN9_x-1\tevil\n", "/evil/corpus2/Kyoto.tsv": b"KN9_x-1\tevil\n"}
    good = {f"corpus2/{name}": data for name, data in files().items()}
    for path in (write_tar(tmp_path / "k.tar.gz", evil | good), write_zip(tmp_path / "k.zip", evil | good)):
        assert contents(read(path)) == contents(read(corpus))
    assert not list(tmp_path.parent.rglob("evil"))


def test_a_link_in_an_archive_is_no_file(tmp_path):
    path = tmp_path / "k.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        link = tarfile.TarInfo("corpus2/Gourmet.tsv")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    with pytest.raises(JabertError, match=r"no file corpus2/Gourmet\.tsv"):
        read(path)


def test_a_topic_that_an_archive_holds_twice_is_refused(tmp_path):
    members = {f"{folder}/corpus2/{name}": data for folder in "ab" for name, data in files().items()}
    with pytest.raises(
        JabertError, match=r"Gourmet twice, .*a/corpus2/Gourmet\.tsv and b/corpus2/Gourmet\.tsv: take one out"
    ):
        read(write_zip(tmp_path / "k.zip", members))


def test_a_missing_topic_is_named(corpus):
    (corpus / "KNBC_v1.0/corpus2/Sports.tsv").unlink()
    with pytest.raises(JabertError, match=r"has no file corpus2/Sports\.tsv"):
        read(corpus)


def test_a_folder_without_the_corpus_is_named(tmp_path):
    with pytest.raises(JabertError, match=r"has no file corpus2/Gourmet\.tsv"):
        read(tmp_path, format="knbc")


@pytest.mark.parametrize("line", ["KN1_Kyoto_1-1-2-01", "", "京都\tid ではない"])
def test_a_malformed_line_is_named(corpus, line):
    path = corpus / "KNBC_v1.0/corpus2/Kyoto.tsv"
    path.write_bytes(path.read_bytes() + f"{line}\n".encode("euc_jp"))
    with pytest.raises(JabertError, match=r"corpus2/Kyoto\.tsv, line 10: not a sentence id"):
        read(corpus)


@pytest.mark.parametrize(
    "lines",
    [
        ["KN1_Kyoto_1-1\tあ".encode("euc_jp"), b"KN1_Kyoto_1-1\t\xff\xfe"],
        ["KN1_Kyoto_1-1\tあ".encode("euc_jp"), "KN1_Kyoto_1-2\t京都の春".encode()],
        ["KN1_Kyoto_1-1\tあ".encode(), "KN1_Kyoto_1-2\t京都の春".encode("euc_jp")],
        ["KN1_Kyoto_1-1\tあ".encode(), "KN1_Kyoto_1-2\t表示".encode("shift_jis")],
    ],
    ids=["neither", "EUC-JP then UTF-8", "UTF-8 then EUC-JP", "Shift-JIS"],
)
def test_wrong_and_mixed_encodings_are_named_by_line(corpus, lines):
    (corpus / "KNBC_v1.0/corpus2/Kyoto.tsv").write_bytes(b"\n".join(lines))
    with pytest.raises(JabertError, match=r"Kyoto\.tsv, line 2: the file is not UTF-8 or EUC-JP text"):
        read(corpus)


def test_a_nul_byte_is_named_by_line(corpus):
    path = corpus / "KNBC_v1.0/corpus2/Kyoto.tsv"
    path.write_bytes(path.read_bytes() + b"KN1_Kyoto_1-1\ta\0b\n")
    with pytest.raises(JabertError, match=r"Kyoto\.tsv, line 10: there is a NUL"):
        read(corpus)


@pytest.mark.parametrize("name", ["k.tar.bz2", "k.tar.gz", "k.zip"])
@pytest.mark.parametrize("keep", [0, 100, -30])
def test_a_damaged_archive_is_named(tmp_path, name, keep):
    path = write_archive(tmp_path / name)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(JabertError, match=rf"{name} cannot be read as an archive: \w") as error:
        read(path)
    assert "\n" not in str(error.value)


def test_the_digest_of_the_archive_is_checked(tmp_path, corpus):
    path = write_archive(tmp_path / "k.zip")
    assert len(read(path, sha256=digest_of_file(path).upper())) == 36
    with pytest.raises(JabertError, match=r"data\.sha256 is 00ff"):
        read(path, sha256="00ff")
    with pytest.raises(JabertError, match=r"data\.sha256 is the digest of a file, but .* is a folder"):
        read(corpus, sha256="00ff")


def test_the_content_digest_is_of_the_topics_or_of_the_archive(corpus, tmp_path):
    def digest(path):
        return content_digest(DataSettings(path=str(path), format="knbc"))

    folder = corpus / "KNBC_v1.0"
    first = digest(folder)
    (folder / "corpus2" / "README").write_text("not read")
    assert digest(corpus) == digest(folder / "corpus2") == first, "at any depth"
    archive = write_archive(tmp_path / "k.zip")
    line = f"{digest_of_file(archive)}  k.zip\n"
    assert digest(archive) == hashlib.sha256(line.encode()).hexdigest()
    kyoto = folder / "corpus2" / "Kyoto.tsv"
    kyoto.write_bytes(kyoto.read_bytes() + b"\n")
    assert digest(folder) != first
    kyoto.unlink()
    with pytest.raises(JabertError, match=r"has no file corpus2/Kyoto\.tsv"):
        digest(folder)


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture
def server(tmp_path):
    """URL of a loopback server of tmp_path."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(QuietHandler, directory=tmp_path)) as httpd:
        thread = Thread(target=httpd.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{httpd.server_port}"
        httpd.shutdown()
        thread.join()


def test_an_archive_at_a_url(corpus, tmp_path, server):
    path = write_archive(tmp_path / "k.tar.bz2")
    rows = read(f"{server}/k.tar.bz2", sha256=digest_of_file(path))
    assert contents(rows) == contents(read(corpus))
    assert rows["file"].iloc[0] == f"{server}/k.tar.bz2::KNBC_v1.0/corpus2/Gourmet.tsv"
    with pytest.raises(JabertError, match=r"data\.sha256 is 0"):
        read(f"{server}/k.tar.bz2", sha256="0")


def test_a_folder_at_a_url(corpus, server):
    assert contents(read(f"{server}/{corpus.name}/KNBC_v1.0")) == contents(read(corpus))


def test_a_url_with_a_query(corpus, tmp_path, server):
    write_archive(tmp_path / "k.zip")
    assert contents(read(f"{server}/k.zip?download=1")) == contents(read(corpus))


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://127.0.0.1:1/k.tar.bz2", "Connect call failed"),
        ("http://127.0.0.1:1/knbc", "Connect call failed"),
        ("nosuch://host/k.tar.bz2", "[Pp]rotocol"),
    ],
)
def test_an_unreachable_url_is_one_sentence(url, reason):
    with pytest.raises(
        JabertError, match=rf"{url} could not be read \(.*{reason}.*\); a downloaded copy"
    ) as e:
        read(url)
    assert "\n" not in str(e.value)


def test_a_url_of_nothing_is_one_sentence(server):
    with pytest.raises(
        JabertError, match=r"k\.zip could not be read \(there is no such file or folder\); a down"
    ):
        read(f"{server}/k.zip")


@pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl", "parquet"])
@pytest.mark.parametrize("strip", [True, False])
def test_import_writes_a_table_that_reads_back(corpus, tmp_path, ending, strip):
    out = tmp_path / "new folder" / f"knbc.{ending}"
    counts = import_knbc(str(corpus), out, strip_topic_tag=strip)
    assert counts == {"rows_read": 36, "tag_only": 4 if strip else 0, "rows": 32 if strip else 36}
    direct = read_corpus(DataSettings(path=str(corpus), strip_topic_tag=strip))
    imported = read_corpus(DataSettings(path=str(out)))
    assert table_digest(imported.table) == table_digest(direct.table)
    assert [path.name for path in out.parent.iterdir()] == [out.name]


def test_import_writes_nothing_when_it_fails(corpus, tmp_path):
    out = tmp_path / "out" / "knbc.csv"
    with pytest.raises(JabertError, match=r"nowhere"):
        import_knbc(str(tmp_path / "nowhere"), out, strip_topic_tag=True)
    with pytest.raises(JabertError, match=r"knbc\.xlsx has none of the endings"):
        import_knbc(str(corpus), out.with_suffix(".xlsx"), strip_topic_tag=True)
    assert not out.parent.exists()


def test_import_into_a_file_as_a_folder_is_one_sentence(corpus, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(JabertError, match=r"knbc\.csv cannot be written"):
        import_knbc(str(corpus), tmp_path / "file" / "knbc.csv", strip_topic_tag=True)


@pytest.fixture
def knbc(shared):
    return shared / "data/knbc"


@pytest.mark.shared
def test_the_real_corpus_has_its_known_sizes(knbc):
    rows = read(knbc)
    assert len(rows) == 4186
    assert rows["label"].value_counts().to_dict() == SENTENCES
    assert rows.groupby("label")["group"].nunique().to_dict() == ARTICLES
    assert rows["text"].str.contains("^［(?:グルメ|携帯電話|京都観光|スポーツ)］").sum() == 249
    assert rows["text"].duplicated().sum() == 37


@pytest.mark.shared
def test_the_real_corpus_cleaned(knbc):
    corpus = read_corpus(DataSettings(path=str(knbc)))
    sizes = {name: corpus.counts[name] for name in ("rows_read", "tag_only", "duplicates")}
    assert sizes == {"rows_read": 4186, "tag_only": 15, "duplicates": 18}
    # With the blank text of the rows that hold only a tag there would be an eighth.
    assert (corpus.counts["conflicting_texts"], corpus.counts["conflicting_rows"]) == (7, 16)
    assert set(corpus.conflicts["text"]) >= {"ん？", "しかし！", "機会があればまた。"}
    assert corpus.counts["rows"] == len(corpus.table) == 4186 - 15 - 18 - 16
    assert not corpus.table["text"].str.startswith("［").any()
    assert corpus.table["text"].is_unique


@pytest.mark.shared
@pytest.mark.parametrize("name", ["KNBC_v1.0_090925_utf8.tar.bz2", "KNBC_v1.0_090925_utf8.zip"])
def test_the_real_corpus_in_an_utf_8_archive_is_the_same(knbc, tmp_path, name):
    members = {
        f"KNBC_v1.0_090925_utf8/corpus2/{path.name}": path.read_bytes().decode("euc_jp").encode()
        for path in (knbc / "corpus2").iterdir()
    }
    archive = (write_zip if name.endswith("zip") else write_tar)(tmp_path / name, members)
    folder, packed = read_corpus(DataSettings(path=str(knbc))), read_corpus(DataSettings(path=str(archive)))
    pd.testing.assert_frame_equal(folder.table.drop(columns="file"), packed.table.drop(columns="file"))
    assert table_digest(folder.table) == table_digest(packed.table)
