"""Runs the suites: measures each row, then evaluates the expectations on these measures.

Everything that a suite can ask of a row (in how many splits its text occurs, how many rows its class has)
is computed into a column of its own, so that plain column expectations suffice and name the offending rows.
`expectations/README.md` lists these columns.
"""

import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from jabert.config import DataSettings, Settings
from jabert.dataset import same_texts
from jabert.dataset.splits import SPLITS
from jabert.files import write_json
from jabert.texts import visible_characters
from jabert.validation.report import Finding, ValidationReport
from jabert.validation.suites import find_suite, run_suite

_EXCERPT = 40  # characters of a text
_LINE_BREAK = "\r\n|[\r\n\u2028\u2029]"
_CONTROL = r"[\x00-\x09\x0b\x0c\x0e-\x1f\x7f-\x9f]"  # category Cc without line breaks


def check_texts(table: pd.DataFrame, settings: Settings, split_by: str, folder: Path) -> ValidationReport:
    """Run `settings.validation.suite` on a split table of texts.

    Args:
        table: columns `text`, `label`, `split`, `file`, `line` (counted from 1) and maybe `group`.
        settings: name the suite and give its parameters `labels` and `sides` (splits that must have rows).
        split_by: `given`, `sentence` or `group`; expectations meant for another one are left out.
        folder: where `data_docs/` and `result.json` are written, whatever the outcome.

    Raises:
        JabertError: the suite cannot be read or does not fit the table, or one of its
            expectations cannot be evaluated. Findings are returned, not raised.
    """
    training_labels = table.loc[table["split"] == "train", "label"].dropna()
    parameters = {
        "labels": list(settings.data.labels) or sorted(training_labels.unique()),
        "sides": ["train", "test"] if settings.training.watch == "test" else list(SPLITS),
    }
    measured, remedy = _measured_texts(table, settings), _remedy(table, settings.data, split_by)
    return _check(measured, settings.validation.suite, parameters, split_by, folder, remedy=remedy)


def check_pieces(pieces: pd.DataFrame, settings: Settings, folder: Path) -> ValidationReport:
    """Run `settings.validation.pieces_suite` on the numbers of pieces into which the texts were tokenized.

    Args:
        pieces: one row for each text, with columns `text`, `split`, `file`, `line`, `pieces` (their number
            before truncation, with [CLS] and [SEP]), `unknown` (how many are `<unk>`) and `truncated`.
        settings: name the suite.
        folder: where `data_docs/` and `result.json` are written, whatever the outcome.

    Raises:
        JabertError: as `check_texts`.
    """
    frame = _located(pieces)
    ordinary = frame["pieces"] - 2  # [CLS] and [SEP]
    frame = frame.assign(
        unknown_share=frame["unknown"] / ordinary.where(ordinary > 0),
        unknown_rate=frame["unknown"].sum() / max(ordinary.sum(), 1),  # of all texts together
    )
    return _check(frame, settings.validation.pieces_suite, {}, None, folder)


def _remedy(table: pd.DataFrame, settings: DataSettings, split_by: str) -> str:
    """How every class can come into every split, to be read after what is not met."""
    if split_by == "given":
        return f"give rows of each class another split in the column {settings.split_column!r}"
    by_group = split_by == "group" and "group" in table
    units, names = ("groups", table["group"]) if by_group else ("texts", same_texts(table["text"], settings))
    counts = names.groupby(table["label"]).nunique()
    few = counts[counts < len(SPLITS)]
    if not few.empty:
        named = ", ".join(f"{label!r} has {count}" for label, count in [*few.items()][:3])
        return (
            f"three splits need three {units} of a class, but {named}: add some, leave the class out, or set "
            "data.split = 'given' with a column that says the split of each row"
        )
    another = "data.split_version = 2, " if settings.split_version == 1 else ""
    return (
        f"try {another}larger shares (data.test_share, data.validation_share), another data.seed, or "
        "data.split = 'given' with a column that says the split of each row"
    )


