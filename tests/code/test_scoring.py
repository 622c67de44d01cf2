"""A table scored by a packaged toy classifier: what comes out, what is refused, and what a kill leaves."""

import csv
import datetime
import functools
import gzip
import hashlib
import http.server
import io
import json
import shutil
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import mlflow
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import toy
import toy_champion
import toy_package
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jabert.encoder import Tokenizer, open_folder
from jabert.errors import JabertError
from jabert.evaluation import scaled
from jabert.experiments.packaging import open_package
from jabert.features import featurize
from jabert.registry import cut_of, open_registry
from jabert.scoring import open_job, score
from jabert.scoring.champion import Champion
from jabert.texts import visible_characters

JABERT = str(Path(sys.executable).with_name("jabert"))
SCORE = """
import json, sys
from jabert.config import load_settings
from jabert.scoring import open_job, score
print(json.dumps(score(open_job(load_settings(None, sys.argv[3:]), *sys.argv[1:3])).to_dict()))
"""
ANSWER = ["label", "score", "probabilities", "model_version", "model_digest", "reason", "cut"]
TEXTS = toy.toy_rows()["text"].tolist()
ODD = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))


@pytest.fixture(scope="module")
def store(toy_encoder, tmp_path_factory):
    """The folder of a registry with a champion, and settings that lead there."""
    root = tmp_path_factory.mktemp("champion")
    found = toy_champion.settings_in(root, toy_encoder)
    toy_champion.make_champion(root, found)
    return found


@pytest.fixture
def own(store, tmp_path):
    """The same with a feature store and a work folder of the test's own."""
    features = store.features.model_copy(update={"path": str(tmp_path / "features")})
    training = store.training.model_copy(update={"work_path": str(tmp_path / "work")})
    return store.model_copy(update={"features": features, "training": training})


def run(own, source, target, chunk_rows=16, on_progress=None):
    job = replace(open_job(own, str(source), str(target)), chunk_rows=chunk_rows)
    return score(job, on_progress)


def champion_of(classifier, own):
    """An opened package as the version of a registry."""
    loaded = SimpleNamespace(unwrap_python_model=lambda: classifier)
    return Champion(SimpleNamespace(name="toy", load=lambda _: loaded), "7", own)


def predicted(own, texts):
    model = open_registry(own).load_champion()
    return model.predict(pd.DataFrame({"text": texts}))


def write(path, records, text_column="text"):
    """Records with strings as a table in the format of the ending."""
    names = list(records[0])
    if ".jsonl" in path.name:
        data = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records).encode()
    elif path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(records), path)
        return path
    else:
        stream = io.StringIO(newline="")
        writer = csv.DictWriter(stream, names, delimiter="\t" if ".tsv" in path.name else ",")
        writer.writeheader()
        writer.writerows(records)
        data = stream.getvalue().encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def read(path):
    """The records of a scored table; of CSV all cells are strings."""
    if path.suffix == ".parquet":
        records = pq.read_table(path).to_pylist()
        return [{**of, "probabilities": of["probabilities"] and dict(of["probabilities"])} for of in records]
    data = path.read_bytes()
    text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode()
    if ".jsonl" in path.name:
        return [json.loads(line) for line in text.split("\n") if line]
    delimiter = "\t" if ".tsv" in path.name else ","
    return list(csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True))


