"""Splits rows into train, validation and test.

The split of a row is a function of a digest of the seed and of its group (or text), never of
the other rows, so that it stays the same when the data grows or is reordered.
"""

import hashlib
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from jabert.config import DataSettings
from jabert.errors import JabertError

SplitBy = Literal["given", "sentence", "group"]
SPLITS = ("train", "validation", "test")


def resolve_split(rows: pd.DataFrame, settings: DataSettings) -> SplitBy:
    """`data.split`; for `auto`, given if the rows say their split, else group, else sentence.

    Raises:
        JabertError: the rows lack the splits or groups that the setting needs, or
            `data.test_rows` is set for a split that is not by sentence.
    """
    automatic: SplitBy = "given" if "split" in rows else "group" if "group" in rows else "sentence"
    split: SplitBy = automatic if settings.split == "auto" else settings.split
    if split == "given" and "split" not in rows:
        raise JabertError("data.split is 'given', but the data does not say the split of a row")
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
    otherwise train. With `data.test_rows`, the rows with the smallest first numbers are test. A given
    split is kept; only if no row of it is validation are validation rows drawn from train.

    Raises:
        JabertError: as `resolve_split`; a given split is not train, validation or test; a row
            lacks the group that is needed; `data.test_rows` leaves no other row.
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
    if split == "sentence":
        numbers = _numbers_of_sentences(rows, settings.seed)
    elif "group" in rows:
        for row in rows[rows["group"].isna()].itertuples():
            raise JabertError(f"{row.file}, line {row.line}: the row has no group, but the split is by group")
        numbers = _numbers_of(rows["group"], "group", settings.seed)
    else:
        numbers = _numbers_of(rows["text"].fillna(""), "text", settings.seed)
    if split == "given":
        is_test = rows["split"].eq("test").to_numpy()
    elif settings.test_rows is None:
        is_test = numbers[:, 0] < settings.test_share
    elif settings.test_rows < len(rows):
        is_test = np.argsort(np.argsort(numbers[:, 0], kind="stable")) < settings.test_rows
    else:
        raise JabertError(f"data.test_rows is {settings.test_rows}, but there are {len(rows)} rows in all")
    is_validation = numbers[:, 1] < settings.validation_share
    splits = np.select([is_test, is_validation], ["test", "validation"], "train")
    return pd.Series(splits, index=rows.index, dtype="str")


def shuffled(rows: pd.DataFrame, settings: DataSettings) -> pd.DataFrame:
    """The rows in the random order that `data.seed` gives, if they are split by sentence.

    A corpus is often sorted by class, and training without shuffling would meet one class after
    the other. Rows that are split otherwise keep their order.
    """
    if resolve_split(rows, settings) != "sentence":
        return rows
    order = np.argsort(_numbers_of_sentences(rows, settings.seed)[:, 0], kind="stable")
    return rows.iloc[order].reset_index(drop=True)


def _numbers_of_sentences(rows: pd.DataFrame, seed: int) -> npt.NDArray[np.float64]:
    """Numbers for each row: copies of a text have numbers of their own, as in a random split."""
    texts = rows["text"].fillna("")
    later = texts[texts.duplicated()]
    nth_copy = later.groupby(later).cumcount().astype("str")
    units = texts.where(~texts.duplicated(), later + "\0" + nth_copy)
    return _numbers_of(units, "text", seed)


def _numbers_of(units: "pd.Series[str]", kind: str, seed: int) -> npt.NDArray[np.float64]:
    """Two numbers in [0, 1) for each unit, from the first 16 bytes of its SHA-256, float64 (units, 2)."""
    start = hashlib.sha256(f"{seed}\0{kind}\0".encode())
    digests = bytearray()
    for unit in units.tolist():
        digest = start.copy()
        digest.update(unit.encode())
        digests += digest.digest()[:16]
    return np.frombuffer(digests, dtype=">u8").reshape(-1, 2) / 2.0**64
