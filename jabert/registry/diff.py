"""Two versions of the registered model side by side: settings, data, metrics, and the texts they part on."""

import io
import json
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from jabert.config import MethodSettings, rename_settings
from jabert.errors import JabertError
from jabert.evaluation import weighted_f1
from jabert.registry import Registry

__all__ = ["CommonRows", "Diff", "Parting", "diff"]

_METRICS = {
    "weighted F1": "weighted_f1",
    "macro F1": "macro_f1",
    "accuracy": "accuracy",
    "log loss": "log_loss",
    "test rows": "rows",
}
_PREDICTIONS = "report/predictions.csv"
Pairs = dict[str, tuple[Any, Any]]


@dataclass(frozen=True)
class Parting:
    """A text that one version classifies rightly and the other does not; `a` and `b` are what each said."""

    text: str
    label: str
    a: str
    b: str


@dataclass(frozen=True)
class CommonRows:
    """Two versions on the test rows that both have; what stands there several times counts once.

    Attributes:
        rows: how many there are.
        weighted_f1: of each version on them; None without rows.
        only_a_right, only_b_right: the texts that the versions part on.
    """

    rows: int
    weighted_f1: tuple[float, float] | None
    only_a_right: tuple[Parting, ...]
    only_b_right: tuple[Parting, ...]


@dataclass(frozen=True)
class Diff:
    """Result of `diff`; in each pair the first is of version `a`, the second of version `b`.

    Attributes:
        a, b: the versions.
        settings: those that differ; None where one is not set.
        data: source, digest and rows.
        metrics: of each version on its own test rows; None where it is not known.
        common: both on the test rows that they share; None if that is not known.
        unknown: a sentence on why it is not, else None.
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
    """Hold two versions side by side, by what their runs recorded.

    Raises:
        JabertError: there is no such version, it is twice the same, or what its run recorded is gone.
    """
    if registry.get(a).version == registry.get(b).version:
        raise JabertError(f"{a} and {b} are one version of {registry.name!r}; name two")
    settings = _paired(_settings(registry, a), _settings(registry, b))
    of_a, of_b = _predictions(registry, a), _predictions(registry, b)
    common = None if of_a is None or of_b is None else _on_common_rows(of_a, of_b)
    return Diff(
        a,
        b,
        settings={name: pair for name, pair in settings.items() if pair[0] != pair[1]},
        data=_paired(_data(registry, a), _data(registry, b)),
        metrics=_paired(_metrics(registry, a), _metrics(registry, b)),
        common=common,
        unknown=None if common else _without_predictions(a if of_a is None else b),
    )


def _paired(a: Mapping[str, Any], b: Mapping[str, Any]) -> Pairs:
    return {name: (a.get(name), b.get(name)) for name in {**a, **b}}


def _settings(registry: Registry, version: str) -> dict[str, Any]:
    """The settings of a version's run by their present dotted names, without passwords."""
    written = registry.artifact(version, "config.toml")
    if written is None:
        raise JabertError(
            f"the run of version {version} of {registry.name!r} has no config.toml; see `jabert doctor`"
        )
    tree = tomllib.loads(written.decode())
    rename_settings(tree)
    tree.setdefault("method", {}).setdefault("kind", MethodSettings().kind)
    return {
        f"{group}.{key}" if isinstance(values, dict) else group: value
        for group, values in tree.items()
        for key, value in (values.items() if isinstance(values, dict) else [("", values)])
    }


def _data(registry: Registry, version: str) -> dict[str, Any]:
    run = registry.run(version)
    inputs = run.inputs.dataset_inputs if run.inputs else []
    sources = {json.loads(of.dataset.source)["uri"]: None for of in inputs}
    rows = {f"{side} rows": run.data.metrics.get(f"rows/{side}") for side in ("train", "validation", "test")}
    return {
        "source": ", ".join(sources) or None,
        "digest": run.data.tags.get("data_digest"),
        **{name: None if count is None else int(count) for name, count in rows.items()},
    }


def _metrics(registry: Registry, version: str) -> dict[str, Any]:
    written = registry.artifact(version, "report/report.json")
    if written is None:
        return {}
    report = json.loads(written)
    classes = {f"F1 of {score['label']}": score["f1"] for score in report["per_class"]}
    return {**{name: report[key] for name, key in _METRICS.items()}, **classes}


def _predictions(registry: Registry, version: str) -> pd.DataFrame | None:
    written = registry.artifact(version, _PREDICTIONS)
    if written is None:
        return None
    columns = ["text", "label", "predicted"]
    return pd.read_csv(io.BytesIO(written), usecols=columns, dtype="str", na_filter=False)


def _without_predictions(version: str) -> str:
    return (
        f"which texts the versions part on is not known: the run of version {version} has no {_PREDICTIONS}, "
        "as those before it was kept"
    )


def _on_common_rows(a: pd.DataFrame, b: pd.DataFrame) -> CommonRows:
    rows = ["text", "label"]
    both = a.drop_duplicates(rows).merge(b.drop_duplicates(rows), on=rows, suffixes=("_a", "_b"))
    right_a, right_b = (both[f"predicted_{name}"] == both["label"] for name in "ab")
    return CommonRows(
        rows=len(both),
        weighted_f1=_both_f1(both) if len(both) else None,
        only_a_right=_partings(both[right_a & ~right_b]),
        only_b_right=_partings(both[right_b & ~right_a]),
    )


def _both_f1(both: pd.DataFrame) -> tuple[float, float]:
    labels = pd.Index(sorted(pd.unique(both[["label", "predicted_a", "predicted_b"]].to_numpy().ravel())))
    true, of_a, of_b = (labels.get_indexer(both[name]) for name in ("label", "predicted_a", "predicted_b"))
    return weighted_f1(true, of_a, len(labels)), weighted_f1(true, of_b, len(labels))


def _partings(rows: pd.DataFrame) -> tuple[Parting, ...]:
    columns = ["text", "label", "predicted_a", "predicted_b"]
    return tuple(Parting(*map(str, row)) for row in rows[columns].to_numpy())