@pytest.mark.parametrize("target", ["out.csv", "out.tsv.gz", "out.jsonl", "out.parquet"])
@pytest.mark.parametrize("source", ["in.csv", "in.csv.gz", "in.tsv", "in.jsonl", "in.jsonl.gz", "in.parquet"])
def test_every_row_gets_what_predict_says(own, tmp_path, source, target):
    records = [{"id": str(number), "text": text} for number, text in enumerate(TEXTS[:50])]
    table = write(tmp_path / source, records)

    result = run(own, table, tmp_path / target).to_dict()

    rows, expected = read(tmp_path / target), predicted(own, TEXTS[:50])
    assert [list(row) for row in rows] == [["id", "text", *ANSWER]] * 50
    assert [(row["id"], row["text"]) for row in rows] == [(of["id"], of["text"]) for of in records]
    assert [row["label"] for row in rows] == expected["label"].tolist()
    scores = [float(row["score"]) for row in rows]
    np.testing.assert_allclose(scores, expected["score"], atol=1e-6)
    for row, of in zip(rows, expected["probabilities"], strict=True):
        found = row["probabilities"]
        assert (json.loads(found) if isinstance(found, str) else found) == pytest.approx(of, abs=1e-6)
    assert {row["model_version"] for row in rows} == {"1"}
    assert {row["reason"] for row in rows} <= {"", None}
    counts = ("rows", "scored", "failed", "computed", "reused", "resumed", "model_version", "output")
    assert [result[name] for name in counts] == [50, 50, 0, 50, 0, 0, "1", str(tmp_path / target)]
    assert result["rows_per_second"] > 0
    assert not list((tmp_path / "work").glob("*/")), "the work folder is gone"


def test_the_digest_is_that_of_the_packages_list_of_digests(own, tmp_path):
    result = run(own, write(tmp_path / "in.csv", [{"text": "電話"}]), tmp_path / "out.csv")
    package = mlflow.artifacts.download_artifacts("models:/jabert/1/artifacts/package")
    expected = hashlib.sha256((Path(package) / "SHA256SUMS").read_bytes()).hexdigest()
    assert result.model_digest == read(tmp_path / "out.csv")[0]["model_digest"] == expected


@pytest.mark.parametrize("target", ["out.csv", "out.jsonl", "out.parquet"])
def test_rows_that_cannot_be_scored_stay_with_the_reason(own, tmp_path, target):
    lines = ['{"text": "電話"}', '{"text": null}', '{"n": 1}', '{"text": 5}', '{"text": "　"}']
    lines.append(r'{"text": "京\ud800", "n": {"a": [1.5, true, "\udfff"]}}')
    (tmp_path / "in.jsonl").write_text("\n".join(lines), encoding="utf-8")

    result = run(own, tmp_path / "in.jsonl", tmp_path / target, chunk_rows=2)

    assert (result.rows, result.scored, result.failed) == (6, 1, 5)
    rows = read(tmp_path / target)
    reasons = ["null", "null", "5, not a string", "blank", "not Unicode: it holds half of a surrogate pair"]
    assert [row["reason"] for row in rows[1:]] == [f"text is {reason}" for reason in reasons]
    for row in rows[1:]:
        assert [row[name] or None for name in ("label", "score", "probabilities")] == [None] * 3
        assert row["model_version"] == "1"
    if target == "out.jsonl":
        assert rows[5]["text"] == "京\ud800"
        assert rows[5]["n"] == {"a": [1.5, True, "\udfff"]}
        assert "n" not in rows[4]
    else:
        assert rows[5]["text"] == r"京\ud800"
        assert rows[5]["n"] == r'{"a": [1.5, true, "\udfff"]}'
        assert (rows[2]["n"], rows[3]["text"], rows[4]["n"] or None) == ("1", "5", None)


@pytest.mark.parametrize("target", ["out.csv", "out.parquet"])
def test_texts_that_the_model_sees_only_in_part_are_told(own, tmp_path, target, caplog):
    texts = ["電話", "京都のお寺を歩いた。" * 60, " ", "電話" * 20]
    table = write(tmp_path / "in.csv", [{"text": text} for text in texts])
    result = run(own, table, tmp_path / target, chunk_rows=2)
    assert [row["cut"] for row in read(tmp_path / target)] == (
        ["false", "true", "", "false"] if target == "out.csv" else [False, True, None, False]
    )
    assert result.cut == 1
    assert "1 of 4 texts are longer than the model takes and were cut" in caplog.text
    model = open_registry(own).load_champion()
    assert cut_of(model, [texts[0], texts[1]]) == [False, True]


