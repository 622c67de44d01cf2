"""What is wrong with the data: labels that are probably wrong, copies, outliers, and what more labels bring.

Out-of-fold probabilities of `mean-pooling` on stored vectors decide; groups, or copies of a text, stay
together. No row is dropped as a duplicate before.
"""

import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from jabert.config import DataSettings, Settings, with_method_of
from jabert.dataset.labels import RIGHT_COLUMN
from jabert.dataset.sources import Held
from jabert.dataset.tables import read_columns
from jabert.dataset.writing import write_table
from jabert.errors import JabertError
from jabert.evaluation import weighted_f1
from jabert.evaluation.labels import Doubt, Gain, doubted, gain_of_more, with_groups
from jabert.evaluation.likeness import near_duplicates, remoteness, standardized
from jabert.experiments import steps
from jabert.experiments.folds import with_columns
from jabert.experiments.steps import Data
from jabert.methods import Job, encoder_of, method_of
from jabert.texts import fault_of, in_reading_form
from jabert.training.folds import assign_folds
from jabert.training.rows import Rows

_METHOD, _QUICK_METHOD = "mean-pooling", "tfidf"
_FOLDS = 5
_SHARES = (0.1, 0.2, 0.4, 0.7)  # of the rows to learn from, for the learning curve
_MORE = 500  # rows
_FAR = 3.5  # robust standard deviations
_Array = npt.NDArray[np.float64]
_CORRECTION = ("file", "line", "label")


@dataclass(frozen=True)
class Checked:
    """What was found.

    Attributes:
        table: the rows that were checked, with corrected labels: text, label, group (if there are groups),
            file, line, and split, that of a retraining; null where it drops the row.
        doubted: numbers of the rows whose labels are doubted, the most suspicious first.
        suspects: the same rows, as they are shown.
        duplicates: texts that are nearly the same under several labels or in several splits.
        outliers: rows far from all others, the farthest first.
        overlaps: pairs of classes, and how many rows with the label of one look like the other.
        groups: groups with several labels, where most groups have one.
        learning_curve: weighted F1 by the number of rows that were learned from.
        more_labels: what more rows would bring.
        notes: sentences on what was left out.
        seconds: that it took.
    """

    table: pd.DataFrame
    doubted: list[int]
    suspects: list[dict[str, Any]]
    duplicates: list[dict[str, Any]]
    outliers: list[dict[str, Any]]
    overlaps: list[dict[str, Any]]
    groups: list[dict[str, Any]]
    learning_curve: list[dict[str, Any]]
    more_labels: Gain
    notes: tuple[str, ...]
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        names = ("suspects", "duplicates", "outliers", "overlaps", "groups", "learning_curve")
        return {
            "rows": len(self.table),
            "seconds": self.seconds,
            **{name: getattr(self, name) for name in names},
            "more_labels": asdict(self.more_labels),
            "notes": list(self.notes),
        }

    @cached_property
    def kept(self) -> pd.DataFrame:
        """The rows whose labels are not doubted."""
        return self.table.drop(index=self.doubted)

    def write_kept(self, path: Path) -> dict[str, Any]:
        """Write the rows that are kept as a table: text, label, group if there are groups, file and line.

        Raises:
            JabertError: it is a file of the data, or cannot be written.
        """
        if any(Path(file).resolve() == path.resolve() for file in self.table["file"].unique()):
            raise JabertError(f"{path} is a file of the data; rows to keep are written to another")
        columns = [name for name in ("text", "label", "group", "file", "line") if name in self.table]
        write_table(self.kept[columns], path)
        return {"file": str(path), "kept": len(self.kept), "left_out": len(self.table) - len(self.kept)}

    def write_suspects(self, path: Path) -> None:
        """Write the doubted rows as a table, the most suspicious first.

        It can be edited into a file of corrections: the column `label` is what `--labels` reads.
        """
        columns = ["file", "line", "text", "label", "likely", "score"]
        write_table(pd.DataFrame(self.suspects, columns=columns), path)


