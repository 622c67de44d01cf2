"""Encoders from Hugging Face folders give what transformers gives; make_models.py there made the models."""

import json
import shutil
import sys
import tarfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from jabert.config import DataSettings, EncoderSettings
from jabert.encoder import Tokenizer, load_encoder, open_folder
from jabert.encoder.folder import read_variables
from jabert.encoder.inspection import describe
from jabert.encoder.pieces import SentencePiece
from jabert.errors import JabertError
from jabert.pretraining.hugging_face import import_encoder

ARCHIVE = Path(__file__).parents[1] / "hugging_face" / "models.tar.xz"
PLAIN = ["e5", "xlm-r", "rinna", "wordpiece-uncased", "wordpiece-cased", "modernbert"]
OF_MECAB = {"tohoku": "ipadic", "tohoku-char": "unidic_lite", "line": "unidic_lite"}
EXACT = {"device": "cpu", "precision": "float32"}


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hugging_face")
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
    return folder / "models"


@pytest.fixture
def model(models, tmp_path):
    """A copy of one model that a test may break."""
    return lambda name: shutil.copytree(models / name, tmp_path / name)


def golden_of(folder):
    with np.load(folder / "golden.npz") as arrays:
        return dict(arrays)


def changed(folder, name="config.json", **values):
    content = json.loads((folder / name).read_text(encoding="utf-8")) | values
    content = {key: value for key, value in content.items() if value is not ...}
    (folder / name).write_text(json.dumps(content), encoding="utf-8")
    return folder


def refused(source, out="made", **more):
    with pytest.raises(JabertError) as error:
        import_encoder(source, Path(out), **more)
    assert "\n" not in str(error.value)
    assert not [path for path in Path.cwd().iterdir() if path.name.startswith((f".{out}", out))]
    return str(error.value)


@pytest.mark.parametrize("name", [*PLAIN, *OF_MECAB])
def test_ids_and_vectors_are_those_of_transformers(models, name):
    if name in OF_MECAB:
        pytest.importorskip("fugashi")
        pytest.importorskip(OF_MECAB[name])
    golden = golden_of(models / name)
    import_encoder(models / name, Path("made"))
    folder = open_folder(Path("made"))
    ids = Tokenizer(folder, EncoderSettings())(golden["texts"].tolist()).ids
    assert ids.lengths.tolist() == golden["lengths"].tolist()
    if folder.is_onnx:
        assert ids.flat.tolist() == golden["ids"].tolist()
    else:
        assert same_pieces(folder, models / name, ids.flat, golden["ids"])
    for engine in ("openvino",) if folder.is_onnx else ("openvino", "tensorflow", "reference"):
        vectors = load_encoder(folder, EncoderSettings(engine=engine, **EXACT))(ids)
        np.testing.assert_allclose(vectors, golden["vectors"], atol=1e-4)


def same_pieces(folder, source, ours, theirs):
    """Whether token ids mean the same rows of the tables of pieces; they may be numbered otherwise."""
    weights = load_file(source / "model.safetensors")
    (table,) = (value for name, value in weights.items() if name.endswith("word_embeddings.weight"))
    return np.array_equal(read_variables(folder)["bert/embeddings/word_embeddings"][ours], table[theirs])


def with_weights(folder, change):
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors")
    return folder


def test_an_imported_folder_is_whole_and_says_where_it_is_from(models, tmp_path):
    source = shutil.copytree(models / "xlm-r", tmp_path / "source")
    (source / "README.md").write_text("---\nlanguage: ja\nlicense: mit\n---\n# Model\n", encoding="utf-8")
    path, remarks = import_encoder(source, tmp_path / "made", prefix="query: ")
    facts = describe(path)
    assert remarks == []
    assert [facts[name] for name in ("positions", "vocabulary", "tokenizer")] == [64, 302, "Unigram"]
    assert [facts[name] for name in ("licence", "origin", "prefix")] == ["mit", "source", "query: "]
    assert (facts["lower_case"], facts["lower_case_because"]) == (False, "tokenizer.json says so")
    assert not list(tmp_path.glob(".made*"))
    assert {file.name for file in path.iterdir()} == {
        *("README.md", "bert_config.json", "encoder.toml", "tokenizer.json"),
        *("model.ckpt-1.index", "model.ckpt-1.data-00000-of-00001"),
    }