def _measured_texts(table: pd.DataFrame, settings: Settings) -> pd.DataFrame:
    """The table with a column for everything that a suite may ask of a row; null where it does not apply."""
    frame = _located(table)
    # Of another type only here: the suite refuses such a column.
    texts, labels = (frame[name].astype("str") for name in ("text", "label"))
    # Labels that differ only in width, case, composition or white space at their ends are spellings of one.
    spelled = labels.map(
        lambda label: unicodedata.normalize("NFKC", label).strip().casefold(), na_action="ignore"
    )
    form = same_texts(texts, settings.data)
    counts = pd.crosstab(frame["label"], frame["split"])
    return frame.assign(
        characters=texts.str.len(),
        visible_characters=texts.map(visible_characters, na_action="ignore"),
        visible_label_characters=labels.map(visible_characters, na_action="ignore"),
        label_characters=labels.str.len(),
        label_controls=labels.str.count(_CONTROL),
        label_lines=labels.str.count(_LINE_BREAK) + 1,
        label_spellings=labels.groupby(spelled).transform("nunique"),
        text_sides=frame.groupby(form)["split"].transform("nunique"),
        text_labels=frame.groupby(form)["label"].transform("nunique"),
        group_sides=frame.groupby("group")["split"].transform("nunique") if "group" in frame else None,
        class_share=frame["label"].map(counts.sum(axis=1) / max(len(frame), 1)),
        **{
            f"class_rows_{split}": frame["label"].map(counts[split]) if split in counts else None
            for split in SPLITS
        },
    )


def _located(table: pd.DataFrame) -> pd.DataFrame:
    """The table with the start of each text in `excerpt`, and an index that says where a row comes from.

    A text and a label are shortened there, as each expectation repeats them.

    With this index, Great Expectations names offending rows by file and line, in its pages too; its own
    option for it, `unexpected_index_column_names`, takes ten times as long as everything else.
    """
    excerpts = _excerpts(table["text"])
    quoted = excerpts.map(repr, na_action="ignore").fillna("no text")
    index = table["file"].astype("str") + " line " + table["line"].astype("str") + ": " + quoted
    if "label" in table:
        index += " (" + _excerpts(table["label"]).fillna("no label") + ")"
    return table.assign(excerpt=excerpts).set_axis(pd.Index(index, name=None))


def _excerpts(column: pd.Series) -> pd.Series:
    texts = column.astype("str")
    return texts.where(~(texts.str.len() > _EXCERPT), texts.str[:_EXCERPT] + "…")


def _check(
    frame: pd.DataFrame,
    name: str,
    parameters: Mapping[str, Any],
    split_by: str | None,
    folder: Path,
    *,
    remedy: str = "",
) -> ValidationReport:
    path = find_suite(name)
    results = run_suite(path, frame, parameters, split_by, folder / "data_docs")
    failed = [_finding(result, remedy) for result in results if not result["success"]]
    order = ("critical", "warning", "info")
    findings = tuple(sorted(failed, key=lambda finding: order.index(finding.severity)))
    success = all(finding.severity != "critical" for finding in findings)
    report = ValidationReport(path, success, len(results), findings, folder)
    facts = {**report.to_dict(), "results": results}
    del facts["suite_file"], facts["folder"]  # they are of this machine
    for result in results:  # of the offending rows only the first; their number is kept
        for key, value in result["result"].items():
            result["result"][key] = value[:20] if isinstance(value, list) else value
    write_json(folder / "result.json", facts)
    return report


def _finding(result: Mapping[str, Any], remedy: str) -> Finding:
    """What is not met; with the remedy if it is about rows that a split has of a class, or at all."""
    expectation, found = result["expectation_config"], result["result"]
    rows = found.get("unexpected_index_list") or []
    missing = found.get("partial_missing_list")
    observed = f"none of {', '.join(sorted(map(str, missing)))}" if missing else found.get("observed_value")
    column = expectation["kwargs"].get("column")
    is_about_splits = column == "split" or str(column).startswith("class_rows_")
    return Finding(
        expectation=expectation["type"],
        column=column,
        severity=expectation["severity"],
        meaning=expectation.get("description") or expectation["type"].replace("_", " "),
        observed="" if observed is None else str(observed),
        rows=found.get("unexpected_count", 0),
        examples=tuple(rows[:5]),
        remedy=remedy if is_about_splits else "",
    )
