import json
import os
import shutil

import pytest
import toy

from jabert.config import EncoderSettings
from jabert.encoder import Tokenizer, load_encoder, open_folder
from jabert.encoder.inspection import describe, init_config
from jabert.errors import JabertError

DATA = "model.ckpt-1.data-00000-of-00001"
QUERY = "bert/encoder/layer_1/attention/self/query/kernel"


@pytest.fixture
def encoder(toy_encoder, tmp_path):
    """A copy of the toy encoder that a test may break."""
    return shutil.copytree(toy_encoder, tmp_path / "encoder")


def with_config(folder, **values):
    path = folder / "bert_config.json"
    config = json.loads(path.read_text(encoding="utf-8")) | values
    path.write_text(json.dumps({k: v for k, v in config.items() if v is not ...}), encoding="utf-8")
    return folder


def with_weights(folder, change):
    weights = toy.read_checkpoint(folder / "model.ckpt-1")
    change(weights)
    toy.write_checkpoint(folder / "model.ckpt-1", weights)
    return folder


def load(folder):
    return load_encoder(open_folder(folder), EncoderSettings(device="cpu"))


def sentence(error):
    text = str(error.value)
    assert "\n" not in text
    return text


def test_the_files_are_found_by_their_endings(encoder):
    folder = open_folder(encoder)
    assert folder.sentencepiece == encoder / "toy-ja.model"
    assert folder.checkpoint == encoder / "model.ckpt-1"
    assert folder.config.hidden_size == 16
    assert folder.settings == {}


def test_no_path_at_all_names_the_setting():
    with pytest.raises(JabertError, match=r"encoder\.path is not set"):
        open_folder(None)


def test_a_path_that_is_no_folder_is_named(tmp_path):
    with pytest.raises(JabertError, match=f"encoder.path {tmp_path / 'nowhere'} is not a folder"):
        open_folder(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("toy-ja.model", r"must hold one SentencePiece model \(\*\.model\), and there is none$"),
        ("model.ckpt-1.index", r"must hold one checkpoint index \(\*\.ckpt-\*\.index\), and there is none$"),
        (DATA, r"has an index but no file model\.ckpt-1\.data-"),
        ("bert_config.json", r"bert_config\.json is missing; `jabert encoder init .*` writes it"),
    ],
)
def test_a_missing_file_is_named(encoder, name, message):
    (encoder / name).unlink()
    with pytest.raises(JabertError, match=message) as error:
        open_folder(encoder)
    assert str(encoder) in sentence(error)


@pytest.mark.parametrize("name", ["toy-ja.model", "model.ckpt-1.index"])
def test_two_files_of_a_kind_are_both_named(encoder, name):
    other = name.replace("toy", "other").replace("-1", "-2")
    shutil.copy(encoder / name, encoder / other)
    with pytest.raises(JabertError, match=r"must hold one .*, not 2: ") as error:
        open_folder(encoder)
    assert name in sentence(error)
    assert other in sentence(error)


def test_a_configuration_that_is_no_json_is_named(encoder):
    (encoder / "bert_config.json").write_text("{hidden_size: 16}", encoding="utf-8")
    with pytest.raises(JabertError, match=r"bert_config\.json is not JSON: "):
        open_folder(encoder)


def test_a_size_that_the_configuration_lacks_is_named(encoder):
    with pytest.raises(JabertError, match=r"bert_config\.json lacks 'hidden_size'"):
        open_folder(with_config(encoder, hidden_size=...))


@pytest.mark.parametrize("value", ["16", 0, -2, 1.5, None, True])
@pytest.mark.parametrize("name", ["hidden_size", "num_attention_heads", "vocab_size"])
def test_a_size_that_is_no_size_is_named(encoder, name, value):
    with pytest.raises(
        JabertError, match=rf"bert_config\.json: {name} must be a positive whole number, not "
    ):
        open_folder(with_config(encoder, **{name: value}))


