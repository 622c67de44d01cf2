"""Writes Markdown that no text in it can break: tables, inline text, code."""

import re
from collections.abc import Iterable, Sequence
from typing import Any

from jabert.safe import printable

_BREAK = re.compile(r"[\t-\r\x85\u2028\u2029]")
_SPECIAL = re.compile(r"[\\`*\[\]<>|~&$]|(?<![^\W_])_|_(?![^\W_])")  # an underscore within a word is plain


def table(headings: Sequence[str], rows: Iterable[Sequence[Any]], longest: int | None = 80) -> str:
    """A Markdown table, without a line feed after its last row.

    Args:
        headings: of the columns.
        rows: a value for each column: a float is shown with three decimals, None as an empty cell, anything
            else as its text, on one line and with the special characters of Markdown escaped.
        longest: characters of a cell; longer ones are truncated and end with `…`. None truncates none.
    """
    lines = [[_cell(value, longest) for value in line] for line in (headings, *rows)]
    lines.insert(1, ["---"] * len(headings))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def escaped(text: str) -> str:
    """A text on one line, controls as escapes, with the special characters of Markdown escaped.

    It must not be put at the beginning of a line, where more characters are special.
    """
    return _SPECIAL.sub(r"\\\g<0>", _on_one_line(text))


def as_sentence(words: str) -> str:
    """Words as a sentence: `the gain is small` as `The gain is small.`."""
    return f"{words[0].upper()}{words[1:]}."


def code(text: str, language: str = "") -> str:
    """A code block of lines, with a fence that is longer than any in them."""
    fence = "`" * max([3, *(len(run) + 1 for run in re.findall("`+", text))])
    return f"{fence}{language}\n{printable(text)}\n{fence}"


def _cell(value: Any, longest: int | None) -> str:
    if isinstance(value, float):
        return f"{value:.3f}"
    text = "" if value is None else _on_one_line(str(value))
    if longest is not None and len(text) > longest:
        text = text[: longest - 1] + "…"
    return escaped(text)


def _on_one_line(text: str) -> str:
    return " ".join(printable(_BREAK.sub(" ", text)).split())
