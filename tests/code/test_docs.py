"""The example in docs/methods.md works as it stands there."""

import importlib.util
import re
import sys
from pathlib import Path

import toy

from jabert import config
from jabert.config import load_settings
from jabert.experiments import steps
from jabert.experiments.packaging import build_package, open_package

PAGE = Path(__file__).resolve().parents[2] / "docs" / "methods.md"


def test_the_method_of_the_example_is_fitted_and_packaged(toy_table, tmp_path, monkeypatch):
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    (recipe,) = re.findall(r"```toml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "majority.py").write_text(code, encoding="utf-8")
    (tmp_path / "majority.toml").write_text(recipe, encoding="utf-8")
    spec = importlib.util.spec_from_file_location("jabert.methods.majority", tmp_path / "majority.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "jabert.methods.majority", module)
    spec.loader.exec_module(module)
    kinds = [*config.method_kinds(), "majority"]
    monkeypatch.setattr("jabert.config.method_kinds", lambda: kinds)

    settings = load_settings(tmp_path / "majority.toml", [f"data.path={toy_table}", "data.test_share=0.25"])
    data = steps.read(settings)
    fit = steps.fit(settings, data, None, "test", on_epoch=lambda _: None)
    probabilities = open_package(build_package(fit.job, tmp_path / "package")).classify(["京都", "。"])

    learned = data.table.loc[data.table["split"] != "test", "label"]
    shares = [(learned == label).mean() for label in toy.LABELS]
    assert probabilities.round(6).tolist() == [[round(share, 6) for share in shares]] * 2
    assert module.METHOD.describe(fit.job, fit.fitted).layers[-1].parameters == 4
