"""Encoder folders with a file that no library should be left alone with: one sentence with its name."""

import json
import shutil

import pytest

from jabert.cli import main
from jabert.config import EncoderSettings
from jabert.encoder import Tokenizer, open_folder
from jabert.encoder.folder import read_variables
from jabert.errors import JabertError


def make_folder(path):
    path.unlink()
    path.mkdir()


def put(name, content):
    return lambda folder: (folder / name).write_text(content, encoding="utf-8")


def with_size(value):
    def change(folder):
        content = json.loads((folder / "bert_config.json").read_text(encoding="utf-8"))
        marked = json.dumps(content | {"hidden_size": "HERE"}).replace('"HERE"', value)
        (folder / "bert_config.json").write_text(marked, encoding="utf-8")

    return change


DAMAGES = {
    "a tokenizer that is a folder": (lambda folder: make_folder(folder / "toy-ja.model"), "toy-ja.model"),
    "an index that is a folder": (lambda folder: make_folder(folder / "model.ckpt-1.index"), "ckpt-1"),
    "weights that are a folder": (
        lambda folder: make_folder(folder / "model.ckpt-1.data-00000-of-00001"),
        "ckpt-1",
    ),
    "a configuration that is a folder": (
        lambda folder: make_folder(folder / "bert_config.json"),
        "bert_config",
    ),
    "nested deep": (put("bert_config.json", "[" * 100_000), "bert_config.json"),
    "a size nested deep": (with_size("[" * 900 + "]" * 900), "bert_config.json"),
    "a size of 5,000 digits": (with_size("9" * 5000), "bert_config.json"),
    "a size of 4,000 digits": (with_size("9" * 4000), "bert_config.json"),
    "settings nested deep": (put("encoder.toml", "a = " + "[" * 9000), "encoder.toml"),
    "a token id of 5,000 digits": (put("encoder.toml", "cls_id = " + "9" * 5000), "encoder.toml"),
    "a token id of 4,000 digits": (put("encoder.toml", "cls_id = " + "9" * 4000), "encoder.toml"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_file_of_an_encoder_is_named_in_one_sentence(name, toy_encoder, tmp_path):
    change, named = DAMAGES[name]
    folder = shutil.copytree(toy_encoder, tmp_path / "encoder")
    change(folder)
    with pytest.raises(JabertError) as error:
        opened = open_folder(folder)
        Tokenizer(opened, EncoderSettings())
        read_variables(opened)
    assert named in str(error.value) and "\n" not in str(error.value) and len(str(error.value)) < 5000


@pytest.mark.parametrize("name", ["a size nested deep", "a tokenizer that is a folder"])
def test_the_command_line_says_it_too(name, toy_encoder, tmp_path, capsys):
    change, named = DAMAGES[name]
    folder = shutil.copytree(toy_encoder, tmp_path / "encoder")
    change(folder)
    with pytest.raises(SystemExit) as end:
        main(["encoder", "inspect", str(folder)])
    said = capsys.readouterr().err
    assert end.value.code == 1 and named in said and "Traceback" not in said
