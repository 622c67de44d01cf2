"""The command line: what it answers, how it fails, and how it ends."""

import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import time
import urllib.request
from pathlib import Path

import httpx
import pandas as pd
import pytest
import typer

import jabert
from jabert.cli import main
from jabert.cli.commands import app
from jabert.cli.summary import print_summary
from jabert.config import load_settings
from jabert.encoder import Tokenizer, open_folder
from jabert.errors import JabertError
from jabert.features import featurize
from jabert.tracking import connect, tracked_run, ui

JABERT = str(Path(sys.executable).with_name("jabert"))
HEAVY = {
    "great_expectations",
    "keras_bert",
    "matplotlib",
    "mlflow",
    "numpy",
    "pandas",
    "prefect",
    "pyarrow",
    "sklearn",
    "tensorflow",
}
RESULT = {
    "run_id": "0123456789abcdef0123456789abcdef",
    "model_version": "4",
    "weighted_f1": 0.78125,
    "champion_weighted_f1": 0.75,
    "baselines": {
        "tfidf": {"weighted_f1": 0.5, "gain": 0.28125, "gain_low": 0.2, "gain_high": 0.3},
        "majority": {"weighted_f1": 0.25, "gain": 0.53125, "gain_low": 0.4, "gain_high": 0.6},
    },
    "promoted": True,
    "warnings": [],
    "outcome": "promoted",
    "reason": "better: weighted F1 0.7812 against 0.7500 of champion 3 on the same rows",
    "rows": {"train": 2650, "validation": 700, "test": 800},
    "features": {"computed": 4000, "reused": 150},
    "stages": {"validate": 8.0, "train": 100.25},
    "config_digest": "c" * 64,
    "data_digest": "d" * 64,
    "evidence": [
        "the gain of +0.0312 may be chance",
        "2 other versions were judged on these test rows before",
    ],
}


def all_commands(command, path=()):
    yield path, command
    for name, below in getattr(command, "commands", {}).items():
        yield from all_commands(below, (*path, name))


COMMANDS = dict(all_commands(typer.main.get_command(app)))


@pytest.fixture(autouse=True)
def own_store(monkeypatch):
    """MLflow puts the store that it was given into the environment, where the next test would find it."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.fixture
def say(capsys):
    """The command line in this process: words in; exit code, stdout and stderr out."""

    def call(*words):
        with pytest.raises(SystemExit) as ended:
            main(words)
        return ended.value.code, *capsys.readouterr()

    return call


@pytest.fixture
def start():
    """The command line as a process of its own; none outlives the test."""
    started = []

    def call(*words, **options):
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
        started.append(subprocess.Popen([JABERT, *words], **options))
        return started[-1]

    yield call
    for process in started:
        with process:  # closes the pipes and waits
            process.terminate()


@pytest.fixture(scope="module")
def filled_store(tmp_path_factory):
    """The option that leads to a store with three runs, the last of them failed, and one model version."""
    option = f"tracking.uri=sqlite:///{tmp_path_factory.mktemp('store')}/mlflow.db"
    settings = load_settings(None, [option])
    for weighted_f1 in (0.5, 0.75):
        with tracked_run(settings) as run:
            run.metrics({"test/weighted_f1": weighted_f1})
            run.tags({"version": "1", "promoted": "true", "reason": "there was no champion"})
    with pytest.raises(JabertError), tracked_run(settings):
        raise JabertError("京都.csv has no column label")
    client = connect(settings.tracking)
    client.create_registered_model("jabert")
    tags = {"weighted_f1": "0.75", "promoted": "true", "reason": "there was no champion"}
    client.create_model_version("jabert", f"runs:/{run.id}/model", run.id, tags=tags)
    client.set_registered_model_alias("jabert", "champion", "1")
    return f"--set={option}"


@pytest.fixture
def closed_port():
    """A port that nothing listens on."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


