"""Mean pooling as it is served equals the formula: mean, standardize, softmax."""

import numpy as np
import pytest

from jabert.config import load_settings
from jabert.experiments import steps
from jabert.experiments.packaging import build_package, open_package
from jabert.methods import _kernel
from jabert.methods._linear import fit_softmax
from jabert.training.rows import Rows


@pytest.fixture(params=["kernel", "logistic"])
def results(request, toy_table, toy_encoder):
    settings = load_settings(
        None,
        [
            f"data.path={toy_table}",
            f"encoder.path={toy_encoder}",
            "data.test_share=0.25",
            "method.kind=mean-pooling",
            "encoder.precision=float32",
            f"method.classifier={request.param}",
        ],
    )
    data = steps.read(settings)
    tokens = steps.tokenize(settings, data)
    steps.featurize(settings, tokens)
    return settings, data, tokens, steps.fit(settings, data, tokens, "test", on_epoch=lambda epoch: None)


def test_what_is_served_is_scikit_learn_s_answer(results, tmp_path):
    from sklearn.kernel_ridge import KernelRidge
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    settings, data, tokens, fit = results
    rows = steps.rows_of(settings, data, tokens, ["train", "validation"])
    means = np.stack([rows.vectors.read(n).astype(np.float64).mean(axis=0) for n in range(len(rows))])
    z = StandardScaler().fit_transform(means)

    package = build_package(fit.job, tmp_path / "package")
    served = open_package(package).classify(list(rows.texts))

    if settings.method.classifier == "logistic":
        model = LogisticRegression(C=0.005, solver="newton-cg", max_iter=1000).fit(z, rows.classes)
        assert served == pytest.approx(model.predict_proba(z), abs=2e-3)  # the store rounds to float16
    else:
        targets = 2 * np.eye(4)[rows.classes] - 1
        model = KernelRidge(alpha=0.3, kernel="rbf", gamma=1 / z.shape[1]).fit(
            z, targets - targets.mean(axis=0)
        )
        scores = model.predict(z) + targets.mean(axis=0)
        logarithms = np.log(served)
        scale = (logarithms[:, 0] - logarithms[:, 1]) / (scores[:, 0] - scores[:, 1])
        assert scale == pytest.approx(np.median(scale), rel=0.05), "they differ by one factor"
        assert (served.argmax(axis=1) == scores.argmax(axis=1)).all()
    assert fit.fitted.metrics["rows"] == len(rows)


def clusters(count, seed=0):
    """Features (rows, 4) of three classes, none of which a plane parts from the others."""
    random = np.random.default_rng(seed)
    classes = random.integers(3, size=count).astype(np.int32)
    radius = np.array([1.0, 2.0, 3.0])[classes]
    directions = random.normal(size=(count, 4))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    return directions * radius[:, None] + random.normal(scale=0.1, size=(count, 4)), classes


@pytest.mark.parametrize("most", [4000, 150])
def test_a_kernel_learns_what_no_plane_parts_also_with_few_landmarks(monkeypatch, tmp_path, most):
    monkeypatch.setattr(_kernel, "_MOST", most)
    features, classes = clusters(400)
    layer = _kernel.fit_kernel(features, Rows(["あ"] * 400, classes), 3, 0.1)
    layer.save(tmp_path / "kernel.npz")

    others, true = clusters(300, seed=1)
    found = _kernel.KernelLayer.read(tmp_path / "kernel.npz")(others)

    assert (found.argmax(axis=1) == true).mean() > 0.95
    assert found.sum(axis=1) == pytest.approx(1)
    assert len(layer.landmarks) == min(most, 400)
    likelihood = -np.log(found[np.arange(300), true]).mean()
    assert likelihood < 0.35, "the probabilities are sharp where they are right"


def test_a_rare_class_counts_more_if_classes_are_balanced():
    features, classes = clusters(400)
    kept = np.flatnonzero((classes != 2) | (np.arange(400) % 10 == 0))
    rows = Rows(["あ"] * len(kept), classes[kept])
    others, true = clusters(300, seed=1)
    recall = {}
    for weights in ("none", "balanced"):
        layer = _kernel.fit_kernel(features[kept], rows, 3, 30.0, weights)
        recall[weights] = (layer(others).argmax(axis=1) == 2)[true == 2].mean()
    assert recall["balanced"] > recall["none"]


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
