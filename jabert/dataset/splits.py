"""Splits rows into train, validation and test.

The split of a row follows from a digest of the seed and of its group (or text), so that it stays the same
when the data grows or is reordered. In version 2 of the splits each class has a say, too: of its groups (or
texts) a split gets no less than half and no more than one and a half times its share, and one at least. The
digest alone keeps to that in all but small classes, so only in those can a row move when others are added.

In version 2 texts that are the same to a reader, see `in_reading_form`, are never in two splits; in version 1
each copy is drawn by itself.
"""

import hashlib
from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from jabert.config import DataSettings
from jabert.errors import JabertError
from jabert.texts import in_reading_form

SplitBy = Literal["given", "sentence", "group"]
SPLITS = ("train", "validation", "test")
_Numbers = npt.NDArray[np.float64]
_Mask = npt.NDArray[np.bool_]


def resolve_split(rows: pd.DataFrame, settings: DataSettings) -> SplitBy:
    """`data.split`; for `auto`, given if the rows say their split, else group, else sentence.

    Raises:
        JabertError: the rows lack the splits or groups that the setting needs, or
            `data.test_rows` is set for a split that is not by sentence.
    """
    automatic: SplitBy = "given" if "split" in rows else "group" if "group" in rows else "sentence"
    split: SplitBy = automatic if settings.split == "auto" else settings.split
    if split == "given" and "split" not in rows:
        raise JabertError(
            "data.split is 'given', but the data does not say the split of a row; data.split_column can name "
            "the column, and data.split = 'auto' draws one"
        )
    if split == "group" and "group" not in rows:
        raise JabertError(
            "data.split is 'group', but the data has no groups; data.group_column can name their column"
        )
    if split != "sentence" and settings.test_rows is not None:
        raise JabertError(
            f"data.test_rows needs data.split = 'sentence', but the split is {split!r}: "
            "an exact number of rows would divide a group or change the given split"
        )
    return split


def splits_of(rows: pd.DataFrame, settings: DataSettings) -> "pd.Series[str]":
    """The split of each row (train, validation or test), with the index of `rows`.

    Each group (or text) has two numbers in [0, 1) from one SHA-256: it is test if the first is
    below `data.test_share`, otherwise validation if the second is below `data.validation_share`,
    otherwise train; where a class would get too few or too many, those with its smallest numbers are taken.
    With `data.test_rows`, the rows with the smallest first numbers are test, in version 2 of each class in
    proportion. A given split is kept; only if no row of it is validation are such rows drawn from train.

    Raises:
        JabertError: as `resolve_split`; a given split is not train, validation or test; a row
            lacks the group that is needed; `data.test_rows` leaves no other row, or would divide copies.
    """
    split = resolve_split(rows, settings)
    if split == "given":
        for row in rows[~rows["split"].isin(SPLITS)].itertuples():
            found = repr(row.split) if isinstance(row.split, str) else "nothing"
            raise JabertError(
                f"{row.file}, line {row.line}: the split is {found}, not one of: {', '.join(SPLITS)}"
            )
        if rows["split"].eq("validation").any():
            return rows["split"]
    if settings.test_rows is not None and settings.test_rows >= len(rows):
        raise JabertError(
            f"data.test_rows is {settings.test_rows}, but there are {len(rows)} rows in all; set it lower"
        )
    find = _independent if settings.split_version == 1 else _stratified
    is_test, is_validation = find(rows, split, settings)
    splits = np.select([is_test, is_validation], ["test", "validation"], "train")
    return pd.Series(splits, index=rows.index, dtype="str")


def shuffled(rows: pd.DataFrame, settings: DataSettings) -> pd.DataFrame:
    """The rows in the random order that `data.seed` gives, if they are split by sentence.

    A corpus is often sorted by class, and training without shuffling would meet one class after
    the other. Rows that are split otherwise keep their order.
    """
    if resolve_split(rows, settings) != "sentence":
        return rows
    numbers = _numbers_of(_units(rows, "sentence", settings), "text", settings.seed)
    return rows.iloc[np.argsort(numbers[:, 0], kind="stable")].reset_index(drop=True)


def _independent(rows: pd.DataFrame, split: SplitBy, settings: DataSettings) -> tuple[_Mask, _Mask]:
    """Version 1: which rows are test, and which validation unless they are test, each by its own digest."""
    numbers = _numbers_of(_units(rows, split, settings), _kind(rows, split), settings.seed)
    if split == "given":
        is_test = rows["split"].eq("test").to_numpy()
    elif settings.test_rows is None:
        is_test = numbers[:, 0] < settings.test_share
    else:
        is_test = np.argsort(np.argsort(numbers[:, 0], kind="stable")) < settings.test_rows
    return is_test, numbers[:, 1] < settings.validation_share


