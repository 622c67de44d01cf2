"""A table scored by a flow: from the command line, with its page in Prefect."""

import json
from pathlib import Path

import pandas as pd
import pytest
import toy
import toy_champion
from prefect.artifacts import Artifact

from jabert.cli import main


@pytest.fixture
def store(toy_encoder, tmp_path):
    settings = toy_champion.settings_in(tmp_path, toy_encoder)
    toy_champion.make_champion(tmp_path / "made", settings)
    return f"--set=tracking.uri={settings.tracking.uri}"


def test_a_table_is_scored_from_the_command_line_and_shown_in_prefect(store, toy_table, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["score", str(toy_table), "scored.parquet", store, "--json"])

    assert ended.value.code == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["rows"], result["scored"], result["failed"]) == (160, 160, 0)
    assert result["output"] == str(Path("scored.parquet").resolve())
    scored = pd.read_parquet("scored.parquet")
    assert list(scored.columns[:4]) == ["text", "input_label", "group", "label"]
    assert set(scored["label"]) <= set(toy.LABELS)
    page = {row["what"]: row["value"] for row in json.loads(Artifact.get("score-table").data)}
    assert page["rows"] == 160
    assert Artifact.get("score-progress").data == 100
    assert not list(Path(".jabert/work").glob("score-*/"))