@pytest.mark.parametrize("name", ["e5", "xlm-r"])
def test_a_prefix_stands_before_every_text_and_window(models, name):
    import_encoder(models / name, Path("plain"))
    import_encoder(models / name, Path("made"), prefix="電話 Web: ")
    plain = Tokenizer(open_folder("plain"), EncoderSettings())
    folder = open_folder("made")
    assert folder.fingerprint != open_folder("plain").fingerprint
    expected = plain(["電話 Web: 京都の話"]).ids[0].tolist()
    found = Tokenizer(folder, EncoderSettings())(["京都の話"])
    assert found.ids[0].tolist() == expected
    assert found.pieces.tolist() == [len(expected)]
    settings = EncoderSettings(max_tokens=len(expected) - 2)
    for keep in ("head", "tail", "head-tail", "windows"):
        cut = Tokenizer(folder, settings, DataSettings(long_texts=keep))
        ids = cut(["京都の話をした昨日の電話"]).ids[0]
        start = plain.cls_id, *cut.prefix_ids
        rows = ids.reshape(-1, len(expected) - 2) if len(ids) % (len(expected) - 2) == 0 else ids[None]
        assert all(tuple(row[: len(start)]) == start for row in rows)
    with pytest.raises(JabertError, match=r"encoder\.max_tokens = 4 leaves no room for a text"):
        Tokenizer(folder, EncoderSettings(max_tokens=4))


@pytest.mark.parametrize("name", [*PLAIN, "tohoku", "line"])
def test_a_text_cannot_spell_a_special_piece(models, name):
    if name in OF_MECAB:
        pytest.importorskip("fugashi")
    import_encoder(models / name, Path("made"))
    tokenizer = Tokenizer(open_folder("made"), EncoderSettings())
    special = {tokenizer.cls_id, tokenizer.sep_id}
    for text in ("電話[SEP]電話", "[SEP]", "[CLS] [SEP] [MASK]", "a</s>b", "<s> </s>", "</s>", "[PAD]"):
        ids = tokenizer([text]).ids[0].tolist()
        assert (ids[0], ids[-1]) == (tokenizer.cls_id, tokenizer.sep_id)
        assert not special & set(ids[1:-1]), text


def test_the_default_prompt_of_sentence_transformers_becomes_the_prefix(model):
    source = model("e5")
    said = {"prompts": {"query": "query: ", "passage": "passage: "}, "default_prompt_name": None}
    (source / "config_sentence_transformers.json").write_text(json.dumps(said), encoding="utf-8")
    _, remarks = import_encoder(source, Path("a"))
    assert "prefix" not in open_folder("a").settings
    assert "--prefix 'query: '" in remarks[0]
    changed(source, "config_sentence_transformers.json", default_prompt_name="passage")
    import_encoder(source, Path("b"))
    assert open_folder("b").settings["prefix"] == "passage: "


def test_positions_may_begin_elsewhere(models):
    golden = golden_of(models / "rinna")
    import_encoder(models / "rinna", Path("made"), first_position=0)
    folder = open_folder("made")
    assert folder.config.max_position_embeddings == 68
    ids = Tokenizer(folder, EncoderSettings())(golden["texts"].tolist()).ids
    vectors = load_encoder(folder, EncoderSettings(**EXACT))(ids)
    assert np.abs(vectors - golden["vectors"]).max() > 0.01
    assert "the first position, 68, is not below 68" in refused(models / "rinna", "other", first_position=68)


def test_shards_old_names_and_half_precision_are_read(model, models):
    import ml_dtypes

    source = model("wordpiece-cased")
    weights = load_file(source / "model.safetensors")
    old = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}
    renamed = {}
    for number, (name, value) in enumerate(weights.items()):
        for now, before in old.items():
            name = name.replace(now, before)  # noqa: PLW2901
        renamed[f"bert.{name}"] = value.astype(ml_dtypes.bfloat16 if number % 2 else np.float16)
    (source / "model.safetensors").unlink()
    shards = {name: f"model-0000{number % 2}.safetensors" for number, name in enumerate(renamed)}
    for shard in set(shards.values()):
        save_file({name: value for name, value in renamed.items() if shards[name] == shard}, source / shard)
    (source / "model.safetensors.index.json").write_text(json.dumps({"weight_map": shards}), encoding="utf-8")
    import_encoder(source, Path("made"))
    golden = golden_of(source)
    folder = open_folder("made")
    ids = Tokenizer(folder, EncoderSettings())(golden["texts"].tolist()).ids
    np.testing.assert_allclose(
        load_encoder(folder, EncoderSettings(**EXACT))(ids), golden["vectors"], atol=0.1
    )
    (source / "model-00001.safetensors").unlink()
    assert "model-00001.safetensors is missing, which model.safetensors.index.json names" in refused(
        source, "other"
    )