def _stratified(rows: pd.DataFrame, split: SplitBy, settings: DataSettings) -> tuple[_Mask, _Mask]:
    """Version 2: which rows are test, and which validation, with regard to their classes."""
    test_rows = np.zeros(len(rows), dtype=bool) if split != "given" else rows["split"].to_numpy() == "test"
    drawn = rows[~test_rows]  # what is given as test decides nothing about the others
    codes, units = pd.factorize(_units(drawn, split, settings))
    numbers = _numbers_of(pd.Series(units, dtype="str"), _kind(rows, split), settings.seed)
    classes = _classes(drawn, codes)
    wants_validation = settings.validation_share > 0
    if split == "given":
        is_test = np.zeros(len(units), dtype=bool)
    elif settings.test_rows is None:
        left = 1 + wants_validation
        is_test = _draw(numbers[:, 0], settings.test_share, classes, np.ones(len(units), dtype=bool), left)
    else:
        is_test = _draw_rows(numbers[:, 0], settings.test_rows, drawn["label"], codes)
    is_validation = _draw(numbers[:, 1], settings.validation_share, classes, ~is_test, 1)
    validation_rows = np.zeros(len(rows), dtype=bool)
    validation_rows[~test_rows] = is_validation[codes]
    test_rows[~test_rows] = is_test[codes]
    return test_rows, validation_rows


def _draw(
    numbers: _Numbers, share: float, classes: Sequence[npt.NDArray[np.int64]], free: _Mask, left: int
) -> _Mask:
    """The units whose number is below the share, corrected where a class would get too few or too many.

    Args:
        numbers: of each unit, (units,).
        share: of the units to draw.
        classes: the units that have rows of a class, the smallest class first.
        free: the units that may be drawn, (units,).
        left: units of each class that must not be drawn, if it has so many.
    """
    drawn = free & (numbers < share)
    if not share:
        return drawn
    in_order = [units[free[units]][np.argsort(numbers[units[free[units]]])] for units in classes]
    for units in in_order:
        most = min(max(1, int(1.5 * share * len(units))), max(0, len(units) - left))
        drawn[units[drawn[units]][most:]] = False
    for units in in_order:
        least = min(max(1, int(0.5 * share * len(units))), max(0, len(units) - left))
        missing = max(0, least - int(drawn[units].sum()))
        drawn[units[~drawn[units]][:missing]] = True
    return drawn


def _draw_rows(
    numbers: _Numbers, wanted: int, labels: "pd.Series[str]", codes: npt.NDArray[np.int64]
) -> _Mask:
    """Units with so many rows in all, of each class in proportion; a unit has the class of its first row.

    Raises:
        JabertError: units of several rows do not add up to that number.
    """
    first = pd.Series(codes).drop_duplicates().index
    label_of = labels.fillna("").to_numpy()[first]
    sizes = np.bincount(codes)
    order = np.lexsort([numbers, label_of])
    rows = pd.Series(sizes[order]).groupby(label_of[order])
    # The place of a unit among those of its class, from 0 to 1: what is smallest in all classes comes first.
    place = (rows.cumsum() - sizes[order] / 2) / rows.transform("sum")
    drawn, missing = np.zeros(len(numbers), dtype=bool), wanted
    for unit in order[np.argsort(place.to_numpy(), kind="stable")]:
        if sizes[unit] <= missing:
            drawn[unit] = True
            missing -= int(sizes[unit])
    if missing:
        raise JabertError(
            f"data.test_rows = {wanted} would divide the copies of a text: set data.drop_duplicates = true, "
            "or data.test_share in its place"
        )
    return drawn


def _classes(rows: pd.DataFrame, codes: npt.NDArray[np.int64]) -> list[npt.NDArray[np.int64]]:
    """The units that have rows of a class, of each class, the smallest class first."""
    pairs = pd.DataFrame({"label": rows["label"].to_numpy(), "unit": codes}).dropna().drop_duplicates()
    found = [(len(units), str(label), units.to_numpy()) for label, units in pairs.groupby("label")["unit"]]
    return [units for *_, units in sorted(found, key=lambda each: each[:2])]


def _units(rows: pd.DataFrame, split: SplitBy, settings: DataSettings) -> "pd.Series[str]":
    """What must not be divided: the name of each row's group, or of its text."""
    if split != "sentence" and "group" in rows:
        for row in rows[rows["group"].isna()].itertuples():
            raise JabertError(
                f"{row.file}, line {row.line}: the row has no group, but the split is by group; give it one, "
                "or set data.split = 'sentence'"
            )
        return rows["group"]
    texts = rows["text"].fillna("")
    if settings.split_version != 1:
        return texts.map(in_reading_form)
    if split == "given":
        return texts
    # Copies of a text have numbers of their own, as in a random split.
    later = texts[texts.duplicated()]
    nth_copy = later.groupby(later).cumcount().astype("str")
    return texts.where(~texts.duplicated(), later + "\0" + nth_copy)


def _kind(rows: pd.DataFrame, split: SplitBy) -> str:
    return "group" if split != "sentence" and "group" in rows else "text"


def _numbers_of(units: "pd.Series[str]", kind: str, seed: int) -> npt.NDArray[np.float64]:
    """Two numbers in [0, 1) for each unit, from the first 16 bytes of its SHA-256, float64 (units, 2)."""
    start = hashlib.sha256(f"{seed}\0{kind}\0".encode())
    digests = bytearray()
    for unit in units.tolist():
        digest = start.copy()
        digest.update(unit.encode())
        digests += digest.digest()[:16]
    return np.frombuffer(digests, dtype=">u8").reshape(-1, 2) / 2.0**64