def test_an_empty_cell_is_a_blank_text(own, tmp_path):
    (tmp_path / "in.csv").write_text("text,id\n,1\n電話,2\n", encoding="utf-8")
    assert run(own, tmp_path / "in.csv", tmp_path / "out.csv").failed == 1
    assert [row["reason"] for row in read(tmp_path / "out.csv")] == ["text is blank", ""]


def test_columns_of_the_input_that_have_our_names_are_renamed(own, tmp_path):
    records = [{"label": "a", "input_label": "b", "text": "電話", "score": "c"}]
    for name in ("csv", "jsonl", "parquet"):
        run(own, write(tmp_path / f"in.{name}", records), tmp_path / f"out.{name}")
        (row,) = read(tmp_path / f"out.{name}")
        assert list(row) == ["input_input_label", "input_label", "text", "input_score", *ANSWER]
        assert list(row.values())[:4] == ["a", "b", "電話", "c"]
    again = run(own, tmp_path / "out.csv", tmp_path / "again.csv")
    assert again.scored == 1


def test_parquet_keeps_its_types(own, tmp_path):
    day = datetime.date(2026, 1, 2)
    columns = {
        "text": pa.array(["電話", None, "料理"]).dictionary_encode(),
        "n": pa.array([1, None, 3], pa.int32()),
        "day": [day, day, None],
        "tags": [["a"], [], None],
    }
    pq.write_table(pa.table(columns), tmp_path / "in.parquet")
    run(own, tmp_path / "in.parquet", tmp_path / "out.parquet", chunk_rows=2)
    table = pq.read_table(tmp_path / "out.parquet")
    assert table.schema.field("n").type == pa.int32()
    assert table["n"].to_pylist() == [1, None, 3]
    assert table["day"].to_pylist() == [day, day, None]
    assert table["reason"].to_pylist() == [None, "text is null", None]
    run(own, tmp_path / "in.parquet", tmp_path / "out.csv")
    first, second, _ = read(tmp_path / "out.csv")
    assert (first["n"], first["day"], first["tags"]) == ("1", "2026-01-02", '["a"]')
    assert (second["n"], second["text"]) == ("", "")
    run(own, tmp_path / "in.parquet", tmp_path / "out.jsonl")
    first, second, _ = read(tmp_path / "out.jsonl")
    assert (first["n"], first["day"], first["tags"], second["n"]) == (1, "2026-01-02", ["a"], None)


def test_what_json_lacks_becomes_a_string(own, tmp_path):
    columns = {
        "text": ["電話", "料理"],
        "real": [float("inf"), float("nan")],
        "reals": [[float("-inf")], [1.5]],
        "raw": [b"\xff\0", None],
    }
    pq.write_table(pa.table(columns), tmp_path / "in.parquet")
    run(own, tmp_path / "in.parquet", tmp_path / "out.jsonl")

    def refuse(word):
        raise AssertionError(word)

    first, second = (
        json.loads(line, parse_constant=refuse)
        for line in (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()
    )
    assert (first["real"], first["reals"], first["raw"]) == ("inf", ["-inf"], "/wA=")
    assert (second["real"], second["reals"], second["raw"]) == ("nan", [1.5], None)
    run(own, tmp_path / "in.parquet", tmp_path / "out.csv")
    first, second = read(tmp_path / "out.csv")
    assert (first["real"], first["reals"], first["raw"]) == ("inf", '["-inf"]', "/wA=")
    assert (second["real"], second["reals"], second["raw"]) == ("nan", "[1.5]", "")


@pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl", "parquet"])
@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=st.lists(ODD, min_size=1, max_size=30))
def test_odd_texts_come_back_as_they_are(own, tmp_path, ending, texts):
    table = write(tmp_path / f"in.{ending}", [{"text": text, "again": text} for text in texts])
    result = run(own, table, tmp_path / f"out.{ending}", chunk_rows=7)
    rows = read(tmp_path / f"out.{ending}")
    assert [(row["text"], row["again"]) for row in rows] == [(text, text) for text in texts]
    assert [row["reason"] or None for row in rows] == [
        None if visible_characters(text) else "text is blank" for text in texts
    ]
    assert result.rows == len(texts)