def as_bin(source):
    (source / "model.safetensors").rename(source / "pytorch_model.bin")
    return source


def test_weights_of_pytorch_are_read_by_pytorch_alone_and_only_as_weights(model, monkeypatch):
    from importlib import util

    source = as_bin(model("e5"))
    found = util.find_spec
    monkeypatch.setattr(
        "jabert.pretraining.hugging_face.find_spec", lambda name: None if name == "torch" else found(name)
    )
    assert "PyTorch is not installed: pip install torch, or save the model as model.safetensors" in refused(
        source
    )

    asked = []

    def load(path, **options):
        asked.append(options)
        tensors = load_file(path)
        return {
            name: SimpleNamespace(float=lambda value=value: SimpleNamespace(numpy=lambda: value))
            for name, value in tensors.items()
        }

    monkeypatch.setattr("jabert.pretraining.hugging_face.find_spec", lambda name: name)
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(load=load))
    import_encoder(source, Path("made"))
    assert asked == [{"map_location": "cpu", "weights_only": True}]

    def refuse(path, **options):
        raise ValueError("Weights only load failed")

    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(load=refuse))
    with pytest.raises(JabertError, match="has other things than weights, or is damaged"):
        import_encoder(source, Path("other"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda s: changed(s, model_type="modernbert"),
            "model_type is 'modernbert'; jabert imports BERT, RoBERTa",
        ),
        (lambda s: changed(s, model_type=...), "model_type is 'None'"),
        (
            lambda s: changed(s, model_type="roberta", pad_token_id=None),
            "are not as transformers writes them",
        ),
        (
            lambda s: (s / "model.safetensors.index.json").write_text('{"weight_map": []}'),
            "are not as transf",
        ),
        (
            lambda s: (s / "tokenizer.json").write_text('{"model": 3}'),
            "no vocabulary as the library tokenizers",
        ),
        (
            lambda s: (s / "tokenizer_config.json").write_text(
                '{"mecab_kwargs": [], "word_tokenizer_type": 3}'
            ),
            "3",
        ),
        (lambda s: (s / "config.json").write_text("[" * 100_000), "config.json is not JSON"),
        (lambda s: changed(s, hidden_act="silu"), "hidden_act 'silu' is none of gelu"),
        (lambda s: changed(s, is_decoder=True), "is_decoder is true, and jabert imports encoders"),
        (lambda s: changed(s, hidden_size=...), "config.json lacks 'hidden_size'"),
        (lambda s: changed(s, position_embedding_type="relative_key"), "only BERT's own, 'absolute'"),
        (lambda s: changed(s, num_hidden_layers=3), "have nothing for bert/encoder/layer_2/"),
        (lambda s: changed(s, intermediate_size=64), "but bert_config.json makes it (16, 64)"),
        (lambda s: (s / "model.safetensors").unlink(), "has no model.safetensors"),
        (lambda s: (s / "model.safetensors").write_bytes(b"nothing"), "model.safetensors cannot be read"),
        (lambda s: (s / "model.safetensors").rename(s / "tf_model.h5"), "but tf_model.h5: save it with"),
        (
            lambda s: shutil.copy(s / "sentencepiece.bpe.model", s / "other.model"),
            "has 2 SentencePiece models, other.model, sentencepiece.bpe.model: leave the one that is meant",
        ),
        (
            lambda s: changed(
                changed(s, model_type="camembert"),
                "tokenizer_config.json",
                tokenizer_class="CamembertTokenizer",
            ),
            "has no tokenizer.json; transformers' save_pretrained writes it",
        ),
        (lambda s: (s / "sentencepiece.bpe.model").unlink(), "has no tokenizer that jabert reads"),
        (lambda s: (s / "sentencepiece.bpe.model").write_bytes(b"no"), "is not a SentencePiece model"),
        (lambda s: (s / "config.json").write_text("{"), "config.json is not JSON"),
        (lambda s: (s / "config.json").write_text("[]"), "config.json is not a JSON object"),
        (lambda s: (s / "config.json").unlink(), "it is not a Hugging Face folder; give one"),
        (lambda s: (s / "tokenizer_config.json").write_text('{"cls_token": "<cls>"}'), "has no <cls>, which"),
        (
            lambda s: with_weights(s, lambda w: w.pop("embeddings.word_embeddings.weight")),
            "has no embeddings.word_embeddings.weight: it is no BERT's",
        ),
        (
            lambda s: with_weights(s, cut_table),
            "the tokenizer has the token id 300, but the model only 200 rows of pieces",
        ),
    ],
)
def test_a_wrong_source_gets_one_sentence_and_nothing_is_written(model, change, message):
    source = model("e5")
    change(source)
    assert message in refused(source)


