"""Makes text of strangers safe for what shows it: terminals, text files, spreadsheets.

A terminal obeys control characters, e.g. `ESC ] 52` writes the reader's clipboard, and bidirectional ones let
a text read other than it is. For Markdown see `jabert.markdown`, which uses this; HTML is made of that.
"""

import json
import re
from typing import Any

# Categories Cc but for tab and line feed, what turns the direction of text, separators of lines and halves of
# surrogate pairs.
_OBEYED = re.compile(
    "[\\x00-\\x08\\x0b-\\x1f\\x7f-\\x9f\\u061c\\u200e\\u200f\\u2028-\\u202e\\u2066-\\u2069\\ud800-\\udfff]"
)
_FORMULA = re.compile(r"\s*[=+\-@＝＋－＠]|[\t\r\n]")
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")


def printable(text: str) -> str:
    r"""A text with escapes for control and bidirectional characters; tabs and line feeds stay.

    Example:
        >>> print(printable("a\x1b]52;c;\x07\u202eb"))
        a\x1b]52;c;\x07\u202eb
    """
    return _OBEYED.sub(_escape, text)


def has_controls(text: str) -> bool:
    """Whether `printable` changes a text."""
    return _OBEYED.search(text) is not None


def json_text(value: Any, indent: int | None = 2) -> str:
    """A value as JSON for people and programs, the very same data: Japanese as it is, controls as escapes."""
    written = json.dumps(value, ensure_ascii=False, indent=indent)
    return _OBEYED.sub(lambda found: f"\\u{ord(found[0]):04x}", written)


def safe_cell(text: str) -> str:
    """A cell that no spreadsheet takes for a formula: with an apostrophe before it, where one might.

    Example:
        >>> safe_cell("=1+1"), safe_cell("-1.5"), safe_cell("京都")
        ("'=1+1", '-1.5', '京都')
    """
    return f"'{text}" if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else text


def _escape(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 0x80 else f"\\u{code:04x}"
