"""`jabert predict`: what it reads, and what it tells of the pieces of a text."""

import io
import json
import sys
import unicodedata
from pathlib import Path
from types import SimpleNamespace

import mlflow
import numpy as np
import pandas as pd
import pytest
import toy
import toy_champion
import toy_package

from jabert.cli import main
from jabert.evaluation.occlusion import Piece, occlude
from jabert.experiments.packaging import log_package
from jabert.files import write_json
from jabert.registry import open_registry
from jabert.tracking import tracked_run

TEXTS = toy.toy_rows()["text"].tolist()[:3]
LETTERS = sorted(set("".join(TEXTS)) - set("。"))


@pytest.fixture(scope="module")
def champions(tmp_path_factory, toy_encoder):
    """Options of the command line for a champion with an encoder, and for one without."""
    root = tmp_path_factory.mktemp("champions")
    network = toy_champion.settings_in(root, toy_encoder)
    toy_champion.make_champion(root, network)
    package = root / "package"
    kernel = np.random.default_rng(0).normal(0, 3, (len(LETTERS), 2))
    toy_package.write_ngrams(package / "linear", LETTERS, kernel, np.zeros(2))
    toy_package.write_about(package, ["京都", "電話"], {"linear": "ngrams"}, max_texts=5)
    linear = network.model_copy(
        update={"tracking": network.tracking.model_copy(update={"model_name": "linear"})}
    )
    with tracked_run(linear) as run:
        uri = log_package(package, write_json(root / "learned.json", {"rows": [], "groups": []}), run)
    version = mlflow.register_model(uri, "linear").version
    run.client.set_registered_model_alias("linear", "champion", version)
    return {"network": network, "linear": linear}


@pytest.fixture
def say(capsys):
    """The command `predict` of a champion: words in; exit code, stdout and stderr out."""

    def call(settings, *words):
        tracking = settings.tracking
        options = (
            "--set",
            f"tracking.uri={tracking.uri}",
            "--set",
            f"tracking.model_name={tracking.model_name}",
        )
        with pytest.raises(SystemExit) as ended:
            main(["predict", *options, *words])
        return ended.value.code, *capsys.readouterr()

    return call


def on_stdin(monkeypatch, content):
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(content)))


def test_a_dash_is_stdin_and_a_file_is_read_by_lines(champions, say, monkeypatch, tmp_path):
    """More than the model takes at a time; blank lines, line ends and mark of Windows don't count."""
    lines = [f"{text}{number}" for text in TEXTS for number in range(3)]
    lines[0] += "\u2028\x0b\x85が続く"  # no ends of lines, though Python takes them for such
    content = ("\ufeff" + "\r\n".join(["", *lines, "　", ""])).encode()
    (tmp_path / "texts.txt").write_bytes(content)
    expected = json.loads(say(champions["linear"], "--json", *lines)[1])
    on_stdin(monkeypatch, content)
    assert json.loads(say(champions["linear"], "--json", "-")[1]) == expected
    read = json.loads(say(champions["linear"], "--json", "--file", str(tmp_path / "texts.txt"))[1])
    assert read == expected and [row["text"] for row in read] == lines
    on_stdin(monkeypatch, content)
    assert json.loads(say(champions["linear"], "--json", "--file", "-")[1]) == expected


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"\n \n", "texts.txt has no line with a text"),
        (
            "京都".encode("cp932"),
            "texts.txt is not UTF-8 text; `jabert score` reads tables in other encodings",
        ),
        (None, "texts.txt cannot be read ("),
    ],
)
def test_lines_that_cannot_be_read_are_one_sentence(champions, say, tmp_path, content, sentence):
    if content is not None:
        (tmp_path / "texts.txt").write_bytes(content)
    code, out, err = say(champions["linear"], "--file", str(tmp_path / "texts.txt"))
    assert (code, out) == (1, "")
    assert sentence in err and err.count("\n") == 1


def test_more_lines_than_may_be_held_are_one_sentence(champions, say, monkeypatch, tmp_path):
    content = ("京都\n" * 100).encode()
    most = f"data.max_bytes={len(content) - 1}"
    (tmp_path / "texts.txt").write_bytes(content)
    assert say(champions["linear"], "--file", str(tmp_path / "texts.txt"), "--quiet")[0] == 0
    with Path("/dev/zero").open("rb") as endless:
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=endless))
        for name, words in (("texts.txt", ("--file", str(tmp_path / "texts.txt"))), ("stdin", ("-",))):
            code, out, err = say(champions["linear"], "--set", most, *words)
            assert (code, out) == (1, "")
            assert f"{name} has more bytes than the 699 that data.max_bytes allows" in err
            assert err.count("\n") == 1 and "`jabert score`" in err