@pytest.mark.parametrize(
    ("name", "data", "header"),
    [("in.csv", b"text,id\n", "text,id,"), ("in.tsv", b"text\tid\n", "text,id,"), ("in.jsonl", b"\n", "")],
)
def test_a_table_without_rows_becomes_one(own, tmp_path, name, data, header):
    (tmp_path / name).write_bytes(data)
    for target in ("out.csv", "out.jsonl", "out.parquet"):
        assert run(own, tmp_path / name, tmp_path / target).rows == 0
        assert read(tmp_path / target) == []
    assert (tmp_path / "out.csv").read_text().rstrip() == header + ",".join(ANSWER)


def test_parquet_without_rows(own, tmp_path):
    pq.write_table(pa.table({"text": pa.array([], pa.string())}), tmp_path / "in.parquet")
    assert run(own, tmp_path / "in.parquet", tmp_path / "out.parquet").rows == 0
    assert pq.read_schema(tmp_path / "out.parquet").names == ["text", *ANSWER]


def test_a_table_at_a_url(own, tmp_path):
    import fsspec

    with fsspec.open("memory://folder/texts.csv", "wb") as file:
        file.write("text\n電話\n".encode())
    assert run(own, "memory://folder/texts.csv", tmp_path / "out.csv").scored == 1
    with pytest.raises(JabertError, match=r"^memory://folder/none\.csv could not be read"):
        open_job(own, "memory://folder/none.csv", str(tmp_path / "out.csv"))


@pytest.mark.parametrize("name", ["in.csv", "in.jsonl.gz", "in.parquet"])
def test_a_table_at_an_http_server(own, tmp_path, name):
    write(tmp_path / name, [{"text": text} for text in TEXTS[:40]])
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=tmp_path)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        result = run(own, f"{address}/{name}", tmp_path / "out.csv")
        with pytest.raises(JabertError, match=r"none\.csv could not be read \(there is no such file"):
            open_job(own, f"{address}/none.csv", str(tmp_path / "out.csv"))
        server.shutdown()
    assert [row["text"] for row in read(tmp_path / "out.csv")] == TEXTS[:40]
    assert result.scored == 40


def test_vectors_of_the_store_are_reused_and_none_are_written(own, tmp_path, toy_encoder):
    table = write(tmp_path / "in.csv", [{"text": text} for text in [*TEXTS[:40], ""]])
    run(own, table, tmp_path / "computed.csv")
    assert not Path(own.features.path).exists()
    folder = open_folder(toy_encoder)
    featurize(Tokenizer(folder, own.encoder)(TEXTS[:30]).ids, folder, own)
    before = sorted(Path(own.features.path).rglob("*"))

    result = run(own, table, tmp_path / "reused.csv")

    assert (result.computed, result.reused, result.failed) == (10, 30, 1)
    assert sorted(Path(own.features.path).rglob("*")) == before
    one, other = (
        [json.loads(row["probabilities"]) for row in read(tmp_path / name) if not row["reason"]]
        for name in ("computed.csv", "reused.csv")
    )
    for a, b in zip(one, other, strict=True):
        assert a == pytest.approx(b, abs=1e-5)


@pytest.fixture
def packages(store, tmp_path):
    """The champion's package, one with a linear classifier joined to it, and one of that alone."""
    source = open_registry(store).get("1").source
    model = Path(mlflow.artifacts.download_artifacts(source, dst_path=tmp_path / "model"))
    (network,) = (path.parent for path in model.rglob("package.json"))
    random = np.random.default_rng(0)
    join = {"kernel": random.normal(size=(8, 4)).tolist(), "bias": random.normal(size=4).tolist()}
    weights = random.normal(0, 2, (2, 4)), random.normal(size=4)
    pair = shutil.copytree(network, tmp_path / "pair")
    for folder in (pair, tmp_path / "alone"):
        toy_package.write_ngrams(folder / "linear", ["京", "電"], *weights)
    members = {"bi-lstm": "network", "linear": "ngrams"}
    toy_package.write_about(pair, toy.LABELS, members, join=join)
    return pair, toy_package.write_about(tmp_path / "alone", toy.LABELS, {"linear": "ngrams"})


