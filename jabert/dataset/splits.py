"""Divides rows into train, validation and test.

The side of a row is a function of a digest of the seed and of its group (or text), never of
the other rows, so that it stays when the data grows or is reordered.
"""

import hashlib
from collections.abc import Iterable
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from jabert.config import DataSettings
from jabert.errors import JabertError

__all__ = ["SplitBy", "in_drawn_order", "resolve_split", "sides_of"]

SplitBy = Literal["given", "sentence", "group"]
Mask = npt.NDArray[np.bool_]  # (rows,)
Numbers = npt.NDArray[np.float64]  # (rows, 2)
SIDES = ("train", "validation", "test")


def resolve_split(rows: pd.DataFrame, settings: DataSettings) -> SplitBy:
    """`data.split`; for `auto`, given if the rows carry a side, else group, else sentence.

    Raises:
        JabertError: the rows lack the sides or groups that the setting needs, or
            `data.test_rows` is set for a split that is not by sentence.
    """
    if settings.split != "auto":
        split: SplitBy = settings.split
    else:
        split = "given" if "split" in rows else "group" if "group" in rows else "sentence"
    if split == "given" and "split" not in rows:
        raise JabertError("data.split is 'given', but the data does not say which side a row is on")
    if split == "group" and "group" not in rows:
        raise JabertError(
            "data.split is 'group', but the data has no groups; data.group_column can name their column"
        )
    if split != "sentence" and settings.test_rows is not None:
        raise JabertError(
            f"data.test_rows needs data.split = 'sentence', but the split is {split!r}: "
            "an exact number of rows would tear a group apart or change the given sides"
        )
    return split


def sides_of(rows: pd.DataFrame, settings: DataSettings) -> "pd.Series[str]":
    """The side of each row, with the index of `rows`.

    Each group (or text) has two numbers in [0, 1) from one SHA-256: the first puts it into test
    when below `data.test_share`, the second puts what is left into validation when below
    `data.validation_share`. Of `data.test_rows` the rows with the smallest first numbers are the
    test rows. Given sides are kept; only if none of them is `validation` are rows of train drawn.

    Raises:
        JabertError: as `resolve_split`; a given side other than train, validation and test; a row
            without the group that is needed; `data.test_rows` leaves no other row.
    """
    match resolve_split(rows, settings):
        case "given":
            return _given(rows, settings)
        case "group":
            numbers = _numbers_of_groups(rows, settings.seed)
            return _drawn(rows, numbers[:, 0] < settings.test_share, numbers, settings)
        case "sentence":
            numbers = _numbers_of_sentences(rows, settings.seed)
            return _drawn(rows, _test_sentences(numbers[:, 0], settings), numbers, settings)


def in_drawn_order(rows: pd.DataFrame, settings: DataSettings) -> pd.DataFrame:
    """The rows of a sentence split as a random split leaves them: in random order, the same each time.

    A corpus often stands sorted by class, and training without shuffling would meet one class after
    the other. Rows of other splits stay as they are.
    """
    if resolve_split(rows, settings) != "sentence":
        return rows
    order = np.argsort(_numbers_of_sentences(rows, settings.seed)[:, 0], kind="stable")
    return rows.iloc[order].reset_index(drop=True)


def _given(rows: pd.DataFrame, settings: DataSettings) -> "pd.Series[str]":
    sides = rows["split"]
    wrong = ~sides.isin(SIDES)
    if wrong.any():
        value = sides[wrong].iloc[0]
        found = "nothing" if pd.isna(value) else repr(value)
        raise JabertError(f"{_place(rows[wrong])}: the split is {found}, not one of: {', '.join(SIDES)}")
    if sides.eq("validation").any():
        return sides
    if "group" in rows:
        numbers = _numbers_of_groups(rows, settings.seed)
    else:
        numbers = _numbers_of(rows["text"].fillna(""), "text", settings.seed)
    return _drawn(rows, sides.eq("test").to_numpy(), numbers, settings)


def _drawn(
    rows: pd.DataFrame,
    is_test: Mask,
    numbers: Numbers,
    settings: DataSettings,
) -> "pd.Series[str]":
    is_validation = numbers[:, 1] < settings.validation_share
    sides = np.select([is_test, is_validation], ["test", "validation"], "train")
    return pd.Series(sides, index=rows.index, dtype="str")


def _numbers_of_groups(rows: pd.DataFrame, seed: int) -> Numbers:
    missing = rows["group"].isna()
    if missing.any():
        raise JabertError(f"{_place(rows[missing])}: the row has no group, but the split is by group")
    return _numbers_of(rows["group"], "group", seed)


def _numbers_of_sentences(rows: pd.DataFrame, seed: int) -> Numbers:
    """Copies of a text are separate rows here, as in a random split: each has its own numbers."""
    texts = rows["text"].fillna("")
    later = texts[texts.duplicated()]
    nth_copy = later.groupby(later).cumcount().astype("str")
    units = texts.where(~texts.duplicated(), later + "\0" + nth_copy)
    return _digest_numbers(units.tolist(), "text", seed)


def _numbers_of(units: "pd.Series[str]", kind: str, seed: int) -> Numbers:
    codes, distinct = pd.factorize(units)
    return _digest_numbers(distinct, kind, seed)[codes]


def _digest_numbers(units: Iterable[str], kind: str, seed: int) -> Numbers:
    """Two numbers in [0, 1) for each unit, from the first 16 bytes of its digest: (units, 2) float64."""
    start = hashlib.sha256(f"{seed}\0{kind}\0".encode())
    digests = bytearray()
    for unit in units:
        digest = start.copy()
        digest.update(unit.encode())
        digests += digest.digest()[:16]
    return np.frombuffer(digests, dtype=">u8").reshape(-1, 2) / 2.0**64


def _test_sentences(numbers: npt.NDArray[np.float64], settings: DataSettings) -> Mask:
    if settings.test_rows is None:
        return numbers < settings.test_share
    if settings.test_rows >= len(numbers):
        raise JabertError(f"data.test_rows is {settings.test_rows}, but there are {len(numbers)} rows in all")
    is_test = np.zeros(len(numbers), dtype=bool)
    is_test[np.argsort(numbers, kind="stable")[: settings.test_rows]] = True
    return is_test


def _place(rows: pd.DataFrame) -> str:
    return f"{rows['file'].iloc[0]}, line {rows['line'].iloc[0]}"
