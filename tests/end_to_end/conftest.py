"""What all end-to-end tests share."""

import pytest
import toy


@pytest.fixture(scope="session", autouse=True)
def flows_run(prefect_server):
    """Flows find a server."""


@pytest.fixture
def overrides(toy_encoder, toy_table):
    """Settings of a small, quick retraining."""
    return toy.quick_settings(toy_table, toy_encoder)
