"""Which encoding a file of text has: what its bytes say, if no setting does.

A byte order mark decides. Otherwise a file that is UTF-8 throughout is UTF-8, unless another encoding fits as
well and reads as Japanese where UTF-8 does not: a few characters of EUC-JP can be UTF-8 by chance. Libraries
that guess from frequencies (charset-normalizer, chardet) err on tables of a few rows, and don't say so.
"""

import codecs
import functools
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Self

from jabert.errors import JabertError

Blocks = Callable[[], Iterable[bytes]]
"""Reads the bytes of a file from its start, a block at a time."""

_MARKS = (  # that of UTF-32 begins with that of UTF-16
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_NAMES = {"cp932": "CP932 (Shift_JIS)", "euc_jp": "EUC-JP"}
_STATEFUL = ("iso2022_jp", "iso2022_jp_ext")  # the second has half-width katakana, too
_ESCAPES = re.compile(rb"\x1b(?:\$[@B]|\(I)")
_KANA = re.compile("[\u3041-\u30ff]")
_HALF_WIDTH = re.compile("[\uff61-\uff9f]")
_BEYOND_ASCII = re.compile("[^\0-\x7f]")
_UNASSIGNED = re.compile("[\x80\xa0\uf8f0-\uf8f3]")  # bytes to which CP932 gives no character
_SAMPLE = 100_000  # characters beyond ASCII that are looked at
_JAPANESE = 0.8  # share of usual characters in a file that reads as Japanese
_SOME = 0.2  # share below which a file is no Japanese text
_ENOUGH = 20  # characters beyond ASCII, of which some are kana
_CLEAR = 0.5  # difference between two shares of usual characters that decides


def name_of(encoding: str) -> str:
    """An encoding as people call it."""
    return _NAMES.get(encoding, encoding.upper().replace("_", "-"))


def find_encoding(blocks: Blocks, file: str) -> str:
    """The codec of a file.

    Args:
        blocks: of the file.
        file: named in errors.

    Raises:
        JabertError: none fits, or what two of them read does not tell which is meant; names the file, the
            candidates and the setting, and the line up to which none fits.
    """
    start = next(iter(blocks()), b"")
    for mark, encoding in _MARKS:
        if start.startswith(mark):
            require_encoding(encoding, blocks, file)
            return encoding
    if re.match(rb"(?s)[^\0]\0|\0[^\0]", start):
        raise JabertError(
            f"{file}, line 1: there is a NUL byte in the text; UTF-16 without a byte order mark is read with "
            "data.encoding = 'utf-16-le' or 'utf-16-be'"
        )
    if all(block.isascii() for block in blocks()):
        escaped = any(_ESCAPES.search(block) for block in blocks())
        fitting = (encoding for encoding in _STATEFUL if escaped and _Trial(encoding).run(blocks()).fits)
        return next(fitting, "utf-8")
    utf_8 = _Trial("utf-8").run(blocks())
    if utf_8.fits and utf_8.kana:
        return "utf-8"
    return _chosen([utf_8, *(_Trial(encoding).run(blocks()) for encoding in ("cp932", "euc_jp"))], file)


def require_encoding(encoding: str, blocks: Blocks, file: str) -> None:
    """Do nothing if a file is in this encoding throughout.

    Raises:
        JabertError: it is not; names the line.
    """
    trial = _Trial(encoding).run(blocks())
    if not trial.fits:
        raise JabertError(
            f"{file}, line {trial.line}: the file is not {name_of(encoding)} text throughout; data.encoding "
            "can name another encoding"
        )


@dataclass
class _Trial:
    """A file decoded in one encoding.

    Attributes:
        encoding: name of the codec.
        fits: whether all of the file can be decoded.
        line: on which decoding stopped, from 1.
        beyond: characters beyond ASCII.
        usual: those that are usual in Japanese text, and those of Latin-1.
        kana: hiragana and full-width katakana.
        half_width: katakana and punctuation.
    """

    encoding: str
    fits: bool = True
    line: int = 1
    beyond: int = 0
    usual: int = 0
    kana: int = 0
    half_width: int = 0
    _decoder: codecs.IncrementalDecoder = field(init=False)

    def run(self, blocks: Iterable[bytes]) -> Self:
        """Decode all blocks, or those up to the first that does not fit."""
        self._decoder = codecs.getincrementaldecoder(self.encoding)()
        for block in blocks:
            self._decode(block)
            if not self.fits:
                return self
        self._decode(b"", final=True)
        return self

    def _decode(self, block: bytes, *, final: bool = False) -> None:
        try:
            text = self._decoder.decode(block, final)
        except UnicodeDecodeError as error:
            self.fits = False
            self.line += error.object.count(b"\n", 0, error.start)
            return
        if self.encoding == "cp932" and (unassigned := _UNASSIGNED.search(text)):
            self.fits = False
            text = text[: unassigned.start()]
        self.line += text.count("\n")
        if self.beyond >= _SAMPLE or text.isascii():
            return
        self.beyond += len(_BEYOND_ASCII.findall(text))
        self.usual += len(_usual().findall(text))
        self.kana += len(_KANA.findall(text))
        self.half_width += len(_HALF_WIDTH.findall(text))

    @property
    def share(self) -> float:
        """Of usual characters among those beyond ASCII."""
        return self.usual / max(1, self.beyond)

    @property
    def possible(self) -> float:
        """The same with half-width katakana, which are seldom alone."""
        return (self.usual + self.half_width) / max(1, self.beyond)

    @property
    def is_japanese(self) -> bool:
        """Whether it reads as Japanese, and not as another language in an encoding of the same bytes."""
        if self.half_width > self.beyond / 2:
            return self.possible == 1
        return self.share >= _SOME and (self.kana > 0 or self.beyond < _ENOUGH)


def _chosen(trials: list[_Trial], file: str) -> str:
    """The encoding of the trial that reads the file as its writer meant it, see `find_encoding`."""
    fitting = sorted((trial for trial in trials if trial.fits), key=lambda trial: -trial.share)
    if not fitting:
        line = max(trial.line for trial in trials)
        raise JabertError(
            f"{file}, line {line}: the file is not UTF-8, CP932 or EUC-JP text throughout; data.encoding can "
            "name another encoding"
        )
    best, others = fitting[0], fitting[1:]
    if trials[0].fits:
        # UTF-8 by chance is rare; so is a file of UTF-8 that is good Japanese in another encoding.
        likely = max(_JAPANESE, trials[0].share + _CLEAR)
        others = [trial for trial in fitting if trial.usual and trial.possible >= likely]
        if not others:
            return "utf-8"
        fitting = [trials[0], *others]
    else:
        is_clear = not others or (best.share >= _JAPANESE and best.share >= others[0].share + _CLEAR)
        # Kanji of EUC-JP can be half-width katakana of CP932, and the other way round, but not kana.
        if is_clear and others:
            is_clear = best.kana > 0 or others[0].possible < _CLEAR
        if is_clear and best.is_japanese:
            return best.encoding
    names = " or ".join(name_of(trial.encoding) for trial in fitting)
    raise JabertError(
        f"{file}: what the file says does not tell whether it is {names} text or something else; say it: "
        f"data.encoding = {' or '.join(repr(trial.encoding) for trial in fitting)}"
    )


@functools.cache
def _usual() -> re.Pattern[str]:
    """Characters that are usual in Japanese text: kana, the kanji of level 1, punctuation, symbols, emoji."""
    rows = (bytes((row, cell)) for row in range(0xB0, 0xD0) for cell in range(0xA1, 0xFF))
    kanji = "".join(each.decode("euc_jp", "ignore") for each in rows)
    latin = "\x80-\xff"
    return re.compile(f"[{latin}\u2010-\u2bff\u3000-\u30ff\uff01-\uff5e\U0001f000-\U0001faff{kanji}]")
