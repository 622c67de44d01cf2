"""The shape of the package: who imports whom, what stays unloaded, and what is public."""

import ast
import importlib
import json
import pkgutil
import re
import subprocess
import sys
import textwrap
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

import jabert

ROOT = Path(__file__).resolve().parents[2]
HEAVY = {
    "great_expectations",
    "keras_bert",
    "matplotlib",
    "mlflow",
    "pandas",
    "prefect",
    "pyarrow",
    "sklearn",
    "tensorflow",
}
MODULES = [module.name for module in pkgutil.walk_packages(jabert.__path__, "jabert.")]


def run_python(code, check=True):
    command = [sys.executable, "-c", textwrap.dedent(code)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=check)


def test_the_contracts_on_imports_are_kept():
    """Layers, no Prefect, no flows but in the command line: `[tool.importlinter]` in pyproject.toml."""
    settings = {"config_filename": str(ROOT / "pyproject.toml"), "no_cache": True}
    done = run_python(
        f"""
        import sys
        from importlinter.cli import lint_imports
        sys.exit(lint_imports(**{settings}))
    """,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Contracts: 2 kept, 0 broken" in done.stdout


def test_the_packaged_model_stands_alone():
    path = Path(jabert.__file__).with_name("runtime") / "text_classifier.py"
    imports = [
        node
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    names = [
        name
        for node in imports
        for name in ([node.module] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names])
    ]
    assert all(not isinstance(node, ast.ImportFrom) or node.level == 0 for node in imports)
    assert "mlflow" in names
    assert not [name for name in names if name.partition(".")[0] in ("jabert", "flows")]


def test_reading_the_settings_loads_nothing_heavy():
    done = run_python("""
        import json, sys
        from jabert.config import load_settings

        load_settings("knbc", ["data.path=x"])
        print(json.dumps(sorted(sys.modules)))
    """)
    loaded = {name.partition(".")[0] for name in json.loads(done.stdout)}
    assert "pydantic" in loaded
    assert not loaded & HEAVY


@pytest.mark.parametrize("name", ["prefect", "uvicorn"])
def test_a_library_whose_inside_is_used_is_bound_to_the_minor_version_of_the_lock(name):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (bound,) = (each for each in map(Requirement, project["dependencies"]) if each.name == name)
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    locked = Version(re.search(rf"^{name}==(\S+)", lock, re.MULTILINE)[1])
    assert locked in bound.specifier
    assert f"{locked.major}.{locked.minor + 1}" not in bound.specifier


@pytest.mark.parametrize("name", MODULES)
def test_every_module_says_what_it_is_for(name):
    module = importlib.import_module(name)
    assert module.__doc__
    assert not [word for word in getattr(module, "__all__", ()) if not hasattr(module, word)]


def test_the_list_of_modules_is_not_empty():
    assert {"jabert.cli", "jabert.encoder.tokenizer", "jabert.runtime.text_classifier"} <= set(MODULES)


def test_a_strangers_importer_fails_no_test(monkeypatch):
    class Importer:
        """As of six: Python up to 3.11 warns at each import that it has no `find_spec`."""

        @staticmethod
        def find_module(name, path=None):
            return None

    monkeypatch.setattr(sys, "meta_path", [Importer, *sys.meta_path])
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("a_module_that_is_not_there")
