"""A leaderboard: methods as a list of experiments over the folds of one or more cross-validations.

A fold's test rows are looked at once, when all is chosen: epoch, ensemble and calibration come from
validation rows or inner folds of its training rows. Each child is a step of its own, found again by its key.
"""

import difflib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from jabert.config import (
    Settings,
    bundled_recipes,
    load_settings,
    method_kinds,
    names_method,
    with_method_of,
)
from jabert.errors import JabertError
from jabert.evaluation import Failure, FoldScore, Leaderboard, Score, class_counts, make_leaderboard
from jabert.evaluation.intervals import resampling_units
from jabert.experiments.folds import fold_tables
from jabert.experiments.measuring import Measured, measure
from jabert.experiments.retraining import as_champion
from jabert.experiments.steps import Data
from jabert.methods import encoder_of, method_of
from jabert.tracking import tracked_run

DEFAULT = ("majority", "tfidf", "mean-pooling", "stack", "bi-lstm", "finetune")
ARTICLE = ("seed", "word2vec")
"""The article's procedure, whose method the recipe `seed` has, and what it is compared with there."""


class ChildrenFailedError(JabertError):
    """Some children failed; the leaderboard of the others is `result`."""

    def __init__(self, failures: Sequence[Failure], result: dict[str, Any]) -> None:
        super().__init__("; ".join(f"{each.method} failed: {each.error}" for each in failures))
        self.result = result


@dataclass(frozen=True)
class Child:
    """A method on one fold.

    Attributes:
        method: its name on the leaderboard.
        settings: of its run.
        data: the table with the splits of the fold.
        seed: of the cross-validation.
        fold: from 1.
    """

    method: str
    settings: Settings
    data: Data
    seed: int
    fold: int

    @property
    def name(self) -> str:
        """Of its run and task."""
        return f"{self.method}, seed {self.seed}, fold {self.fold}"


@dataclass(frozen=True)
class Plan:
    """What is to be measured.

    Attributes:
        settings: of the leaderboard.
        data: all rows.
        methods: settings of each by its name, in the order as given.
        children: each method on each fold.
    """

    settings: Settings
    data: Data
    methods: Mapping[str, Settings]
    children: tuple[Child, ...]

    @property
    def with_tokens(self) -> Settings | None:
        """Settings of a method for which texts are tokenized, the same way for all; None if there is none."""
        return next((own for own in self.methods.values() if method_of(own).needs_tokens), None)

    @property
    def with_vectors(self) -> Settings | None:
        """Settings of a method that needs token vectors; None if there is none."""
        return next((own for own in self.methods.values() if "vectors" in method_of(own).needs), None)

    @cached_property
    def protocol(self) -> str:
        """A sentence on the folds."""
        board, grouped = self.settings.leaderboard, self.settings.data.split != "sentence"
        kept = "groups kept together" if grouped and "group" in self.data.table else "by row"
        rows = sum(self.children[0].data.counts[split] for split in ("train", "validation", "test"))
        seeds = ", ".join(map(str, board.seeds))
        return (
            f"{rows:,} rows in {board.folds} folds, stratified, {kept}; seeds {seeds}; each choice was made "
            "within the training rows of a fold"
        )


def overrides_of(recipe: str, overrides: list[str], *, promote: bool) -> list[str]:
    """The overrides, and if the winner is to be retrained, for splits as the champion has them."""
    if not promote:
        return overrides
    kind = load_settings(recipe, overrides).method.kind  # is no question here, so it is given
    return [*overrides, *as_champion(recipe, [*overrides, f"method.kind={kind}"])]


def methods_of(settings: Settings, *, article: bool = False) -> dict[str, Settings]:
    """The settings of each method that the leaderboard names, by its name.

    Args:
        settings: of the leaderboard. Of a named recipe `[method]` and `[training]` count; the kind that the
            settings have themselves keeps their settings.
        article: whether the article's procedure, and what it is compared with, come too.

    Raises:
        JabertError: a method is unknown, named twice, or wrong; or the encoder that it needs is not there.
    """
    named = settings.leaderboard.methods or DEFAULT
    found: dict[str, Settings] = {}
    for given in (*named, *(ARTICLE if article else ())):
        name = given if isinstance(given, str) else _name_of(given)
        if name in found:
            raise JabertError(
                f"leaderboard.methods names {name!r} twice; an inline table takes another `name`"
            )
        own = _settings_of(settings, given, name)
        found[name] = _change(own, "training", watch="validation")  # the test rows of a fold choose nothing
        encoder_of(own)
    return found


def _name_of(given: Mapping[str, Any]) -> str:
    """The `name` of an inline table, else what it says."""
    others = ", ".join(f"{key} {value}" for key, value in given.items() if key != "kind")
    kind = str(given.get("kind", "method"))
    return str(given.get("name") or (f"{kind} ({others})" if others else kind))


def _settings_of(settings: Settings, given: str | Mapping[str, Any], name: str) -> Settings:
    try:
        if not isinstance(given, str):
            return with_method_of(settings, {key: value for key, value in given.items() if key != "name"})
        if given == settings.method.kind:
            return settings
        _require_known(given)
        return with_method_of(settings, given)
    except JabertError as error:
        raise JabertError(f"leaderboard.methods, {name!r}: {error}") from None


