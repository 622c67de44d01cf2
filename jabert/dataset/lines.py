"""Text out of the bytes of a file: its lines one after another, or all of it at once."""

import gzip
import io
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from jabert.dataset.sources import opened, path_part
from jabert.errors import JabertError

_BLOCK_BYTES = 1 << 16
_BLOCK_LINES = 64


class Lines:
    """The lines of a UTF-8 file, read as they are asked for; `.gz` is unpacked.

    Args:
        location: path or URL.
        sha256: the digest that the file must have, in hexadecimal.

    Attributes:
        share: how much of the file has been read, from 0 to 1; None while its size is not known.
    """

    def __init__(self, location: str, sha256: str | None = None) -> None:
        self._location = location
        self._sha256 = sha256
        self.share: float | None = None

    def __iter__(self) -> Iterator[str]:
        """Each line with its line feed, without a byte order mark.

        Raises:
            JabertError: the file cannot be read or unpacked, or a line is not UTF-8 or holds a NUL byte;
                names file and line.
        """
        for number, line in enumerate(self._bytes(), start=1):
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError:
                raise _unfit(self._location, number) from None
            if "\0" in text:
                raise _with_nul(self._location, number)
            yield text

    def _bytes(self) -> Iterator[bytes]:
        with opened(self._location, self._sha256) as (file, size):
            raw: Any = gzip.GzipFile(fileobj=file) if is_packed(self._location) else file
            stream = io.BufferedReader(raw, _BLOCK_BYTES)
            while lines := list(islice(stream, _BLOCK_LINES)):
                self.share = file.tell() / size if size else None
                yield from lines


def is_packed(location: str) -> bool:
    """Whether a location has the ending of gzip."""
    return path_part(location).endswith(".gz")


def decode(data: bytes, file: str, encodings: Sequence[str]) -> str:
    """Text of `data` in the first of the encodings that fits all of it.

    Raises:
        JabertError: no encoding fits, or the text holds a NUL byte; names `file` and the line.
    """
    unfit = 0  # the line up to which no single encoding fits: also where a file changes its encoding
    for encoding in encodings:
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError as error:
            unfit = max(unfit, error.object.count(b"\n", 0, error.start) + 1)
            continue
        if (position := text.find("\0")) >= 0:
            raise _with_nul(file, text.count("\n", 0, position) + 1)
        return text
    expected = " or ".join(encoding.removesuffix("-sig").upper().replace("_", "-") for encoding in encodings)
    raise _unfit(file, unfit, expected)


def _unfit(file: str, line: int, expected: str = "UTF-8") -> JabertError:
    return JabertError(f"{file}, line {line}: the file is not {expected} text throughout")


def _with_nul(file: str, line: int) -> JabertError:
    return JabertError(f"{file}, line {line}: there is a NUL byte in the text")
