"""Labels as classes: which spellings mean the same, and which cells hold several labels."""

import ast
import json
import re
import unicodedata
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from itertools import islice

import pandas as pd

from jabert.config import DataSettings
from jabert.errors import JabertError

RIGHT_COLUMN = "is data.label_column the column of the labels?"
"""What to ask whoever gave labels that can't be meant."""

_SEPARATORS = re.compile(r"[,;|/、，；｜／\t\n]")
_MOST_SHOWN, _LONGEST_SHOWN = 10, 100  # labels in a sentence, and characters of each
_LONGEST_LABEL = 10_000  # characters; a suite warns from 200 on
_WHOLE = re.compile(r"(-?\d+)\.0+")
_NULLS = {"", "nan", "null", "none", "na", "n/a", "#n/a", "nil", "<na>"}


def with_classes(rows: pd.DataFrame, settings: DataSettings) -> tuple[pd.DataFrame, list[str]]:
    """The rows with one spelling for each class, and sentences on spellings.

    `1.0` is `1` if both occur. Labels that differ only in width, case or surrounding space are told, and are
    one with `data.normalize_labels`: a label is then NFKC without surrounding space, in the case that is most
    frequent, or that of `data.labels`.

    Args:
        rows: columns text, label, file, line and any others; a label may be null.
        settings: `labels` and `normalize_labels` are used.

    Raises:
        JabertError: a cell holds several labels, or more than 10,000 characters; names file and line.
    """
    _refuse_long(rows)
    counts = {str(label): int(count) for label, count in rows["label"].value_counts().items()}
    _refuse_several(rows, counts, settings.labels)
    notes: list[str] = []
    renamed = {
        label: match[1] for label in counts if (match := _WHOLE.fullmatch(label)) and match[1] in counts
    }
    for label, whole in renamed.items():
        notes.append(
            f"the labels {_shown(whole)} ({counts[whole]:,} rows) and {_shown(label)} ({counts[label]:,}) "
            "are one class"
        )
    if settings.normalize_labels:
        renamed |= _normalized(
            {label: n for label, n in counts.items() if label not in renamed}, settings.labels
        )
        joined = defaultdict(list)
        for label in counts:
            joined[renamed.get(label, label)].append(label)
        for name, labels in joined.items():
            if len({*labels, name} - {old for old in labels if _WHOLE.fullmatch(old)}) > 1:
                notes.append(
                    f"label {_shown(name)} stands for {_listed(labels, counts)} (data.normalize_labels)"
                )
    else:
        for labels in _alike(counts):
            notes.append(
                f"the labels {_listed(labels, counts)} differ only in width, case or surrounding space, "
                "and are different classes; data.normalize_labels = true joins them"
            )
    nulls = [label for label in counts if label.strip().casefold() in _NULLS]
    for label in sorted({*nulls} - {*settings.labels}):
        notes.append(f"the label {_listed([label], counts)} is a class, though it looks like a missing one")
    if len(notes) > _MOST_SHOWN:
        notes[_MOST_SHOWN:] = [f"{len(notes) - _MOST_SHOWN:,} more such sentences on labels are left out"]
    return (rows.assign(label=rows["label"].replace(renamed)) if renamed else rows), notes


def _alike(labels: Collection[str]) -> Iterator[list[str]]:
    """Labels that differ only in width, case or surrounding space."""
    groups = defaultdict(list)
    for label in labels:
        groups[_plain(label).casefold()].append(label)
    return (sorted(group) for group in groups.values() if len(group) > 1)


def _plain(label: str) -> str:
    return unicodedata.normalize("NFKC", label).strip()


def _normalized(counts: Mapping[str, int], allowed: Collection[str]) -> dict[str, str]:
    """Label -> its normal form, if that is another."""
    cases: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for label, count in counts.items():
        cases[_plain(label).casefold()][_plain(label)] += count
    chosen = {key: min(forms, key=lambda form: (-forms[form], form)) for key, forms in cases.items()} | {
        _plain(label).casefold(): label for label in allowed
    }
    names = {label: chosen[_plain(label).casefold()] or label for label in counts}
    return {label: name for label, name in names.items() if name != label}


def _listed(labels: Collection[str], counts: Mapping[str, int]) -> str:
    first = [f"{_shown(label)} ({counts[label]:,} rows)" for label in islice(labels, _MOST_SHOWN)]
    return ", ".join(first) + (
        f" and {len(labels) - _MOST_SHOWN:,} more" if len(labels) > _MOST_SHOWN else ""
    )


def _shown(label: str) -> str:
    return repr(label if len(label) <= _LONGEST_SHOWN else f"{label[:_LONGEST_SHOWN]}…")


def _refuse_long(rows: pd.DataFrame) -> None:
    """Refuse a label that can be no name of a class: tables, plots and metrics repeat it in many places."""
    lengths = rows["label"].str.len()
    if lengths.max() > _LONGEST_LABEL:
        row = rows.iloc[int(lengths.argmax())]
        raise JabertError(
            f"{row['file']}, line {row['line']}: the label has {len(row['label']):,} characters, the name "
            f"of a class has at most {_LONGEST_LABEL:,}: {_shown(row['label'])}; {RIGHT_COLUMN}"
        )


def _refuse_several(rows: pd.DataFrame, counts: Mapping[str, int], allowed: Collection[str]) -> None:
    """Refuse a cell that is a list, or that is made of labels which also stand alone, or in another order."""
    known, orders = set(allowed), defaultdict(set)
    for label in counts:
        if len(parts := _parts(label)) > 1:
            orders[tuple(sorted(parts))].add(label)
    for label, count in counts.items():
        parts = _parts(label)
        several = len(set(parts)) > 1 and (
            all(part in counts for part in parts) or len(orders[tuple(sorted(parts))]) > 1
        )
        if label in known or not (several or _is_list(label)):
            continue
        row = rows.loc[rows["label"] == label].iloc[0]
        raise JabertError(
            f"{row['file']}, line {row['line']}: {_shown(label)} are several labels ({count:,} rows have "
            "them), but a text has one: keep one, leave such rows out, or name it in data.labels if it is "
            "one class"
        )


def _parts(label: str) -> list[str]:
    return [part.strip() for part in _SEPARATORS.split(label) if part.strip()]


def _is_list(label: str) -> bool:
    if not (label.startswith("[") and label.endswith("]")):
        return False
    for read in (json.loads, ast.literal_eval):
        try:
            return isinstance(read(label), list)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
    return False
