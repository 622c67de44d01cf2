"""Encoders with WordPiece, MeCab or tokenizer.json are trained on, packaged and served like any other."""

import json
import shutil
import tarfile
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
import toy
from alone import classified_alone
from hypothesis import given
from hypothesis import strategies as st
from toy_fits import results_of, settings_of

from jabert.config import EncoderSettings
from jabert.encoder import Tokenizer, may_be_long, open_folder
from jabert.encoder.folder import read_variables
from jabert.encoder.inspection import describe
from jabert.errors import JabertError
from jabert.experiments import steps
from jabert.experiments.packaging import build_package, open_package
from jabert.methods import method_of
from jabert.pretraining.export import export_encoder
from jabert.pretraining.hugging_face import import_encoder

ARCHIVE = Path(__file__).parents[1] / "hugging_face" / "models.tar.xz"
TEXTS = [*toy.toy_rows()["text"].tolist()[:20], "[SEP] HELLO カレー", "が" * 200, "電話"]
PACKAGES = {
    "wordpiece-uncased": ["openvino", "tokenizers"],
    "xlm-r": ["openvino", "tokenizers"],
    "e5": ["openvino", "sentencepiece"],
    "modernbert": ["openvino", "sentencepiece"],
    "tohoku": ["openvino", "tokenizers", "fugashi", "ipadic"],
    "line": ["openvino", "sentencepiece", "fugashi", "unidic-lite"],
}


@pytest.fixture(scope="session")
def encoders(tmp_path_factory):
    """Imported encoders by name."""
    root = tmp_path_factory.mktemp("encoders")
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(root, filter="data")

    def of(name):
        for package in PACKAGES.get(name, []):
            try:
                version(package)
            except ImportError:
                pytest.skip(f"{package} is not installed")
        if not (root / name).exists():
            import_encoder(root / "models" / name, root / name, prefix="query: " if name == "xlm-r" else None)
        return root / name

    return of


def fitted(encoder, toy_table, kind="mean-pooling"):
    precise = ["encoder.precision=float32", "features.dtype=float32", "encoder.max_tokens=40"]
    settings = settings_of(
        kind, toy_table, encoder, *precise, "training.precision=float32", "training.epochs=1"
    )
    data, tokens, fit = results_of(settings)
    rows = steps.rows_of(settings, data, tokens, ["test"])
    assert method_of(settings).describe(fit.job, fit.fitted).layers[0].parameters == 0
    expected = method_of(settings).predict(fit.job, rows)
    return rows.texts, expected, build_package(fit.job, Path("package"))


@pytest.mark.parametrize("name", PACKAGES)
def test_the_package_classifies_as_training_did_without_jabert(encoders, toy_table, name):
    texts, expected, package = fitted(encoders(name), toy_table)
    (member,) = json.loads((package / "package.json").read_text(encoding="utf-8"))["members"]
    assert member["requires"] == PACKAGES[name]
    found, imported = classified_alone(package, texts)
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert expected.std(axis=0).max() > 0.01
    assert not {"jabert", "tensorflow", "huggingface_hub"} & set(imported)


@pytest.mark.parametrize("name", ["wordpiece-uncased", "xlm-r"])
def test_an_encoder_is_fine_tuned_and_exported_with_its_tokenizer(encoders, toy_table, name):
    _, _, package = fitted(encoders(name), toy_table, "finetune")
    exported = open_folder(export_encoder(package, Path("exported"), "# card\n"))
    own, before = (Tokenizer(folder, EncoderSettings()) for folder in (exported, open_folder(encoders(name))))
    assert [row.tolist() for row in own(TEXTS).ids] == [row.tolist() for row in before(TEXTS).ids]
    assert exported.config == open_folder(encoders(name)).config
    tuned, plain = (read_variables(folder) for folder in (exported, open_folder(encoders(name))))
    assert {name for name in plain if not np.array_equal(plain[name], tuned[name])}


def test_an_encoder_in_onnx_is_not_fine_tuned(encoders, toy_table):
    settings = settings_of("finetune", toy_table, encoders("modernbert"))
    with pytest.raises(JabertError, match=r"encoder in ONNX can't be trained.* mean-pooling, use it"):
        results_of(settings)


def test_parts_on_one_such_encoder_share_it(encoders, toy_table):
    encoder = encoders("wordpiece-uncased")
    members = json.dumps(["bi-lstm", "mean-pooling"])
    settings = settings_of(
        *(
            "stack",
            toy_table,
            encoder,
            f"method.members={members}",
            "method.folds=2",
            "encoder.max_tokens=40",
        ),
        *("training.epochs=1", "encoder.precision=float32"),
    )
    data, tokens, fit = results_of(settings)
    package = build_package(fit.job, Path("package"))
    assert len(list(package.rglob("tokenizer.json"))) == len(list(package.rglob("encoder.xml"))) == 1
    rows = steps.rows_of(settings, data, tokens, ["test"])
    served = open_package(package)
    np.testing.assert_allclose(
        served.classify(rows.texts), method_of(settings).predict(fit.job, rows), atol=1e-3
    )


# Folders with a vocab.txt, as Google published them


@pytest.fixture
def google(encoders, tmp_path):
    """The imported WordPiece encoder with `vocab.txt` in the place of `tokenizer.json`."""
    imported = encoders("wordpiece-uncased")
    folder = shutil.copytree(imported, tmp_path / "google")
    shutil.copy(imported.parent / "models" / "wordpiece-uncased" / "vocab.txt", folder)
    (folder / "tokenizer.json").unlink()
    (folder / "encoder.toml").unlink()
    return folder


