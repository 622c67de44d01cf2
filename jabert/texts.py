"""What a text must be to be classified: a string of Unicode characters, at least one of them visible.

And when two texts are the same to a reader, and so to jabert: `in_reading_form`.

`runtime/text_classifier.py` stands alone and holds the same rule; tests/code/test_texts.py compares the two.
"""

import math
import reprlib
import unicodedata
from typing import Any

_INVISIBLE_CATEGORIES = {"Cc", "Cf", "Zs", "Zl", "Zp"}  # control, format (zero-width …) and white space
_INVISIBLE_RANGES = (  # letters, marks, symbols and unassigned characters that have no glyph
    (0x034F, 0x034F),  # combining grapheme joiner
    (0x115F, 0x1160),  # Hangul fillers
    (0x17B4, 0x17B5),  # Khmer inherent vowels
    (0x180B, 0x180F),  # Mongolian variation selectors
    (0x2065, 0x2065),  # default-ignorable, though not assigned
    (0x2800, 0x2800),  # Braille blank
    (0x3164, 0x3164),  # Hangul filler
    (0xFE00, 0xFE0F),  # variation selectors
    (0xFFA0, 0xFFA0),  # half-width Hangul filler
    (0xFFF0, 0xFFF8),  # default-ignorable, though not assigned
    (0x16FE4, 0x16FE4),  # Khitan filler
    (0x1D159, 0x1D159),  # null notehead
    (0xE0000, 0xE0FFF),  # tags, variation selectors supplement, and what is kept for more of them
)
_INVISIBLE = frozenset(chr(code) for first, last in _INVISIBLE_RANGES for code in range(first, last + 1))


def fault_of(value: Any) -> str | None:
    """What is wrong with a value as a text, to be read after "text is".

    Returns:
        None if it can be classified; otherwise that it is null, not a string, blank (without a visible
        character) or not Unicode.
    """
    if not isinstance(value, str):
        is_null = value is None or (isinstance(value, float) and math.isnan(value))
        return "null" if is_null else f"{reprlib.repr(value)}, not a string"
    if not any(map(_is_visible, value)):
        return "blank"
    return None if is_unicode(value) else "not Unicode: it holds half of a surrogate pair"


def is_unicode(text: str) -> bool:
    """Whether `text` can be encoded in UTF-8: no half of a surrogate pair stands alone in it."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def in_reading_form(text: str) -> str:
    """What a reader sees of a text: texts with the same form are one text, wherever jabert looks for copies.

    NFKC, so that neither the width of letters nor their composition counts; without invisible characters; one
    space for white space in a row, and none at the ends. Case counts.

    Example:
        >>> in_reading_form("ｶﾞｯｺｳ\u200b へ") == in_reading_form("カ\u3099ッコウ　へ ")
        True
    """
    # What is left out may have kept a letter and its mark apart, and NFKC may make a space of a character.
    while text != (seen := _without_invisible(unicodedata.normalize("NFKC", text))):
        text = seen
    return text


class _Seen(dict[int, int | None]):
    """For `str.translate`: nothing for an invisible character but white space; filled as it is asked."""

    def __missing__(self, code: int) -> int | None:
        character = chr(code)
        return self.setdefault(code, code if character.isspace() or _is_visible(character) else None)


_SEEN = _Seen()


def _without_invisible(text: str) -> str:
    return " ".join(text.translate(_SEEN).split())


def visible_characters(text: str) -> int:
    """Number of characters other than white space, control characters and others without a glyph."""
    return sum(map(_is_visible, text))


def _is_visible(character: str) -> bool:
    return character not in _INVISIBLE and unicodedata.category(character) not in _INVISIBLE_CATEGORIES