def test_a_champion_of_several_classifiers_answers_as_it_predicts(own, packages, toy_encoder):
    folder = open_folder(toy_encoder)
    featurize(Tokenizer(folder, own.encoder)(TEXTS[:30]).ids, folder, own)
    cells = [*TEXTS[:40], None]
    for package, expected_reused in zip(packages, (30, 0), strict=True):
        classifier = open_package(package)
        champion = champion_of(classifier, own)
        faults = [classifier.fault_of(cell) for cell in cells]
        answers, reused = champion.answer(
            champion.prepare(cells, faults), faults, champion.cut(cells, faults)
        )
        assert reused == expected_reused
        rows = answers.to_pylist()
        assert rows[-1]["label"] is None and rows[-1]["reason"] == "text is null"
        found = np.array([[dict(row["probabilities"])[label] for label in toy.LABELS] for row in rows[:-1]])
        np.testing.assert_allclose(found, classifier.classify(cells[:-1]), atol=2e-3)
        assert {row["model_digest"] for row in rows} == {classifier.digest}


def test_a_champion_with_a_temperature_and_a_threshold_answers_as_it_predicts(own, packages):
    package = packages[1]
    plain = open_package(package)
    threshold = float(scaled(plain.classify(TEXTS[:40]), 1.5).max())
    more = {"temperature": 1.5, "threshold": threshold}
    classifier = open_package(toy_package.write_about(package, toy.LABELS, {"linear": "ngrams"}, **more))
    loaded = SimpleNamespace(unwrap_python_model=lambda: classifier)
    champion = Champion(SimpleNamespace(name="toy", load=lambda _: loaded), "7", own)
    rows = champion.answer(champion.prepare(TEXTS[:40], [None] * 40), [None] * 40, [False] * 40)[
        0
    ].to_pylist()
    predicted = classifier.predict(None, pd.DataFrame({"text": TEXTS[:40]}))
    assert [row["label"] for row in rows] == predicted["label"].tolist()
    assert [row["score"] for row in rows] == predicted["score"].tolist()
    assert [dict(row["probabilities"]) for row in rows] == predicted["probabilities"].tolist()
    below = f"score is below the threshold {threshold:.3f}"
    assert {row["reason"] for row in rows if row["label"] is None} == {below}
    assert {row["reason"] for row in rows if row["label"]} == {None}, "at the threshold there is one"


def test_a_network_on_several_layers_takes_the_vectors_of_these(own, toy_encoder, tmp_path):
    """And one that was made before there were several takes those of one."""
    folder = open_folder(toy_encoder)
    for layers in (1, 2):
        several = own.model_copy(update={"features": own.features.model_copy(update={"layers": layers})})
        featurize(Tokenizer(folder, own.encoder)(TEXTS[:30]).ids, folder, several)
        classifier = open_package(toy_champion.make_package(tmp_path / str(layers), several))
        if layers == 1:
            before = dict(vars(classifier.members[0].vectors))
            del before["layers"]
            classifier.members[0].vectors = SimpleNamespace(**before)
        champion, faults = champion_of(classifier, own), [None] * 40
        answers, reused = champion.answer(champion.prepare(TEXTS[:40], faults), faults, [False] * 40)
        assert reused == 30
        rows = map(dict, answers["probabilities"].to_pylist())
        found = np.array([[row[label] for label in toy.LABELS] for row in rows])
        np.testing.assert_allclose(found, classifier.classify(TEXTS[:40]), atol=2e-3)