def test_a_wordpiece_vocabulary_is_read_as_bert_does(google, encoders):
    facts = describe(google)
    assert facts["tokenizer"] == "WordPiece"
    golden = encoders("wordpiece-uncased").parent / "models" / "wordpiece-cased" / "vocab.txt"
    assert not golden.exists()
    text = "駅前の食堂で、SNSの話"
    assert Tokenizer(open_folder(google), EncoderSettings(lower_case=False)).pieces(text)[:4] == [*"駅前の食"]
    assert Tokenizer(open_folder(google), EncoderSettings(lower_case=True)).pieces("café!") == [
        "[UNK]",
        "[UNK]",
    ]


def test_voiced_marks_stay_where_the_vocabulary_has_them(google):
    lines = (google / "vocab.txt").read_text(encoding="utf-8").splitlines()
    assert not any("が" in line for line in lines)
    tokenizer = Tokenizer(open_folder(google), EncoderSettings(lower_case=True))
    assert tokenizer.pieces("が") == tokenizer.pieces("か")  # as Google's uncased model has it
    lines[lines.index("か")] = "が"
    (google / "vocab.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    tokenizer = Tokenizer(open_folder(google), EncoderSettings(lower_case=True))
    assert tokenizer.pieces("がか") == ["が", "##か"]


def test_a_vocabulary_of_words_of_mecab_needs_its_dictionary(google):
    lines = (google / "vocab.txt").read_text(encoding="utf-8").splitlines()
    lines[-1] = "京都"
    (google / "vocab.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    with pytest.raises(
        JabertError, match=r"vocab\.txt: this is a WordPiece vocabulary of Japanese words, which"
    ):
        Tokenizer(open_folder(google), EncoderSettings())
    pytest.importorskip("ipadic")
    (google / "encoder.toml").write_text('words = "ipadic"\n', encoding="utf-8")
    assert "京都" in Tokenizer(open_folder(google), EncoderSettings()).pieces("京都の食堂")
    (google / "encoder.toml").write_text('words = "neologd"\n', encoding="utf-8")
    with pytest.raises(JabertError, match=r"encoder\.toml: words must be one of ipadic, unidic, unidic-lite"):
        open_folder(google)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("vocab.txt", b"a\nb\n", "a WordPiece vocabulary has one piece a line, among them \\[UNK\\]"),
        ("vocab.txt", b"\xff\xfe", "a WordPiece vocabulary is in UTF-8"),
        ("tokenizer.json", b"{", "tokenizer.json is not JSON"),
        ("tokenizer.json", b"[]", "is not a tokenizer that the library tokenizers reads"),
        (
            "tokenizer.json",
            b'{"model": {"type": "X", "vocab": {"a": 1}}}',
            "is not a tokenizer that the library",
        ),
        (
            "tokenizer.json",
            b'{"model": {"type": "WordPiece", "vocab": {}}}',
            "is not a tokenizer that the library",
        ),
    ],
)
def test_a_file_that_is_no_tokenizer_is_named(google, name, content, message):
    (google / "vocab.txt").unlink()
    (google / name).write_bytes(content)
    with pytest.raises(JabertError, match=message) as error:
        Tokenizer(open_folder(google), EncoderSettings())
    assert "\n" not in str(error.value)


@given(text=st.text(max_size=60) | st.text("が京é[SEP]A 　\x00\u200b한각", max_size=60))
def test_any_text_has_ids_in_range_and_is_long_only_if_it_may_be(encoders, text):
    folder = open_folder(encoders("wordpiece-uncased"))
    settings = EncoderSettings(max_tokens=20)
    found = Tokenizer(folder, settings)([text])
    ids = found.ids[0]
    assert ids.min() >= 0 and ids.max() < folder.config.vocab_size
    assert not {ids[0], ids[-1]} & set(ids[1:-1].tolist())
    assert may_be_long([text], folder, settings) or not found.truncated[0]


@pytest.mark.shared
@pytest.mark.parametrize("name", ["laboro_names", "two_checkpoints", "sp_padded_vocab", "wordpiece"])
def test_the_cases_open(shared, name):
    facts = describe(shared / "cases" / "encoders" / name)
    expected = {
        "laboro_names": ("model.ckpt", "SentencePiece", 4000),
        "two_checkpoints": ("model.ckpt-200", "SentencePiece", 4000),
        "sp_padded_vocab": ("model.ckpt-100", "SentencePiece", 4032),
        "wordpiece": ("bert_model.ckpt", "WordPiece", 4000),
    }
    assert (facts["checkpoint"], facts["tokenizer"], facts["vocabulary"]) == expected[name]
    assert facts["lower_case"] is True


@pytest.mark.parametrize(
    ("networks", "message"),
    [
        ([], "the model has no encoder; give a version with one, e.g. of method.kind 'finetune'"),
        (["members/0", "members/1"], "the model has several encoders; give a version with one"),
        (["."], "the model is of jabert 0.1, which kept no encoder that can be exported; give a newer one"),
    ],
)
def test_a_model_without_one_encoder_to_export_is_refused(tmp_path, networks, message):
    for name in networks:
        (tmp_path / "model" / name).mkdir(parents=True)
        (tmp_path / "model" / name / "network.json").write_text("{}", encoding="utf-8")
    with pytest.raises(JabertError, match=message):
        export_encoder(tmp_path / "model", tmp_path / "out", "# card\n")
    assert not (tmp_path / "out").exists()
