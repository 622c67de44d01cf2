import json
import os
import shutil

import pytest
import toy

from jabert.config import EncoderSettings, decisive, load_settings
from jabert.encoder import Tokenizer, folder_of, load_encoder, open_folder
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
    assert folder.tokenizer == encoder / "toy-ja.model"
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
        ("model.ckpt-1.index", r"must hold a checkpoint \(\*\.index and \*\.data-…\), and there is none$"),
        (DATA, r"has an index but no file model\.ckpt-1\.data-"),
        ("bert_config.json", r"bert_config\.json is missing; `jabert encoder init .*` writes it"),
    ],
)
def test_a_missing_file_is_named(encoder, name, message):
    (encoder / name).unlink()
    with pytest.raises(JabertError, match=message) as error:
        open_folder(encoder)
    assert str(encoder) in sentence(error)


def test_two_sentencepiece_models_are_both_named(encoder):
    shutil.copy(encoder / "toy-ja.model", encoder / "other.model")
    with pytest.raises(JabertError, match=r"not 2: other\.model, toy-ja\.model"):
        open_folder(encoder)


# Names of checkpoints


def renamed(folder, *names):
    """The folder with its checkpoint under these names."""
    files = sorted(folder.glob("model.ckpt-1.*"))
    for name in names:
        for file in files:
            shutil.copy(file, folder / file.name.replace("model.ckpt-1", name))
    for file in files:
        file.unlink()
    return folder


@pytest.mark.parametrize(
    "name", ["model.ckpt", "bert_model.ckpt", "model.ckpt-1400000", "wiki-ja", "ckpt.1-2"]
)
def test_a_checkpoint_may_have_any_name(encoder, toy_encoder, name):
    folder = open_folder(renamed(encoder, name))
    assert folder.checkpoint == encoder / name
    assert folder.fingerprint == open_folder(toy_encoder).fingerprint
    assert load(encoder).hidden_size == 16


@pytest.mark.parametrize(
    "line",
    [
        'model_checkpoint_path: "b.ckpt"\nall_model_checkpoint_paths: "a.ckpt"\n',
        'model_checkpoint_path: "/home/me/out/b.ckpt"',
        "model_checkpoint_path: 'C:\\\\out\\\\b.ckpt'",
    ],
)
def test_of_several_checkpoints_the_file_checkpoint_names_one(encoder, line):
    renamed(encoder, "a.ckpt", "b.ckpt")
    (encoder / "checkpoint").write_text(line, encoding="utf-8")
    assert open_folder(encoder).checkpoint.name == "b.ckpt"


def test_of_several_checkpoints_the_setting_chooses_one(encoder):
    renamed(encoder, "a.ckpt", "b.ckpt")
    (encoder / "checkpoint").write_text('model_checkpoint_path: "b.ckpt"', encoding="utf-8")
    for name in ("a.ckpt", "a.ckpt.index"):
        settings = load_settings(None, [f"encoder.path={encoder}", f"encoder.checkpoint={name}"])
        assert folder_of(settings.encoder).checkpoint.name == "a.ckpt"
        assert "encoder.checkpoint" not in decisive(settings, ["encoder"])
    with pytest.raises(
        JabertError, match=r"encoder\.checkpoint c\.ckpt is not in .*, but: a\.ckpt, b\.ckpt$"
    ):
        open_folder(encoder, checkpoint="c.ckpt")


@pytest.mark.parametrize("text", [None, "", 'model_checkpoint_path: "c.ckpt"', "\x00\xff"])
def test_several_checkpoints_of_which_none_is_named_are_all_said_with_the_remedy(encoder, text):
    renamed(encoder, "a.ckpt", "b.ckpt")
    if text is not None:
        (encoder / "checkpoint").write_bytes(text.encode("latin-1"))
    with pytest.raises(JabertError, match=r"has 2 checkpoints, a\.ckpt, b\.ckpt: set encoder\.checkpoint to"):
        open_folder(encoder)


def test_a_numbered_checkpoint_beside_another_is_the_one_that_earlier_versions_took(encoder):
    shutil.copy(encoder / "model.ckpt-1.index", encoder / "lm.index")
    assert open_folder(encoder).checkpoint.name == "model.ckpt-1"


def test_what_is_ignored_is_noted(encoder):
    with_weights(
        encoder, lambda weights: weights.update({f"global_{i}": toy.np.zeros(1, "f") for i in "abcd"})
    )
    with_config(encoder, pooler_type="first_token_transform", hidden_dropout_prob=0.1)
    assert describe(encoder)["notes"] == [
        "bert_config.json: ignored, pooler_type",
        "model.ckpt-1: ignored, 4 variables that are not the encoder's: global_a, global_b, global_c …",
    ]


