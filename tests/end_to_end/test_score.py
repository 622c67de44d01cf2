"""A table scored by the flow, with its page and progress in Prefect."""

import json
from pathlib import Path

import pandas as pd
import toy
import toy_champion
from prefect.client.orchestration import get_client

from flows.score import score


def shown():
    """What Prefect shows last under each key."""
    with get_client(sync_client=True) as client:
        return {artifact.key: artifact.data for artifact in client.read_latest_artifacts()}


def test_a_table_is_scored_and_shown_in_prefect(toy_encoder, toy_table, tmp_path):
    settings = toy_champion.settings_in(tmp_path, toy_encoder)
    toy_champion.make_champion(tmp_path / "made", settings)

    result = score(str(toy_table), "scored.parquet", "", [f"tracking.uri={settings.tracking.uri}"])

    assert (result["rows"], result["scored"], result["failed"]) == (160, 160, 0)
    assert result["output"] == str(Path("scored.parquet").resolve())
    scored = pd.read_parquet("scored.parquet")
    assert list(scored.columns[:4]) == ["text", "input_label", "group", "label"]
    assert set(scored["label"]) <= set(toy.LABELS)
    pages = shown()
    assert {row["what"]: row["value"] for row in json.loads(pages["score-table"])}["rows"] == 160
    assert pages["score-progress"] == 100
    assert not list(Path(".jabert/work").glob("score-*/"))