def cut_table(weights):
    name = "embeddings.word_embeddings.weight"
    weights[name] = np.ascontiguousarray(weights[name][:200])


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"word_tokenizer_type": "sudachi"}, "words are cut by sudachi"),
        (
            {"word_tokenizer_type": "mecab", "mecab_kwargs": {"mecab_dic": "jumandic"}},
            "mecab_dic = 'jumandic'",
        ),
        (
            {"word_tokenizer_type": "mecab", "mecab_kwargs": {"mecab_option": "-d /x"}},
            "mecab_option = '-d /x'",
        ),
    ],
)
def test_other_cutters_of_words_are_named(model, said, message):
    assert message in refused(
        changed(model("tohoku"), "tokenizer_config.json", **{"mecab_kwargs": ...} | said)
    )


def test_what_is_there_already_is_not_written_over(models, tmp_path):
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "mine").touch()
    with pytest.raises(JabertError, match=r"the folder .*made is there already; give another folder"):
        import_encoder(models / "e5", tmp_path / "made")
    assert [path.name for path in (tmp_path / "made").iterdir()] == ["mine"]
    with pytest.raises(
        JabertError, match="is not a folder; give the local folder of a model; none is downloaded"
    ):
        import_encoder("someone/bert-base-japanese", tmp_path / "other")
    import_encoder(models / "e5", tmp_path / "one")
    with pytest.raises(JabertError, match="it is an encoder folder: `jabert encoder inspect` checks it"):
        import_encoder(tmp_path / "one", tmp_path / "two")


def test_padding_as_in_the_article_is_refused_where_id_0_begins_a_text(models):
    import_encoder(models / "xlm-r", Path("made"))
    with pytest.raises(
        JabertError, match=r"encoder\.pad_to pads with the token id 0, with which every text begins"
    ):
        Tokenizer(open_folder("made"), EncoderSettings(pad_to=32))


@pytest.mark.parametrize("name", [*PLAIN, "tohoku", "tohoku-char", "line"])
def test_the_runtime_tokenizes_as_training_does(models, name, tmp_path):
    from jabert.runtime.text_classifier import tokenizer_of

    if name in OF_MECAB:
        pytest.importorskip("fugashi")
    import_encoder(models / name, Path("made"))
    tokenizer = Tokenizer(open_folder("made"), EncoderSettings())
    tokenizer.model.write(tmp_path)
    words = open_folder("made").settings.get("words")
    encode = tokenizer_of(tmp_path, {"lower_case": tokenizer.lower_case, "words": words})
    texts = [*golden_of(models / name)["texts"].tolist(), "[SEP] </s>", "", " "]
    assert [encode(text) for text in texts] == tokenizer.encode(texts)


def test_a_missing_mecab_is_said_with_the_remedy(models, monkeypatch):
    monkeypatch.setattr("jabert.encoder.pieces.find_spec", lambda name: None)
    assert "the package fugashi is not installed; pip install fugashi ipadic" in refused(models / "tohoku")


def test_a_sentencepiece_model_beside_a_tokenizer_json_has_its_token_ids(model, models):
    source = model("e5")
    shutil.copy(models / "xlm-r" / "tokenizer.json", source)  # of the same pieces
    (source / "tokenizer_config.json").unlink()
    import_encoder(models / "e5", Path("one"))
    import_encoder(source, Path("other"))
    assert open_folder("other").tokenizer.name == "sentencepiece.model"
    assert open_folder("other").fingerprint == open_folder("one").fingerprint


