"""The folds of a cross-validation, each as a split table of its own that the steps take like any other."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from jabert.config import Settings
from jabert.dataset import table_digest
from jabert.dataset.labels import RIGHT_COLUMN
from jabert.dataset.splits import SPLITS
from jabert.errors import JabertError
from jabert.experiments.steps import Data, digest_in_order, groups_of
from jabert.experiments.store import find_or_make, key_of
from jabert.texts import in_reading_form
from jabert.training.folds import assign_folds
from jabert.training.rows import Rows

_TABLE = 1  # raised when the files of a table are no longer as before
_USUAL_SHARE = 0.1  # of validation rows, where the settings ask for none
_HELD_BACK = "held back"  # the split of rows that no fold holds


def fold_tables(
    settings: Settings,
    data: Data,
    seed: int,
    *,
    without_test: bool = False,
    of: Literal["leaderboard", "sweep"] = "leaderboard",
) -> list[Data]:
    """The table of texts once for each fold: its own rows are test rows, some of the others validation rows.

    Stratified, and groups stay together unless the split is by sentence; copies of a text then do. The
    validation rows are drawn in the same way, about as many as `data.validation_share` says.

    Args:
        settings: of the leaderboard or sweep.
        data: all rows.
        seed: chooses among the possible folds.
        without_test: whether the test rows of `data` are in no fold.
        of: the group whose setting `folds` says how many.

    Raises:
        JabertError: there are too few rows or groups for the folds, or a fold would lack a class.
    """
    used = np.flatnonzero(data.table["split"] != "test") if without_test else np.arange(len(data.table))
    rows = _rows(settings, data.table.iloc[used])
    count: int = getattr(settings, of).folds
    _require_enough(rows, data.table["label"].iloc[used], count, f"{of}.folds")
    folds = assign_folds(rows, count, seed)
    _require_all_classes(data.table["label"].iloc[used], folds, seed, of)
    share = settings.data.validation_share or _USUAL_SHARE
    tables = []
    for fold in range(count):
        splits = np.full(len(data.table), _HELD_BACK, dtype=object)
        splits[used[folds == fold]] = "test"
        learned = np.flatnonzero(folds != fold)
        chosen = assign_folds(rows.take(learned), max(2, round(1 / share)), seed) == 0
        splits[used[learned]] = np.where(chosen, "validation", "train")
        tables.append(with_columns(settings, data, split=splits.tolist()))
    return tables


def _rows(settings: Settings, table: pd.DataFrame) -> Rows:
    """The rows, what must stay together as their groups; what is null is left for validation to refuse."""
    groups = groups_of(settings, table)
    forms = table["text"].fillna("").map(in_reading_form)
    if not groups and forms.duplicated().any():
        groups = forms.tolist()
    classes = pd.factorize(table["label"].fillna(""), sort=True)[0].astype(np.int32)
    return Rows(table["text"].tolist(), classes, groups)


def _require_enough(rows: Rows, labels: "pd.Series[str]", folds: int, setting: str) -> None:
    """Refuse what cannot be divided into so many folds with a row of each class in each."""
    named = list(rows.groups) or [None] * len(rows)
    units = pd.Series([number if name is None else name for number, name in enumerate(named)])
    kind = "groups" if any(name is not None for name in named) else "rows"
    count = units.nunique()
    if labels.nunique() < 2:
        raise JabertError(f"the rows have one label only, and a classifier needs two; {RIGHT_COLUMN}")
    if count == 1:
        raise JabertError(
            f"all rows are of one group, {units.iloc[0]!r}, and a fold takes whole groups; data.split = "
            "'sentence' divides it, data.group_column names another column"
        )
    if count < folds:
        raise JabertError(
            f"{setting} is {folds}, but there are only {count} {kind}: set {setting} = {count}, or label more"
        )
    of_class = units.groupby(labels.to_numpy()).nunique()
    smallest, fewest = str(of_class.idxmin()), int(of_class.min())
    if fewest < folds:
        remedy = f"set {setting} = {fewest}" if fewest > 1 else "label more of it, or leave it out"
        raise JabertError(
            f"the label {smallest!r} is in {fewest} {kind if fewest > 1 else kind[:-1]} only, so of {folds} "
            f"folds one at least would be without it: {remedy}"
        )


def _require_all_classes(labels: "pd.Series[str]", folds: npt.NDArray[np.int64], seed: int, of: str) -> None:
    found = pd.crosstab(labels.to_numpy(), folds)
    missing = found.eq(0).to_numpy()
    if missing.any():
        at, fold = np.argwhere(missing)[0].tolist()
        other = {"leaderboard": "leaderboard.seeds to others", "sweep": "sweep.seed to another"}[of]
        raise JabertError(
            f"fold {fold + 1} of seed {seed} has no row with the label {str(found.index[at])!r}: set "
            f"{of}.folds to less, or {other}"
        )


def with_columns(settings: Settings, data: Data, **columns: Sequence[str]) -> Data:
    """The table with other splits or labels, as a step of its own; its texts and their order stay."""

    def changed() -> pd.DataFrame:
        given = {
            name: pd.Series(cells, index=data.table.index, dtype="str") for name, cells in columns.items()
        }
        return data.table.assign(**given)

    key = key_of(_TABLE, data.key, {name: list(cells) for name, cells in columns.items()})
    return _made(settings, data, key, changed)


def with_rows(settings: Settings, data: Data, table: pd.DataFrame) -> Data:
    """Another table of texts, with the columns of the data's, as a step of its own."""
    texts = digest_in_order(table[["text"]])
    key = key_of(_TABLE, data.key, texts, digest_in_order(table[["label", "split"]]))
    return replace(_made(settings, data, key, lambda: table), texts_digest=texts)


def _made(settings: Settings, data: Data, key: str, table_of: Callable[[], pd.DataFrame]) -> Data:
    def make(folder: Path) -> dict[str, Any]:
        table = table_of()
        table.to_parquet(folder / "table.parquet")
        names = [name for name in ("text", "label", "group", "split") if name in table]
        counts = table["split"].value_counts()
        return {
            "digest": table_digest(table),
            "rows_digest": digest_in_order(table[names]),
            "counts": {split: int(counts.get(split, 0)) for split in SPLITS},
        }

    folder, record = find_or_make(Path(settings.training.work_path), "table", key, make)
    return replace(data, folder=folder, key=key, **{**record, "counts": {**data.counts, **record["counts"]}})
