import ast
import copy
import importlib.metadata
import json
import os
import pickle
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import toy
import toy_package
from mlflow.exceptions import MlflowException

from jabert.config import (
    EncoderSettings,
    FeaturesSettings,
    Settings,
    TrackingSettings,
    load_settings,
    settings_with_method,
)
from jabert.encoder import Tokenizer, longest_row, open_folder
from jabert.experiments.packaging import build_package, log_package, open_package
from jabert.features import featurize, open_store
from jabert.files import write_json
from jabert.methods import Job
from jabert.methods.bi_lstm import BiLstmSettings
from jabert.methods.bi_lstm.network import build_classifier
from jabert.methods.bi_lstm.training import load_classifier
from jabert.registry.versions import predict as predict_in_parts
from jabert.tracking import tracked_run
from jabert.training.rows import StoredVectors

TEXTS = [*toy.toy_rows()["text"][:40], "料理😀の話", "ＳＮＳの通知", "".join(toy.SENTENCES), "電話"]
UNITS = 6


class Trained:
    """A classifier as a training leaves it, and what it says to vectors from the store.

    Its weights are random and large, so that probabilities are far apart and a small difference shows.
    """

    def __init__(self, encoder_folder, root, **encoder):
        self.folder = open_folder(encoder_folder)
        self.settings = settings_with_method("bi-lstm")(
            encoder=EncoderSettings(
                **{"device": "cpu", "precision": "float32", "cache_path": str(root / "engines"), **encoder}
            ),
            features=FeaturesSettings(path=str(root / "features")),
            method=BiLstmSettings(units=UNITS),
        )
        self.training = root / "training"
        self.training.mkdir()
        random = np.random.default_rng(0)
        self.hidden_size = self.folder.config.hidden_size
        model = build_classifier(self.hidden_size, 4, UNITS)
        scale = 1.2 * (16 / self.hidden_size) ** 0.5
        model.set_weights([random.normal(0, scale, weight.shape) for weight in model.get_weights()])
        model.save_weights(self.training / "best.h5")

    def probabilities(self, texts):
        ids = Tokenizer(self.folder, self.settings.encoder, self.settings.data)(texts).ids
        featurize(ids, self.folder, self.settings)
        longest = longest_row(self.folder, self.settings.encoder)
        stored = StoredVectors.find(open_store(self.folder, self.settings), ids, longest)
        model = load_classifier(self.training, self.hidden_size, 4, UNITS)
        return model.predict_on_batch([stored.padded(np.arange(len(stored))), stored.lengths])

    def build(self, target):
        return build_package(Job(self.settings, toy.LABELS, self.folder, self.training), target)


def loaded(package):
    """The package as MLflow loads it."""
    from jabert.runtime.text_classifier import TextClassifier

    classifier = TextClassifier()
    classifier.load_context(SimpleNamespace(artifacts={"classifier": str(package)}))
    return lambda texts, params=None, **options: classifier.predict(
        None, pd.DataFrame({"text": texts}, **options), params
    )


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


@pytest.fixture(scope="module")
def predict_few(package, tmp_path_factory):
    """The same package made to take five texts at a time."""
    copy = shutil.copytree(package, tmp_path_factory.mktemp("few") / "package")
    about = json.loads((copy / "package.json").read_text(encoding="utf-8"))
    (copy / "package.json").write_text(json.dumps({**about, "max_texts": 5}), encoding="utf-8")
    toy_package.sign(copy)
    return loaded(copy)


def test_the_package_classifies_as_training_did(predict, expected):
    assert expected.std(axis=0).max() > 0.1
    np.testing.assert_allclose(table_of(predict(TEXTS)), expected, atol=2e-5, rtol=0)


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
    np.testing.assert_allclose(table_of(predicted), backwards, atol=1e-6)


def test_a_text_is_classified_the_same_alone_and_in_company(predict):
    together = table_of(predict(TEXTS))
    for row in (0, 17, 40, 42):
        np.testing.assert_allclose(table_of(predict([TEXTS[row]]))[0], together[row], atol=1e-6)


