"""The outcome of a suite: its findings, in plain sentences."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from jabert.errors import JabertError
from jabert.markdown import table as markdown_table


@dataclass(frozen=True)
class Finding:
    """An expectation that the data does not meet.

    Attributes:
        expectation: its type, e.g. `expect_column_values_to_not_be_null`.
        column: the column that it checks; None if it checks the table.
        severity: critical, warning or info.
        meaning: its description in the suite, a plain sentence.
        observed: the value found, if it checks a column as a whole; otherwise empty.
        rows: number of offending rows; 0 if it checks a column as a whole.
        examples: the first offending rows, e.g. `data.csv line 12: 'text…' (label)`.
        remedy: what to do about it, where jabert knows more than the meaning says; else empty.
    """

    expectation: str
    column: str | None
    severity: str
    meaning: str
    observed: str
    rows: int
    examples: tuple[str, ...]
    remedy: str = ""

    def __str__(self) -> str:
        about = f" on {self.column}" if self.column else ""
        found = f", found {self.observed}" if self.observed else ""
        noun = "row" if self.rows == 1 else "rows"
        rows = f", {self.rows} {noun}: {', '.join(self.examples)}" if self.rows else ""
        return f"{self.expectation}{about} ({self.meaning.rstrip('.')}){found}{rows}"

    def short(self) -> str:
        """What is not met, and the first row, without the name of the expectation."""
        found = f", found {self.observed}" if self.observed else ""
        noun = "row" if self.rows == 1 else "rows"
        rows = f": {self.rows:,} {noun}, the first {', '.join(self.examples[:1])}" if self.rows else ""
        return f"not met: {self.meaning.rstrip('.')}{found}{rows}"


@dataclass(frozen=True)
class ValidationReport:
    """The outcome of a suite.

    Attributes:
        suite_file: the JSON file.
        success: whether no finding is critical.
        evaluated: number of expectations that were evaluated.
        findings: the expectations that are not met, the critical ones first, otherwise in the suite's order.
        folder: holds `data_docs/index.html` and `result.json`.
    """

    suite_file: Path
    success: bool
    evaluated: int
    findings: tuple[Finding, ...]
    folder: Path

    @property
    def suite(self) -> str:
        """Name of the suite."""
        return self.suite_file.stem

    @property
    def outcome(self) -> str:
        """Whether the data may be used, in one sentence. Great Expectations fails a suite for any finding."""
        if not self.findings:
            return f"Suite {self.suite} passed: all {self.evaluated} expectations are met."
        not_met = f"{len(self.findings)} of {self.evaluated} expectations not met"
        if self.success:
            return (
                f"Suite {self.suite} passed: {not_met}, none of them critical (its page says Failed for any)."
            )
        critical = sum(finding.severity == "critical" for finding in self.findings)
        return f"Suite {self.suite} failed: {not_met}, {critical} critical."

    @property
    def page(self) -> Path:
        """The page of the results, which `index.html` lists."""
        pages = (self.folder / "data_docs").glob("validations/**/*.html")
        return next(pages, self.folder / "data_docs" / "index.html")

    def raise_if_critical(self) -> None:
        """Raise if the data must not be used.

        Raises:
            JabertError: a finding is critical; names the first of these, with the file and line of its
                first offending rows, and the remedy.
        """
        critical = [finding for finding in self.findings if finding.severity == "critical"]
        if critical:
            more = f"; {len(critical) - 1} more critical" if critical[1:] else ""
            remedy = f"; {critical[0].remedy}" if critical[0].remedy else ""
            raise JabertError(
                f"the data does not meet suite {self.suite}: {critical[0]}{more}{remedy}; see {self.page}"
            )

    def warnings(self) -> list[str]:
        """The findings of severity warning, a short sentence each."""
        return [finding.short() for finding in self.findings if finding.severity == "warning"]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        facts = {**asdict(self), "suite_file": str(self.suite_file), "folder": str(self.folder)}
        return {"suite": self.suite, **facts}

    def to_markdown(self) -> str:
        """One line with the outcome, and a table of the findings."""
        if not self.findings:
            return f"{self.outcome}\n"
        headings = ["severity", "meaning", "expectation", "column", "found", "rows", "first"]
        rows = [
            [f.severity, f.meaning, f.expectation, f.column, f.observed, f.rows or "", (*f.examples, "")[0]]
            for f in self.findings
        ]
        return f"{self.outcome}\n\n{markdown_table(headings, rows, longest=None)}\n"
