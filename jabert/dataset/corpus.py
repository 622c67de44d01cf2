"""Reads, cleans and splits a corpus, and digests its rows."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

import pandas as pd

from jabert.config import DataSettings
from jabert.dataset.chunks import Form
from jabert.dataset.knbc import strip_topic_tags
from jabert.dataset.readers import format_of, location_of, read_files
from jabert.dataset.splits import SPLITS, SplitBy, resolve_split, shuffled, splits_of
from jabert.errors import JabertError, redacted
from jabert.texts import fault_of


@dataclass(frozen=True, eq=False)
class Corpus:
    """Labelled texts, ready to be validated.

    Attributes:
        table: columns text, label, group (if the data has groups), split, file, line.
        counts: numbers of rows: rows_read; tag_only, duplicates and conflicting_rows, which were removed;
            rows, which remain; train, validation and test. And conflicting_texts, the distinct texts of
            the conflicting rows.
        conflicts: the rows of texts with two or more labels (text, label, file, line).
        source: the path or URL it was read from, without a password.
        split_by: what the split is made by, never `auto`.
        notes: sentences on what was read and what was left out, and why.
        forms: how each table was read.
    """

    table: pd.DataFrame
    counts: dict[str, int]
    conflicts: pd.DataFrame
    source: str
    split_by: SplitBy
    notes: tuple[str, ...] = ()
    forms: tuple[Form, ...] = ()


def read_corpus(settings: DataSettings) -> Corpus:
    """Read the texts, remove topic tags and repeated texts as the settings say, and split them.

    Raises:
        JabertError: the data cannot be read or split, or no row is left.

    Example:
        >>> corpus = jabert.read_corpus(jabert.load_settings("sample").data)
        >>> len(corpus.table), corpus.split_by
        (1046, 'group')
    """
    read = read_files(settings)
    rows = read.table
    counts = {"rows_read": len(rows), "tag_only": 0}
    if settings.strip_topic_tag and format_of(settings) == "knbc":
        rows, counts["tag_only"] = strip_topic_tags(rows)
    rows, conflicts, found = _cleaned(rows, drop=settings.drop_duplicates)
    if rows.empty:
        raise JabertError(f"{location_of(settings)}: every text has two labels, so no row is left")
    table = shuffled(rows, settings)
    splits = splits_of(table, settings)
    counts |= found | {"rows": len(table)} | {split: int(splits.eq(split).sum()) for split in SPLITS}
    names = [name for name in ("text", "label", "group", "order") if name in table]
    return Corpus(
        table=table[names].assign(split=splits, file=table["file"], line=table["line"]),
        counts=counts,
        conflicts=conflicts,
        source=redacted(location_of(settings)),
        split_by=resolve_split(table, settings),
        notes=read.notes,
        forms=read.forms,
    )


def _cleaned(rows: pd.DataFrame, *, drop: bool) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, int]]:
    """Keep the first of each text, and none of a text with two or more labels.

    For such a text nothing tells which label is right, and a majority of two or three says
    little. Rows with a blank or null text or a null label are left for validation to refuse.

    Args:
        rows: columns text, label, file, line and any others.
        drop: False keeps all rows and only counts.

    Returns:
        The rows that remain, with all their columns; the rows of texts with two or more labels, sorted by
        text (text, label, file, line); and counts: duplicates, the rows that repeat an earlier one;
        conflicting_texts and conflicting_rows, the distinct texts and the rows with two or more labels.
    """
    usable = rows["text"].map(fault_of).isna() & rows["label"].notna()
    pairs = rows.loc[usable, ["text", "label"]].drop_duplicates()
    contradictory = pairs.loc[pairs["text"].duplicated(), "text"].unique()
    conflicting = usable & rows["text"].isin(contradictory)
    repeated = usable & ~conflicting & rows.duplicated(["text", "label"])
    conflicts = rows.loc[conflicting, ["text", "label", "file", "line"]].sort_values("text", kind="stable")
    counts = {
        "duplicates": int(repeated.sum()),
        "conflicting_texts": len(contradictory),
        "conflicting_rows": int(conflicting.sum()),
    }
    kept = rows[~(conflicting | repeated)].reset_index(drop=True) if drop else rows
    return kept, conflicts.reset_index(drop=True), counts


def row_digests(texts: Iterable[str]) -> list[str]:
    """64 bits of each text's SHA-256, in hexadecimal.

    Among a million texts the chance that any two share one is 1 in 37 million.
    """
    return [hashlib.sha256(text.encode()).hexdigest()[:16] for text in texts]


def table_digest(table: pd.DataFrame) -> str:
    """SHA-256 of the text, label, group and split of all rows, in hexadecimal, whatever their order.

    A column that is absent counts as one of nulls; file and line do not count.
    """
    columns = table.reindex(columns=["text", "label", "group", "split"]).astype("str")
    # The sign before each value tells "" from null. NUL ends a value, because no text has one.
    rows = ("+" + columns).fillna("-").itertuples(index=False, name=None)
    digest = hashlib.sha256()
    for row in sorted(rows):
        digest.update("\0".join((*row, "")).encode())
    return digest.hexdigest()