def check(settings: Settings, corrections: Path | None = None) -> Checked:
    """Check the data of the settings.

    Args:
        settings: data and encoder; local.
        corrections: a table with the columns file, line and label: labels that a person has looked at. They
            replace those of the data, in memory, and are not doubted.

    Raises:
        JabertError: the data cannot be read, a row has no text or no label, or the corrections do not fit.
    """
    started = time.perf_counter()
    own = settings if settings.method.kind == _METHOD else with_method_of(settings, _METHOD)
    encoder_of(own)  # said before anything is read
    splits = steps.read(own).table
    own = _with_all_rows(own)
    data = steps.read(own)
    require_rows(data.table)
    confirmed = _confirmed(data.table, corrections) if corrections else {}
    labels = [confirmed.get(row, label) for row, label in enumerate(data.table["label"])]
    data = with_columns(own, data, label=labels, split=["train"] * len(labels))  # of all rows, of all labels
    tokens = steps.tokenize(own, data)
    steps.featurize(own, tokens)
    rows = steps.rows_of(own, data, tokens, ["train"])
    return _Check(own, data, rows, _with_splits(data.table, splits), set(confirmed)).found(started)


def quick_check(settings: Settings) -> dict[str, Any]:
    """What characters alone tell of the data: doubted labels, near-duplicates, groups with several labels.

    It takes no encoder. Rows without a text or a label are left out.

    Args:
        settings: the data.

    Returns:
        JSON-ready, each list as `Checked` has it.

    Raises:
        JabertError: the data cannot be read.
    """
    started = time.perf_counter()
    own = with_method_of(settings, _QUICK_METHOD)
    splits = steps.read(own).table
    own = _with_all_rows(own)
    data = steps.read(own)
    faulty = data.table["text"].map(fault_of).notna() | data.table["label"].isna()
    split = np.where(faulty, "left out", "train").tolist()
    data = with_columns(own, data, label=data.table["label"].fillna("").tolist(), split=split)
    table = _with_splits(data.table, splits)[~faulty.to_numpy()].reset_index(drop=True)
    if table["label"].nunique() < 2:
        return {"suspects": [], "duplicates": [], "groups": [], "seconds": 0.0}
    found = _Check(own, data, steps.rows_of(own, data, None, ["train"]), table, set()).quick()
    return {**found, "seconds": round(time.perf_counter() - started, 3)}


def _with_all_rows(settings: Settings) -> Settings:
    """Settings that read the rows which a retraining drops, too."""
    whole = settings.data.model_copy(update={"drop_duplicates": False, "test_rows": None})
    return settings.model_copy(update={"data": whole})


def require_rows(table: pd.DataFrame) -> None:
    """Refuse rows without a text or a label, and a single label.

    Raises:
        JabertError: names file and line.
    """
    places = zip(table["file"], table["line"], table["text"], table["label"].isna(), strict=True)
    for file, line, text, unlabelled in places:
        fault = fault_of(text)
        if fault or unlabelled:
            what = f"the text is {fault}" if fault else "the row has no label"
            raise JabertError(f"{file}, line {line}: {what}; `jabert validate` lists all such rows")
    if table["label"].nunique() < 2:
        raise JabertError(
            f"the rows have one label only, and nothing that it could be mistaken for; {RIGHT_COLUMN}"
        )


def _confirmed(table: pd.DataFrame, path: Path) -> dict[int, str]:
    """The label of each row that the file of corrections names."""

    def roles(present: Sequence[str]) -> dict[str, str]:
        if missing := [name for name in _CORRECTION if name not in present]:
            raise JabertError(f"{path} lacks the column {missing[0]!r}; it takes {', '.join(_CORRECTION)}")
        return {name: name for name in _CORRECTION}

    settings = DataSettings()
    cells, lines, _ = read_columns(str(path), roles, settings, Held(settings.max_bytes))
    names = {Path(file).name: file for file in sorted(table["file"].unique())}  # a name is enough
    numbers = table.groupby([table["file"], table["line"].astype("str")]).indices
    found = {}
    for where, file, line, label in zip(lines, *(cells[name] for name in _CORRECTION), strict=True):
        rows = numbers.get((names.get(str(file), str(file)), str(line)), [])
        if len(rows) != 1:
            count = "several rows" if len(rows) else "no row"
            raise JabertError(
                f"{path}, line {where}: the data have {count} of {file!r}, line {line}; take both as "
                "`jabert data check` wrote them"
            )
        if not label:
            raise JabertError(f"{path}, line {where}: there is no label; a row that is right has its own")
        found[rows[0]] = label
    return found