def test_a_table_may_have_more_rows_than_there_are_pieces(encoder, toy_encoder):
    def grow(weights):
        table = weights["bert/embeddings/word_embeddings"]
        weights["bert/embeddings/word_embeddings"] = toy.np.pad(table, ((0, 32), (0, 0)), constant_values=9)

    with_weights(encoder, grow)
    ids = Tokenizer(open_folder(toy_encoder), EncoderSettings())(["昨日は試合の話をした。"]).ids
    exactly = {"device": "cpu", "precision": "float32"}
    expected = load_encoder(open_folder(toy_encoder), EncoderSettings(**exactly))(ids)
    for rows in (320, 352):  # with either size in bert_config.json
        with_config(encoder, vocab_size=rows)
        again = Tokenizer(open_folder(encoder), EncoderSettings())(["昨日は試合の話をした。"]).ids
        assert again[0].tolist() == ids[0].tolist()
        for engine in ("openvino", "reference", "tensorflow"):
            settings = EncoderSettings(engine=engine, **exactly)
            assert toy.np.abs(load_encoder(open_folder(encoder), settings)(ids) - expected).max() < 1e-4
        assert describe(encoder)["notes"] == [
            "the table of pieces has 352 rows, the tokenizer 320 pieces: no text has the rest"
        ]


# Other kinds of folders


def test_a_hugging_face_folder_is_told_how_to_be_imported(tmp_path):
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    with pytest.raises(JabertError, match=r"this is a Hugging Face folder; `jabert encoder import .* OUT`"):
        open_folder(tmp_path)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("model.onnx", "an encoder in ONNX must be called encoder.onnx"),
        ("saved_model.pb", "a SavedModel is not read; take the checkpoint"),
        ("uncased/model.ckpt.index", "and there is none, but in .*/uncased: give that folder"),
    ],
)
def test_a_folder_of_another_kind_is_told_what_to_give(tmp_path, name, message):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).touch()
    with pytest.raises(JabertError, match=message):
        open_folder(tmp_path)


def test_an_archive_and_a_name_of_a_hub_are_told_what_to_give(tmp_path):
    (tmp_path / "encoder.zip").touch()
    with pytest.raises(JabertError, match=r"encoder\.zip is not a folder, but a file: unpack it"):
        open_folder(tmp_path / "encoder.zip")
    with pytest.raises(JabertError, match="somebody/bert is not a folder; an encoder is not downloaded"):
        open_folder("somebody/bert")


def test_a_checkpoint_of_keras_is_said_to_be_one(encoder):
    import tensorflow as tf

    for file in encoder.glob("model.ckpt-1.*"):
        file.unlink()
    tf.train.Checkpoint(x=tf.Variable(1.0)).write(str(encoder / "model.ckpt"))
    with pytest.raises(
        JabertError, match="it is one of Keras; take the checkpoint in the form of google-res"
    ):
        load(with_config(encoder, num_hidden_layers=1))


@pytest.mark.parametrize(
    ("name", "value"), [("embedding_size", 8), ("position_embedding_type", "relative_key")]
)
def test_a_configuration_that_is_not_bert_s_is_refused(encoder, name, value):
    with pytest.raises(JabertError, match=f"bert_config.json: {name} is {value!r}; only BERT's own"):
        open_folder(with_config(encoder, **{name: value}))


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


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ({"vocab_size": 2**31}, r"vocab_size must be 2,147,483,647 at most, not 2147483648"),
        ({"layer_norm_eps": 2}, r"layer_norm_eps must be a number from 0 to 1, not 2"),
        ({"layer_norm_eps": "1e-12"}, r"layer_norm_eps must be a number from 0 to 1, not '1e-12'"),
        ({"num_attention_heads": 3}, r"3 attention heads do not divide hidden_size 16"),
        ({"type_vocab_size": 1}, r"type_vocab_size is 1; keras-bert knows only 2"),
    ],
)
def test_a_number_that_no_bert_has_is_named(encoder, setting, sentence):
    with pytest.raises(JabertError, match=rf"bert_config\.json: {sentence}"):
        open_folder(with_config(encoder, **setting))


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("lower_case = 1", "lower_case must be true or false, not 1"),
        ("prefix = 3", "prefix must be a string, not 3"),
        ("sep_id = '[SEP]'", r"sep_id must be a token id, not '\[SEP\]'"),
        ("words = 'juman'", "words must be one of ipadic, .*, not 'juman'"),
    ],
)
def test_a_setting_of_the_encoder_that_is_none_is_named(encoder, line, sentence):
    (encoder / "encoder.toml").write_text(line, encoding="utf-8")
    with pytest.raises(JabertError, match=rf"encoder\.toml: {sentence}"):
        open_folder(encoder)


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
    with pytest.raises(
        JabertError, match=f"checkpoint {encoder}/model.ckpt-1 has no variable {QUERY}; take the two"
    ):
        load(encoder)


def test_a_misshapen_variable_is_named_with_both_shapes(encoder):
    with_weights(encoder, lambda weights: weights.update({QUERY: weights[QUERY][:, :8]}))
    with pytest.raises(JabertError) as error:
        load(encoder)
    assert sentence(error) == (
        f"checkpoint {encoder}/model.ckpt-1: variable {QUERY} has shape (16, 8), "
        "but bert_config.json makes it (16, 16); take the two that were published together"
    )


@pytest.mark.parametrize("layers", [1, 3, 10**9])
def test_a_configuration_with_other_layers_than_the_checkpoint_is_refused(encoder, layers):
    sentence = f"has 2 layers, but bert_config.json says num_hidden_layers = {layers}; take the two"
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
    with pytest.raises(
        JabertError, match="hidden_act must be one of gelu, gelu_erf, linear, relu, tanh, not 'swish'"
    ):
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
