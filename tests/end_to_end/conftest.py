"""One temporary Prefect server for all end-to-end tests of the process."""

import pytest
import toy

import flows


@pytest.fixture(scope="session", autouse=True)
def prefect_server():
    assert flows  # its settings must be there before Prefect is imported
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness(server_startup_timeout=90):
        yield


@pytest.fixture
def overrides(toy_encoder, toy_table):
    """Settings of a small, quick retraining."""
    return toy.quick_settings(toy_table, toy_encoder)