def test_upper_case_and_full_width_are_as_in_training(predict):
    one, other = table_of(predict(["SNSの通知", "ｓｎｓの通知"]))
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("text", ["京都" * 50_000, "😀" * 3000, "\x00x", "a\nb\tc", "\u200bx"])
def test_odd_texts_are_classified(predict, text):
    assert table_of(predict([text])).sum() == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize(
    ("bad", "what"),
    [
        ("", "blank"),
        (" \n　", "blank"),
        ("\u200b\ufeff\x00", "blank"),
        (None, "null"),
        (5, "5, not a string"),
        (float("nan"), "null"),
        (["京都"], r"\['京都'\], not a string"),
        ("京\ud800", "not Unicode: it holds half of a surrogate pair"),
    ],
)
def test_a_text_that_is_none_is_refused_by_its_row(predict, bad, what):
    with pytest.raises(MlflowException, match=rf"^row 2: text is {what}$"):
        predict(["電話", "料理", bad], dtype=object)


def test_the_row_is_named_by_the_index_of_the_input(predict):
    with pytest.raises(MlflowException, match=r"^row 71: text is blank$"):
        predict(["電話", ""], index=[70, 71])


def test_too_many_texts_are_refused_and_predicted_in_parts(predict_few):
    assert len(predict_few(TEXTS[:5])) == 5
    with pytest.raises(MlflowException, match=r"^row 5: there are 6 texts, but 5 at most at a time$"):
        predict_few(TEXTS[:6])
    model = SimpleNamespace(
        metadata=SimpleNamespace(metadata={"max_texts": 5}), predict=lambda texts: predict_few(texts["text"])
    )
    texts = pd.DataFrame({"text": TEXTS[:12]})
    np.testing.assert_allclose(
        table_of(predict_in_parts(model, texts)),
        table_of(pd.concat(map(predict_few, np.array_split(TEXTS[:12], 3)))),
    )
    assert list(predict_in_parts(model, texts[:0]).columns) == ["label", "score", "probabilities"]


def test_a_very_long_text_takes_no_longer_than_a_long_one(predict):
    long = "".join(toy.SENTENCES) * 100
    started = time.perf_counter()
    longest = predict([long * 60])  # 10 MB
    assert time.perf_counter() - started < 2
    np.testing.assert_array_equal(table_of(longest), table_of(predict([long])))


def test_top_k_are_the_most_probable_labels(predict):
    everything = predict(TEXTS)["probabilities"]
    for few, all_of_them in zip(
        predict(TEXTS, params={"top_k": 2})["probabilities"], everything, strict=True
    ):
        assert list(few) == sorted(all_of_them, key=all_of_them.get, reverse=True)[:2]
        assert few.items() <= all_of_them.items()


def test_below_the_threshold_there_is_no_label(predict):
    scores = predict(TEXTS)["score"]
    threshold = float(scores.median())
    predicted = predict(TEXTS, params={"threshold": threshold})
    assert predicted["score"].tolist() == scores.tolist()
    assert [label is None for label in predicted["label"]] == [score < threshold for score in scores]
    assert predicted["label"].notna().any()


def test_the_labels_alone_can_be_had(predict):
    alone = predict(TEXTS, params={"output": "label"})
    assert alone.name == "label" and alone.tolist() == predict(TEXTS)["label"].tolist()


@pytest.mark.parametrize(
    ("params", "sentence"),
    [
        ({"top_k": 0}, "top_k is 0, but at least one label is shown"),
        ({"threshold": 1.5}, "threshold is 1.5, but a probability is between 0 and 1"),
        (
            {"output": "score"},
            "output is 'score', but it can only be 'label'; without it there are all columns",
        ),
        ({"threshold": float("nan")}, "threshold is nan, but a probability is between 0 and 1"),
        ({"topk": 2}, "there is no parameter topk; the nearest is top_k"),
        ({"topk": None}, "there is no parameter topk; the nearest is top_k"),
        ({"x": 1}, "there is no parameter x; there are: top_k, threshold, output"),
    ],
)
def test_a_parameter_without_sense_is_refused(predict, params, sentence):
    with pytest.raises(MlflowException, match=f"^{sentence}$"):
        predict(["電話"], params=params)


def test_no_texts_are_no_predictions(predict):
    predicted = predict([])
    assert len(predicted) == 0
    assert list(predicted.columns) == ["label", "score", "probabilities"]