def _require_known(name: str) -> None:
    known = sorted({*method_kinds(), *bundled_recipes()})
    if name in known or Path(name).is_file():
        if name not in method_kinds() and not names_method(name, ()):
            raise JabertError("the recipe names no method; it lacks a group [method]")
        return
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"the nearest is {near[0]!r}" if near else f"there are: {', '.join(known)}"
    raise JabertError(f"it is neither a kind of method nor a recipe; {hint}")


def _change(settings: Settings, group: str, **values: Any) -> Settings:
    """The settings with other values in a group."""
    return settings.model_copy(update={group: getattr(settings, group).model_copy(update=values)})


def make_plan(
    settings: Settings, data: Data, methods: Mapping[str, Settings], *, without_test: bool = False
) -> Plan:
    """Each method on each fold, the methods one after the other.

    Args:
        settings: of the leaderboard.
        data: all rows.
        methods: of `methods_of`.
        without_test: whether the test rows of `data` are in no fold, for a winner that is judged on them.

    Raises:
        JabertError: those of `fold_tables`.
    """
    folds = {
        seed: fold_tables(settings, data, seed, without_test=without_test)
        for seed in settings.leaderboard.seeds
    }
    children = tuple(
        Child(name, _change(own, "training", seed=seed), table, seed, fold)
        for name, own in methods.items()
        for seed, tables in folds.items()
        for fold, table in enumerate(tables, 1)
    )
    return Plan(settings, data, methods, children)


def measure_child(child: Child, parent: str) -> Measured:
    """Measure a method on a fold, as an MLflow run; what was measured before is found, and recorded again.

    Args:
        child: what to measure.
        parent: id of the run of the leaderboard.
    """
    tags = {
        "mlflow.parentRunId": parent,
        "mlflow.runName": child.name,
        "leaderboard.method": child.method,
        "leaderboard.seed": child.seed,
        "leaderboard.fold": child.fold,
        "data_digest": child.data.digest,
    }
    with tracked_run(child.settings, tags) as run:
        found = measure(child.settings, replace(child.data))  # a copy: its table is not kept for all folds
        scores = {name: getattr(found, name) for name in ("weighted_f1", "macro_f1", "accuracy")}
        run.metrics({f"test/{name}": value for name, value in scores.items()})
        run.metrics({f"train/{name}": value for name, value in found.fit.items()})
        costs = ("rows", "fit_seconds", "serve_ms", "bytes")
        run.metrics({f"cost/{name}": getattr(found, name) for name in costs})
    return found


def collect(plan: Plan, results: Sequence[Measured | Exception]) -> Leaderboard:
    """The leaderboard of what the children of a plan came to, in their order."""
    found: dict[str, list[tuple[Child, Measured]]] = {name: [] for name in plan.methods}
    errors: dict[str, str] = {}
    for child, result in zip(plan.children, results, strict=True):
        if isinstance(result, Exception):
            errors.setdefault(child.method, f"seed {child.seed}, fold {child.fold}: {result}")
        else:
            found[child.method].append((child, result))
    scores = {name: tuple(_score(*each) for each in of) for name, of in found.items()}
    whole = [name for name in found if name not in errors]
    return make_leaderboard(
        {name: scores[name] for name in whole},
        _counts(plan, {name: found[name] for name in whole}),
        [Failure(name, error, scores[name]) for name, error in errors.items()],
        folds=plan.settings.leaderboard.folds,
        protocol=plan.protocol,
    )


def _score(child: Child, measured: Measured) -> FoldScore:
    same = {each.name: getattr(measured, each.name) for each in fields(Score)}
    return FoldScore(**same, seed=child.seed, fold=child.fold)


def _counts(
    plan: Plan, found: Mapping[str, Sequence[tuple[Child, Measured]]]
) -> dict[str, npt.NDArray[np.int64]]:
    """Counts (units, 3, classes) of each method's out-of-fold predictions, by what the bootstrap draws."""
    table, by_row = plan.data.table, plan.settings.data.split == "sentence"
    units = resampling_units(table.drop(columns="group", errors="ignore") if by_row else table)[0]
    true, labels = pd.factorize(table["label"], sort=True)
    first = [child for child in plan.children if child.method == plan.children[0].method]
    rows = {
        (child.seed, child.fold): np.flatnonzero(replace(child.data).table["split"] == "test")
        for child in first
    }
    counts = {}
    for name, of in found.items():
        numbers = np.concatenate([rows[child.seed, child.fold] for child, _ in of])
        predicted = np.concatenate([measured.predicted for _, measured in of])
        drawn = np.unique(units[numbers], return_inverse=True)[1]
        counts[name] = class_counts(true[numbers].astype(np.int64), predicted, len(labels), drawn)
    return counts


def overrides_for(settings: Settings) -> list[str]:
    """Overrides that give a retraining the method of these settings, and how it is trained."""
    chosen = {"method": settings.method.model_dump(), "training": settings.training.model_dump()}
    left_out = ("training.work_path", "training.watch")
    return [
        f"{group}.{key}={_as_toml(value)}"
        for group, values in chosen.items()
        for key, value in values.items()
        if f"{group}.{key}" not in left_out
    ]


def _as_toml(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    return json.dumps(value, ensure_ascii=False) if isinstance(value, (list, tuple)) else str(value).lower()
