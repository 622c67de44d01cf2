"""What all end-to-end tests share."""

import shutil
from pathlib import Path

import pytest
import toy

from jabert.config import load_settings
from jabert.tracking import connect


@pytest.fixture(scope="session", autouse=True)
def flows_run(prefect_server):
    """Flows find a server."""


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory):
    """The database of an MLflow store in which nothing is: MLflow takes seconds to make one."""
    database = tmp_path_factory.mktemp("store") / "mlflow.db"
    connect(load_settings("", [f"tracking.uri=sqlite:///{database}"]).tracking)
    return database


@pytest.fixture
def overrides(toy_encoder, toy_table, empty_store):
    """Settings of a small, quick retraining in a folder with an empty store."""
    Path("mlruns").mkdir()
    shutil.copy(empty_store, "mlruns/mlflow.db")
    return toy.quick_settings(toy_table, toy_encoder)


@pytest.fixture
def cheap(overrides):
    """The same with a method that is fitted at once, where the model does not matter."""
    others = [each for each in overrides if not each.startswith(("method.", "training."))]
    return [*others, "method.kind=tfidf"]
