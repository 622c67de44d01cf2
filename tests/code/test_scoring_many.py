"""Texts to score in whatever form labelled ones are read: several tables, folders, globs and corpora."""

import csv
import io
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import damage
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import toy
import toy_champion
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jabert.config import load_settings
from jabert.dataset.unlabelled import read_texts
from jabert.errors import JabertError
from jabert.registry import open_registry
from jabert.scoring import open_job, score

TEXTS = toy.toy_rows()["text"].tolist()
JABERT = str(Path(sys.executable).with_name("jabert"))


@pytest.fixture(scope="module")
def store(toy_encoder, tmp_path_factory):
    """Settings that lead to a registry with a champion."""
    root = tmp_path_factory.mktemp("champion")
    found = toy_champion.settings_in(root, toy_encoder)
    toy_champion.make_champion(root, found)
    return found


@pytest.fixture
def own(store, tmp_path, monkeypatch):
    """The same with a feature store and a work folder of the test's own, in a folder to work in."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    features = store.features.model_copy(update={"path": str(tmp_path / "features")})
    training = store.training.model_copy(update={"work_path": str(tmp_path / "work")})
    return store.model_copy(update={"features": features, "training": training})


def write(path, data):
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(data, pa.Table):
        pq.write_table(data, path)
    else:
        path.write_bytes(data.encode() if isinstance(data, str) else data)
    return str(path)


def run(own, source, target="out.csv", chunk_rows=2):
    return score(replace(open_job(own, source, str(target)), chunk_rows=chunk_rows))


def rows_of(path="out.csv"):
    """The rows of a scored table, None for an empty cell of CSV, too."""
    if path.endswith(".parquet"):
        return pq.read_table(path).to_pylist()
    text = Path(path).read_text(encoding="utf-8")
    if path.endswith(".jsonl"):
        return list(map(json.loads, text.splitlines()))
    rows = csv.DictReader(io.StringIO(text, newline=""))
    return [{name: cell or None for name, cell in row.items()} for row in rows]


def column(name, rows):
    return [row.get(name) for row in rows]


def three_tables(folder="in"):
    """The texts of a, b and c, in this order: each table has a form and columns of its own."""
    write(f"{folder}/a.csv", "text,n\r\n" + "".join(f"{text},{n}\r\n" for n, text in enumerate(TEXTS[:5])))
    write(f"{folder}/b.csv", f'題;text\n"いろは;に";{TEXTS[5]}\n'.encode("cp932"))
    write(f"{folder}/c.parquet", pa.table({"n": [7, None], "text": TEXTS[6:8]}))
    return TEXTS[:8], ["a.csv"] * 5 + ["b.csv"] + ["c.parquet"] * 2


SOURCES = ["in", "in/*", ("in/a.csv", "in/b.csv", "in/c.parquet"), ("in/[ab]*", "in")]
TARGETS = ["out.csv", "out.jsonl", "out.parquet"]


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("target", TARGETS)
def test_several_tables_become_one_that_names_them(own, source, target):
    texts, names = three_tables()

    result = run(own, source, target)

    assert (result.rows, result.scored, result.failed) == (8, 8, 0)
    rows = rows_of(target)
    assert list(rows[0])[:5] == ["text", "n", "題", "file", "label"]
    assert (column("text", rows), column("file", rows)) == (texts, names)
    assert column("n", rows) == ["0", "1", "2", "3", "4", None, "7", None]
    assert column("題", rows) == [None] * 5 + ["いろは;に"] + [None] * 2
    expected = open_registry(own).load_champion().predict(pd.DataFrame({"text": texts}))
    assert column("label", rows) == expected["label"].tolist()


def test_a_single_table_gets_no_column_for_its_name(own):
    three_tables()
    run(own, "in/a.csv")
    assert list(rows_of()[0])[:3] == ["text", "n", "label"]
    run(own, ["in/a.csv"])
    assert list(rows_of()[0])[:3] == ["text", "n", "label"]


@pytest.mark.parametrize("target", TARGETS)
def test_a_column_of_the_name_that_is_added_is_renamed(own, target):
    write("in/a.csv", f"file,text\nx,{TEXTS[0]}\n")
    write("in/b.csv", f"input_file,text\ny,{TEXTS[1]}\n")
    write("in/c.csv", f"label,text\nz,{TEXTS[1]}\n")
    run(own, "in", target)
    rows = rows_of(target)
    assert column("file", rows) == ["a.csv", "b.csv", "c.csv"]
    assert column("input_file", rows) == [None, "y", None]
    assert column("input_input_file", rows) == ["x", None, None]
    assert column("input_label", rows) == [None, None, "z"]


@pytest.mark.parametrize("target", TARGETS)
def test_tables_and_json_together(own, target):
    write("in/a.csv", f"text,n\n{TEXTS[0]},5\n,6\n")
    write("in/b.jsonl", json.dumps({"text": TEXTS[1], "more": {"a": [1]}}) + '\n{"n": 1}\n')
    result = run(own, "in", target)
    assert (result.rows, result.scored, result.failed) == (4, 2, 2)
    rows, is_json = rows_of(target), target == "out.jsonl"
    assert column("more", rows) == [None, None, {"a": [1]} if is_json else '{"a": [1]}', None]
    assert column("n", rows) == ["5", "6", None, 1 if is_json else "1"]
    assert column("file", rows) == ["a.csv", "a.csv", "b.jsonl", "b.jsonl"]


def test_folders_of_classes_and_the_articles_are_read_too(own):
    write("classes/スポーツ/1.txt", f"{TEXTS[0]}\n二行目\n")
    write("classes/京都/2.txt", TEXTS[1])
    write("classes/京都/LICENSE.txt", "not a text")
    assert run(own, "classes").rows == 2
    rows = rows_of()
    assert {row["text"] for row in rows} == {f"{TEXTS[0]}\n二行目", TEXTS[1]}
    assert {row["input_label"] for row in rows} == {"スポーツ", "京都"}
    assert {Path(row["file"]).name for row in rows} == {"1.txt", "2.txt"}

    for folder, texts in (("trains", TEXTS[:3]), ("tests", TEXTS[3:5])):
        write(f"seed/{folder}/features.csv", "feature\n" + "".join(f"{text}\n" for text in texts))
        write(f"seed/{folder}/labels.csv", "label\n" + "a\n" * len(texts))
    assert run(own, "seed").rows == 5
    assert [row["text"] for row in rows_of()] == TEXTS[:5]
    named = own.data.model_copy(update={"text_column": "本文", "format": "seed"})
    assert run(own.model_copy(update={"data": named}), "seed").rows == 5
    assert [row["本文"] for row in rows_of()] == TEXTS[:5]


@pytest.mark.parametrize("name", ["k", "k.zip", "k.tar.bz2"])
def test_the_corpus_in_a_folder_and_packed(own, name):
    (damage.knbc if name == "k" else damage.archive(name))(Path())
    assert run(own, name, "out.parquet", 16).rows == 36
    assert {"input_label", "group", "line"} < set(pd.read_parquet("out.parquet"))


def test_what_comes_with_jabert_is_scored_by_its_name(own):
    result = run(own, "sample", "out.parquet", 4096)
    assert result.rows == len(pd.read_parquet("out.parquet")) > 1000


def test_what_a_recipe_says_of_where_the_labelled_texts_are_is_not_asked(own):
    three_tables()
    data = own.data.model_copy(update={"path": "nowhere", "sha256": "0" * 64, "format": "knbc"})
    assert run(own.model_copy(update={"data": data}), "in").rows == 8


def test_a_run_that_is_killed_goes_on_in_the_table_it_was_at(own):
    three_tables()
    good = Path("in/c.parquet").read_bytes()
    write("in/c.parquet", b"PAR1")
    with pytest.raises(JabertError, match=r"in/c\.parquet cannot be read as Parquet"):
        run(own, "in")
    assert not Path("out.csv").exists()
    write("in/c.parquet", good)
    result = run(own, "in")
    assert (result.rows, result.resumed, result.computed) == (8, 6, 2)
    assert [row["text"] for row in rows_of()] == TEXTS[:8]


def test_what_was_guessed_of_each_table_is_said_once(own, caplog):
    three_tables()
    write("in/notes.txt", "not read")
    run(own, "in")
    said = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert sum("b.csv is read as Shift_JIS (cp932)" in each or "CP932" in each for each in said) == 1, said
    assert sum("1 files or folders are not read: notes.txt" in each for each in said) == 1, said


@pytest.mark.parametrize(
    ("source", "target", "message"),
    [
        ("none", "out.csv", r"there is no file or folder .*/none$"),
        ("none/*.csv", "out.csv", r"there is no file or folder .*/none/\*\.csv, and none that matches it"),
        ("empty", "out.csv", r"empty is neither .* data\.format can say what it is"),
        ("in", "in/out.csv", r"in/out\.csv would be one of the tables to score the next time"),
        ("in/*.csv", "in/out.csv", r"write it to a place beside .*/in/\*\.csv"),
        (("in/a.csv", "in/b.csv"), "in/c.csv", r"c\.csv is there already, and might be one of the tables"),
        (("in/a.csv", "in/b.csv"), "in/b.csv", r"b\.csv is the table itself"),
        (("in/a.csv", "in/x.dat"), "out.csv", r"x\.dat has none of the endings of a table"),
    ],
)
def test_what_cannot_be_is_refused_at_once(own, source, target, message):
    Path("empty").mkdir()
    for name in ("a.csv", "b.csv", "c.csv", "x.dat"):
        write(f"in/{name}", f"text\n{TEXTS[0]}\n")
    with pytest.raises(JabertError, match=message):
        open_job(own, source, target)
    assert Path("in/c.csv").read_text("utf-8") == f"text\n{TEXTS[0]}\n"


def test_a_table_without_the_text_column_is_named(own):
    write("in/a.csv", f"text\n{TEXTS[0]}\n")
    write("in/b.csv", f"body,n\n{TEXTS[0]},1\n")
    with pytest.raises(JabertError, match=r"in/b\.csv has no column 'text' but: 'body', 'n'"):
        run(own, "in")


CELLS = st.text(st.sampled_from('あ京a1 ",;|\t\n😀'), min_size=1, max_size=6)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.lists(CELLS, min_size=1, max_size=4), min_size=1, max_size=4), st.integers(1, 3), st.data()
)
def test_no_row_is_lost_whatever_the_tables_are(tmp_path, tables, chunk_rows, data):
    folder = tmp_path / "in"
    shutil.rmtree(folder, ignore_errors=True)
    for number, texts in enumerate(tables):
        form = data.draw(st.sampled_from(["csv", "jsonl", "parquet"]))
        rows = pd.DataFrame({"id": [str(n) for n in range(len(texts))], "text": texts})
        path = folder / f"{number}.{form}"
        folder.mkdir(exist_ok=True)
        if form == "csv":
            rows.to_csv(path, index=False, quoting=csv.QUOTE_ALL)
        elif form == "jsonl":
            rows.to_json(path, orient="records", lines=True, force_ascii=False)
        else:
            rows.to_parquet(path, index=False)
    own = load_settings("", [f"data.path={folder}", "data.quoting=rfc4180", "data.delimiter=,"]).data
    found = list(read_texts(own, chunk_rows))
    assert [cell for each in found for cell in each.cells] == [text for texts in tables for text in texts]
    assert [each.name for each in found for _ in each.cells] == [
        path.name for path, texts in zip(sorted(folder.iterdir()), tables, strict=True) for _ in texts
    ]
    assert found[-1].chunk.share == 1


def test_the_command_takes_several(own, tmp_path):
    texts, _ = three_tables()
    settings = ["--set", f"tracking.uri={own.tracking.uri}", "--set", f"training.work_path={tmp_path}/work"]
    words = [JABERT, "score", "in/a.csv", "in/b.csv", "out.csv", "--json", *settings]
    environment = {**os.environ, "PREFECT_HOME": str(tmp_path / "prefect")}
    found = subprocess.run(words, capture_output=True, text=True, env=environment, check=False)
    assert found.returncode == 0, found.stderr
    assert json.loads(found.stdout)["rows"] == 6
    assert [row["text"] for row in rows_of()] == texts[:6]
    again = subprocess.run(words, capture_output=True, text=True, env=environment, check=False)
    assert again.returncode == 1 and "out.csv is there already" in again.stderr, again.stderr


def test_too_many_keys_for_a_table_are_refused_with_the_remedy(own, monkeypatch):
    monkeypatch.setattr("jabert.scoring.output._MOST_KEYS", 3)
    write("in.jsonl", "".join(json.dumps({"text": TEXTS[n], f"key {n}": n}) + "\n" for n in range(3)))
    assert run(own, "in.jsonl", "out.jsonl").rows == 3
    with pytest.raises(JabertError, match=r"more than 3 different keys.* a name that ends in \.jsonl"):
        run(own, "in.jsonl", "out.csv")
    assert not Path("out.csv").exists()


def test_a_cell_that_no_table_can_show_is_refused_by_its_type(own):
    far = pa.array([2**62, 0], pa.timestamp("ms"))
    write("in.parquet", pa.table({"text": TEXTS[:2], "when": far}))
    with pytest.raises(JabertError, match=r"timestamp\[ms\] holds what is no such value"):
        run(own, "in.parquet", "out.jsonl")
    assert not Path("out.jsonl").exists()
