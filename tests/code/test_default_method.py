"""Where nobody names a method it is the champion's, and without a champion the default."""

import pytest
import toy_registry

from jabert.config import load_settings
from jabert.experiments.retraining import load
from jabert.registry import open_registry


@pytest.fixture
def champion_of(tmp_path):
    """Make a version the champion whose run has this kind of method; None: a run of jabert 0.1."""

    def make(kind, **params):
        registry = open_registry(load_settings())
        version = registry.register(toy_registry.log_model(registry, tmp_path / "toy", 90))
        place = registry.client.get_experiment_by_name("toys").experiment_id
        run = registry.client.create_run(place).info.run_id
        if kind:
            registry.client.log_param(run, "method.kind", kind)
        for name, value in params.items():
            registry.client.log_param(run, f"data.{name}", value)
        registry.tag(version, {"judged_in": run})
        assert registry.apply_verdict(version, None, "promoted", "there was no champion")

    return make


@pytest.mark.parametrize(("kind", "expected"), [("tfidf", "tfidf"), ("stack", "stack"), (None, "bi-lstm")])
def test_a_scheduled_run_keeps_the_method_of_its_champion(champion_of, kind, expected, caplog):
    champion_of(kind)
    with caplog.at_level("INFO", logger="jabert"):
        assert load("", ["data.seed=3"]).method.kind == expected
    assert (f"method.kind is {expected!r}, as of the champion, version 1" in caplog.text) == (
        expected != "stack"
    )
    assert load("", ["method.kind=mean-pooling"]).method.kind == "mean-pooling", "unless told"
    assert load("knbc", []).method.kind == "bi-lstm", "or a recipe names one"
    assert load("", ["tracking.model_name=another"]).method.kind == "stack", "that has no champion"


def test_a_champion_of_a_kind_that_is_gone_leaves_the_default(champion_of):
    champion_of("of-a-later-jabert")
    assert load("", []).method.kind == "stack"


def test_without_a_registry_there_is_the_default_and_nothing_is_made(tmp_path):
    assert load("", []).method.kind == "stack"
    assert not list(tmp_path.rglob("*.db"))


def test_the_splits_of_a_champion_go_on_and_that_is_said(champion_of, caplog):
    champion_of("tfidf")  # its run knows no data.split_version: it is one of an earlier version
    assert load("", []).data.split_version == 1
    assert (
        "data.split_version is 1, as of the champion, version 1, which learned from most rows" in caplog.text
    )
    assert load("", ["data.split_version=2"]).data.split_version == 2, "unless told"
    assert load("", ["tracking.model_name=another"]).data.split_version == 2, "a new name has the new splits"


def test_a_champion_of_version_2_of_the_splits_goes_on_in_it(champion_of, caplog):
    champion_of("tfidf", split_version=2)
    assert load("", []).data.split_version == 2
    assert "data.split_version" not in caplog.text


@pytest.mark.parametrize("recipe", ["sample", "knbc", "seed"])
def test_recipes_with_recorded_figures_keep_their_splits(recipe):
    assert load(recipe, []).data.split_version == 1
