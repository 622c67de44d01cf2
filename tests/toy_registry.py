"""Ready-made versions of known quality in a registry, for tests of the gate."""

import json
from pathlib import Path

import pandas as pd
import toy_classifier

from jabert.config import PromotionSettings, load_settings
from jabert.registry import Gate, Registry, open_registry

ROWS = pd.DataFrame(
    [
        {
            "text": f"{number:03} {toy_classifier.LABELS[number % 2]}",
            "label": toy_classifier.LABELS[number % 2],
            "group": f"article-{number // 5}",
        }
        for number in range(100)
    ]
)
"""Test rows: 20 articles of 5 texts; a model is right about the first so many."""


def log_model(registry: Registry, folder: Path, right: int, learned: dict | None = None, **about) -> str:
    """Log a model that is right about the first `right` of `ROWS`; returns its URI.

    With `right_in_context` it looks at neighbours, and where it is given some, is right about so many.
    """
    import mlflow.pyfunc
    from mlflow.models import Model

    folder.mkdir(parents=True, exist_ok=True)
    files = {"about": folder / "about.json"}
    files["about"].write_text(json.dumps({"right": right, **about}), encoding="utf-8")
    if learned is not None:
        files["learned_from"] = folder / "learned_from.json"
        files["learned_from"].write_text(json.dumps(learned), encoding="utf-8")
    experiment = registry.client.get_experiment_by_name("toys")
    place = (
        experiment.experiment_id
        if experiment
        else registry.client.create_experiment("toys", (folder.parent / "artifacts").as_uri())
    )
    model = registry.client.create_logged_model(place, name="toy")
    logged = Model.log(
        artifact_path=None,
        name="toy",
        flavor=mlflow.pyfunc,
        model_id=model.model_id,
        python_model=toy_classifier.__file__,
        artifacts={name: str(path) for name, path in files.items()},
        pip_requirements=["mlflow"],
        metadata={"context": 1} if "right_in_context" in about else None,
    )
    return logged.model_uri


def new_version(registry: Registry, model_uri: str) -> str:
    """A version of the model; unlike `Registry.register` always a new one."""
    import mlflow

    return str(mlflow.register_model(model_uri, registry.name).version)


def toy_registry(name: str, *overrides: str) -> Registry:
    """The registered model `name` in the store of the settings."""
    return open_registry(load_settings(None, [f"tracking.model_name={name}", *overrides]))


def gate(registry: Registry, rows: pd.DataFrame = ROWS, record=lambda verdict: None, **rules) -> Gate:
    """A gate that takes the smoke check as passed."""
    smoke_check = rules.pop("smoke_check", lambda *_: None)
    return Gate(
        registry, rows, PromotionSettings(**{"floor": 0, **rules}), record=record, smoke_check=smoke_check
    )
