"""Runs the suites: measures each row, then evaluates the expectations on these measures.

Everything that a suite can ask of a row (in how many splits its text occurs, how many rows its class has)
is computed into a column of its own, so that plain column expectations suffice and name the offending rows.
`expectations/README.md` lists these columns.
"""

import html
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from jabert.config import Settings
from jabert.dataset.splits import SPLITS
from jabert.files import write_json
from jabert.texts import visible_characters
from jabert.validation.report import Finding, ValidationReport
from jabert.validation.suites import find_suite, run_suite

_EXCERPT = 40  # characters of a text


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
    return _check(_measured_texts(table), settings.validation.suite, parameters, split_by, folder)


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


def _measured_texts(table: pd.DataFrame) -> pd.DataFrame:
    """The table with a column for everything that a suite may ask of a row; null where it does not apply."""
    frame = _located(table)
    # Of another type only here: the suite refuses such a column.
    texts, labels = (frame[name].astype("str") for name in ("text", "label"))
    # Labels that differ only in width, case, composition or white space at their ends are spellings of one.
    spelled = labels.map(
        lambda label: unicodedata.normalize("NFKC", label).strip().casefold(), na_action="ignore"
    )
    counts = pd.crosstab(frame["label"], frame["split"])
    return frame.assign(
        characters=texts.str.len(),
        visible_characters=texts.map(visible_characters, na_action="ignore"),
        visible_label_characters=labels.map(visible_characters, na_action="ignore"),
        label_spellings=labels.groupby(spelled).transform("nunique"),
        text_sides=frame.groupby("text")["split"].transform("nunique"),
        text_labels=frame.groupby("text")["label"].transform("nunique"),
        group_sides=frame.groupby("group")["split"].transform("nunique") if "group" in frame else None,
        class_share=frame["label"].map(counts.sum(axis=1) / max(len(frame), 1)),
        **{
            f"class_rows_{split}": frame["label"].map(counts[split]) if split in counts else None
            for split in SPLITS
        },
    )


def _located(table: pd.DataFrame) -> pd.DataFrame:
    """The table with the start of each text in `excerpt`, and an index that says where a row comes from.

    With this index, Great Expectations names offending rows by file and line, in its pages too; its own
    option for it, `unexpected_index_column_names`, takes ten times as long as everything else. Its pages show
    values without escaping them, so excerpt and index are escaped here: a text may contain HTML.
    """
    texts = table["text"].astype("str")
    excerpts = texts.where(~(texts.str.len() > _EXCERPT), texts.str[:_EXCERPT] + "…")
    quoted = excerpts.map(repr, na_action="ignore").fillna("no text")
    index = table["file"].astype("str") + " line " + table["line"].astype("str") + ": " + quoted
    if "label" in table:
        index += " (" + table["label"].astype("str").fillna("no label") + ")"
    escaped = excerpts.map(html.escape, na_action="ignore")
    return table.assign(excerpt=escaped).set_axis(pd.Index(index.map(html.escape), name=None))


def _check(
    frame: pd.DataFrame, name: str, parameters: Mapping[str, Any], split_by: str | None, folder: Path
) -> ValidationReport:
    path = find_suite(name)
    results = run_suite(path, frame, parameters, split_by, folder / "data_docs")
    failed = [_finding(result) for result in results if not result["success"]]
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


def _finding(result: Mapping[str, Any]) -> Finding:
    expectation, found = result["expectation_config"], result["result"]
    rows = found.get("unexpected_index_list") or []
    missing = found.get("partial_missing_list")
    observed = f"none of {', '.join(sorted(map(str, missing)))}" if missing else found.get("observed_value")
    return Finding(
        expectation=expectation["type"],
        column=expectation["kwargs"].get("column"),
        severity=expectation["severity"],
        meaning=expectation.get("description") or expectation["type"].replace("_", " "),
        observed="" if observed is None else str(observed),
        rows=found.get("unexpected_count", 0),
        examples=tuple(html.unescape(row) for row in rows[:5]),
    )
