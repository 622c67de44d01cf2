"""Markdown that no text can break: tables, running text, code."""

import re
from collections.abc import Iterable, Sequence
from typing import Any

__all__ = ["code", "escaped", "table"]

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_SIGNS = re.compile(r"[\\`*\[\]<>|~&$]|(?<![^\W_])_|_(?![^\W_])")  # an underscore within a word is plain


def table(headings: Sequence[str], rows: Iterable[Sequence[Any]], longest: int | None = 80) -> str:
    """A Markdown table, without a line end behind its last row.

    Args:
        headings: of the columns.
        rows: a value for each column: a float is shown with three digits, None as an empty cell, anything
            else as its text, on one line and with Markdown's own signs escaped.
        longest: texts of more characters are cut, with `…` at their end; None cuts none.
    """
    lines = [[_cell(value, longest) for value in line] for line in (headings, *rows)]
    lines.insert(1, ["---"] * len(headings))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def escaped(text: str) -> str:
    """A text on one line, Markdown's own signs escaped; it must not begin a line, where more are signs."""
    return _SIGNS.sub(r"\\\g<0>", _on_one_line(text))


def code(text: str, language: str = "") -> str:
    """Lines as they stand; the fence around them is longer than any in them."""
    fence = "`" * max([3, *(len(run) + 1 for run in re.findall("`+", text))])
    return f"{fence}{language}\n{text}\n{fence}"


def _cell(value: Any, longest: int | None) -> str:
    if isinstance(value, float):
        return f"{value:.3f}"
    text = "" if value is None else _on_one_line(str(value))
    if longest is not None and len(text) > longest:
        text = text[: longest - 1] + "…"
    return escaped(text)


def _on_one_line(text: str) -> str:
    return " ".join(_CONTROL.sub(" ", text).split())
