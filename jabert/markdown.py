"""Tables in Markdown that no text can break."""

import re
from collections.abc import Iterable, Sequence
from typing import Any

__all__ = ["table"]

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


def _cell(value: Any, longest: int | None) -> str:
    if isinstance(value, float):
        return f"{value:.3f}"
    text = "" if value is None else " ".join(_CONTROL.sub(" ", str(value)).split())
    if longest is not None and len(text) > longest:
        text = text[: longest - 1] + "…"
    return _SIGNS.sub(r"\\\g<0>", text)