def test_the_package_says_what_it_was_made_from(package, trained):
    about = json.loads((package / "package.json").read_text(encoding="utf-8"))
    habits = json.loads((package / "bi-lstm" / "network.json").read_text(encoding="utf-8"))
    assert about["labels"] == toy.LABELS
    assert (habits["lower_case"], habits["cls_id"], habits["sep_id"], habits["max_tokens"]) == (
        True,
        4,
        5,
        64,
    )
    settings = load_settings(package / "config.toml")
    assert settings.method == trained.settings.method
    assert settings.digest() == trained.settings.digest()


def test_a_network_and_another_classifier_join_their_probabilities(package, expected, tmp_path):
    """As a stack does: a softmax layer on the logarithms, first those of the network."""
    copy = shutil.copytree(package, tmp_path / "package")
    random = np.random.default_rng(0)
    toy_package.write_ngrams(copy / "linear", ["京", "電"], random.normal(size=(2, 4)), random.normal(size=4))
    join = {"kernel": random.normal(size=(8, 4)).tolist(), "bias": random.normal(size=4).tolist()}
    members = {"bi-lstm": "network", "linear": "ngrams"}
    joined = open_package(toy_package.write_about(copy, toy.LABELS, members, join=join))
    network, linear = (member.classify(TEXTS) for member in joined.members)
    np.testing.assert_allclose(network, expected, atol=2e-5, rtol=0)
    scores = np.log(np.concatenate([network, linear], axis=1)) @ join["kernel"] + join["bias"]
    powers = np.exp(scores)
    found = joined.classify(TEXTS)
    np.testing.assert_allclose(found, powers / powers.sum(axis=1, keepdims=True), atol=1e-9)
    np.testing.assert_allclose(table_of(loaded(copy)(TEXTS)), found, atol=1e-6)


def test_a_padded_classifier_is_packaged_with_its_padding(toy_encoder, tmp_path):
    trained = Trained(toy_encoder, tmp_path, pad_to=40)
    predict = loaded(trained.build(tmp_path / "package"))
    texts = TEXTS[38:]  # with unknown pieces, and one that is cut
    np.testing.assert_allclose(table_of(predict(texts)), trained.probabilities(texts), atol=2e-5, rtol=0)


def test_a_package_that_stood_there_is_replaced(package):
    files = (path for path in package.rglob("*") if path.is_file())
    assert sorted(path.relative_to(package).as_posix() for path in files) == FILES
    assert sorted(path.name for path in package.iterdir() if path.is_dir()) == ["bi-lstm"]


FILES = [
    "SHA256SUMS",
    "bi-lstm/encoder.bin",
    "bi-lstm/encoder.xml",
    "bi-lstm/head.bin",
    "bi-lstm/head.xml",
    "bi-lstm/layout.bin",
    "bi-lstm/layout.xml",
    "bi-lstm/network.json",
    "bi-lstm/sentencepiece.model",
    "config.toml",
    "package.json",
]


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_refused_by_name(package, tmp_path, name):
    copy = shutil.copytree(package, tmp_path / "package")
    (copy / name).unlink()
    with pytest.raises(MlflowException, match=rf"^the file {name} of the model package is missing$"):
        loaded(copy)


@pytest.mark.parametrize("name", [name for name in FILES if name != "SHA256SUMS"])
def test_a_changed_file_is_refused_by_name_before_anything_is_opened(package, tmp_path, name):
    copy = shutil.copytree(package, tmp_path / "package")
    content = bytearray((copy / name).read_bytes())
    content[len(content) // 2] ^= 1
    (copy / name).write_bytes(content)
    with pytest.raises(MlflowException, match=rf"^the file {name} of the model package has changed since"):
        loaded(copy)


@pytest.mark.parametrize("name", ["more.txt", "sub/more.txt", ".hidden"])
def test_an_extra_file_is_refused_by_name(package, tmp_path, name):
    copy = shutil.copytree(package, tmp_path / "package")
    (copy / name).parent.mkdir(exist_ok=True)
    (copy / name).touch()
    with pytest.raises(MlflowException, match=rf"^the file {name} is not part of the model package$"):
        loaded(copy)


def test_coreutils_agree_on_the_digests(package):
    subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=package, check=True, timeout=60)


