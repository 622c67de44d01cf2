"""TF-IDF as it is served equals scikit-learn's pipeline, and needs neither an encoder nor a network."""

import json
import subprocess
import sys

import numpy as np
import pytest

from jabert.config import load_settings
from jabert.experiments import steps
from jabert.experiments.packaging import build_package, open_package


@pytest.fixture
def results(toy_table, tmp_path):
    settings = load_settings("tfidf", [f"data.path={toy_table}", "data.test_share=0.25"])
    data = steps.read(settings)
    fit = steps.fit(settings, data, None, "test", on_epoch=lambda epoch: None)
    return data, fit, build_package(fit.job, tmp_path / "package")


def test_what_is_served_is_scikit_learn_s_answer(results):
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    data, fit, package = results
    learned = data.table[data.table["split"] != "test"]
    test = data.table.loc[data.table["split"] == "test", "text"].tolist()
    vectorizer = TfidfVectorizer(analyzer="char", ngram_range=(1, 4), sublinear_tf=True)
    model = make_pipeline(vectorizer, LogisticRegression(C=30, solver="newton-cg", max_iter=1000))
    model.fit(learned["text"], learned["label"])

    classifier = open_package(package)

    assert classifier.about["labels"] == list(model.classes_)
    assert classifier.classify(test) == pytest.approx(model.predict_proba(test), abs=1e-9)
    assert fit.fitted.metrics["ngrams"] == len(vectorizer.vocabulary_)


def test_width_and_case_of_letters_make_no_difference(results):
    classifier = open_package(results[2])
    for one, other in (("ﾗｰﾒﾝを食べた", "ラーメンを食べた"), ("ＤＯＣＯＭＯの電話", "docomoの電話")):
        assert np.array_equal(classifier.classify([one]), classifier.classify([other]))


def test_a_text_of_unknown_characters_gets_the_shares_of_the_bias(results):
    probabilities = open_package(results[2]).classify(["ﷺ", "𓀀𓀁"])
    assert np.array_equal(probabilities[0], probabilities[1])
    assert probabilities.sum(axis=1) == pytest.approx(1)


def test_the_number_of_ngrams_is_bounded(toy_table):
    settings = load_settings("tfidf", [f"data.path={toy_table}", "method.ngrams=50", "method.longest=2"])
    fit = steps.fit(settings, steps.read(settings), None, "test", on_epoch=lambda epoch: None)
    ngrams = json.loads((fit.job.folder / "ngrams.json").read_text(encoding="utf-8"))["ngrams"]
    assert len(ngrams) == fit.fitted.metrics["ngrams"] == 50
    assert max(map(len, ngrams)) == 2


def test_a_retraining_imports_no_network_and_needs_no_encoder(toy_table):
    """From text to a champion, and once more against that champion, in one process."""
    program = f"""
import json, sys
from flows.command import run_flow
settings = ["data.path={toy_table}", "data.test_share=0.25", "data.validation_share=0.25"]
results = [run_flow("retrain", "tfidf", settings) for _ in range(2)]
print(json.dumps([results, sorted({{name.partition(".")[0] for name in sys.modules}})]))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    (first, second), loaded = json.loads(done.stdout.splitlines()[-1])
    assert (first["outcome"], second["outcome"]) == ("promoted", "kept")
    stages = ["read", "validate", "tokenize", "featurize", "train", "calibrate", "evaluate", "register"]
    assert list(first["stages"]) == stages
    assert first["features"] == {"computed": 0, "reused": 0}
    assert {"mlflow", "sklearn"} <= set(loaded)
    assert not {"tensorflow", "tf_keras", "keras_bert", "openvino"} & set(loaded)


def test_the_registered_model_requires_no_more_than_it_imports(results):
    about = json.loads((results[2] / "package.json").read_text(encoding="utf-8"))
    assert [member["requires"] for member in about["members"]] == [["scikit-learn"]]