@pytest.mark.parametrize("words", [(), ("京都", "--file", "x.txt")])
def test_texts_come_from_one_place(champions, say, words):
    code, out, err = say(champions["linear"], *words)
    assert code == 2 and "give either TEXT… or --file FILE" in out + err


@pytest.mark.parametrize("kind", ["network", "linear"])
def test_each_piece_has_the_probability_that_is_lost_without_it(champions, say, kind):
    settings = champions[kind]
    rows = json.loads(say(settings, "--json", "--explain", *TEXTS)[1])
    classifier = open_registry(settings).load_champion().unwrap_python_model()
    labels = classifier.about["labels"]
    for row, text in zip(rows, TEXTS, strict=True):
        pieces = row["explanation"]["pieces"]
        words = [piece["text"] for piece in pieces]
        assert "".join(words) == text and len(words) > 1
        assert row["explanation"]["label"] == row["label"]
        column = labels.index(row["label"])
        for place, piece in enumerate(pieces):
            left = "".join(words[:place] + words[place + 1 :])
            lost = classifier.answer([text])[0, column] - classifier.answer([left])[0, column]
            assert piece["effect"] == pytest.approx(lost, abs=1e-4)
    assert max(abs(piece["effect"]) for row in rows for piece in row["explanation"]["pieces"]) > 0.05


def test_people_read_the_pieces_and_which_are_unknown(champions, say):
    code, out, _ = say(champions["network"], "--explain", f"{TEXTS[0]}😀", "電話")
    assert code == 0
    first, second = out.split("\n\n")
    assert first.splitlines()[0] == f"{TEXTS[0]}😀"
    assert "; without a piece this is lower by:" in first.splitlines()[1]
    assert [line.split() for line in first.splitlines()][-1][1:] == ["😀", "(unknown)"]
    assert second.splitlines()[0] == "電話"


def test_the_pieces_are_those_of_the_tokenizer(champions):
    """Of lower-cased text with the letters as they stand in it, spaces with the piece before."""
    from jabert.encoder import Tokenizer, open_folder

    settings = champions["network"]
    classifier = open_registry(settings).load_champion().unwrap_python_model()
    tokenizer = Tokenizer(open_folder(settings.encoder.path), settings.encoder)
    text = f"{TEXTS[0]} ＳＮＳの 通知"
    parts = classifier.parts(text)
    assert "".join(part for part, _ in parts) == text
    shown = [piece.replace("▁", "") for piece in tokenizer.pieces(text)]
    forms = [unicodedata.normalize("NFKC", part).lower().strip() for part, _ in parts]
    assert list(filter(None, forms)) == list(filter(None, shown))


def test_a_long_text_is_taken_apart_into_fewer_parts():
    asked = []

    def answer(texts, origins):
        asked.extend(texts)
        return np.array([[text.count("京") / 1000, 1 - text.count("京") / 1000] for text in texts])

    divided = [[("京", True), ("都", False)] * 500, [("a", True)]]
    long, short = occlude(divided, [0, 1], answer)
    assert len(long) <= 64 and "".join(piece.text for piece in long) == "京都" * 500
    assert all(
        not piece.known and piece.effect == pytest.approx(piece.text.count("京") / 1000) for piece in long
    )
    assert short == [Piece("a", True, None)], "nothing is left without it"
    asked.clear()
    occlude(divided[:1], None, answer, work=3000)
    assert len(asked) == 5, "four parts, and the whole"


def test_a_model_of_an_earlier_version_is_explained_by_characters(champions, monkeypatch):
    from jabert.registry import explain
    from jabert.runtime.text_classifier import TextClassifier

    model = open_registry(champions["linear"]).load_champion()
    monkeypatch.delattr(type(model.unwrap_python_model()), "parts")
    assert not hasattr(model.unwrap_python_model(), "parts") and hasattr(TextClassifier, "parts")
    (pieces,) = explain(model, pd.DataFrame({"text": ["京都。"]}))
    assert [piece.text for piece in pieces] == ["京", "都", "。"]