@pytest.mark.shared
def test_knbc_is_as_in_training_with_the_real_encoder(shared, tmp_path):
    """On stored vectors in the precision of this machine, whatever the company of a text in its batch."""
    from jabert.dataset import read_corpus

    settings = load_settings(
        "knbc", [f"data.path={shared}/data/knbc", f"encoder.path={shared}/models/e5-small-ja"]
    )
    texts = read_corpus(settings.data).table["text"].tolist()[::17]
    trained = Trained(settings.encoder.path, tmp_path, precision="auto")
    package = loaded(trained.build(tmp_path / "package"))
    expected = trained.probabilities(texts)
    np.testing.assert_allclose(table_of(package(texts)), expected, atol=2e-3, rtol=0)
    alone = np.concatenate([table_of(package([text])) for text in texts[::10]])
    np.testing.assert_allclose(alone, expected[::10], atol=2e-3, rtol=0)


# In MLflow


@pytest.fixture(scope="module")
def model_uri(package, tmp_path_factory):
    """The package logged as the model of a run in a store of its own."""
    root = tmp_path_factory.mktemp("mlruns")
    tracking = TrackingSettings(uri=f"sqlite:///{root}/mlflow.db", artifacts=str(root / "artifacts"))
    with tracked_run(Settings(tracking=tracking)) as run:
        learned_from = write_json(root / "learned_from.json", {"rows": [], "groups": []})
        uri = log_package(package, learned_from, run)
        assert run.client.get_run(run.id).info.status == "RUNNING"  # logging a model must not end the run
    assert list((root / "artifacts").rglob("package.json"))
    return uri


def test_the_logged_model_classifies_texts(model_uri, predict):
    import mlflow.pyfunc

    model = mlflow.pyfunc.load_model(model_uri)
    predicted = model.predict(pd.DataFrame({"text": TEXTS}))
    np.testing.assert_array_equal(table_of(predicted), table_of(predict(TEXTS)))


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_a_copy_of_a_loaded_model_answers_as_it_does(model_uri, copied):
    import mlflow.pyfunc

    model = mlflow.pyfunc.load_model(model_uri)
    other, texts = copied(model), pd.DataFrame({"text": TEXTS})
    np.testing.assert_array_equal(table_of(other.predict(texts)), table_of(model.predict(texts)))
    assert other.unwrap_python_model() is not model.unwrap_python_model()
    assert other.predict(texts, params={"top_k": 1})["probabilities"].map(len).eq(1).all()


def test_a_loaded_model_goes_into_another_process(model_uri, tmp_path):
    """Which knows neither this file nor the module that MLflow made of the model's code."""
    import mlflow.pyfunc

    model, texts = mlflow.pyfunc.load_model(model_uri), pd.DataFrame({"text": TEXTS})
    (tmp_path / "model").write_bytes(pickle.dumps((model, texts)))
    code = "import pickle, sys; model, texts = pickle.load(open(sys.argv[1], 'rb')); "
    code += "print(model.predict(texts, params={'output': 'label'}).to_json())"
    told = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "model"], capture_output=True, check=True, timeout=100
    )
    assert list(json.loads(told.stdout).values()) == model.predict(texts)["label"].tolist()


def test_a_model_whose_files_are_gone_says_why_it_cannot_be_copied(model_uri):
    from jabert.tracking import load_model

    model = load_model(model_uri)  # which leaves no files behind
    with pytest.raises(MlflowException, match="cannot be copied, because its files are gone from"):
        pickle.dumps(model)


def test_a_dict_of_lists_is_read_as_rows(model_uri, predict):
    import mlflow.pyfunc

    model = mlflow.pyfunc.load_model(model_uri)
    found = model.predict({"text": TEXTS})
    np.testing.assert_array_equal(table_of(found), table_of(predict(TEXTS)))
    assert found.index.tolist() == list(range(len(TEXTS)))
    assert len(model.predict({"text": ["電話"]})) == len(model.predict({"text": "電話"})) == 1
    assert len(model.predict({"text": []})) == 0
    with pytest.raises(MlflowException, match=r"^row 1: text is 5, not a string$"):
        model.predict({"text": ["電話", 5]})


