import ast
import json
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import toy

from jabert.classifier import LabelledRows, load_classifier
from jabert.classifier.batches import read_batch
from jabert.classifier.model import build_classifier
from jabert.config import (
    ClassifierSettings,
    EncoderSettings,
    FeaturesSettings,
    Settings,
    TrackingSettings,
    load_settings,
)
from jabert.encoder import Tokenizer, open_folder
from jabert.features import featurize, open_store, row_keys
from jabert.packaging import build_package, log_package
from jabert.tracking import tracked_run

TEXTS = [*toy.toy_rows()["text"][:40], "料理😀の話", "ＳＮＳの通知", "".join(toy.SENTENCES), "電話"]


class Trained:
    """A classifier as a training leaves it, and what it says to vectors from the store.

    Its weights are random and large, so that probabilities are far apart and a small difference shows.
    """

    def __init__(self, encoder_folder, root, **encoder):
        self.folder = open_folder(encoder_folder)
        self.settings = Settings(
            encoder=EncoderSettings(device="cpu", precision="float32", **encoder),
            features=FeaturesSettings(path=str(root / "features")),
            classifier=ClassifierSettings(units=6),
        )
        self.training = root / "training"
        self.training.mkdir()
        random = np.random.default_rng(0)
        model = build_classifier(16, 4, self.settings.classifier)
        model.set_weights([random.normal(0, 1.2, weight.shape) for weight in model.get_weights()])
        model.save_weights(self.training / "best.h5")

    def _rows(self, texts):
        ids = Tokenizer(self.folder, self.settings.encoder)(texts).ids
        featurize(ids, self.folder, self.settings)
        return LabelledRows(row_keys(ids), ids.lengths, np.zeros(len(ids), dtype=np.int32))

    def probabilities(self, texts):
        rows = self._rows(texts)
        batch = read_batch(rows.find_in(open_store(self.folder, self.settings)), np.arange(len(rows)))
        model = load_classifier(self.training, 16, 4, self.settings.classifier)
        return model.predict_on_batch([batch.vectors, batch.lengths])

    def build(self, target):
        return build_package(self.folder, self.training, toy.LABELS, self.settings, target)


def loaded(package):
    """The package as MLflow loads it."""
    from jabert.package import TextClassifier

    classifier = TextClassifier()
    classifier.load_context(SimpleNamespace(artifacts={"classifier": str(package)}))
    return lambda texts, **options: classifier.predict(None, pd.DataFrame({"text": texts}, **options))


def table_of(predicted):
    return np.array([[of[label] for label in toy.LABELS] for of in predicted["probabilities"]])


@pytest.fixture(scope="module")
def trained(toy_encoder, tmp_path_factory):
    """Made from a copy of the encoder that is gone before the package is used."""
    root = tmp_path_factory.mktemp("trained")
    copy = shutil.copytree(toy_encoder, root / "encoder")
    return Trained(copy, root)


@pytest.fixture(scope="module")
def expected(trained):
    return trained.probabilities(TEXTS)


@pytest.fixture(scope="module")
def package(trained, expected, tmp_path_factory):
    target = tmp_path_factory.mktemp("package")
    (target / "left by another").mkdir()
    trained.build(target)
    for path in (trained.folder.path, trained.training, trained.settings.features.path):
        shutil.rmtree(path)
    return target


@pytest.fixture(scope="module")
def predict(package):
    return loaded(package)


def test_the_package_classifies_as_training_did(predict, expected):
    assert expected.std(axis=0).max() > 0.1
    np.testing.assert_allclose(table_of(predict(TEXTS)), expected, atol=2e-3, rtol=0)


def test_a_prediction_is_the_most_probable_label_and_its_probability(predict):
    predicted = predict(TEXTS)
    assert list(predicted.columns) == ["label", "score", "probabilities"]
    for label, score, probabilities in predicted.itertuples(index=False):
        assert list(probabilities) == toy.LABELS
        assert probabilities[label] == score == max(probabilities.values())
        assert sum(probabilities.values()) == pytest.approx(1, abs=1e-6)


def test_order_and_index_of_the_input_are_kept(predict):
    index = [f"row-{number}" for number in range(len(TEXTS))]
    predicted = predict(TEXTS, index=index)
    assert predicted.index.tolist() == index
    backwards = table_of(predict(TEXTS[::-1]))[::-1]
    np.testing.assert_allclose(table_of(predicted), backwards, atol=2e-3)


def test_a_text_is_classified_the_same_alone_and_in_company(predict):
    together = table_of(predict(TEXTS))
    for row in (0, 17, 40, 42):
        np.testing.assert_allclose(table_of(predict([TEXTS[row]]))[0], together[row], atol=2e-3)