def test_vectors_of_another_encoder_or_precision_are_not_taken(own, tmp_path, toy_encoder, cased_encoder):
    table = write(tmp_path / "in.csv", [{"text": text} for text in TEXTS[:20]])
    for encoder, change in ((cased_encoder, {}), (toy_encoder, {"pad_to": 40})):
        other = own.model_copy(update={"encoder": own.encoder.model_copy(update=change)})
        folder = open_folder(encoder)
        featurize(Tokenizer(folder, other.encoder)(TEXTS[:20]).ids, folder, other)
    assert run(own, table, tmp_path / "out.csv").reused == 0


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("in.csv", b"text\na\n\xff\xff\n", r"in\.csv, line 3: the file is not UTF-8"),
        ("in.csv", b"text\na\nb\0\n", r"in\.csv, line 3: there is a NUL byte"),
        ("in.csv", b"text,id\na,1\nb\n", r"in\.csv, line 3: 1 cells under a header of 2"),
        ("in.csv", b'text,id\na,1\n"b,1,1\n', r"in\.csv, line 3: the quotes of a cell do not match"),
        ("in.csv", b"texts,id\na,1\n", r"in\.csv has no column 'text' but: .*nearest is 'texts'"),
        ("in.csv", b"text,text\na,1\n", r"in\.csv has more than one column 'text'; give its number"),
        ("in.csv", b"", r"in\.csv is empty"),
        ("in.csv.gz", b"text\na\n", r"in\.csv\.gz cannot be unpacked"),
        ("in.csv.gz", gzip.compress(b"text\na\n", mtime=0)[:-9], r"in\.csv\.gz cannot be unpacked"),
        ("in.jsonl", b'{"text":"a"}\n["a"]\n', r"in\.jsonl, line 2: a JSON object is expected"),
        ("in.jsonl", b'{"text":"a", "\\ud800": 1}\n', r"surrogate pair stands alone in the key '\\ud800'"),
        ("in.jsonl", b'{"body":"a"}\n', r"in\.jsonl has no column 'text' but: 'body'"),
        ("in.parquet", b"text\na\n", r"in\.parquet cannot be read as Parquet"),
        ("in.dat", b"text\na\n", r"in\.dat is neither .* data\.format can say what it is"),
    ],
)
def test_a_table_that_is_none_is_refused_by_its_place(own, tmp_path, name, data, message):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(JabertError, match=message) as error:
        open_job(own, str(tmp_path / name), str(tmp_path / "out.csv"))
    assert "\n" not in str(error.value)


def test_what_is_wrong_far_down_stops_the_run_and_what_was_done_stays(own, tmp_path):
    rows = [{"text": text, "id": str(number)} for number, text in enumerate(TEXTS[:64])]
    table = write(tmp_path / "in.csv", rows)
    whole = table.read_bytes()
    job = replace(open_job(own, str(table), str(tmp_path / "out.csv")), chunk_rows=16)
    table.write_bytes(whole + b"a,b,c\n")
    with pytest.raises(JabertError, match=r"in\.csv, line 66: 3 cells under a header of 2"):
        score(job)
    assert not (tmp_path / "out.csv").exists()
    table.write_bytes(whole)
    result = score(job)
    assert (result.rows, result.resumed) == (64, 64)
    assert [row["id"] for row in read(tmp_path / "out.csv")] == [str(number) for number in range(64)]


def test_a_table_is_scored_in_whatever_form_it_is_and_written_for_excel(own, tmp_path):
    lines = [
        "text;n;;",
        *(f'"{text.replace(chr(34), chr(34) * 2)}";{n};;' for n, text in enumerate(TEXTS[:20])),
    ]
    (tmp_path / "in.csv").write_bytes("\r\n".join(lines).encode("cp932", "ignore"))
    for options, encoding in (({"bom": True}, "utf-8-sig"), ({"encoding": "cp932"}, "cp932")):
        job = open_job(own, str(tmp_path / "in.csv"), str(tmp_path / "out.csv"), **options)
        assert score(job).rows == 20
        data = (tmp_path / "out.csv").read_bytes()
        assert data.startswith(b"\xef\xbb\xbf") == (encoding == "utf-8-sig")
        rows = list(csv.DictReader(io.StringIO(data.decode(encoding), newline="")))
        assert [row["n"] for row in rows] == [str(n) for n in range(20)]
        assert list(rows[0]) == ["text", "n", "3", "4", *ANSWER]


