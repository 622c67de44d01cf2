"""Versions of the registered model and the alias that says which one serves."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from jabert.errors import JabertError
from jabert.evaluation import weighted_f1
from jabert.packaging import predict

if TYPE_CHECKING:
    import pandas as pd
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.tracking import MlflowClient

__all__ = [
    "CHAMPION",
    "PREVIOUS",
    "Verdict",
    "find_champion",
    "judge",
    "list_versions",
    "load_champion",
    "score",
]

CHAMPION = "champion"
PREVIOUS = "previous"


@dataclass(frozen=True)
class Verdict:
    """What became of a new version.

    Attributes:
        version: of the registered model.
        weighted_f1: of the new version, on this run's test rows.
        champion_weighted_f1: of the champion on the same rows, scored now; None without a champion.
        promoted: the alias points to the new version.
        reason: one sentence.
    """

    version: str
    weighted_f1: float
    champion_weighted_f1: float | None
    promoted: bool
    reason: str


def find_champion(client: "MlflowClient", name: str) -> "ModelVersion | None":
    """The version that the alias points to, None if there is no such model or alias."""
    from mlflow.exceptions import MlflowException

    try:
        return client.get_model_version_by_alias(name, CHAMPION)
    except MlflowException as error:
        # A missing alias is reported as an invalid parameter.
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise


def load_champion(client: "MlflowClient", name: str) -> Any:
    """The champion as a pyfunc model.

    Raises:
        JabertError: there is none.
    """
    import mlflow.pyfunc
    from mlflow.exceptions import MlflowException

    champion = find_champion(client, name)
    if champion is None:
        raise JabertError(f"the registered model {name!r} has no champion yet; `jabert retrain` makes one")
    try:
        return mlflow.pyfunc.load_model(f"models:/{name}@{CHAMPION}")
    except (MlflowException, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise JabertError(
            f"version {champion.version}, the champion of {name!r}, cannot be loaded ({reason}); "
            "see `jabert doctor`, or delete its alias in the MLflow UI"
        ) from error


def score(model: Any, rows: "pd.DataFrame") -> float:
    """Weighted F1 of a pyfunc model on rows with columns text and label; its labels may differ."""
    predicted = predict(model, rows[["text"]])["label"].tolist()
    labels = sorted({*rows["label"], *predicted})
    return weighted_f1(_indices(rows["label"].tolist(), labels), _indices(predicted, labels), len(labels))


def judge(
    client: "MlflowClient", name: str, model_uri: str, *, rows: "pd.DataFrame", challenger_f1: float
) -> Verdict:
    """Register a version and make it the champion if its weighted F1 is strictly higher.

    The champion is scored now, on the same rows and from text, like the challenger.

    Args:
        client: of the registry.
        name: of the registered model.
        model_uri: the logged model.
        rows: this run's test rows, columns text and label.
        challenger_f1: weighted F1 of the new model on them.
    """
    import mlflow

    champion = find_champion(client, name)
    champion_f1 = None if champion is None else score(load_champion(client, name), rows)
    promoted = champion_f1 is None or challenger_f1 > champion_f1
    reason = _reason(champion.version if champion else None, champion_f1, challenger_f1)
    version = str(mlflow.register_model(model_uri, name).version)
    tags = {"weighted_f1": challenger_f1, "reason": reason, "promoted": str(promoted).lower()}
    if champion is not None:
        tags |= {"compared_with": champion.version, "champion_weighted_f1": champion_f1}
    for key, value in tags.items():
        client.set_model_version_tag(name, version, key, str(value))
    if promoted:
        if champion is not None:
            client.set_registered_model_alias(name, PREVIOUS, champion.version)
        client.set_registered_model_alias(name, CHAMPION, version)
    return Verdict(version, challenger_f1, champion_f1, promoted, reason)


def list_versions(client: "MlflowClient", name: str) -> list[dict[str, Any]]:
    """The versions of the registered model, newest first, JSON-ready."""
    from mlflow.exceptions import MlflowException

    try:
        aliases = client.get_registered_model(name).aliases
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return []
        raise
    versions = client.search_model_versions(f"name = '{name}'", max_results=1000)
    return [
        _describe(version, [alias for alias, of in aliases.items() if str(of) == str(version.version)])
        for version in sorted(versions, key=lambda version: -int(version.version))
    ]


def _describe(version: "ModelVersion", aliases: list[str]) -> dict[str, Any]:
    tags = version.tags
    return {
        "version": str(version.version),
        "aliases": sorted(aliases),
        "weighted_f1": float(tags["weighted_f1"]) if "weighted_f1" in tags else None,
        "run_id": version.run_id,
        "created": datetime.fromtimestamp(version.creation_timestamp / 1000).astimezone().isoformat(),
        "promoted_over": tags.get("compared_with") if tags.get("promoted") == "true" else None,
        "reason": tags.get("reason"),
    }


def _reason(champion: str | None, champion_f1: float | None, challenger_f1: float) -> str:
    if champion_f1 is None:
        return f"there was no champion; weighted F1 {challenger_f1:.4f}"
    scores = (
        f"weighted F1 {challenger_f1:.4f} against {champion_f1:.4f} of champion {champion} on the same rows"
    )
    if challenger_f1 > champion_f1:
        return f"better: {scores}"
    return f"a tie keeps the champion: {scores}" if challenger_f1 == champion_f1 else f"not better: {scores}"


def _indices(values: Sequence[str], labels: Sequence[str]) -> np.ndarray:
    positions = {label: i for i, label in enumerate(labels)}
    return np.array([positions[value] for value in values])
