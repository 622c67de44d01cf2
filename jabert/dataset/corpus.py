"""The data stage: read, clean, split."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

import pandas as pd

from jabert.config import DataSettings
from jabert.dataset.cleaning import clean
from jabert.dataset.knbc import strip_topic_tags
from jabert.dataset.readers import format_of, location_of, read_rows
from jabert.dataset.splits import SplitBy, in_drawn_order, resolve_split, sides_of
from jabert.errors import JabertError, redacted

__all__ = ["Corpus", "read_corpus", "row_digests", "table_digest"]


@dataclass(frozen=True, eq=False)
class Corpus:
    """Labelled texts, ready to be validated.

    Attributes:
        table: columns text, label, group (if the data has groups), split, file, line.
        counts: rows_read, tag_only, duplicates, conflicting_texts, conflicting_rows, rows,
            train, validation, test.
        conflicts: the rows of texts that stand under two labels (text, label, file, line).
        source: the path or URL it was read from, without a password.
        split_by: what the sides follow, never `auto`.
    """

    table: pd.DataFrame
    counts: dict[str, int]
    conflicts: pd.DataFrame
    source: str
    split_by: SplitBy


def read_corpus(settings: DataSettings) -> Corpus:
    """Read the texts, remove topic tags and repeated texts as the settings say, and split them.

    Raises:
        JabertError: the data cannot be read or split, or nothing of it is left.
    """
    rows = read_rows(settings)
    counts = {"rows_read": len(rows), "tag_only": 0}
    if settings.strip_topic_tag and format_of(settings) == "knbc":
        rows, counts["tag_only"] = strip_topic_tags(rows)
    table, removed, conflicts = clean(rows, drop=settings.drop_duplicates)
    if table.empty:
        raise JabertError(f"{location_of(settings)}: every text stands under two labels, so no row is left")
    table = in_drawn_order(table, settings)
    sides = sides_of(table, settings)
    names = [name for name in ("text", "label", "group") if name in table]
    split = table[names].assign(split=sides, file=table["file"], line=table["line"])
    sizes = {side: int(sides.eq(side).sum()) for side in ("train", "validation", "test")}
    return Corpus(
        table=split,
        counts={**counts, **removed, "rows": len(split), **sizes},
        conflicts=conflicts,
        source=redacted(location_of(settings)),
        split_by=resolve_split(table, settings),
    )


def row_digests(texts: Iterable[str]) -> list[str]:
    """64 bits of each text's SHA-256, in hexadecimal.

    Among a million texts the chance that any two share one is 1 in 37 million.
    """
    return [hashlib.sha256(text.encode()).hexdigest()[:16] for text in texts]


def table_digest(table: pd.DataFrame) -> str:
    """SHA-256 of the rows' text, label, group and split, in hexadecimal; their order is of no account.

    A column that is absent counts as null throughout; file and line do not count.
    """
    columns = [
        # A sign before each value tells "" from null. NUL can end a value: no text has one.
        "+" + table[name].where(table[name].notna()) if name in table else None
        for name in ("text", "label", "group", "split")
    ]
    parts = [["-"] * len(table) if column is None else column.fillna("-").tolist() for column in columns]
    digest = hashlib.sha256()
    for row in sorted(zip(*parts, strict=True)):
        digest.update("\0".join((*row, "")).encode())
    return digest.hexdigest()
