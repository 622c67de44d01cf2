"""How a command shows its result: JSON for programs, aligned text for people."""

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from jabert.safe import json_text, printable

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

    from jabert.doctor import Check
    from jabert.features.verification import Verified
    from jabert.registry.diff import Diff

_SHOWN_TEXTS = 20
_UNFOLDED = 1000  # columns; wide enough that lines in a file or pipe are not folded


def print_json(value: Any) -> None:
    """Print a JSON value; of its characters only those are escaped that a terminal would obey."""
    print(json_text(value))


def say(text: object, *, error: bool = False) -> None:
    """Print a text on stdout or stderr as a terminal may have it."""
    print(printable(str(text)), file=sys.stderr if error else sys.stdout)


def print_pairs(values: Mapping[str, Any]) -> None:
    """Print names and values, one pair on each line."""
    print_rich(grid((name, _readable(value)) for name, value in values.items()))


def print_listing(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], empty: str) -> None:
    """Print the named columns of rows as a table, or the sentence `empty` if there are no rows."""
    from rich import box
    from rich.table import Table

    if not rows:
        say(empty)
        return
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for column in columns:  # in a narrow terminal only the last column is folded
        table.add_column(printable(column), no_wrap=column != columns[-1], overflow="fold")
    for row in rows:
        table.add_row(*(printable(_readable(row[column])) for column in columns))
    print_rich(table)


def to_the_minute(rows: Iterable[Mapping[str, Any]], column: str) -> list[dict[str, Any]]:
    """Rows with the times of a column, in ISO 8601, as people read them."""
    return [{**row, column: row[column][:16]} for row in rows]


def print_checks(checks: Iterable["Check"]) -> None:
    """Print checks and their findings, and under each failed check its remedy."""
    rows = []
    for check in checks:
        mark = "–" if check.absent else "✓" if check.ok else "✗"
        rows.append((mark, check.what, check.found))
        if check.remedy:
            rows.append(("", "", f"→ {check.remedy}"))
    print_rich(grid(rows))


def print_diff(diff: "Diff") -> None:
    """Print two versions side by side, and the first texts that only one of them classifies correctly."""
    a, b = f"version {diff.a}", f"version {diff.b}"
    for name, pairs in (
        ("settings", diff.settings),
        ("data", diff.data),
        ("metrics, each on its own test rows", diff.metrics),
    ):
        lines = [(key, *map(_readable, pair)) for key, pair in pairs.items()] or [("no difference", "", "")]
        print_rich(grid([(name, a, b), *lines]), "")
    if diff.common is None:
        say(diff.unknown)
        return
    say(f"test rows in common: {diff.common.rows:,}")
    if diff.common.weighted_f1:
        f1_a, f1_b = diff.common.weighted_f1
        say(f"weighted F1 on them: {a} {f1_a:.4f}, {b} {f1_b:.4f}")
    for version, texts in ((a, diff.common.only_a_right), (b, diff.common.only_b_right)):
        first = f", the first {_SHOWN_TEXTS}" if len(texts) > _SHOWN_TEXTS else ""
        say(f"\nonly {version} is right: {len(texts):,}{first}")
        rows = [{"label": row.label, a: row.a, b: row.b, "text": row.text} for row in texts[:_SHOWN_TEXTS]]
        if rows:
            print_listing(rows, ("label", a, b, "text"), "")


def print_verified(verified: "Verified") -> None:
    """Print what a verification of the feature store found."""
    say(f"{verified.store}: {verified.rows} rows, {verified.checked} computed again")
    for sentence in (*verified.damaged, *verified.unread):
        say(sentence)
    print_listing(verified.to_dict()["differing"], ("cosine", "difference", "text"), "no row differs")


def grid(rows: Iterable[Sequence[str]]) -> "Table":
    """Rows as aligned columns without borders; long words are folded, not cut."""
    from rich.table import Table

    table = Table.grid(padding=(0, 2))
    for line in rows:
        table.add_row(*map(printable, line))
    for column in table.columns:
        column.overflow = "fold"
    return table


def print_rich(*parts: "RenderableType") -> None:
    """Print with rich: folded to the width of the terminal, unfolded in a file or pipe."""
    from rich.console import Console

    width = None if sys.stdout.isatty() else _UNFOLDED
    console = Console(width=width, markup=False, highlight=False, emoji=False)
    for part in parts:
        console.print(part)


def _readable(value: Any) -> str:
    """A value as people read it: None as nothing, floats with four decimals, lists and dicts bare."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4f}"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_readable(part)}" for name, part in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(_readable(part) for part in value)
    return str(value)
