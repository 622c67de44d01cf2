"""Reads, cleans and splits a corpus, and digests its rows."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

import pandas as pd

from jabert.config import DataSettings
from jabert.dataset.cleaning import clean
from jabert.dataset.knbc import strip_topic_tags
from jabert.dataset.readers import format_of, location_of, read_rows
from jabert.dataset.splits import SPLITS, SplitBy, resolve_split, shuffled, splits_of
from jabert.errors import JabertError, redacted


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
    """

    table: pd.DataFrame
    counts: dict[str, int]
    conflicts: pd.DataFrame
    source: str
    split_by: SplitBy


def read_corpus(settings: DataSettings) -> Corpus:
    """Read the texts, remove topic tags and repeated texts as the settings say, and split them.

    Raises:
        JabertError: the data cannot be read or split, or no row is left.

    Example:
        >>> corpus = jabert.read_corpus(jabert.load_settings("sample").data)
        >>> len(corpus.table), corpus.split_by
        (1046, 'group')
    """
    rows = read_rows(settings)
    counts = {"rows_read": len(rows), "tag_only": 0}
    if settings.strip_topic_tag and format_of(settings) == "knbc":
        rows, counts["tag_only"] = strip_topic_tags(rows)
    cleaned = clean(rows, drop=settings.drop_duplicates)
    if cleaned.rows.empty:
        raise JabertError(f"{location_of(settings)}: every text has two labels, so no row is left")
    table = shuffled(cleaned.rows, settings)
    splits = splits_of(table, settings)
    names = [name for name in ("text", "label", "group") if name in table]
    return Corpus(
        table=table[names].assign(split=splits, file=table["file"], line=table["line"]),
        counts={
            **counts,
            **cleaned.counts,
            "rows": len(table),
            **{split: int(splits.eq(split).sum()) for split in SPLITS},
        },
        conflicts=cleaned.conflicts,
        source=redacted(location_of(settings)),
        split_by=resolve_split(table, settings),
    )


def row_digests(texts: Iterable[str]) -> list[str]:
    """64 bits of each text's SHA-256, in hexadecimal.

    Among a million texts the chance that any two share one is 1 in 37 million.
    """
    return [hashlib.sha256(text.encode()).hexdigest()[:16] for text in texts]


def table_digest(table: pd.DataFrame) -> str:
    """SHA-256 of the text, label, group and split of all rows, in hexadecimal, whatever their order.

    A column that is absent counts as one of nulls; file and line do not count.
    """
    columns = [
        # The sign before each value tells "" from null. NUL ends a value, because no text has one.
        "+" + table[name].where(table[name].notna()) if name in table else None
        for name in ("text", "label", "group", "split")
    ]
    parts = [["-"] * len(table) if column is None else column.fillna("-").tolist() for column in columns]
    digest = hashlib.sha256()
    for row in sorted(zip(*parts, strict=True)):
        digest.update("\0".join((*row, "")).encode())
    return digest.hexdigest()
