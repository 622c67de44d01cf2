"""The smoke check with a fresh process that is none: what it is asked, and what is made of its answer."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import mlflow
import mlflow.pyfunc
import pandas as pd
import pytest

from jabert.config import Url
from jabert.files import digest_of_file
from jabert.registry import fresh_process, smoke
from jabert.registry.smoke import smoke_check

EXPECTED = pd.DataFrame({"a": [0.25, 1.0], "b": [0.75, 0.0]})
URI, STORE = "models:/jabert/1", "sqlite:///mlflow.db"


@pytest.fixture
def answer(monkeypatch):
    """Let the fresh process print these lines; the calls are noted."""

    def answer(*lines, code=0, stderr="", error=None):
        calls = []

        def run(command, **options):
            assert Path(command[-1]).is_dir(), "the folder to download to"
            calls.append((command, options))
            if error:
                raise error
            return SimpleNamespace(
                returncode=code, stdout="".join(f"{line}\n" for line in lines), stderr=stderr
            )

        monkeypatch.setattr(smoke.subprocess, "run", run)
        return calls

    return answer


def rows(*pairs):
    return json.dumps([{"a": a, "b": b} for a, b in pairs])


def check(files=None, store=STORE):
    return smoke_check(URI, store, ["x", "京都"], EXPECTED, files)


def test_a_fresh_python_that_sees_nothing_of_this_one_is_asked_for_the_texts(answer):
    calls = answer(rows((0.25, 0.75), (1.0, 0.0)))
    assert check({"MLmodel": "digest"}) is None
    [(command, options)] = calls
    assert command[:2] == [sys.executable, "-I"]
    assert Path(command[2]).name == "fresh_process.py"
    assert Path(command[2]).exists()
    assert not Path(command[3]).exists(), "what was downloaded is deleted"
    assert Path(command[3]).name.startswith("jabert-smoke-"), "so that leftovers are known for what they are"
    wanted = {"uri": URI, "store": STORE, "texts": ["x", "京都"], "files": {"MLmodel": "digest"}}
    assert json.loads(options.pop("input")) == wanted
    assert options == {"capture_output": True, "text": True, "timeout": 600, "check": False}


def test_the_password_of_a_store_goes_to_the_process_and_nowhere_else(answer):
    calls = answer(rows((0.25, 0.75), (1.0, 0.0)))
    assert check(store=Url("http://me:secret@host")) is None
    [(command, options)] = calls
    assert json.loads(options["input"])["store"] == "http://me:secret@host"
    assert "secret" not in " ".join(command)


def test_the_last_line_is_the_answer_in_any_order_of_the_labels(answer):
    answer("a model may print", json.dumps([{"b": 0.75, "a": 0.25}, {"b": 0.0, "a": 1.0}]))
    assert check() is None


@pytest.mark.parametrize(
    ("pairs", "wrong"),
    [
        ([(0.25 + 9e-6, 0.75), (1.0, 0.0)], None),
        ([(0.25 + 1.1e-5, 0.75), (1.0, 0.0)], "in a fresh process its probabilities differ by 1.1e-05"),
        ([(0.25 - 1.1e-5, 0.75), (1.0, 0.0)], "in a fresh process its probabilities differ by 1.1e-05"),
        ([(0.25, 0.75), (0.0, 1.0)], "in a fresh process its probabilities differ by 1.0e+00"),
        ([(float("nan"), 0.75), (1.0, 0.0)], "in a fresh process its probabilities differ by nan"),
        ([(0.25, 0.75)], "in a fresh process it gives other labels"),
        ([(0.25, 0.75)] * 3, "in a fresh process it gives other labels"),
    ],
)
def test_probabilities_are_the_same_but_for_rounding(answer, pairs, wrong):
    answer(rows(*pairs))
    assert check() == wrong


def test_a_difference_of_just_the_tolerance_is_none(answer, monkeypatch):
    monkeypatch.setattr(smoke, "_TOLERANCE", 0.25)
    answer(rows((0.5, 0.5), (1.0, 0.0)))
    assert check() is None


@pytest.mark.parametrize("labels", [("a", "c"), ("a",), ("a", "b", "c")])
def test_other_labels_are_told(answer, labels):
    answer(json.dumps([dict.fromkeys(labels, 0.5)] * 2))
    assert check() == "in a fresh process it gives other labels"


@pytest.mark.parametrize(
    ("stderr", "wrong"),
    [
        ("Traceback\nValueError: no\n \n", "in a fresh process it fails: ValueError: no"),
        ("", "in a fresh process it fails: no message"),
        (" \n", "in a fresh process it fails: no message"),
        ("  x  \n", "in a fresh process it fails: x"),
        ("y" * 400, "in a fresh process it fails: " + "y" * 300),
        ("cannot read http://me:secret@host/x", "in a fresh process it fails: cannot read http://***@host/x"),
    ],
)
def test_a_failure_is_told_by_its_last_line_without_passwords(answer, stderr, wrong):
    answer(code=1, stderr=stderr)
    told = check()
    assert "secret" not in told
    if "secret" not in stderr:
        assert told == wrong


def test_no_answer_in_ten_minutes_is_a_failure(answer):
    answer(error=subprocess.TimeoutExpired("python", 600))
    assert check() == "in a fresh process it gave no answer within 600 seconds"


# The script of the fresh process


@pytest.fixture
def fetched(tmp_path):
    """Files that were downloaded, and their digests."""
    (tmp_path / "code").mkdir()
    for name in ("MLmodel", "code/a.py", "registered_model_meta"):
        (tmp_path / name).write_text(name)
    return tmp_path, {name: digest_of_file(tmp_path / name) for name in ("MLmodel", "code/a.py")}


def test_the_files_of_the_anchor_pass_and_no_others(fetched):
    folder, digests = fetched
    fresh_process.require_files(folder, digests)
    (folder / "registered_model_meta").unlink()
    fresh_process.require_files(folder, digests)


@pytest.mark.parametrize("name", ["MLmodel", "code/a.py", "code/more.py"])
def test_a_file_that_is_changed_or_added_or_gone_ends_the_process(fetched, name):
    folder, digests = fetched
    (folder / name).write_text("another")
    sentence = f"^the file {name} is not what it was when the model was registered$"
    with pytest.raises(SystemExit, match=sentence):
        fresh_process.require_files(folder, digests)
    (folder / name).unlink()
    if name in digests:
        with pytest.raises(SystemExit, match=sentence):
            fresh_process.require_files(folder, digests)


@pytest.mark.parametrize("anchored", [True, False])
def test_the_script_downloads_compares_and_answers(fetched, monkeypatch, capsys, anchored):
    folder, digests = fetched
    seen = {}
    wanted = {"uri": URI, "store": STORE, "texts": ["x", "y"], "files": digests if anchored else None}
    monkeypatch.setattr(fresh_process.sys, "stdin", SimpleNamespace(read=lambda: json.dumps(wanted)))
    monkeypatch.setattr(mlflow, "set_tracking_uri", lambda uri: seen.update(tracking=uri))
    monkeypatch.setattr(mlflow, "set_registry_uri", lambda uri: seen.update(registry=uri))

    def download_artifacts(uri, dst_path):
        seen.update(uri=uri, folder=dst_path)
        return str(folder)

    def predict(table):
        seen.update(table=table.to_dict("list"))
        return pd.DataFrame({"probabilities": [{"a": 1.0}, {"a": 0.5}]})

    monkeypatch.setattr(mlflow.artifacts, "download_artifacts", download_artifacts)
    monkeypatch.setattr(
        mlflow.pyfunc, "load_model", lambda path: seen.update(path=path) or SimpleNamespace(predict=predict)
    )
    fresh_process.main("/to")
    assert json.loads(capsys.readouterr().out) == [{"a": 1.0}, {"a": 0.5}]
    assert seen == {
        "tracking": STORE,
        "registry": STORE,
        "uri": URI,
        "folder": "/to",
        "path": str(folder),
        "table": {"text": ["x", "y"]},
    }
    if anchored:
        (folder / "MLmodel").write_text("another")
        with pytest.raises(SystemExit):
            fresh_process.main("/to")
