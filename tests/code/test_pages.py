"""What a stage shows in the Prefect UI."""

import pytest

from flows import pages


@pytest.fixture
def bar(monkeypatch):
    """Percentages that a progress bar is set to."""
    shown = []
    monkeypatch.setattr(pages, "create_progress_artifact", lambda progress, key: key)
    monkeypatch.setattr(pages, "update_progress_artifact", lambda artifact, progress: shown.append(progress))
    return shown


@pytest.mark.parametrize(("done", "total", "percent"), [(0, 0, 100), (3, 3, 100), (0, 4, 0), (3, 4, 75)])
def test_progress_is_a_percentage_also_where_there_is_nothing_to_do(bar, monkeypatch, done, total, percent):
    monkeypatch.setattr(pages, "_SECONDS_BETWEEN_UPDATES", 0.0)
    pages.progress("bar")(done, total)
    assert bar == [percent]
