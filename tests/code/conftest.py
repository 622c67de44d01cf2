"""What tests of the code share."""

import pytest


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """The setting of an MLflow store for the tests of a file."""
    return f"tracking.uri=sqlite:///{tmp_path_factory.mktemp('store')}/mlflow.db"
