"""The example in docs/methods.md works as it stands there."""

import importlib.util
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import toy
from sklearn.feature_extraction.text import TfidfVectorizer

from jabert import config
from jabert.config import load_settings
from jabert.experiments import steps
from jabert.experiments.packaging import build_package, open_package
from jabert.training.rows import Rows

PAGE = Path(__file__).resolve().parents[2] / "docs" / "methods.md"
TEXTS = ["京都のお寺を歩いた。", "電話の電池が切れた。"]


def test_the_method_of_the_example_is_fitted_and_packaged(toy_table, tmp_path, monkeypatch):
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    (recipe,) = re.findall(r"```toml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "centroids.py").write_text(code, encoding="utf-8")
    (tmp_path / "centroids.toml").write_text(recipe, encoding="utf-8")
    spec = importlib.util.spec_from_file_location("jabert.methods.centroids", tmp_path / "centroids.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "jabert.methods.centroids", module)
    spec.loader.exec_module(module)
    kinds = [*config.method_kinds(), "centroids"]
    monkeypatch.setattr("jabert.config.method_kinds", lambda: kinds)

    settings = load_settings(tmp_path / "centroids.toml", [f"data.path={toy_table}", "data.test_share=0.25"])
    data = steps.read(settings)
    fit = steps.fit(settings, data, None, "test", on_epoch=lambda _: None)
    probabilities = open_package(build_package(fit.job, tmp_path / "package")).classify(TEXTS)

    learned = data.table[data.table["split"] != "test"]
    vectorizer = TfidfVectorizer(analyzer="char", sublinear_tf=True)
    vectors = vectorizer.fit_transform(learned["text"]).toarray()
    means = np.stack([vectors[learned["label"] == label].mean(axis=0) for label in toy.LABELS])
    distances = ((vectorizer.transform(TEXTS).toarray()[:, None] - means) ** 2).sum(axis=2)
    powers = np.exp(-10 * distances)
    assert probabilities == pytest.approx(powers / powers.sum(axis=1, keepdims=True), abs=1e-9)
    rows = Rows(TEXTS, np.zeros(2, dtype=np.int32))
    assert np.array_equal(module.METHOD.predict(fit.job, rows), probabilities)
    assert module.METHOD.describe(fit.job, fit.fitted).layers[-1].parameters == means.size + 4