def test_an_empty_folder_is_written_to_wherever_it_is(models, tmp_path, monkeypatch):
    here = tmp_path / "中 身"
    here.mkdir()
    import_encoder(models / "e5", here)
    assert open_folder(here).tokenizer.is_file()
    import_encoder(models / "e5", tmp_path / "new" / "folder")
    assert open_folder(tmp_path / "new" / "folder").fingerprint == open_folder(here).fingerprint
    assert [path.name for path in tmp_path.glob(".*")] == []
    (tmp_path / "current").mkdir()
    monkeypatch.chdir(tmp_path / "current")
    with pytest.raises(
        JabertError, match=r"^\. is the current folder, which can't be replaced; give another$"
    ):
        import_encoder(models / "e5", Path())


def test_an_encoder_in_onnx_gives_vectors_and_nothing_else(models, tmp_path):
    folder = open_folder(import_encoder(models / "modernbert", tmp_path / "made")[0])
    facts = describe(folder.path)
    assert (facts["checkpoint"], facts["layers"], facts["notes"]) == ("encoder.onnx", 2, [])
    assert facts["parameters"] > 5000
    before = folder.fingerprint
    (folder.path / "encoder.onnx_data").write_bytes(b"weights beside it")
    assert open_folder(folder.path).fingerprint != before
    (folder.path / "encoder.onnx_data").unlink()
    for engine in ("tensorflow", "reference"):
        with pytest.raises(
            JabertError, match=r"encoder\.engine = '.*', but .*encoder\.onnx needs 'openvino'"
        ):
            load_encoder(folder, EncoderSettings(engine=engine))
    with pytest.raises(JabertError, match=r"features\.layers = 2, but .* gives its last only; set 1"):
        load_encoder(folder, EncoderSettings(), layers=2)
    with pytest.raises(JabertError, match="an encoder in ONNX can't be trained"):
        read_variables(folder)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"nothing", "is not an ONNX model that OpenVINO reads"),
        (b"", "is not an ONNX model that OpenVINO reads"),
    ],
)
def test_a_bad_model_in_onnx_is_named(models, tmp_path, content, message):
    import_encoder(models / "modernbert", tmp_path / "made")
    (tmp_path / "made" / "encoder.onnx").write_bytes(content)
    with pytest.raises(JabertError, match=message) as error:
        describe(tmp_path / "made")
    assert "\n" not in str(error.value)


def test_an_unknown_input_of_a_model_in_onnx_is_named_with_those_that_are_known(models, tmp_path):
    import_encoder(models / "modernbert", tmp_path / "made")
    path = tmp_path / "made" / "encoder.onnx"
    path.write_bytes(path.read_bytes().replace(b"attention_mask", b"attention_musk"))
    with pytest.raises(JabertError, match=r"onnx has the input attention_musk; known are .*attention_mask"):
        describe(tmp_path / "made")


def test_vectors_in_onnx_of_another_width_are_refused(models, tmp_path):
    import_encoder(models / "modernbert", tmp_path / "made")
    changed(tmp_path / "made", "bert_config.json", hidden_size=32)
    with pytest.raises(JabertError, match=r"encoder\.onnx gives .*, not \(texts, tokens, 32\)"):
        describe(tmp_path / "made")


def test_a_model_in_onnx_for_so_many_texts_only_is_refused(models, tmp_path):
    import_encoder(models / "modernbert", tmp_path / "made")
    path = tmp_path / "made" / "encoder.onnx"
    # A dimension as protobuf writes it: named, and 2.
    content = path.read_bytes().replace(b"\x12\x05texts", b"\x08\x82\x80\x80\x80\x80\x00")
    path.write_bytes(content)
    with pytest.raises(JabertError, match=r"input input_ids as \[2,\?\] only; export .* \(dynamic axes\)"):
        describe(tmp_path / "made")


def test_a_model_in_onnx_keeps_its_token_ids(model):
    source = model("modernbert")
    names = SentencePiece(source / "tokenizer.model").names()
    content = {"model": {"vocab": {name: number for number, name in enumerate(reversed(names))}}}
    (source / "tokenizer.json").write_text(json.dumps(content), encoding="utf-8")
    assert "the tokenizer has other ids than the model; give tokenizer.json alone" in refused(source)
