"""What `jabert data check` found as one self-contained HTML page."""

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from jabert import markdown
from jabert.report.card.webpage import webpage


def data_check_html(found: Mapping[str, Any]) -> str:
    """The page; `found` is what the command prints as JSON. Every doubted row is on it."""
    more = found["more_labels"]
    suspects = [
        (each["score"], _place(each), each["label"], each["likely"], each["text"])
        for each in found["suspects"]
    ]
    duplicates = [
        (number, _place(row), row["label"], row["split"], row["text"])
        for number, each in enumerate(found["duplicates"], 1)
        for row in each["rows"]
    ]
    outliers = [(each["score"], _place(each), each["label"], each["text"]) for each in found["outliers"]]
    overlaps = [
        (each["label"], each["likely"], each["rows"], f"{each['share']:.1%}") for each in found["overlaps"]
    ]
    groups = [(each["group"], _counts(each["labels"])) for each in found["groups"]]
    curve = [(each["rows"], each["weighted_f1"], each["deviation"]) for each in found["learning_curve"]]
    sections: dict[str, tuple[list[str], list[Any]]] = {
        "Labels in doubt": (["score", "where", "label", "likely", "text"], suspects),
        "Near-duplicates under several labels or in several splits": (
            ["set", "where", "label", "split", "text"],
            duplicates,
        ),
        "Outliers": (["distance", "where", "label", "text"], outliers),
        "Classes that overlap": (["label", "looks like", "rows", "share"], overlaps),
        "Groups with several labels": (["group", "rows of each label"], groups),
        "Learning curve": (["rows", "weighted F1", "deviation over folds"], curve),
    }
    parts = [
        "# Data check",
        f"{found['rows']:,} rows. {more['rows']} more labels would bring {more['gain']:+.3f} weighted F1 "
        f"({more['low']:+.3f} to {more['high']:+.3f}).",
        *(markdown.escaped(note) for note in found["notes"]),
    ]
    for heading, (columns, rows) in sections.items():
        parts += [f"## {heading}: {len(rows):,}", markdown.table(columns, rows) if rows else "None."]
    return webpage("\n\n".join(parts) + "\n", "Data check", {})


def _place(row: Mapping[str, Any]) -> str:
    return f"{PurePath(row['file']).name}, line {row['line']}"


def _counts(labels: Mapping[str, int]) -> str:
    return ", ".join(f"{label} {count}" for label, count in labels.items())