@pytest.mark.parametrize("text", ["[]", "3", "null", '"BERT"'])
def test_a_configuration_that_is_no_table_is_named(encoder, text):
    (encoder / "bert_config.json").write_text(text, encoding="utf-8")
    with pytest.raises(JabertError, match=r"bert_config\.json is not a JSON object"):
        open_folder(encoder)


def test_heads_that_do_not_divide_the_hidden_size_are_named(encoder):
    with pytest.raises(JabertError, match="3 attention heads do not divide hidden_size 16"):
        open_folder(with_config(encoder, num_attention_heads=3))


def test_another_number_of_segments_is_refused(encoder):
    with pytest.raises(JabertError, match="type_vocab_size is 1; keras-bert knows only 2"):
        open_folder(with_config(encoder, type_vocab_size=1))


@pytest.mark.parametrize("text", ["lower_case = ", "lower_case = 1"])
def test_a_bad_encoder_toml_is_named(encoder, text):
    (encoder / "encoder.toml").write_text(text, encoding="utf-8")
    with pytest.raises(JabertError, match=r"encoder\.toml"):
        open_folder(encoder)


def test_a_missing_variable_is_named(encoder):
    with_weights(encoder, lambda weights: weights.pop(QUERY))
    with pytest.raises(JabertError, match=f"checkpoint {encoder}/model.ckpt-1 has no variable {QUERY}$"):
        load(encoder)


def test_a_misshapen_variable_is_named_with_both_shapes(encoder):
    with_weights(encoder, lambda weights: weights.update({QUERY: weights[QUERY][:, :8]}))
    with pytest.raises(JabertError) as error:
        load(encoder)
    assert sentence(error) == (
        f"checkpoint {encoder}/model.ckpt-1: variable {QUERY} has shape (16, 8), "
        "but bert_config.json makes it (16, 16)"
    )


@pytest.mark.parametrize("layers", [1, 3, 10**9])
def test_a_configuration_with_other_layers_than_the_checkpoint_is_refused(encoder, layers):
    sentence = f"has 2 layers, but bert_config.json says num_hidden_layers = {layers}$"
    with pytest.raises(JabertError, match=sentence):
        load(with_config(encoder, num_hidden_layers=layers))


@pytest.mark.parametrize("size", [0, 1000])
def test_weights_that_are_cut_off_are_found_by_an_inspection(encoder, size):
    (shard,) = encoder.glob("*.data-*")
    os.truncate(shard, size)
    with pytest.raises(JabertError, match=r"checkpoint .*model\.ckpt-1 cannot be read: "):
        describe(encoder)


def test_a_licence_is_a_string(encoder):
    (encoder / "encoder.toml").write_text("licence = 2020-01-01\n", encoding="utf-8")
    with pytest.raises(JabertError, match=r"encoder\.toml: licence must be a string, not "):
        describe(encoder)


def test_the_heads_of_pretraining_may_be_missing(encoder):
    def drop(weights):
        for name in [name for name in weights if name.startswith(("cls/", "bert/pooler"))]:
            del weights[name]

    assert load(with_weights(encoder, drop)).hidden_size == 16


def test_an_activation_that_nobody_knows_is_named(encoder):
    with pytest.raises(JabertError, match=r"bert_config\.json: hidden_act .*'geglu'"):
        load(with_config(encoder, hidden_act="geglu"))


def test_sentencepiece_and_configuration_of_different_size_are_named(encoder):
    weights = toy.random_weights(toy.CONFIG | {"vocab_size": 300})
    toy.write_checkpoint(encoder / "model.ckpt-1", weights)
    folder = open_folder(with_config(encoder, vocab_size=300))
    with pytest.raises(JabertError, match=r"toy-ja\.model has 320 pieces, but .* vocab_size = 300"):
        Tokenizer(folder, EncoderSettings())


