"""Mean pooling as it is served equals the formula: mean, standardize, softmax."""

import numpy as np
import pytest

from jabert.config import load_settings
from jabert.experiments import steps
from jabert.experiments.packaging import build_package, open_package
from jabert.methods._linear import fit_softmax


@pytest.fixture
def results(toy_table, toy_encoder):
    settings = load_settings(
        None,
        [
            f"data.path={toy_table}",
            f"encoder.path={toy_encoder}",
            "data.test_share=0.25",
            "method.kind=mean-pooling",
            "encoder.precision=float32",
        ],
    )
    data = steps.read(settings)
    tokens = steps.tokenize(settings, data)
    steps.featurize(settings, tokens)
    return settings, data, tokens, steps.fit(settings, data, tokens, "test", on_epoch=lambda epoch: None)


def test_what_is_served_is_scikit_learn_s_answer(results, tmp_path):
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    settings, data, tokens, fit = results
    rows = steps._rows(settings, data, tokens, ["train", "validation"])
    means = np.stack([rows.vectors.read(n).astype(np.float64).mean(axis=0) for n in range(len(rows))])
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.02, solver="newton-cg", max_iter=1000))
    model.fit(means, rows.classes)

    package = build_package(fit.job, tmp_path / "package")
    served = open_package(package).classify(list(rows.texts))

    assert served == pytest.approx(model.predict_proba(means), abs=2e-3)  # the store rounds to float16
    assert fit.fitted.metrics["rows"] == len(rows)


def test_balanced_classes_count_the_same_as_in_scikit_learn():
    from sklearn.linear_model import LogisticRegression

    random = np.random.default_rng(0)
    features, classes = random.normal(size=(60, 5)), np.repeat([0, 1, 2], [40, 15, 5]).astype(np.int32)
    layer = fit_softmax(features, classes, 0.5, "balanced")
    model = LogisticRegression(C=0.5, class_weight="balanced", solver="newton-cg", max_iter=1000)
    np.testing.assert_allclose(layer.kernel, model.fit(features, classes).coef_.T)
    assert np.abs(layer.kernel - fit_softmax(features, classes, 0.5).kernel).max() > 0.01


def test_texts_of_any_length_and_company_have_the_same_answer(results, tmp_path):
    *_, fit = results
    package = build_package(fit.job, tmp_path / "package")
    classifier = open_package(package)
    texts = ["京都", "カレーの味がとても良かった。" * 4, "電話", "野球の試合で勝ってうれしい。"]
    together = classifier.classify(texts)
    alone = np.concatenate([classifier.classify([text]) for text in texts])
    assert together == pytest.approx(alone, abs=1e-5)