def test_a_character_that_the_encoding_lacks_is_named_and_nothing_is_written(own, tmp_path):
    table = write(tmp_path / "in.csv", [{"text": "電話"}, {"text": "電話😀"}])
    job = open_job(own, str(table), str(tmp_path / "out.csv"), encoding="cp932")
    with pytest.raises(
        JabertError, match=r"out\.csv: row 2 holds '😀', which cp932 lacks; nothing was written"
    ):
        score(job)
    assert not (tmp_path / "out.csv").exists()
    again = score(open_job(own, str(table), str(tmp_path / "out.csv"), bom=True))
    assert (again.rows, again.resumed) == (2, 2)


@pytest.mark.parametrize(
    ("target", "options", "message"),
    [
        ("out.csv", {"encoding": "latin-9000"}, r"--encoding latin-9000: there is no such encoding"),
        ("out.csv", {"encoding": "cp932", "bom": True}, r"--bom: cp932 has no byte order mark"),
        ("out.jsonl", {"bom": True}, r"--encoding, --bom and --safe-cells are for \.csv and \.tsv"),
    ],
)
def test_an_encoding_that_cannot_be_written_is_refused_at_once(own, tmp_path, target, options, message):
    table = write(tmp_path / "in.csv", [{"text": "電話"}])
    with pytest.raises(JabertError, match=message):
        open_job(own, str(table), str(tmp_path / target), **options)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("out.xlsx", r"out\.xlsx has none of the endings"),
        ("out.parquet.gz", r"already compressed; give a name without \.gz"),
        ("nowhere/out.csv", r"there is no folder .*nowhere$"),
        ("in.csv", r"in\.csv is the table itself"),
        ("folder.csv", r"folder\.csv is a folder"),
        ("s3://bucket/out.csv", r"s3://bucket/out\.csv is a URL"),
    ],
)
def test_an_output_that_cannot_be_is_refused_at_once(own, tmp_path, target, message):
    table = write(tmp_path / "in.csv", [{"text": "電話"}])
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(JabertError, match=message):
        open_job(own, str(table), target)


def test_a_registry_without_champion(own, tmp_path):
    table = write(tmp_path / "in.csv", [{"text": "電話"}])
    tracking = own.tracking.model_copy(update={"model_name": "another"})
    with pytest.raises(JabertError, match=r"'another' has no champion yet; what there is: --set"):
        open_job(own.model_copy(update={"tracking": tracking}), str(table), "out.csv")