@pytest.mark.parametrize("path", COMMANDS, ids=lambda path: " ".join(path) or "jabert")
def test_every_command_and_option_says_what_it_is_for(say, path):
    command = COMMANDS[path]
    options = [each for each in command.params if each.param_type_name == "option"]

    code, out, err = say(*path, "--help")

    assert (code, err) == (0, "")
    assert command.help
    assert " ".join(command.help.split()) in " ".join(out.split())
    assert [option.name for option in options if not option.help] == []
    assert say(*path, "-h") == (code, out, err)


def test_help_takes_less_than_a_second_of_a_processor():
    """Not of the clock, which other tests move on meanwhile."""
    took = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([JABERT, "--help"], capture_output=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        took.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(took) < 1


def test_help_loads_nothing_heavy():
    code = f"""
import sys
import tarfile
from jabert.cli import main

for words in {[*map(list, COMMANDS)]}:
    try:
        main([*words, "--help"])
    except SystemExit as end:
        assert end.code in (0, None), words
print(*sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.count("Usage: ") == len(COMMANDS)
    loaded = set(done.stdout.splitlines()[-1].split())
    assert "typer" in loaded
    assert HEAVY & loaded == set()


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        (None, "there is no such file or folder"),
        ("text,class\n京都,a\n", "has no column 'label'"),
        ("text,label\n", "has no rows"),
    ],
)
def test_wrong_data_are_told_once_before_prefect_starts(say, tmp_path, monkeypatch, table, sentence):
    monkeypatch.setattr(
        "jabert.cli.commands.training.run_flow", lambda *_, **__: pytest.fail("Prefect starts")
    )
    if table:
        (tmp_path / "t.csv").write_text(table, encoding="utf-8")
    given = ["method.kind=tfidf", f"data.path={tmp_path}/t.csv"]
    for command, more in [
        ("retrain", []),
        ("leaderboard", ['leaderboard.methods=["tfidf"]']),
        ("sweep", ["sweep.method.c=[0.1, 9.0]"]),
    ]:
        code, out, err = say(command, *(word for each in given + more for word in ("--set", each)))
        assert (code, out) == (1, "")
        assert err.startswith("jabert: ") and err.count("\n") == 1 and sentence in err


def test_version(say):
    assert say("--version") == (0, f"jabert {jabert.__version__}\n", "")


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("data",),
        ("encoder",),
        ("retrian",),
        ("predict",),
        ("data", "knbc", "somewhere"),
        ("runs", "--limit", "0"),
        ("runs", "--limit", "many"),
        ("ui", "--port", "70000"),
        ("models", "--jsno"),
    ],
    ids=" ".join,
)
def test_wrong_usage_ends_with_2(say, words):
    code, out, err = say(*words)
    assert code == 2
    assert "Usage:" in out + err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("runs", "--set", "data.sead=1"), "there is no setting data.sead; the nearest is data.seed"),
        (("runs", "--set", "data.seed=two"), "setting data.seed cannot be 'two'"),
        (("runs", "--set", "seed"), "setting 'seed' is not of the form group.key=value"),
        (("runs", "--recipe", "knbk"), "recipe 'knbk' is neither a file that can be read nor one of:"),
        (("retrain",), "data.path"),
        (("retrain", "--set", "data.path=x.csv"), "encoder.path is not set"),
        (("featurize",), "data.path"),
        (("validate",), "data.path"),
        (("predict", " "), "text 1 is blank"),
        (("predict", "京都", "\u200b\u3000"), "text 2 is blank"),
        (("predict", "京都", "\udcff"), "text 2 is not in the encoding of the locale"),
        (("predict", "京都", "--before", "電話"), "--before '\\u96fb\\u8a71' is not a JSON array of texts"),
        (("predict", "京都", "--after", '["電話", 1]'), "is not a JSON array of texts"),
        (
            ("predict", "京都", "電話", "--after", "[]"),
            "--before and --after are of one TEXT, but 2 are given; give one",
        ),
        (("encoder", "inspect", "nowhere"), "the encoder nowhere is not a folder"),
        (("encoder", "init", "nowhere"), "nowhere is not a folder"),
        (("data", "knbc", "nowhere", "out.csv"), "nowhere"),
        (("ui",), "there is no MLflow store at"),
        (
            ("ui", "--set", "tracking.uri=http://mlflow:5000"),
            "tracking.uri http://mlflow:5000 is an MLflow server",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_the_user_can_put_right_is_one_sentence(say, words, sentence):
    code, out, err = say(*words)

    assert (code, out) == (1, "")
    assert err.startswith("jabert: ") and sentence in err
    assert err.count("\n") == 1
    assert list(Path().rglob("*")) == []


@pytest.mark.parametrize(
    ("words", "warned"),
    [((), True), (("-v",), True), (("-q",), False)],
)
def test_the_console_shows_what_was_asked_for(words, warned, tmp_path):
    """A process of its own, as pytest shows logs too; the table has a text twice, which is told."""
    (tmp_path / "t.csv").write_text(
        "text,label\n" + "".join(f"文{n},{'ab'[n % 2]}\n文0,a\n" for n in range(40))
    )
    command = [JABERT, "validate", *words, "--set", f"data.path={tmp_path}/t.csv", "--json"]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=100, cwd=tmp_path)
    assert json.loads(done.stdout)["rows"]["duplicates"] == 40
    assert ("repeat an earlier text" in done.stderr) is warned


SIGNALLED = "Crash detected! Execution was aborted by a termination signal."  # no matter who knows of it


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ((), ["a warning", "an error"]),
        (("--verbose",), ["Prefect's work", "a warning", "an error"]),
        (("-v", "--quiet"), ["an error"]),
    ],
)
def test_a_flow_shows_what_was_asked_for(say, words, shown):
    import logging

    from flows.command import _is_news

    say("--version", *words)
    records = [
        logging.makeLogRecord({"name": name, "levelno": level, "msg": text})
        for name, level, text in (
            ("prefect.flow_runs", logging.INFO, "Prefect's work"),
            ("jabert", logging.WARNING, "a warning"),
            ("jabert", logging.ERROR, "an error"),
            ("prefect.flow_runs", logging.ERROR, SIGNALLED),
        )
    ]
    assert [record.msg for record in records if _is_news(record)] == shown
    say("--version")


@pytest.mark.parametrize("words", [("--debug", "runs", "--set", "x"), ("runs", "--set", "x", "--debug")])
def test_debug_gives_the_traceback_wherever_it_stands(say, words):
    code, out, err = say(*words)
    assert (code, out) == (1, "")
    assert err.startswith("Traceback") and "JabertError: setting 'x' is not of the form" in err


def test_an_empty_store_is_no_error(say):
    for words, sentence in [
        (("models",), "no version of 'jabert' is registered yet"),
        (("runs",), "no run in experiment 'jabert' yet"),
    ]:
        assert sentence in say(*words)[1]
        code, out, _ = say(*words, "--json")
        assert (code, json.loads(out)) == (0, [])
    code, out, err = say("predict", "--", "--debug")  # a text, for all its looks
    assert (code, out) == (1, "")
    assert "has no champion yet; `jabert retrain --recipe sample` makes one" in err


def test_a_model_of_another_name_is_named(say, filled_store):
    other = ("--set", "tracking.model_name=other")
    code, _, err = say("predict", "京都", *other, filled_store)
    assert code == 1
    assert "'other' has no champion yet; what there is: --set tracking.model_name=jabert" in err
    assert "what there is: --set tracking.model_name=jabert" in say("models", *other, filled_store)[1]


def test_models_of_a_filled_store(say, filled_store):
    code, out, _ = say("models", filled_store, "--json")

    (version,) = json.loads(out)
    assert code == 0
    assert set(version) == {
        "version",
        "aliases",
        "weighted_f1",
        "run_id",
        "created",
        "promotion",
        "promoted_over",
        "reason",
    }
    assert (version["version"], version["aliases"], version["weighted_f1"]) == ("1", ["champion"], 0.75)
    table = say("models", filled_store)[1]
    assert all(word in table for word in ("champion", "0.7500", "there was no champion"))


def test_runs_are_listed_newest_first(say, filled_store):
    code, out, _ = say("runs", filled_store, "--json")

    failed, second, first = json.loads(out)
    assert code == 0
    assert [first["weighted_f1"], second["weighted_f1"], failed["weighted_f1"]] == [0.5, 0.75, None]
    assert (second["status"], second["version"], second["promoted"]) == ("FINISHED", "1", True)
    assert (failed["status"], failed["version"], failed["promoted"]) == ("FAILED", None, None)
    assert failed["reason"] == "JabertError: 京都.csv has no column label"
    assert first["seconds"] >= 0
    assert [run["run_id"] for run in json.loads(say("runs", filled_store, "--limit", "1", "--json")[1])] == [
        failed["run_id"]
    ]
    head, _, *rows = say("runs", filled_store)[1].splitlines()
    assert head.split() == ["started", "name", "status", "weighted_f1", "version", "reason"]
    assert [row.split()[3] for row in rows] == ["FAILED", "FINISHED", "FINISHED"]
    assert "京都.csv has no column label" in rows[0]


@pytest.mark.parametrize("words", [("models",), ("runs",), ("predict", "京都")], ids=" ".join)
def test_a_store_out_of_reach_is_one_sentence(say, closed_port, monkeypatch, words):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")  # jabert's own three take 15 seconds
    uri = f"http://127.0.0.1:{closed_port}"

    code, out, err = say(*words, "--set", f"tracking.uri={uri}")

    assert (code, out) == (1, "")
    assert err.startswith(f"jabert: tracking.uri {uri}: the MLflow store cannot be reached")
    assert err.count("\n") == 1


def test_a_password_is_in_no_sentence(say, closed_port, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    code, _, err = say("runs", "--set", f"tracking.uri=http://me:secret@127.0.0.1:{closed_port}")
    assert (code, "secret" in err) == (1, False)
    store = f"jabert: tracking.uri http://127.0.0.1:{closed_port}: the MLflow store cannot be reached"
    assert err.startswith(store)


def test_a_version_without_a_card_is_one_sentence(say, filled_store):
    code, out, err = say("models", "card", "1", filled_store)
    assert (code, out) == (1, "")
    assert err == "jabert: version 1 of 'jabert' has no card; `jabert models` tells what is known of it\n"


def test_a_champion_without_files_is_one_sentence(say, filled_store):
    code, out, err = say("predict", "京都", filled_store)

    assert (code, out) == (1, "")
    last = err.splitlines()[-1]  # in a process that loaded MLflow before, its log comes first
    assert last.startswith("jabert: version 1 of 'jabert' cannot be loaded")
    assert "Traceback" not in err


def test_a_prefect_server_that_goes_away_is_one_sentence(say, monkeypatch):
    def lose(words, **_):
        raise httpx.ConnectError("All connection attempts failed")

    monkeypatch.setattr("jabert.cli.entry.app", lose)
    code, _, err = say("retrain")
    assert code == 1
    assert err == "jabert: Prefect's server went away (ConnectError: All connection attempts failed)\n"


def test_a_prefect_server_that_is_away_is_one_sentence(toy_encoder, toy_table):
    # A process of its own: Prefect keeps the streams that it finds, and those of a test are closed after it.
    paths = ["--set", f"data.path={toy_table}", "--set", f"encoder.path={toy_encoder}"]
    command = [sys.executable, "-c", "from jabert.cli import main; main()", "featurize", *paths]
    environment = {**os.environ, "PREFECT_API_URL": "http://127.0.0.1:9/api"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines()[-1].startswith("jabert: PREFECT_API_URL http://127.0.0.1:9/api")


def test_encoder_inspect_describes_the_folder(say, toy_encoder):
    code, out, _ = say("encoder", "inspect", str(toy_encoder), "--json")

    facts = json.loads(out)
    assert code == 0
    assert set(facts["files"]) == {path.name for path in toy_encoder.iterdir()}
    sizes = [facts[name] for name in ("vocabulary", "hidden_size", "layers", "heads", "positions")]
    assert sizes == [320, 16, 2, 2, 64]
    assert facts["lower_case"] is True
    assert facts["lower_case_because"].startswith(
        "the vocabulary has 0 upper-case letters that no symbol makes"
    )
    assert facts["special_ids"]["<unk>"] == 0
    example = facts["example"]
    assert [example["ids"][0], example["ids"][-1]] == [
        facts["special_ids"][piece] for piece in ("[CLS]", "[SEP]")
    ]
    assert len(example["ids"]) == len(example["pieces"]) + 2
    assert "".join(example["pieces"]).replace("▁", "").startswith("京都")
    assert "vocabulary" in say("encoder", "inspect", str(toy_encoder))[1]


def test_an_encoder_of_the_packaged_one_s_name_is_meant_by_its_path(say, toy_encoder):
    shutil.copytree(toy_encoder, "jabert-mini")
    (Path("jabert-mini") / "bert_config.json").unlink()
    code, _, err = say("encoder", "init", "jabert-mini")
    assert (code, "encoders/jabert-mini/bert_config.json exists already" in err) == (1, True)
    code, out, _ = say("encoder", "init", "./jabert-mini", "--heads", "4")
    assert (code, out) == (0, "jabert-mini/bert_config.json\n")
    sizes = [
        json.loads(say("encoder", "inspect", name, "--json")[1])["hidden_size"]
        for name in ("./jabert-mini", "jabert-mini")
    ]
    assert sizes == [16, 96]


def test_encoder_inspect_counts_the_parameters_of_the_checkpoint(say, toy_encoder):
    import tensorflow as tf

    facts = json.loads(say("encoder", "inspect", str(toy_encoder), "--json")[1])

    variables = tf.train.list_variables(str(toy_encoder / "model.ckpt-1"))
    encoder = [shape for name, shape in variables if name.startswith(("bert/embeddings", "bert/encoder"))]
    assert facts["parameters"] == sum(int(pd.Series(shape).prod()) for shape in encoder)


def test_encoder_toml_decides_on_lower_case_and_names_the_licence(say, toy_encoder, tmp_path):
    folder = shutil.copytree(toy_encoder, tmp_path / "encoder")
    text = 'lower_case = false\nlicence = "MIT"\norigin = "京都"\n'
    (folder / "encoder.toml").write_text(text, encoding="utf-8")

    facts = json.loads(say("encoder", "inspect", str(folder), "--json")[1])

    assert (facts["lower_case"], facts["lower_case_because"]) == (False, "encoder.toml says so")
    assert (facts["licence"], facts["origin"]) == ("MIT", "京都")
    plain = json.loads(say("encoder", "inspect", str(toy_encoder), "--json")[1])
    assert facts["fingerprint"] != plain["fingerprint"]


def test_encoder_inspect_notes_what_is_not_used(say, toy_encoder, tmp_path):
    folder = shutil.copytree(toy_encoder, tmp_path / "encoder")
    for file in folder.glob("model.ckpt-1.*"):
        shutil.copy(file, folder / file.name.replace("-1.", "-2."))
    (folder / "checkpoint").write_text('model_checkpoint_path: "model.ckpt-2"\n', encoding="utf-8")
    note = "model.ckpt-2 is used, not model.ckpt-1; encoder.checkpoint chooses"
    assert json.loads(say("encoder", "inspect", str(folder), "--json")[1])["notes"] == [note]
    code, out, err = say("encoder", "inspect", str(folder))
    assert (code, err) == (0, f"note: {note}\n")
    assert note not in out


def test_encoder_import_writes_an_encoder_folder_once(say, tmp_path):
    with tarfile.open(Path(__file__).parents[1] / "hugging_face" / "models.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    source = str(tmp_path / "models" / "e5")
    code, out, err = say("encoder", "import", source, "made", "--prefix", "query: ")
    assert (code, out, err) == (0, "made\n", "")
    assert json.loads(say("encoder", "inspect", "made", "--json")[1])["prefix"] == "query: "
    code, out, err = say("encoder", "import", source, "made")
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert "the folder made is there already; give another folder" in err
    code, out, err = say("encoder", "import", source, "plain")
    assert (code, out) == (0, "plain\n")
    assert err.startswith("note: models of the E5 family were trained with prefixes: --prefix 'query: '")
    code, _, err = say("encoder", "inspect", source)
    assert code == 1
    assert f"this is a Hugging Face folder; `jabert encoder import {source} OUT`" in err


def test_encoder_init_writes_what_is_missing_once(say, toy_encoder, tmp_path):
    folder = shutil.copytree(toy_encoder, tmp_path / "encoder")
    config = folder / "bert_config.json"
    before = json.loads(config.read_text())
    config.unlink()

    code, out, _ = say("encoder", "init", str(folder), "--heads", "2")

    assert (code, out) == (0, f"{config}\n")
    assert json.loads(config.read_text()) == before
    code, out, err = say("encoder", "init", str(folder))
    assert (code, out) == (1, "")
    assert f"{config} exists already" in err


def test_data_knbc_writes_a_table(say, tmp_path):
    corpus = tmp_path / "corpus2"
    corpus.mkdir()
    for topic, tag in {
        "Gourmet": "グルメ",
        "Keitai": "携帯電話",
        "Kyoto": "京都観光",
        "Sports": "スポーツ",
    }.items():
        lines = [
            f"KN1_{topic}_1-1-{place}-01\t{text}\t\t\t\t\n"
            for place, text in enumerate([f"［{tag}］", "本文。"])
        ]
        (corpus / f"{topic}.tsv").write_text("".join(lines), encoding="euc_jp")

    code, out, _ = say("data", "knbc", str(tmp_path), "out.csv", "--json")

    assert (code, json.loads(out)) == (0, {"rows_read": 8, "tag_only": 4, "rows": 4})
    table = pd.read_csv("out.csv")
    assert list(table.columns) == ["text", "label", "group"]
    assert sorted(table["label"]) == ["グルメ", "スポーツ", "京都", "携帯電話"]
    assert json.loads(say("data", "knbc", str(tmp_path), "all.csv", "--keep-tags", "--json")[1])["rows"] == 8


def test_the_summary_says_what_became_of_the_run(capsys, monkeypatch):
    monkeypatch.setattr("jabert.cli.summary.which", lambda name: f"/bin/{name}")
    settings = load_settings("knbc", ["data.path=/corpus/knbc"])

    print_summary(RESULT, settings)

    out = capsys.readouterr().out
    assert "Version 4 of model 'jabert' is the new champion." in out
    for fact in (
        "0.7812 on the test rows (the champion before: 0.7500)",
        "tfidf 0.5000 (gain +0.2812, 95 % interval +0.2000 to +0.3000), majority 0.2500",
        RESULT["reason"],
        "train 2,650, validation 700, test 800",
        "4,000 texts computed, 150 reused",
        "108.2 (validate 8.0, train 100.2)",
        "/corpus/knbc, digest dddddddddddd",
        RESULT["run_id"],
        "models:/jabert/4",
        *RESULT["evidence"],
    ):
        assert fact in out
    commands = out.partition("Try next:\n")[2].splitlines()
    assert [command.split()[:2] for command in commands] == [
        ["jabert", "predict"],
        ["jabert", "report"],
        ["jabert", "models"],
        ["jabert", "ui"],
    ]
    assert "--set" not in out

    monkeypatch.setattr("jabert.cli.summary.which", lambda _: None)
    monkeypatch.setattr("sys.argv", [str(Path(".venv/bin/jabert").absolute()), "retrain"])
    print_summary(RESULT, settings)
    assert "\n  .venv/bin/jabert ui\n" in capsys.readouterr().out, "no shell finds the program otherwise"


def test_the_summary_of_a_model_that_was_not_promoted(capsys):
    reason = "a tie keeps the champion: weighted F1 0.7500 against 0.7500 of champion 3 on the same rows"
    settings = load_settings(None, ["tracking.uri=http://mlflow:5000", "tracking.model_name=news"])

    print_summary(
        {**RESULT, "weighted_f1": 0.75, "promoted": False, "outcome": "kept", "reason": reason}, settings
    )

    out = capsys.readouterr().out
    assert "Version 4 of model 'news' is registered; the champion stays." in out
    assert reason in out
    commands = out.partition("Try next:\n")[2].splitlines()
    assert "--set tracking.uri=http://mlflow:5000 --set tracking.model_name=news" in commands[0]
    assert commands[3].strip() == "open http://mlflow:5000"


def test_the_summary_has_each_warning_on_a_line_and_knows_where_there_is_no_champion_yet(capsys):
    warnings = ["2 rows repeat an earlier text, and were left out", "not met: Every class has ten rows"]
    result = {**RESULT, "champion_weighted_f1": None, "outcome": "kept", "warnings": warnings}

    print_summary(result, load_settings())

    out = capsys.readouterr().out
    assert "is registered; there is no champion yet." in out
    assert [line.strip() for line in out.splitlines() if "left out" in line or "not met" in line] == [
        f"warnings     {warnings[0]}",
        warnings[1],
    ]
    assert "4,150: train 2,650, validation 700, test 800" in out


def test_validate_tells_its_warnings_and_needs_no_encoder(say, tmp_path, caplog):
    rows = [f"京都の{n}番目の寺,京都\n電話の{n}番目の機種,電話" for n in range(30)]
    path = tmp_path / "文 表.csv"
    path.write_text("\n".join(["text,label", *rows, rows[0]]), encoding="utf-8")
    code, out, errors = say("validate", "--set", f"data.path={path}", "--json")
    told = json.loads(out)
    assert (code, told["success"], told["rows"]["rows_read"], told["rows"]["rows"]) == (0, True, 62, 60)
    assert told["warnings"][0].startswith("2 rows repeat an earlier text, and were left out")
    assert any("at least five" in warning for warning in told["warnings"])
    for warning in told["warnings"]:
        assert warning in errors + caplog.text  # which pytest takes from stderr


def test_the_summary_shows_no_password(capsys):
    overrides = ["data.path=https://me:secret@host/x.csv", "tracking.uri=http://me:secret@mlflow:5000"]

    print_summary(RESULT, load_settings(None, overrides))

    out = capsys.readouterr().out
    assert "secret" not in out
    assert "https://host/x.csv" in out
    assert "open http://mlflow:5000" in out


def test_the_summary_of_the_first_champion_points_to_the_report(capsys, tmp_path):
    settings = load_settings()
    report = Path(settings.tracking.artifacts) / RESULT["run_id"] / "artifacts" / "report.html"
    report.parent.mkdir(parents=True)
    report.touch()

    print_summary({**RESULT, "champion_weighted_f1": None, "baselines": {}}, settings)

    out = capsys.readouterr().out
    assert "no champion before" in out
    assert "baselines" not in out
    assert str(report) in out


def test_the_report_of_a_run_is_written_or_a_sentence_says_that_there_is_none(say):
    from jabert.tracking import tracked_run

    with tracked_run(load_settings()) as run:
        run.text("report.html", "<p>京都</p>")
    assert say("report", "--out", "newest.html") == (0, "newest.html\n", "")
    assert say("report", run.id, "--out", "named.html")[0] == 0
    assert Path("newest.html").read_text("utf-8") == Path("named.html").read_text("utf-8") == "<p>京都</p>"
    for unknown in ("0" * 32, "no such/run"):
        code, _, errors = say("report", unknown)
        assert code == 1 and errors.startswith(f"jabert: there is no run {unknown} with a report.html")


def test_a_reader_that_leaves_early_gets_no_traceback(start):
    read_end, write_end = os.pipe()
    os.close(read_end)
    process = start("--version", stdout=write_end)
    os.close(write_end)
    assert process.communicate()[1] == b""
    assert process.returncode == 1


def test_japanese_is_shown_in_a_locale_that_lacks_it(start, tmp_path):
    (tmp_path / "r.toml").write_text('[data]\nseed = "京都"', encoding="utf-8")
    plain = {
        name: value for name, value in os.environ.items() if not name.startswith(("LANG", "LC_", "PYTHON"))
    }
    ascii_locale = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}

    process = start("runs", "--recipe", "r.toml", env=plain | ascii_locale)

    assert "setting data.seed cannot be '京都'" in process.communicate()[1].decode("utf-8")
    assert process.returncode == 1


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)])
def test_a_signal_ends_it_without_a_traceback(start, name, code):
    os.mkfifo("recipe.toml")
    process = start("runs", "--recipe", "recipe.toml")
    with Path("recipe.toml").open("w"):  # opens as soon as jabert reads there, and leaves it waiting
        time.sleep(0.2)
        process.send_signal(getattr(signal, name))
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (code, b"", b"")


def test_the_ui_shows_the_store_and_leaves_no_process(start, filled_store):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    process = start("ui", filled_store, "--port", str(port), stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    assert process.stdout.readline().decode().startswith(f"{url} shows sqlite:///")
    wait_for(f"{url}/health")
    (server,) = children(process.pid)

    process.send_signal(signal.SIGINT)

    assert process.wait(timeout=20) == 0
    with pytest.raises(ProcessLookupError):
        os.killpg(server, 0)


def test_the_password_of_a_database_is_not_on_the_command_line_of_its_ui():
    uri = "postgresql://me:secret@database/mlflow"
    settings = load_settings(None, [f"tracking.uri={uri}"]).tracking
    assert not [word for word in ui._command(settings, 5000) if "secret" in word]
    assert ui._environment(settings)["MLFLOW_BACKEND_STORE_URI"] == uri


def test_a_taken_port_is_named(say, filled_store):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, out, err = say("ui", filled_store, "--port", str(port))
    assert (code, out) == (1, "")
    assert f"port {port} cannot be used" in err


def wait_for(url):
    for _ in range(300):
        try:
            with urllib.request.urlopen(url) as answer:
                return answer.read()
        except OSError:
            time.sleep(0.2)
    raise AssertionError(f"{url} does not answer")


def children(pid):
    listed = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True, check=True)
    return [int(line) for line in listed.stdout.split()]


@pytest.fixture
def features(toy_encoder, toy_table, say):
    """The options that lead to a filled feature store."""
    options = [f"data.path={toy_table}", f"encoder.path={toy_encoder}", "encoder.precision=float32"]
    folder = open_folder(toy_encoder)
    settings = load_settings(overrides=options)
    ids = Tokenizer(folder, settings.encoder)(["京都の話をした。", "料理の味", "昨日の試合"]).ids
    featurize(ids, folder, settings)
    return [word for option in options for word in ("--set", option)]


def test_the_feature_store_is_listed(say, features):
    code, out, _ = say("features", *features, "--json")
    (space,) = json.loads(out)
    assert (code, space["rows"], space["precision"]) == (0, 3, "float32")
    assert space["path"].startswith(str(Path(".jabert/features").resolve()))
    head, _, row = say("features", *features)[1].splitlines()
    assert head.split()[:3] == ["encoder", "layers", "engine"]
    assert space["encoder"][:12] in row


def test_an_empty_feature_store_is_said(say):
    code, out, _ = say("features")
    assert code == 0
    assert "is empty; `jabert featurize` fills it" in out


def test_features_of_an_encoder_among_a_run_s_artifacts_are_verified(say, features, toy_encoder):
    with tracked_run(load_settings()) as run:
        run.folder(toy_encoder, "encoder")
    code, out, _ = say("features", "verify", *features, "--set", f"encoder.path=runs:/{run.id}/encoder")
    assert (code, out.splitlines()[-1]) == (0, "no row differs")


def test_features_are_verified_and_a_damaged_file_is_named(say, features):
    code, out, _ = say("features", "verify", *features)
    assert (code, out.splitlines()[-1]) == (0, "no row differs")
    (path,) = Path(".jabert/features").resolve().glob("*/*.arrows")
    again = path.with_name(
        "another.arrows"
    )  # whose last batch is checked when it is opened, its first is not
    content = path.read_bytes()
    head = content.index(b"\xff\xff\xff\xff", 8)  # where the batch begins, behind the schema
    broken = bytearray(content[head:])
    broken[-20] ^= 1
    again.write_bytes(content[:head] + bytes(broken) + content[head:])
    code, out, _ = say("features", "verify", *features, "--json")
    found = json.loads(out)
    assert (code, found["ok"]) == (1, False)
    assert found["damaged"] == [f"{again}: batch 0 does not match its checksum; delete the file"]