def _with_splits(table: pd.DataFrame, read: pd.DataFrame) -> pd.DataFrame:
    """The rows with the splits of a retraining, null where that drops them."""
    place = ["file", "line", "text"]  # rows of a JSON array may share a line
    splits = read.set_index(place)["split"].to_dict()
    keys = table[place].itertuples(index=False, name=None)
    return table.assign(split=pd.Series([splits.get(key) for key in keys], index=table.index, dtype="object"))


class _Check:
    """One check: all that its parts share."""

    def __init__(
        self, settings: Settings, data: Data, rows: Rows, table: pd.DataFrame, confirmed: set[int]
    ) -> None:
        forms = table["text"].map(in_reading_form)
        groups = rows.groups or [None] * len(rows)
        named = zip(forms, groups, strict=True)
        self._names = pd.Series([form if group is None else group for form, group in named])
        self._rows = Rows(rows.texts, rows.classes, self._names.tolist(), rows.ids, rows.vectors)
        self._units = pd.factorize(self._names)[0].astype(np.int64)
        self._grouped = any(group is not None for group in groups)
        self._settings, self._labels, self._table = settings, data.labels, table
        self._confirmed = confirmed

    def found(self, started: float) -> Checked:
        """All parts."""
        with tempfile.TemporaryDirectory() as scratch:
            job = Job(self._settings, self._labels, encoder_of(self._settings), Path(scratch))
            probabilities, curve = self._out_of_fold(job)
        means = standardized(self._rows.stored_vectors().means)
        doubts = self._doubts(probabilities)
        unknown = int((~np.isfinite(probabilities).all(axis=1)).sum())
        return Checked(
            table=self._table,
            doubted=[each.row for each in doubts],
            suspects=self._suspects(doubts),
            duplicates=self._duplicates(means),
            outliers=self._outliers(means),
            overlaps=self._overlaps(probabilities),
            groups=self._mixed_groups(),
            learning_curve=_curve(curve),
            more_labels=_more(curve, len(self._rows)),
            notes=(
                (f"{unknown:,} rows could not be judged: all rows with their label are in one group or fold",)
                if unknown
                else ()
            ),
            seconds=round(time.perf_counter() - started, 3),
        )

    def quick(self) -> dict[str, Any]:
        """The parts that take no vectors."""
        with tempfile.TemporaryDirectory() as scratch:
            job = Job(self._settings, self._labels, None, Path(scratch))
            probabilities, _ = self._out_of_fold(job, with_curve=False)
        return {
            "suspects": self._suspects(self._doubts(probabilities)),
            "duplicates": self._duplicates(None),
            "groups": self._mixed_groups(),
        }

    def _doubts(self, probabilities: _Array) -> list[Doubt]:
        """By texts and groups, the most suspicious first, without those that a person has confirmed."""
        classes = self._rows.classes
        found = doubted(classes, with_groups(classes, probabilities, self._units))
        return [doubt for doubt in found if doubt.row not in self._confirmed]

    def _suspects(self, doubts: Sequence[Doubt]) -> list[dict[str, Any]]:
        return [self._shown(each.row, likely=self._labels[each.likely], score=each.score) for each in doubts]

    def _shown(self, row: int, **more: Any) -> dict[str, Any]:
        """File, line, text and label of a row, and more."""
        own = self._table.iloc[row]
        return {
            "file": str(own["file"]),
            "line": int(own["line"]),
            "text": str(own["text"]),
            "label": str(own["label"]),
            **more,
        }

    def _out_of_fold(
        self, job: Job, *, with_curve: bool = True
    ) -> tuple[_Array, list[tuple[list[int], list[float]]]]:
        """Probabilities (rows, classes), NaN where there are none; of each fold rows and F1 of its curve."""
        method, rows = method_of(self._settings), self._rows
        folds = assign_folds(rows, _FOLDS, self._settings.training.seed)
        if folds.max() < 0:
            raise JabertError(
                "the rows are too few to check: of each label, rows or groups must fill two folds; label more"
            )
        found = np.full((len(rows), len(self._labels)), np.nan)
        curve = []
        for fold in range(int(folds.max()) + 1):
            learned, asked = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
            sizes, scores = [], []
            for part in (*(self._parts(learned, fold) if with_curve else ()), learned):
                method.fit(job, rows.take(part), rows.take(np.arange(0)), lambda _: None)
                predicted = method.predict(job, rows.take(asked))
                sizes.append(len(part))
                scores.append(weighted_f1(rows.classes[asked], predicted.argmax(axis=1), len(self._labels)))
            found[asked] = predicted
            curve.append((sizes, scores))
        return found, curve

    def _parts(self, learned: npt.NDArray[np.int64], seed: int) -> Iterator[npt.NDArray[np.int64]]:
        """Growing parts of the rows, whole groups in random order, each with a row of each class."""
        place = np.random.default_rng(seed).permutation(len(self._units))[self._units[learned]]
        by_class = pd.Series(place).groupby(self._rows.classes[learned])
        is_first = np.isin(place, by_class.min().to_numpy())  # a group for each class
        order = learned[np.lexsort([place, ~is_first])]
        for share in _SHARES:
            yield np.sort(order[: max(int(is_first.sum()), round(share * len(order)))])

    def _duplicates(self, means: _Array | None) -> list[dict[str, Any]]:
        """Groups of texts that are nearly the same where that does harm."""
        found = []
        for _, own in self._table.groupby(near_duplicates(self._rows.texts, means)):
            labels, splits = sorted(own["label"].unique()), sorted(own["split"].dropna().unique())
            if len(labels) > 1 or len(splits) > 1:
                shown = [self._shown(row, split=self._table["split"].iloc[row]) for row in own.index]
                found.append({"labels": labels, "splits": splits, "rows": shown})
        return sorted(found, key=lambda each: (-len(each["labels"]), -len(each["rows"])))

    def _outliers(self, means: _Array) -> list[dict[str, Any]]:
        """Rows whose nearest neighbours are much farther away than is usual."""
        far = remoteness(means)
        rows = np.flatnonzero(far > _FAR)
        return [self._shown(int(row), score=float(far[row])) for row in rows[np.argsort(-far[rows])]]

    def _overlaps(self, probabilities: _Array) -> list[dict[str, Any]]:
        """Pairs of classes by how many rows of one look like the other, by their texts alone."""
        classes, labels = self._rows.classes, self._labels
        counts = np.bincount(classes, minlength=len(labels))
        pairs = Counter((doubt.label, doubt.likely) for doubt in doubted(classes, probabilities))
        return [
            {"label": labels[one], "likely": labels[other], "rows": rows, "share": float(rows / counts[one])}
            for (one, other), rows in pairs.most_common()
        ]

    def _mixed_groups(self) -> list[dict[str, Any]]:
        """Groups with several labels, the most mixed first; none where that is usual."""
        if not self._grouped:
            return []
        labels = self._table["label"].groupby(self._names.to_numpy())
        several = labels.nunique()[labels.size() > 1]
        if several.empty or (several > 1).mean() > 0.5:
            return []
        mixed = [(str(name), of.value_counts()) for name, of in labels if of.nunique() > 1]
        mixed.sort(key=lambda each: int(each[1].iloc[0] - each[1].sum()))
        return [{"group": name, "labels": {str(k): int(n) for k, n in of.items()}} for name, of in mixed]


def _curve(curve: Sequence[tuple[list[int], list[float]]]) -> list[dict[str, Any]]:
    """Mean rows and F1 over the folds, with the deviation, for each size."""
    sizes, scores = (np.array(part, dtype=np.float64) for part in zip(*curve, strict=True))
    columns = zip(sizes.mean(axis=0), scores.mean(axis=0), scores.std(axis=0), strict=True)
    return [{"rows": round(n), "weighted_f1": float(f1), "deviation": float(sd)} for n, f1, sd in columns]


def _more(curve: Sequence[tuple[list[int], list[float]]], now: int) -> Gain:
    sizes, scores = (np.array(part, dtype=np.float64) for part in zip(*curve, strict=True))
    return gain_of_more(sizes.mean(axis=0).tolist(), scores, _MORE, now=now)
