"""The artifacts of a stage in the Prefect UI."""

from types import SimpleNamespace

import httpx
import pytest

from flows import pages, stages
from jabert.config import load_settings
from jabert.validation import ValidationReport


@pytest.fixture
def bar(monkeypatch):
    """The percentages that a progress bar is set to."""
    shown = []
    monkeypatch.setattr(pages, "create_progress_artifact", lambda progress, key: key)
    monkeypatch.setattr(pages, "update_progress_artifact", lambda artifact, progress: shown.append(progress))
    return shown


@pytest.mark.parametrize(("done", "total", "percent"), [(0, 0, 100), (3, 3, 100), (0, 4, 0), (3, 4, 75)])
def test_progress_is_a_percentage_also_where_there_is_nothing_to_do(bar, monkeypatch, done, total, percent):
    monkeypatch.setattr(pages, "_SECONDS_BETWEEN_UPDATES", 0.0)
    pages.progress("bar")(done, total)
    assert bar == [percent]


@pytest.fixture
def away(monkeypatch):
    """Prefect's server is away: nothing listens at its address."""
    from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings

    pages._warn.cache_clear()
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:1/api", PREFECT_CLIENT_MAX_RETRIES: 0}):
        yield


@pytest.mark.filterwarnings("ignore:Artifact creation outside of a flow:FutureWarning")
def test_a_server_that_is_away_costs_pages_and_one_warning(away, caplog):
    pages.show_markdown("page", "text")
    pages.show_table("table", {"rows": 1})
    pages.progress("bar")(1, 1)
    (warning,) = caplog.records
    assert "Prefect's server does not take pages" in warning.getMessage()


def test_a_bar_goes_on_when_the_server_is_back(bar, monkeypatch, caplog):
    pages._warn.cache_clear()
    update = pages.progress("bar")
    with monkeypatch.context() as patch:
        patch.setattr(pages, "update_progress_artifact", fail)
        update(2, 2)
        update(2, 2)
    update(2, 2)
    assert bar == [100]
    assert len(caplog.records) == 1


def fail(artifact, progress):
    raise httpx.ConnectError("All connection attempts failed")


def test_updates_that_take_long_take_a_tenth_of_the_time(bar, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(pages.time, "monotonic", lambda: clock[0])
    update = pages.progress("bar")

    def slow(artifact, progress):
        clock[0] += 60
        bar.append(progress)

    monkeypatch.setattr(pages, "update_progress_artifact", slow)
    for second in (3, 600, 700):
        clock[0] = second
        update(1, 4)
    assert len(bar) == 2


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        (
            "http://mlflow:5000",
            "[Each expectation](http://mlflow:5000/#/experiments/7/runs/abc/artifacts/{})",
        ),
        ("sqlite:///mlflow.db", "Each expectation: `{}` among the artifacts of run abc."),
    ],
)
def test_the_page_of_a_suite_says_where_each_expectation_is(uri, said, tmp_path):
    page = tmp_path / "data_docs/validations/own/__none__/1/table.html"
    page.parent.mkdir(parents=True)
    page.touch()
    report = ValidationReport(tmp_path / "own.json", True, 0, (), tmp_path)
    run = SimpleNamespace(id="abc", experiment_id="7")
    tracking = load_settings("", [f"tracking.uri={uri}"]).tracking
    path = "validation/texts/data_docs/validations/own/__none__/1/table.html"
    assert stages._where(report, "texts", tracking, run) == said.format(path)