@pytest.mark.filterwarnings("ignore")  # MLflow's evaluator uses what pandas 4 will not have
def test_mlflow_evaluates_the_labels(model_uri, predict):
    """As docs/models.md says, and without parameters by the model's configuration."""
    import mlflow

    model = mlflow.pyfunc.load_model(model_uri)
    data = pd.DataFrame({"text": TEXTS, "label": predict(TEXTS)["label"]})
    data.loc[0, "label"] = next(label for label in toy.LABELS if label != data.loc[0, "label"])
    options = {"data": data, "targets": "label", "model_type": "classifier"}
    with mlflow.start_run():
        by_function = mlflow.models.evaluate(
            lambda rows: model.predict(rows, params={"output": "label"}), **options
        )
    with mlflow.start_run():
        by_uri = mlflow.models.evaluate(model_uri, model_config={"output": "label"}, **options)
    expected = 1 - 1 / len(TEXTS)
    for found in (by_function, by_uri):
        assert found.metrics["accuracy_score"] == pytest.approx(expected)


def test_the_signature_is_one_text_column(model_uri):
    import mlflow.models
    from mlflow.exceptions import MlflowException
    from mlflow.pyfunc import load_model

    info = mlflow.models.get_model_info(model_uri)
    assert info.signature.inputs.input_names() == ["text"]
    assert info.signature.outputs.input_names() == ["label", "score", "probabilities"]
    with pytest.raises(MlflowException, match="text"):
        load_model(model_uri).predict(pd.DataFrame({"texts": ["京都"]}))


def test_nothing_that_is_logged_names_a_path_of_this_machine(model_uri, trained):
    import mlflow.artifacts

    folder = Path(mlflow.artifacts.download_artifacts(model_uri))
    paths = [str(trained.folder.path.parent), str(Path(__file__).parents[2])]
    for path in filter(Path.is_file, folder.rglob("*")):
        assert not [known for known in paths if known.encode() in path.read_bytes()], path


def test_two_versions_in_one_process_do_not_share_their_code(model_uri, tmp_path):
    """MLflow issue 4061: with code_paths the second model would run the first one's code."""
    import mlflow.artifacts
    from mlflow.pyfunc import load_model

    other = shutil.copytree(mlflow.artifacts.download_artifacts(model_uri), tmp_path / "other")
    code = (other / "text_classifier.py").read_text(encoding="utf-8")
    assert "text is {fault}" in code
    (other / "text_classifier.py").write_text(code.replace("text is {fault}", "unfit"), encoding="utf-8")
    models = [load_model(model_uri), load_model(str(other)), load_model(model_uri)]
    for model, sentence in zip(
        models, ("row 0: text is blank", "row 0: unfit", "row 0: text is blank"), strict=True
    ):
        with pytest.raises(MlflowException, match=f"^{sentence}$"):
            model.predict(pd.DataFrame({"text": [" "]}))


# Where there is neither jabert nor TensorFlow


@pytest.fixture(scope="session")
def clean_environment(tmp_path_factory):
    """Makes the environment of a model's own requirements, once; gives the folder of its programs."""
    folder = tmp_path_factory.mktemp("clean") / "environment"

    def make(requirements):
        if not folder.exists():
            uv = Path(sys.executable).with_name("uv")
            subprocess.run([uv, "venv", "-q", "--python", sys.executable, folder], check=True, timeout=60)
            python = folder / "bin/python"
            command = [uv, "pip", "install", "-q", "--python", python, "-r", requirements]
            subprocess.run(command, check=True, timeout=400)
        return folder / "bin"

    return make


@pytest.fixture(scope="module")
def champion(model_uri, package, tmp_path_factory, clean_environment):
    """The model as champion of a registry, its clean environment, and what `jabert predict` says."""
    import mlflow
    import mlflow.pyfunc

    store = mlflow.get_tracking_uri()
    version = mlflow.register_model(model_uri, "jabert").version
    mlflow.MlflowClient().set_registered_model_alias("jabert", "champion", version)
    programs = clean_environment(mlflow.pyfunc.get_model_dependencies(model_uri))
    command = [Path(sys.executable).with_name("jabert"), "predict", "--json", *TEXTS[:5]]
    told = subprocess.run(
        [*command, "--set", f"tracking.uri={store}"], capture_output=True, check=True, timeout=100
    )
    environment = {
        name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")
    } | {"MLFLOW_TRACKING_URI": store, "PATH": f"{programs}:{os.environ['PATH']}"}
    predicted = [{name: row[name] for name in ("label", "probabilities")} for row in json.loads(told.stdout)]
    return SimpleNamespace(programs=programs, environment=environment, predicted=predicted)


