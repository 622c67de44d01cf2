"""Reads, cleans and splits a corpus, and digests its rows."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import pandas as pd

from jabert.config import DataSettings
from jabert.dataset.chunks import Form
from jabert.dataset.knbc import strip_topic_tags
from jabert.dataset.readers import format_of, location_of, read_files
from jabert.dataset.splits import SPLITS, SplitBy, resolve_split, shuffled, splits_of
from jabert.errors import JabertError
from jabert.texts import fault_of, in_reading_form


@dataclass(frozen=True, eq=False)
class Corpus:
    """Labelled texts, ready to be validated.

    Attributes:
        table: columns text, label, group (if the data has groups), split, file, line.
        counts: numbers of rows: rows_read; tag_only, duplicates and conflicting_rows, which were removed;
            rows, which remain; train, validation and test. And conflicting_texts, the distinct texts of
            the conflicting rows, and twins, those of the duplicates that differ from the text which they
            repeat in width, composition or invisible characters.
        conflicts: the rows of texts with two or more labels (text, label, file, line).
        source: the path or URL it was read from.
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
    rows, conflicts, found = _cleaned(rows, settings)
    if rows.empty:
        raise JabertError(
            f"{location_of(settings)}: every text has two labels, so no row is left; decide on one label "
            "each, or set data.drop_duplicates = false"
        )
    table = shuffled(rows, settings)
    splits = splits_of(table, settings)
    counts |= found | {"rows": len(table)} | {split: int(splits.eq(split).sum()) for split in SPLITS}
    names = [name for name in ("text", "label", "group", "order") if name in table]
    return Corpus(
        table=table[names].assign(split=splits, file=table["file"], line=table["line"]),
        counts=counts,
        conflicts=conflicts,
        source=str(location_of(settings)),
        split_by=resolve_split(table, settings),
        notes=(
            *read.notes,
            *_left_out(counts, settings),
            *_torn_twins(table.assign(split=splits), settings),
        ),
        forms=read.forms,
    )


def same_texts(texts: "pd.Series[str]", settings: DataSettings) -> "pd.Series[str]":
    """Of each text the form that it has in common with all that count as the same; null where it is."""
    return texts if settings.split_version == 1 else texts.map(in_reading_form, na_action="ignore")


def _left_out(counts: dict[str, int], settings: DataSettings) -> Iterator[str]:
    """What became of the rows that were read, where some are no longer there."""
    kept = "left out" if settings.drop_duplicates else "kept, as data.drop_duplicates is false"
    undo = "; data.drop_duplicates = false keeps them" if settings.drop_duplicates else ""
    if counts["tag_only"]:
        yield f"{counts['tag_only']:,} rows hold nothing but a topic tag and were left out"
    if counts["duplicates"]:
        twins = f", {counts['twins']:,} of them in another width or composition" if counts["twins"] else ""
        yield f"{counts['duplicates']:,} rows repeat an earlier text{twins}, and were {kept}{undo}"
    if counts["conflicting_rows"]:
        texts = f"{counts['conflicting_texts']:,} texts under two or more labels"
        yield f"{counts['conflicting_rows']:,} rows have one of {texts}, and were {kept}{undo}"


def _torn_twins(table: pd.DataFrame, settings: DataSettings) -> Iterator[str]:
    """That texts are in two splits which version 2 keeps together, if version 1 does not."""
    if settings.split_version != 1:
        return
    splits_of_text = table.groupby(table["text"].map(in_reading_form, na_action="ignore"))["split"].nunique()
    exact = table.groupby("text")["split"].nunique()
    if more := int((splits_of_text > 1).sum() - (exact > 1).sum()):
        yield (
            f"{more:,} texts are in two splits in another width or composition; data.split_version = 2 keeps "
            "them together"
        )


def _cleaned(rows: pd.DataFrame, settings: DataSettings) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, int]]:
    """Keep the first of each text, and none of a text with two or more labels.

    For such a text nothing tells which label is right, and a majority of two or three says
    little. Rows with a blank or null text or a null label are left for validation to refuse.

    Args:
        rows: columns text, label, file, line and any others.
        settings: what counts as the same text, and whether rows are dropped; otherwise they are only counted.

    Returns:
        The rows that remain, with all their columns; the rows of texts with two or more labels, sorted by
        text (text, label, file, line); and counts: duplicates, the rows that repeat an earlier one, and
        twins, those of them whose text is not exactly the earlier one's; conflicting_texts and
        conflicting_rows, the distinct texts and the rows with two or more labels.
    """
    usable = rows["text"].map(fault_of).isna() & rows["label"].notna()
    found = rows[["label"]].assign(text=same_texts(rows["text"], settings))
    pairs = found[usable].drop_duplicates()
    contradictory = pairs.loc[pairs["text"].duplicated(), "text"].unique()
    conflicting = usable & found["text"].isin(contradictory)
    repeated = usable & ~conflicting & found["text"].where(usable).duplicated()
    first = rows["text"].groupby(found["text"]).transform("first")
    conflicts = rows.loc[conflicting, ["text", "label", "file", "line"]]
    conflicts = conflicts.iloc[found.loc[conflicting, "text"].argsort(kind="stable")]
    counts = {
        "duplicates": int(repeated.sum()),
        "twins": int((repeated & (rows["text"] != first)).sum()),
        "conflicting_texts": len(contradictory),
        "conflicting_rows": int(conflicting.sum()),
    }
    drop = settings.drop_duplicates
    kept = rows[~(conflicting | repeated)].reset_index(drop=True) if drop else rows
    return kept, conflicts.reset_index(drop=True), counts


def class_shares(table: pd.DataFrame) -> dict[str, float]:
    """The share of each class among the training rows of a split table."""
    counts = table.loc[table["split"] == "train", "label"].value_counts(normalize=True)
    return {str(label): float(share) for label, share in counts.items()}


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
