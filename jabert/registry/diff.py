"""Compare two versions of the registered model: settings, data, metrics, and texts they disagree on."""

import io
import json
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import pandas as pd

from jabert.config import MethodSettings, neutral_values, rename_settings
from jabert.errors import JabertError
from jabert.evaluation import weighted_f1
from jabert.registry import Registry

_METRICS = {
    "weighted F1": "weighted_f1",
    "macro F1": "macro_f1",
    "accuracy": "accuracy",
    "log loss": "log_loss",
    "test rows": "rows",
}
Pairs = dict[str, tuple[Any, Any]]
"""Values of version `a` and version `b` by name."""


@dataclass(frozen=True)
class Disagreement:
    """A text that only one version classifies correctly; `a` and `b` are the labels that they predict."""

    text: str
    label: str
    a: str
    b: str


@dataclass(frozen=True)
class CommonRows:
    """Two versions on the distinct test rows that both have.

    Attributes:
        rows: number of these rows.
        weighted_f1: weighted F1 of each version on these rows; None without rows.
        only_a_right, only_b_right: the texts that only one of the versions classifies correctly.
    """

    rows: int
    weighted_f1: tuple[float, float] | None
    only_a_right: tuple[Disagreement, ...]
    only_b_right: tuple[Disagreement, ...]


@dataclass(frozen=True)
class Diff:
    """Result of `diff`; each pair has the value of version `a` first, that of version `b` second.

    Attributes:
        a, b: numbers of the versions.
        settings: the settings that differ; None where one is not set.
        data: source, digest and number of rows.
        metrics: metrics of each version on its own test rows; None where one is unknown.
        common: both versions on the test rows that they share; None if the predictions of one are missing.
        unknown: why `common` is None, one sentence; else None.
    """

    a: str
    b: str
    settings: Pairs
    data: Pairs
    metrics: Pairs
    common: CommonRows | None
    unknown: str | None

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self)


def diff(registry: Registry, a: str, b: str) -> Diff:
    """Compare two versions by what their runs recorded.

    Args:
        registry: the registered model.
        a, b: numbers of the versions.

    Raises:
        JabertError: there is no such version, both are the same, or the run of one is gone.
    """
    if registry.get(a).version == registry.get(b).version:
        raise JabertError(f"{a} and {b} are one version of {registry.name!r}; name two")
    settings = _paired(_settings(registry, a), _settings(registry, b))
    predictions_a, predictions_b = _predictions(registry, a), _predictions(registry, b)
    common = unknown = None
    if predictions_a is not None and predictions_b is not None:
        common = _on_common_rows(predictions_a, predictions_b)
    else:
        unknown = (
            "the texts that the versions disagree on are unknown: the run of version "
            f"{a if predictions_a is None else b} has no report/predictions.csv, which earlier releases did "
            "not record"
        )
    return Diff(
        a,
        b,
        settings={name: pair for name, pair in settings.items() if pair[0] != pair[1]},
        data=_paired(_data(registry, a), _data(registry, b)),
        metrics=_paired(_metrics(registry, a), _metrics(registry, b)),
        common=common,
        unknown=unknown,
    )


def _paired(a: Mapping[str, Any], b: Mapping[str, Any]) -> Pairs:
    return {name: (a.get(name), b.get(name)) for name in {**a, **b}}


def _settings(registry: Registry, version: str) -> dict[str, Any]:
    """The settings of a version's run by their present dotted names, without passwords.

    One that there was not when the run was made has its neutral value, which is what the run did.
    """
    written = registry.artifact(version, "config.toml")
    if written is None:
        run = f"the run of version {version} of {registry.name!r}"
        raise JabertError(f"{run} has no config.toml; see `jabert doctor`")
    tree = tomllib.loads(written.decode())
    rename_settings(tree)
    tree.setdefault("method", {}).setdefault("kind", MethodSettings().kind)
    found = {
        f"{group}.{key}" if isinstance(values, dict) else group: value
        for group, values in tree.items()
        for key, value in (values.items() if isinstance(values, dict) else [("", values)])
    }
    return {**neutral_values(found["method.kind"]), **found}


def _data(registry: Registry, version: str) -> dict[str, Any]:
    run = registry.run(version)
    inputs = run.inputs.dataset_inputs if run.inputs else []
    sources = {json.loads(each.dataset.source)["uri"]: None for each in inputs}
    data: dict[str, Any] = {"source": ", ".join(sources) or None, "digest": run.data.tags.get("data_digest")}
    for split in ("train", "validation", "test"):
        count = run.data.metrics.get(f"rows/{split}")
        data[f"{split} rows"] = None if count is None else int(count)
    return data


def _metrics(registry: Registry, version: str) -> dict[str, Any]:
    written = registry.artifact(version, "report/report.json")
    if written is None:
        return {}
    report = json.loads(written)
    metrics = {name: report[key] for name, key in _METRICS.items()}
    return metrics | {f"F1 of {score['label']}": score["f1"] for score in report["per_class"]}


def _predictions(registry: Registry, version: str) -> pd.DataFrame | None:
    written = registry.artifact(version, "report/predictions.csv")
    if written is None:
        return None
    columns = ["text", "label", "predicted"]
    return pd.read_csv(io.BytesIO(written), usecols=columns, dtype="str", na_filter=False)


def _on_common_rows(a: pd.DataFrame, b: pd.DataFrame) -> CommonRows:
    rows = ["text", "label"]
    both = a.drop_duplicates(rows).merge(b.drop_duplicates(rows), on=rows, suffixes=("_a", "_b"))
    columns = ["label", "predicted_a", "predicted_b"]
    labels = pd.Index(sorted(pd.unique(both[columns].to_numpy().ravel())))
    true, predicted_a, predicted_b = (labels.get_indexer(both[name]) for name in columns)
    f1_of = partial(weighted_f1, true, classes=len(labels))
    right_a, right_b = predicted_a == true, predicted_b == true
    return CommonRows(
        rows=len(both),
        weighted_f1=(f1_of(predicted_a), f1_of(predicted_b)) if len(both) else None,
        only_a_right=_disagreements(both[right_a & ~right_b]),
        only_b_right=_disagreements(both[right_b & ~right_a]),
    )


def _disagreements(rows: pd.DataFrame) -> tuple[Disagreement, ...]:
    columns = ["text", "label", "predicted_a", "predicted_b"]
    return tuple(Disagreement(*map(str, row)) for row in rows[columns].to_numpy())
