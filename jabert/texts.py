"""What a text must be to be classified: a string of Unicode characters, at least one of them visible.

`runtime/text_classifier.py` stands alone and holds the same rule; tests/code/test_texts.py compares the two.
"""

import math
import reprlib
import unicodedata
from typing import Any

_INVISIBLE_CATEGORIES = {"Cc", "Cf", "Zs", "Zl", "Zp"}  # control, format (zero-width …) and white space
_INVISIBLE_RANGES = (  # letters, marks and symbols that have no glyph
    (0x034F, 0x034F),  # combining grapheme joiner
    (0x115F, 0x1160),  # Hangul fillers
    (0x17B4, 0x17B5),  # Khmer inherent vowels
    (0x180B, 0x180F),  # Mongolian variation selectors
    (0x2800, 0x2800),  # Braille blank
    (0x3164, 0x3164),  # Hangul filler
    (0xFE00, 0xFE0F),  # variation selectors
    (0xFFA0, 0xFFA0),  # half-width Hangul filler
    (0xE0100, 0xE01EF),  # variation selectors supplement
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


def visible_characters(text: str) -> int:
    """Number of characters other than white space, control characters and others without a glyph."""
    return sum(map(_is_visible, text))


def _is_visible(character: str) -> bool:
    return character not in _INVISIBLE and unicodedata.category(character) not in _INVISIBLE_CATEGORIES