def test_the_command_says_what_is_missing_before_anything_heavy_is_loaded(tmp_path):
    done = subprocess.run(
        [JABERT, "score", "none.csv", "out.csv"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.startswith("jabert: ") and done.stderr.count("\n") == 1
    assert "none.csv cannot be read: there is no such file" in done.stderr


def test_progress_is_told(own, tmp_path):
    told = []
    table = write(tmp_path / "in.parquet", [{"text": text} for text in TEXTS[:50]])
    run(own, table, tmp_path / "out.csv", on_progress=lambda done, total: told.append((done, total)))
    assert told == [(16, 50), (32, 50), (48, 50), (50, 50)]


def test_a_rerun_goes_on_with_the_version_that_it_began_with(own, store, tmp_path, toy_encoder, monkeypatch):
    rows = [{"text": text, "id": str(number)} for number, text in enumerate(TEXTS[:64])]
    table = write(tmp_path / "in.csv", rows)

    def stop(done, total):
        if done >= 48:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(own, table, tmp_path / "out.csv", on_progress=stop)
    second = toy_champion.make_champion(tmp_path, store, seed=1)
    try:
        result = run(own, table, tmp_path / "out.csv")
        other = run(own, table, tmp_path / "other.csv")
    finally:
        client = mlflow.MlflowClient()
        client.set_registered_model_alias("jabert", "champion", "1")
        client.delete_model_version("jabert", second)
    assert (result.model_version, other.model_version) == ("1", second)
    assert result.resumed >= 32
    assert {row["model_version"] for row in read(tmp_path / "out.csv")} == {"1"}


def test_what_another_model_of_the_same_number_said_is_not_taken(own, tmp_path, monkeypatch):
    table = write(tmp_path / "in.csv", [{"text": text} for text in TEXTS[:48]])

    def stop(done, total):
        if done >= 32:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(own, table, tmp_path / "out.csv", on_progress=stop)
    whole = Champion.__init__

    def of_a_new_registry(champion, *arguments):
        whole(champion, *arguments)
        champion.digest = f"another{champion.digest}"

    monkeypatch.setattr(Champion, "__init__", of_a_new_registry)
    assert run(own, table, tmp_path / "out.csv").resumed == 0


def test_a_run_that_finished_nothing_binds_no_later_one_to_its_version(own, store, tmp_path):
    table = write(tmp_path / "in.csv", [{"text": text} for text in TEXTS[:8]])
    job = open_job(own, str(table), str(tmp_path / "out.csv"))
    whole = table.read_bytes()
    table.write_bytes(whole + b"a\0\n")
    with pytest.raises(JabertError):
        score(job)
    table.write_bytes(whole)
    second = toy_champion.make_champion(tmp_path, store, seed=1)
    try:
        assert score(job).model_version == second
    finally:
        client = mlflow.MlflowClient()
        client.set_registered_model_alias("jabert", "champion", "1")
        client.delete_model_version("jabert", second)


def test_a_changed_row_is_scored_again(own, tmp_path):
    rows = [{"text": text, "id": str(number)} for number, text in enumerate(TEXTS[:48])]
    table = write(tmp_path / "in.csv", rows)
    job = replace(open_job(own, str(table), str(tmp_path / "out.csv")), chunk_rows=16)
    with table.open("ab") as file:
        file.write(b"a,b,c\n")
    with pytest.raises(JabertError):
        score(job)
    write(table, [{**rows[0], "id": "changed"}, *rows[1:]])
    result = score(job)
    assert (result.resumed, result.computed) == (32, 16)
    assert read(tmp_path / "out.csv")[0]["id"] == "changed"


def test_a_killed_process_is_run_again_without_a_row_twice_or_missing(own, tmp_path):
    texts = [f"{TEXTS[number % len(TEXTS)]}{number}" for number in range(60_000)]
    table = write(tmp_path / "in.jsonl", [{"id": n, "text": text} for n, text in enumerate(texts)])
    places = {
        "tracking.uri": own.tracking.uri,
        "features.path": own.features.path,
        "training.work_path": own.training.work_path,
    }
    overrides = [f"{name}={place}" for name, place in places.items()]
    words = [sys.executable, "-W", "ignore", "-c", SCORE, str(table), "out.csv", *overrides]
    with subprocess.Popen(words) as lost:
        while len(list(tmp_path.glob("work/score-*/0*.arrow"))) < 3:
            assert lost.poll() is None, "it ended before it could be killed"
            time.sleep(0.01)
        lost.kill()
    assert not (tmp_path / "out.csv").exists()

    again = subprocess.run(words, capture_output=True, text=True, check=True)

    result = json.loads(again.stdout.splitlines()[-1])
    assert result["rows"] == result["computed"] + result["resumed"] == 60_000
    assert result["resumed"] >= 3 * 4096
    rows = read(tmp_path / "out.csv")
    assert [(row["id"], row["text"]) for row in rows] == [(str(n), text) for n, text in enumerate(texts)]
    assert all(row["label"] in toy.LABELS for row in rows)
    assert sorted(path.name for path in tmp_path.iterdir() if "out" in path.name) == ["out.csv"]
    sample = [0, 4095, 4096, 30_000, 59_999]
    expected = predicted(own, [texts[number] for number in sample])["probabilities"]
    for number, of in zip(sample, expected, strict=True):
        assert json.loads(rows[number]["probabilities"]) == pytest.approx(of, abs=1e-5)
