"""TF-IDF as it is served equals scikit-learn's pipeline, and needs neither an encoder nor a network."""

import importlib.metadata
import json
import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest
from scipy import sparse
from scipy.special import log_softmax, softmax
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.svm import LinearSVC

from jabert.config import load_settings
from jabert.errors import JabertError
from jabert.experiments import steps
from jabert.experiments.packaging import build_package, open_package
from jabert.methods._linear import fit_svm
from jabert.methods._ngrams import count_ngrams
from jabert.runtime.text_classifier import in_one_form
from jabert.training.rows import Rows


def fitted(toy_table, target, *more):
    settings = load_settings("tfidf", [f"data.path={toy_table}", "data.test_share=0.25", *more])
    data = steps.read(settings)
    fit = steps.fit(settings, data, None, "test", on_epoch=lambda epoch: None)
    return data, fit, build_package(fit.job, target)


@pytest.fixture
def results(toy_table, tmp_path):
    return fitted(toy_table, tmp_path / "package")


def texts_and_labels(data):
    is_test = data.table["split"] == "test"
    return data.table[~is_test], data.table.loc[is_test, "text"].tolist()


def test_what_is_served_is_scikit_learn_s_answer(toy_table, tmp_path):
    logistic = ("method.classifier=logistic", "method.longest=4", "method.c=30")
    data, fit, package = fitted(toy_table, tmp_path / "package", *logistic)
    learned, test = texts_and_labels(data)
    vectorizer = TfidfVectorizer(analyzer="char", ngram_range=(1, 4), sublinear_tf=True)
    model = make_pipeline(vectorizer, LogisticRegression(C=30, solver="newton-cg", max_iter=1000))
    model.fit(learned["text"], learned["label"])

    classifier = open_package(package)

    assert classifier.about["labels"] == list(model.classes_)
    assert classifier.classify(test) == pytest.approx(model.predict_proba(test), abs=1e-9)
    assert fit.fitted.metrics["ngrams"] == len(vectorizer.vocabulary_)


def test_the_answer_of_the_support_vector_machine_is_scikit_learn_s_made_sharper_or_flatter(results):
    data, _, package = results
    learned, test = texts_and_labels(data)
    vectorizer = TfidfVectorizer(analyzer="char", ngram_range=(1, 3), sublinear_tf=True)
    model = make_pipeline(vectorizer, LinearSVC(class_weight="balanced", random_state=0))
    model.fit(learned["text"], learned["label"])
    scores = model.decision_function(test)

    logarithms = np.log(open_package(package).classify(test))

    sharpness = np.ptp(logarithms, axis=1) / np.ptp(scores, axis=1)
    assert sharpness == pytest.approx(sharpness[0])
    assert logarithms == pytest.approx(log_softmax(sharpness[0] * scores, axis=1))


@pytest.mark.parametrize("block", [7, 1_000_000])
def test_ngrams_are_counted_as_scikit_learn_counts_them(monkeypatch, block):
    monkeypatch.setattr("jabert.methods._ngrams._BLOCK", block)
    random = np.random.default_rng(0)
    characters = list("あい京都ab 𠮷😀\0")
    texts = ["".join(random.choice(characters, length)) for length in random.integers(0, 30, 200)]
    texts = [" ".join(text.split(" ")) for text in map(in_one_form, texts)]
    vectorizer = CountVectorizer(analyzer="char", ngram_range=(1, 3), lowercase=False)
    expected = vectorizer.fit_transform(texts)

    counts, ngrams = count_ngrams(texts, longest=3, most=100_000)

    assert ngrams == vectorizer.get_feature_names_out().tolist()
    assert not (counts != expected).nnz


def test_the_most_frequent_ngrams_are_kept_though_rare_ones_are_forgotten_on_the_way(monkeypatch):
    monkeypatch.setattr("jabert.methods._ngrams._BLOCK", 50)
    rare = [chr(0xAC00 + number) for number in range(500)]
    texts = [f"京都の{first}{second}寺" for first, second in pairwise(rare)]

    counts, ngrams = count_ngrams(texts, longest=2, most=6)

    assert ngrams == sorted(["京", "都", "の", "寺", "京都", "都の"])
    assert counts.toarray().tolist() == [[1] * 6] * len(texts)


def test_probabilities_of_the_support_vector_machine_are_as_often_right_as_they_say():
    random = np.random.default_rng(0)
    true = random.integers(0, 3, 3000)
    seen = np.where(random.random(3000) < 0.7, true, random.integers(0, 3, 3000))  # right in 0.8
    features = sparse.csr_matrix(np.eye(3)[seen])
    layer = fit_svm(features[:2000], Rows([""] * 2000, true[:2000].astype(np.int32)), 1.0)
    sure = softmax(features[2000:] @ layer.kernel + layer.bias, axis=1).max(axis=1)
    assert sure.mean() == pytest.approx(0.8, abs=0.03)


def test_rows_of_a_group_are_held_out_together():
    random = np.random.default_rng(0)
    group = np.repeat(np.arange(60), 10)
    true = random.integers(0, 2, 60)[group].astype(np.int32)  # nothing but the group tells
    features = sparse.csr_matrix(np.eye(60)[group])
    names = [f"article {number}" for number in group]
    apart, together = (fit_svm(features, Rows(names, true, of), 1.0) for of in ((), names))
    assert np.ptp(together.kernel) < np.ptp(apart.kernel) / 5


def test_words_are_counted_beside_ngrams(toy_table, tmp_path):
    pytest.importorskip("sudachipy")
    _, fit, package = fitted(toy_table, tmp_path / "package", "method.words=true")
    counted = json.loads((package / "tfidf" / "ngrams.json").read_text(encoding="utf-8"))
    about = json.loads((package / "package.json").read_text(encoding="utf-8"))

    assert len(counted["words"]) == fit.fitted.metrics["words"] > 0
    assert "食べる" in counted["words"] and "を" not in counted["words"]
    assert about["members"][0]["requires"] == ["scikit-learn", "scipy", "sudachipy", "sudachidict-core"]
    assert all(importlib.metadata.version(name) for name in about["members"][0]["requires"])
    long = "京都のお寺を歩いた。" * 5000  # more than Sudachi takes at once
    assert open_package(package).classify([long]).sum() == pytest.approx(1)


def test_words_without_their_packages_are_refused_with_what_to_install(toy_table, tmp_path, monkeypatch):
    monkeypatch.setattr("jabert.methods.tfidf.find_spec", lambda name: None)
    with pytest.raises(JabertError, match=r"method\.words .* pip install 'jabert\[words\]'"):
        fitted(toy_table, tmp_path / "package", "method.words=true")


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
    stages = [
        "read",
        "validate",
        "tokenize",
        "featurize",
        "train",
        "calibrate",
        "evaluate",
        "baselines",
        "register",
    ]
    assert list(first["stages"]) == stages
    assert first["features"] == {"computed": 0, "reused": 0}
    assert list(first["baselines"]) == ["majority"]
    assert {"mlflow", "sklearn"} <= set(loaded)
    assert not {"tensorflow", "tf_keras", "keras_bert", "openvino"} & set(loaded)


def test_the_registered_model_requires_no_more_than_it_imports(results):
    about = json.loads((results[2] / "package.json").read_text(encoding="utf-8"))
    assert [member["requires"] for member in about["members"]] == [["scikit-learn"]]