def test_stock_mlflow_pulls_the_champion_in_a_clean_environment(champion, tmp_path):
    alone = textwrap.dedent("""
        import importlib.util, json, sys
        import mlflow, pandas
        for name in ("jabert", "tensorflow", "keras_bert", "tf_keras"):
            assert importlib.util.find_spec(name) is None, name
        model = mlflow.pyfunc.load_model("models:/jabert@champion")
        predicted = model.predict(pandas.DataFrame({"text": json.loads(sys.argv[1])}))
        print(json.dumps(predicted[["label", "probabilities"]].to_dict("records")))
    """)
    command = [champion.programs / "python", "-c", alone, json.dumps(TEXTS[:5])]
    done = subprocess.run(
        command,
        env=champion.environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == champion.predicted


@pytest.fixture(scope="module")
def served(champion, tmp_path_factory):
    """The address of `mlflow models serve` in the clean environment."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        *(champion.programs / "mlflow", "models", "serve", "-m", "models:/jabert@champion"),
        *("--env-manager", "local", "--port", str(port)),
    ]
    folder = tmp_path_factory.mktemp("served")
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            command, env=champion.environment, cwd=folder, stdout=log, stderr=log, start_new_session=True
        )
    try:
        for _ in range(600):
            assert server.poll() is None, (folder / "log").read_text()
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=5)
                break
            except OSError:
                time.sleep(0.2)
        yield f"http://127.0.0.1:{port}/invocations"
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(30)


def ask(address, content):
    request = urllib.request.Request(
        address, json.dumps(content).encode(), {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def test_stock_mlflow_serves_the_champion_in_a_clean_environment(served, champion):
    status, answer = ask(served, {"dataframe_split": {"columns": ["text"], "data": [[t] for t in TEXTS[:5]]}})
    assert status == 200
    predicted = [{name: row[name] for name in ("label", "probabilities")} for row in answer["predictions"]]
    assert predicted == champion.predicted
    status, answer = ask(
        served, {"dataframe_records": [{"text": TEXTS[0]}], "params": {"top_k": 1, "threshold": 1.0}}
    )
    assert status == 200
    assert answer["predictions"][0]["label"] is None
    assert len(answer["predictions"][0]["probabilities"]) == 1


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ({"dataframe_records": [{"text": "電話"}, {"text": None}]}, "row 1: text is null"),
        ({"dataframe_records": [{"text": "電話"}, {"text": 5}]}, "row 1: text is 5, not a string"),
        ({"inputs": {"text": ["電話", " "]}}, "row 1: text is blank"),
        (
            {"dataframe_records": [{"text": "電話"}] * 10_001},
            "row 10000: there are 10,001 texts, but 10,000 at most at a time",
        ),
        (
            {"dataframe_records": [{"text": "電話"}], "params": {"top_k": 0}},
            "top_k is 0, but at least one label is shown",
        ),
    ],
)
def test_what_the_model_refuses_reaches_a_client_as_one_sentence(served, content, sentence):
    status, answer = ask(served, content)
    assert (status, answer["message"]) == (400, sentence)
    assert "stack_trace" not in answer


def test_the_requirements_of_the_model_are_those_that_its_code_imports(model_uri):
    import mlflow.pyfunc

    from jabert.runtime import text_classifier as module

    listed = Path(mlflow.pyfunc.get_model_dependencies(model_uri)).read_text(encoding="utf-8")
    required = {line.partition("==")[0] for line in listed.splitlines()}
    tree = ast.parse(Path(module.__file__).read_text(encoding="utf-8"))
    of_ngrams = {"Ngrams", "ngram_vectorizer", "word_vectorizer", "side_by_side"}
    of_other_tokenizers = {"json_tokenizer", "mecab"}
    other = of_ngrams | of_other_tokenizers
    parts = [node for node in tree.body if getattr(node, "name", "") not in other]
    imported = {
        name.partition(".")[0]
        for part in parts  # a network needs nothing of what a linear model on n-grams does
        for node in ast.walk(part)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in (
            [node.module] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
        )
    }
    assert imported - set(sys.stdlib_module_names) == required
    for line in listed.splitlines():
        name, _, version = line.partition("==")
        assert version == importlib.metadata.version(name)
