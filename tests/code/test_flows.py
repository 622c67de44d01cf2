"""What every flow has in common, without a server."""

import json
from datetime import date
from pathlib import Path
from types import SimpleNamespace

import pytest
from secret_urls import SECRET, secret_urls

import flows.flow
from flows.featurize import featurize
from flows.pretrain import pretrain
from flows.retrain import retrain
from flows.score import score


@pytest.mark.parametrize("url", secret_urls())
def test_prefect_stores_no_secret_of_a_parameter(url):
    for each in (featurize, pretrain, retrain, score):
        given = {
            "recipe": "sample",
            "overrides": [f"data.path={url}", f"corpus.paths={json.dumps([url, 'x'])}", "data.seed=3"],
            "source": url,
            "skip_unchanged": True,
        }
        stored = each.serialize_parameters(given)
        assert SECRET not in json.dumps(stored)
        assert SECRET not in json.dumps(each.serialize_parameters(given | {"source": ["a.csv", url]}))
        assert stored["recipe"] == "sample" and stored["skip_unchanged"] is True
        assert stored["overrides"][2] == "data.seed=3" and stored["overrides"][0].startswith("data.path=")


@pytest.mark.parametrize(
    ("parameters", "name"),
    [
        ({"recipe": "knbc", "overrides": ["data.seed=1"]}, "retrain knbc"),
        ({"recipe": "in/mine.toml", "overrides": ["data.path=x/reviews.csv"]}, "retrain mine reviews"),
        ({"recipe": "", "overrides": [f"data.path=https://me:{SECRET}@host/a.csv?t={SECRET}"]}, "retrain a"),
        ({"recipe": "", "source": "s3://bucket/texts.parquet"}, "retrain texts"),
        ({"recipe": "", "source": ["in/a.csv", "in/b.csv"]}, "retrain b"),
        ({}, "retrain"),
    ],
)
def test_runs_are_named_by_recipe_data_and_day(parameters, name, monkeypatch):
    monkeypatch.setattr(flows.flow, "flow_run", SimpleNamespace(parameters=parameters))
    assert retrain.flow_run_name() == f"{name} {date.today().isoformat()}"


def test_a_flow_is_that_of_its_function_and_its_errors_are_redacted():
    @flows.flow.flow("failing")
    def failing() -> None:
        raise OSError(f"no answer from https://me:{SECRET}@host/x.csv")

    with pytest.raises(OSError, match=r"no answer from https://host/x\.csv"):
        failing.fn()
    assert (retrain.name, retrain.fn.__name__, retrain.fn.__module__) == (
        "retrain",
        "retrain",
        "flows.retrain",
    )
    assert set(retrain.parameters.properties) == {"recipe", "overrides", "skip_unchanged"}
    assert Path(retrain._entrypoint.partition(":")[0]).name in ("retrain.py", "flows.retrain")
