"""A table scored by the flow, with its page and progress in Prefect."""

import json
from pathlib import Path

import pandas as pd
import pytest
import toy
import toy_champion
from prefect.client.orchestration import get_client

from flows.score import score


def shown():
    """What Prefect shows last under each key."""
    with get_client(sync_client=True) as client:
        return {artifact.key: artifact.data for artifact in client.read_latest_artifacts()}


@pytest.fixture(scope="module")
def champion(toy_encoder, tmp_path_factory):
    """The setting that leads to a registry with a champion."""
    root = tmp_path_factory.mktemp("champion")
    settings = toy_champion.settings_in(root, toy_encoder)
    toy_champion.make_champion(root / "made", settings)
    return f"tracking.uri={settings.tracking.uri}"


def test_a_table_is_scored_and_shown_in_prefect(champion, toy_table):
    result = score(str(toy_table), "scored.parquet", "", [champion])

    assert (result["rows"], result["scored"], result["failed"]) == (160, 160, 0)
    assert result["output"] == str(Path("scored.parquet").resolve())
    scored = pd.read_parquet("scored.parquet")
    assert list(scored.columns[:4]) == ["text", "input_label", "group", "label"]
    assert set(scored["label"]) <= set(toy.LABELS)
    pages = shown()
    assert {row["what"]: row["value"] for row in json.loads(pages["score-table"])}["rows"] == 160
    assert pages["score-progress"] == 100
    assert not list(Path(".jabert/work").glob("score-*/"))


@pytest.mark.parametrize(("name", "content"), [("in.csv", "text,group\n"), ("in.jsonl", "\n\n")])
def test_a_table_without_rows_is_scored(champion, name, content):
    Path(name).write_text(content, encoding="utf-8")

    result = score(name, "scored.csv", "", [champion])

    assert (result["rows"], result["scored"], result["failed"]) == (0, 0, 0)
    assert Path("scored.csv").read_text(encoding="utf-8").count("\n") == 1
