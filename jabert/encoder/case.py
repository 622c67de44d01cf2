"""Whether an encoder wants lower-cased text, as its vocabulary tells: the texts at hand never decide it."""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

SPECIAL = re.compile(r"\[\S*\]|<\S*>")
_MARKS = re.compile("^(▁+|##)")  # of the beginning of a word, or of its continuation
_LATIN = re.compile("[A-Za-zÀ-ÖØ-öø-ɏ]{2,}")
_UPPER = frozenset("ABDGHIJKOPQRSUVWXYZ")  # without those of the symbols ℃, ℉, №, ℡ and ™
_LOWER = frozenset("abcdefghijklmnopqrstuvwxyz")
_SHARE = 0.01  # of all pieces of several letters; a text may have letters that only look like upper-case ones
_FEW = 50  # pieces of several letters, without which single letters decide
_SHARE_OF_LETTERS = 0.25  # at least, of the number of lower-case letters
# Letterlike symbols, enclosed letters, squared words and abbreviations: ℃, №, ™, ℡, ㎒, 🆗.
_SYMBOLS = ((0x2100, 0x2150), (0x3200, 0x3400), (0x1F100, 0x1F200))


@dataclass(frozen=True)
class Case:
    """What a vocabulary wants.

    Attributes:
        lower: whether texts are to be lower-cased.
        because: the reason.
    """

    lower: bool
    because: str


def case_of(pieces: Iterable[str]) -> Case:
    """Decide it from the pieces of a vocabulary that stand for text.

    Pieces of several Latin letters count. Special pieces (`[SEP]`) do not, nor what normalization makes of a
    symbol that has no lower case (℃ becomes °C, ℡ becomes TEL). Where hardly any piece has several letters,
    as in a vocabulary of characters, the letters decide.
    """
    ordinary = {_MARKS.sub("", piece) for piece in pieces if not SPECIAL.fullmatch(_MARKS.sub("", piece))}
    words = [piece for piece in ordinary if _LATIN.search(piece)]
    upper = [piece for piece in words if _has_upper(piece)]
    if len(words) >= _FEW or upper:
        share = f"{len(upper):,} of its {len(words):,}" if upper else f"none of its {len(words):,}"
        because = f"the vocabulary has an upper-case letter in {share} pieces of several Latin letters"
        return Case(len(upper) < _SHARE * len(words), because)
    uppers, lowers = len(_UPPER & ordinary), len(_LOWER & ordinary)
    because = (
        f"the vocabulary has {uppers} upper-case letters that no symbol makes, {lowers} lower-case ones, and "
    )
    few = f"only {len(words)} pieces" if words else "no piece"
    return Case(
        uppers == 0 or uppers < _SHARE_OF_LETTERS * lowers, f"{because}{few} of several Latin letters"
    )


def _has_upper(piece: str) -> bool:
    runs = [run for run in _LATIN.findall(piece) if run != run.lower()]
    return any(not any(run in made for made in _made_of_symbols()) for run in runs)


@cache
def _made_of_symbols() -> frozenset[str]:
    """What normalization (NFKC) makes of symbols without a lower case, where it has upper-case letters."""
    symbols = (chr(code) for first, last in _SYMBOLS for code in range(first, last))
    made = {unicodedata.normalize("NFKC", symbol) for symbol in symbols if symbol == symbol.lower()}
    return frozenset(text for text in made if text != text.lower())