def test_a_sentencepiece_model_without_special_tokens_is_named(encoder):
    toy.train_sentencepiece(encoder / "toy-ja.model", 320, specials=["[PAD]", "[CLS]", "[MASK]"])
    with pytest.raises(JabertError, match=r"toy-ja\.model has no piece \[SEP\]"):
        Tokenizer(open_folder(encoder), EncoderSettings())


@pytest.mark.parametrize("content", [b"", b"not a model", b"\x00" * 1000])
def test_a_file_that_is_no_sentencepiece_model_is_named(encoder, content):
    (encoder / "toy-ja.model").write_bytes(content)
    with pytest.raises(JabertError, match=r"toy-ja\.model is not a SentencePiece model"):
        Tokenizer(open_folder(encoder), EncoderSettings())


def truncated(path):
    os.truncate(path, path.stat().st_size // 2)


def flipped(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


def emptied(path):
    os.truncate(path, 0)


@pytest.mark.parametrize("name", ["model.ckpt-1.index", DATA])
@pytest.mark.parametrize("damage", [truncated, flipped, emptied])
def test_a_corrupt_checkpoint_is_named_in_a_sentence(encoder, name, damage):
    damage(encoder / name)
    with pytest.raises(JabertError, match=f"checkpoint {encoder}/model.ckpt-1 cannot be read: ") as error:
        load(encoder)
    assert len(sentence(error)) < 500


def test_a_missing_shard_of_the_checkpoint_is_named(encoder):
    (encoder / DATA).rename(encoder / "model.ckpt-1.data-00000-of-00002")
    with pytest.raises(JabertError, match=f"checkpoint {encoder}/model.ckpt-1 cannot be read: "):
        load(encoder)


# bert_config.json made from the checkpoint

SIZES = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "max_position_embeddings": 64,
    "num_hidden_layers": 2,
    "type_vocab_size": 2,
    "vocab_size": 320,
}


@pytest.fixture
def bare(encoder):
    """The toy encoder as one downloads it: without bert_config.json."""
    (encoder / "bert_config.json").unlink()
    return encoder


def test_init_reads_the_sizes_from_the_checkpoint(bare):
    path, remarks = init_config(bare, heads=2)
    written = json.loads(path.read_text(encoding="utf-8"))
    assert path == bare / "bert_config.json"
    assert remarks == []
    assert written == toy.CONFIG


def test_init_assumes_64_columns_a_head_and_says_so(bare):
    path, remarks = init_config(bare)
    assert json.loads(path.read_text(encoding="utf-8"))["num_attention_heads"] == 1  # 16 columns
    assert len(remarks) == 1
    assert "num_attention_heads = 1 is assumed" in remarks[0]


BERT_JAPANESE_INI = """\
[DEFAULT]
tag = 2018-06-01

[SENTENCEPIECE]
prefix = wiki-ja
vocab_size = 320
ctl_symbols = [PAD],[CLS],[SEP],[MASK]

[BERT-CONFIG]
attention_probs_dropout_prob = 0.2
hidden_act = gelu
hidden_size = 16
max_position_embeddings = 64
num_attention_heads = 4
"""


def test_init_takes_what_shapes_cannot_tell_from_config_ini(bare):
    (bare / "config.ini").write_text(BERT_JAPANESE_INI, encoding="utf-8")
    path, remarks = init_config(bare)
    written = json.loads(path.read_text(encoding="utf-8"))
    assert remarks == []
    assert (written["num_attention_heads"], written["attention_probs_dropout_prob"]) == (4, 0.2)
    assert {name: written[name] for name in SIZES} == SIZES
    assert open_folder(bare).config.num_attention_heads == 4


def test_heads_on_the_command_line_win_over_config_ini(bare):
    (bare / "config.ini").write_text(BERT_JAPANESE_INI, encoding="utf-8")
    path, _ = init_config(bare, heads=8)
    assert json.loads(path.read_text(encoding="utf-8"))["num_attention_heads"] == 8


def test_a_config_ini_that_contradicts_the_checkpoint_is_named(bare):
    text = BERT_JAPANESE_INI.replace("hidden_size = 16", "hidden_size = 768")
    (bare / "config.ini").write_text(text, encoding="utf-8")
    with pytest.raises(JabertError, match="says hidden_size = 768, the checkpoint has 16"):
        init_config(bare)
    assert not (bare / "bert_config.json").exists()


@pytest.mark.parametrize(
    "line", ["num_attention_heads = four", "num_attention_heads", "hidden_dropout_prob = nan"]
)
def test_a_config_ini_that_cannot_be_read_is_named(bare, line):
    (bare / "config.ini").write_text(f"[BERT-CONFIG]\n{line}\n", encoding="utf-8")
    with pytest.raises(JabertError, match=r"config\.ini"):
        init_config(bare)


def test_an_activation_of_config_ini_that_nobody_knows_is_refused(bare):
    (bare / "config.ini").write_text("[BERT-CONFIG]\nhidden_act = swish\n", encoding="utf-8")
    with pytest.raises(JabertError, match="hidden_act must be one of gelu, linear, relu, tanh, not 'swish'"):
        init_config(bare)
    assert not (bare / "bert_config.json").exists()


def test_an_existing_configuration_is_not_overwritten(encoder):
    before = (encoder / "bert_config.json").read_bytes()
    with pytest.raises(JabertError, match=r"bert_config\.json exists already"):
        init_config(encoder)
    assert (encoder / "bert_config.json").read_bytes() == before


@pytest.mark.parametrize(
    ("heads", "sentence"),
    [
        (0, "num_attention_heads must be a positive whole number, not 0"),
        (-1, "num_attention_heads must be a positive whole number, not -1"),
        (3, "3 attention heads do not divide hidden_size 16"),
    ],
)
def test_a_number_of_heads_that_cannot_be_is_refused(bare, heads, sentence):
    with pytest.raises(JabertError, match=sentence):
        init_config(bare, heads=heads)
    assert not (bare / "bert_config.json").exists()


def test_a_checkpoint_of_something_else_is_named(bare):
    toy.write_checkpoint(bare / "model.ckpt-1", {"dense/kernel": toy.np.ones((2, 2), dtype="float32")})
    with pytest.raises(
        JabertError, match="is not Google BERT's: no variable 'bert/embeddings/word_embeddings'"
    ):
        init_config(bare)


# Fingerprint


def test_the_fingerprint_is_that_of_the_contents_alone(encoder, toy_encoder, tmp_path):
    elsewhere = tmp_path / "deep" / "other name"
    shutil.copytree(encoder, elsewhere)
    (elsewhere / "toy-ja.model").rename(elsewhere / "wiki.model")
    (elsewhere / DATA).touch()
    (elsewhere / "README").write_text("not part of it", encoding="utf-8")
    assert open_folder(elsewhere).fingerprint == open_folder(toy_encoder).fingerprint


@pytest.mark.parametrize("name", ["toy-ja.model", "model.ckpt-1.index", DATA])
def test_the_fingerprint_changes_with_a_byte_of_a_file(encoder, name):
    before = open_folder(encoder).fingerprint
    flipped(encoder / name)
    assert open_folder(encoder).fingerprint != before


def test_the_fingerprint_changes_with_the_configuration_but_not_with_its_layout(encoder):
    before = open_folder(encoder).fingerprint
    path = encoder / "bert_config.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")), indent=4), encoding="utf-8")
    assert open_folder(encoder).fingerprint == before
    assert open_folder(with_config(encoder, num_attention_heads=4)).fingerprint != before


def test_the_fingerprint_changes_with_lower_case_but_not_with_a_note_on_the_licence(encoder):
    before = open_folder(encoder).fingerprint
    (encoder / "encoder.toml").write_text("licence = 'MIT'\npublished = 2019-01-01\n", encoding="utf-8")
    assert open_folder(encoder).fingerprint == before
    (encoder / "encoder.toml").write_text("lower_case = false\n", encoding="utf-8")
    assert open_folder(encoder).fingerprint != before