def test_upper_case_and_full_width_are_as_in_training(predict):
    one, other = table_of(predict(["SNSの通知", "ｓｎｓの通知"]))
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("text", ["京都" * 50_000, "😀" * 3000, "\x00", "a\nb\tc", "\u200bx"])
def test_odd_texts_are_classified(predict, text):
    assert table_of(predict([text])).sum() == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize(
    ("bad", "what"),
    [
        ("", "blank"),
        (" \n　", "blank"),
        (None, "None, not a string"),
        (5, "5, not a string"),
        (float("nan"), "nan, not a string"),
        (["京都"], r"\['京都'\], not a string"),
    ],
)
def test_a_text_that_is_none_is_refused_by_its_row(predict, bad, what):
    with pytest.raises(ValueError, match=rf"^row 2: text is {what}$"):
        predict(["電話", "料理", bad], dtype=object)


def test_no_texts_are_no_predictions(predict):
    predicted = predict([])
    assert len(predicted) == 0
    assert list(predicted.columns) == ["label", "score", "probabilities"]


def test_the_package_says_what_it_was_made_from(package, trained):
    about = json.loads((package / "package.json").read_text(encoding="utf-8"))
    assert about["labels"] == toy.LABELS
    assert (about["lower_case"], about["cls_id"], about["sep_id"], about["max_tokens"]) == (True, 4, 5, 64)
    settings = load_settings(package / "config.toml")
    assert settings.classifier == trained.settings.classifier
    assert settings.digest() == trained.settings.digest()


def test_a_padded_classifier_is_packaged_with_its_padding(toy_encoder, tmp_path):
    trained = Trained(toy_encoder, tmp_path, pad_to=40)
    predict = loaded(trained.build(tmp_path / "package"))
    texts = TEXTS[38:]  # with unknown pieces, and one that is cut
    np.testing.assert_allclose(table_of(predict(texts)), trained.probabilities(texts), atol=2e-3, rtol=0)


def test_a_package_that_stood_there_is_replaced(package):
    names = sorted(path.name for path in package.iterdir())
    assert names == ["config.toml", "network", "package.json", "sentencepiece.model"]


# In MLflow


@pytest.fixture(scope="module")
def model_uri(package, tmp_path_factory):
    """The package logged as the model of a run in a store of its own."""
    root = tmp_path_factory.mktemp("mlruns")
    tracking = TrackingSettings(uri=f"sqlite:///{root}/mlflow.db", artifacts=str(root / "artifacts"))
    with tracked_run(Settings(tracking=tracking)) as run:
        uri = log_package(package, run)
        assert run.client.get_run(run.id).info.status == "RUNNING"  # logging a model must not end the run
    assert list((root / "artifacts").rglob("package.json"))
    return uri


def test_the_logged_model_classifies_texts(model_uri, predict):
    import mlflow.pyfunc

    model = mlflow.pyfunc.load_model(model_uri)
    predicted = model.predict(pd.DataFrame({"text": TEXTS}))
    np.testing.assert_array_equal(table_of(predicted), table_of(predict(TEXTS)))


def test_the_signature_is_one_text_column(model_uri):
    import mlflow.models
    from mlflow.exceptions import MlflowException
    from mlflow.pyfunc import load_model

    info = mlflow.models.get_model_info(model_uri)
    assert info.signature.inputs.input_names() == ["text"]
    assert info.signature.outputs.input_names() == ["label", "score", "probabilities"]
    with pytest.raises(MlflowException, match="text"):
        load_model(model_uri).predict(pd.DataFrame({"texts": ["京都"]}))


def test_the_logged_model_needs_nothing_of_this_repository(model_uri):
    import mlflow.artifacts
    from mlflow.models import get_model_info

    flavor = get_model_info(model_uri).flavors["python_function"]
    assert flavor.get("code") is None
    folder = mlflow.artifacts.download_artifacts(model_uri)
    alone = textwrap.dedent("""
        import json, os, sys
        sys.path = [entry for entry in sys.path if entry]
        sys.modules["jabert"] = None  # importing it fails
        import mlflow.pyfunc, pandas
        model = mlflow.pyfunc.load_model(sys.argv[1])
        predicted = model.predict(pandas.DataFrame({"text": ["京都のお寺", "野球の試合"]}))
        print(json.dumps(predicted["label"].tolist()))
    """)
    done = subprocess.run(
        [sys.executable, "-c", alone, str(folder)], capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stderr
    assert set(json.loads(done.stdout.splitlines()[-1])) <= set(toy.LABELS)


def test_the_requirements_of_the_model_are_those_that_its_code_imports(model_uri):
    import mlflow.pyfunc

    from jabert import package as module

    listed = Path(mlflow.pyfunc.get_model_dependencies(model_uri)).read_text(encoding="utf-8")
    required = {line.partition("==")[0] for line in listed.splitlines()}
    tree = ast.parse(Path(module.__file__).read_text(encoding="utf-8"))
    imported = {
        name.partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in (
            [node.module] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
        )
    }
    assert imported - set(sys.stdlib_module_names) == required
