"""How a command shows its result: JSON for programs, aligned text for people."""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

    from jabert.doctor import Check
    from jabert.registry.diff import Diff

__all__ = [
    "grid",
    "print_checks",
    "print_diff",
    "print_json",
    "print_listing",
    "print_pairs",
    "print_rich",
    "shown",
]

_PARTINGS = 20
_WIDE = 1000  # columns of a file or pipe, where folded lines would be in the way


def print_json(value: Any) -> None:
    """Print a JSON value, Japanese text as it is."""
    print(json.dumps(value, ensure_ascii=False, indent=2))


def print_pairs(values: Mapping[str, Any]) -> None:
    """Print names and values, one pair a line."""
    print_rich(grid((name, shown(value)) for name, value in values.items()))


def print_listing(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], empty: str) -> None:
    """Print the named columns of rows as a table, or the sentence `empty` if there are no rows."""
    from rich import box
    from rich.table import Table

    if not rows:
        print(empty)
        return
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for column in columns:  # where it is narrow, the last one gives way
        table.add_column(column, no_wrap=column != columns[-1], overflow="fold")
    for row in rows:
        table.add_row(*(shown(row[column]) for column in columns))
    print_rich(table)


def print_checks(checks: Iterable["Check"]) -> None:
    """Print what was looked at, with the remedy under what is not in order."""
    rows = []
    for check in checks:
        rows.append(("✓" if check.ok else "✗", check.what, check.found))
        if check.remedy:
            rows.append(("", "", f"→ {check.remedy}"))
    print_rich(grid(rows))


def print_diff(diff: "Diff") -> None:
    """Print two versions side by side, and the first texts that they part on."""
    a, b = f"version {diff.a}", f"version {diff.b}"
    for name, pairs in (
        ("settings", diff.settings),
        ("data", diff.data),
        ("metrics, each on its own test rows", diff.metrics),
    ):
        lines = [(what, *map(shown, pair)) for what, pair in pairs.items()] or [("none differs", "", "")]
        print_rich(grid([(name, a, b), *lines]), "")
    if diff.common is None:
        print(diff.unknown)
        return
    print(f"test rows in common: {diff.common.rows:,}")
    if diff.common.weighted_f1:
        of_a, of_b = diff.common.weighted_f1
        print(f"weighted F1 on them: {a} {of_a:.4f}, {b} {of_b:.4f}")
    for version, texts in ((a, diff.common.only_a_right), (b, diff.common.only_b_right)):
        first = f", the first {_PARTINGS}" if len(texts) > _PARTINGS else ""
        print(f"\nonly {version} is right: {len(texts):,}{first}")
        rows = [{"label": of.label, a: of.a, b: of.b, "text": of.text} for of in texts[:_PARTINGS]]
        if rows:
            print_listing(rows, ("label", a, b, "text"), "")


def grid(rows: Iterable[Sequence[str]]) -> "Table":
    """Rows in aligned columns without lines; long words are folded, never cut."""
    from rich.table import Table

    lines = list(rows)
    table = Table.grid(padding=(0, 2))
    for _ in lines[0]:
        table.add_column(overflow="fold")
    for line in lines:
        table.add_row(*line)
    return table


def print_rich(*parts: "RenderableType") -> None:
    """Print with rich: as wide as the terminal, and never folded into a file or pipe."""
    from rich.console import Console

    width = None if sys.stdout.isatty() else _WIDE
    console = Console(width=width, markup=False, highlight=False, emoji=False)
    for part in parts:
        console.print(part)


def shown(value: Any) -> str:
    """A value as people read it: nothing for None, four decimals, lists and dicts without brackets."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4f}"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {shown(part)}" for name, part in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(shown(part) for part in value)
    return str(value)
