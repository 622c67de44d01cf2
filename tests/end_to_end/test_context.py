"""A retraining with a context: measured, judged, carded, scored and served as one model."""

import json

import pandas as pd
import pytest
from toy import quick_settings

from flows.retrain import retrain
from flows.score import score
from jabert.cli import main
from jabert.config import load_settings
from jabert.dataset.context import with_neighbours
from jabert.registry import open_registry


def said(capsys, *words):
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 0
    return capsys.readouterr().out


def test_a_model_with_context_is_made_judged_and_used(toy_encoder, toy_table, capsys):
    quick = [each for each in quick_settings(toy_table, toy_encoder) if not each.startswith("method.")]
    own = [*quick, "method.kind=mean-pooling", "experiment.baselines=false"]
    alone = retrain("", own)
    seen = retrain("", [*own, "data.context=2"])

    registry = open_registry(load_settings())
    assert (alone["promoted"], seen["champion_weighted_f1"]) == (True, alone["weighted_f1"])
    metrics = registry.run("2").data.metrics
    assert metrics["test/weighted_f1_alone"] == pytest.approx(alone["weighted_f1"]), "the same fit"
    card = said(capsys, "models", "card", "2")
    assert "It looks at up to 2 texts before and after a text in the same group." in card
    assert f"judges the text alone: weighted F1 {alone['weighted_f1']:.4f}" in card
    assert "columns before and after, lists of texts, may stand beside text" in card
    if not seen["promoted"]:
        options = [word for each in own for word in ("--set", each)]
        said(capsys, "models", "promote", "2", "--force", *options)

    scored = score(str(toy_table), "scored.parquet", "", [])
    assert (scored["context"], scored["scored"]) == (2, 160)
    rows = pd.read_csv(toy_table)
    expected = registry.load("2").predict(
        with_neighbours(rows.assign(file="", line=range(160)), 2)[["text", "before", "after"]]
    )
    found = pd.read_parquet("scored.parquet")
    assert found["label"].tolist() == expected["label"].tolist()
    assert found["score"].tolist() == pytest.approx(expected["score"].tolist(), abs=2e-3)

    words = ("predict", rows["text"][0], "--after", json.dumps([rows["text"][40], rows["text"][80]]))
    (answer,) = json.loads(said(capsys, *words, "--json"))
    assert max(answer["probabilities"].values()) == pytest.approx(expected["score"][0], abs=2e-3)

    third = retrain("", own)
    assert third["champion_weighted_f1"] == seen["weighted_f1"], "a champion with context gets neighbours"
