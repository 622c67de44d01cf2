"""Records out of the bytes of a table: lines of a file of text, and what starts on each; rows of a sheet."""

import base64
import csv
import gzip
import io
import json
import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, NamedTuple

from jabert.dataset.dialects import LONGEST_RECORD, Dialect, has_width
from jabert.dataset.encodings import find_encoding, name_of, require_encoding
from jabert.dataset.sources import BLOCK, Held, opened, path_part
from jabert.errors import JabertError
from jabert.texts import is_unicode

_DEEPEST = 100  # levels of a JSON value
_SPACE = re.compile(r"[ \t\r\n]*")
_DECODER = json.JSONDecoder()


class Record(NamedTuple):
    """A row as it is read: the line on which it starts, its cells or JSON value, and its characters."""

    line: int
    content: Any
    characters: int


class TextFile:
    """A file of text that can be read from its start again and again; `.gz` is unpacked.

    Args:
        file: open, readable at any position.
        location: its path or URL.
        size: in bytes, if that is known.
        encoding: the name of a codec, or `auto`.
        held: notes how large the text is, if all of it is held in memory.

    Attributes:
        location: its path or URL.
        encoding: the codec.

    Raises:
        JabertError: the file is not in that encoding, or it cannot be told in which it is, or it is too large
            to be held.
    """

    def __init__(
        self, file: BinaryIO, location: str, size: int | None, encoding: str, held: Held | None = None
    ) -> None:
        self.location = location
        self._file = file
        self._size = size
        if held and (size is None or is_packed(location)):
            held.count(location, self._blocks())
        if encoding == "auto":
            self.encoding = find_encoding(self._blocks, location)
        else:
            self.encoding = encoding
            require_encoding(encoding, self._blocks, location)

    @property
    def share(self) -> float | None:
        """How much of the file has been read, from 0 to 1; None while its size is not known."""
        return self._file.tell() / self._size if self._size else None

    def lines(self, newline: str = "\n") -> Iterator[str]:
        """Each line with its end, without a byte order mark; from the start.

        Args:
            newline: what ends a line; with "" a line feed, a carriage return, or both.

        Raises:
            JabertError: the file cannot be read or unpacked, a line holds a NUL, or is so long that nobody
                wrote it; names file and line.
        """
        stream, number = self._decoded(newline, ends=newline.encode() or b"\r\n"), 0
        try:
            for number, line in enumerate(stream, 1):
                if "\0" in line:
                    raise JabertError(
                        f"{self.location}, line {number}: there is a NUL byte in the text; take it out"
                    )
                yield line.removeprefix("\ufeff") if number == 1 else line
        except UnicodeDecodeError:  # it was not so when the encoding was looked at
            where, expected = f"{self.location}, line {number + 1}", name_of(self.encoding)
            raise JabertError(
                f"{where}: the file is not {expected} text throughout; data.encoding can name another"
            ) from None
        except _TooLongError as error:
            raise JabertError(f"{self.location}, line {number + 1}: {error}") from None

    def pieces(self) -> Iterator[str]:
        """The text in pieces of up to a million characters, without a byte order mark; from the start.

        Raises:
            JabertError: as `lines`, but lines may have any length.
        """
        stream, line, mark = self._decoded("", ends=b""), 1, "\ufeff"
        try:
            while piece := stream.read(BLOCK):
                before, nul, _ = piece.partition("\0")
                line += before.count("\n")
                if nul:
                    raise JabertError(
                        f"{self.location}, line {line}: there is a NUL byte in the text; take it out"
                    )
                yield piece.removeprefix(mark)
                mark = ""
        except UnicodeDecodeError:
            where, expected = f"{self.location}, line {line} or later", name_of(self.encoding)
            raise JabertError(
                f"{where}: the file is not {expected} text throughout; data.encoding can name another"
            ) from None
        except _TooLongError as error:
            raise JabertError(f"{self.location}, line {line}: {error}") from None

    def _decoded(self, newline: str, ends: bytes) -> io.TextIOWrapper:
        raw = io.BufferedReader(_Raw(self._start(), ends), BLOCK)
        return io.TextIOWrapper(raw, self.encoding, newline=newline)

    def _start(self) -> Any:
        self._file.seek(0)
        return gzip.GzipFile(fileobj=self._file) if is_packed(self.location) else self._file

    def _blocks(self) -> Iterator[bytes]:
        stream = self._start()
        while block := stream.read(BLOCK):
            yield block


class _TooLongError(Exception):
    """A line is longer than any that is read."""


class _Raw(io.RawIOBase):
    """A stream that does not close the file that it reads, and ends in an error where no line does.

    Args:
        file: to read.
        ends: the bytes that each end a line; none if lines may have any length.
    """

    def __init__(self, file: Any, ends: bytes) -> None:
        self._file, self._ends = file, ends
        self._unfinished = self._blank = 0  # bytes since the last end of a line, and since anything was said

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self._ends and self._unfinished > LONGEST_RECORD:
            raise _TooLongError(f"longer than {LONGEST_RECORD:,} bytes, which no row of a table is")
        if self._blank > LONGEST_RECORD:
            raise _TooLongError(f"before it are {LONGEST_RECORD:,} bytes of white space and nothing else")
        data = self._file.read(len(buffer))
        buffer[: len(data)] = data
        self._blank = 0 if data.strip() else self._blank + len(data)
        last = max((data.rfind(bytes([end])) for end in self._ends), default=-1)
        self._unfinished = len(data) - last - 1 if last >= 0 else self._unfinished + len(data)
        return len(data)


@contextmanager
def open_text(
    location: str, encoding: str, sha256: str | None = None, held: Held | None = None
) -> Iterator[TextFile]:
    """Open a file of text; arguments and errors are those of `TextFile` and `opened`."""
    with opened(location, sha256, seekable=True, held=held) as (file, size):
        yield TextFile(file, location, size, encoding, held)


def is_packed(location: str) -> bool:
    """Whether a location has the ending of gzip."""
    return path_part(location).endswith(".gz")


def csv_records(text: TextFile, dialect: Dialect) -> Iterator[Record]:
    """Each record of a file with its cells, the first record, maybe a header, included.

    Empty lines are skipped. In a file of one column an empty line is an empty cell, except at the end of the
    file: otherwise the rows of the article's two files would no longer match. Empty cells beyond the width of
    the first record are left out.

    Raises:
        JabertError: there is no record, one has more or fewer cells than the first or is too long, or a quote
            is not closed.
    """
    csv.field_size_limit(LONGEST_RECORD)  # the limit holds for the whole process, and is 131,072 by default
    lines = _Lines(text, dialect.newline)
    reader = csv.reader(
        iter(lines),
        delimiter=dialect.delimiter,
        quoting=csv.QUOTE_NONE if dialect.quoting == "none" else csv.QUOTE_MINIMAL,
        strict=True,
    )
    file, line, width, empty = text.location, 1, 0, 0
    try:
        for record in reader:
            if not record:
                empty += 1
            elif width and not has_width(record, width):
                raise JabertError(
                    f"{file}, line {line}: {len(record)} cells under a header of {width}; if it is right, "
                    "data.delimiter and data.quoting say how cells are divided"
                )
            else:
                if width == 1:
                    yield from (Record(number, [""], 1) for number in range(line - empty, line))
                empty, width = 0, width or len(record)
                cells = record[:width]
                if lines.guarded:
                    cells = [cell.replace(_GUARD, _OTHER[dialect.newline]) for cell in cells]
                yield Record(line, cells, lines.characters)
            line, lines.characters, lines.guarded = reader.line_num + 1, 0, False
    except csv.Error as error:
        raise JabertError(
            f"{file}, line {line}: the quotes of a cell do not match ({error}); data.quoting = 'none' reads "
            "quotes as part of the texts"
        ) from None
    if not width:
        raise JabertError(f"{file} is empty")


_GUARD = "\0"  # which no line holds
_OTHER = {"\n": "\r", "\r": "\n"}


class _Lines:
    """The lines without the other sign that ends lines, which `csv` would heed, unless at their end.

    Attributes:
        characters: of the lines since it was set to 0, which is done after each record.
        guarded: whether a sign was replaced since then.
    """

    def __init__(self, text: TextFile, newline: str) -> None:
        self._text, self._newline = text, newline
        self.characters, self.guarded = 0, False

    def __iter__(self) -> Iterator[str]:
        other = _OTHER[self._newline]
        for line in self._text.lines(self._newline):
            self.characters += len(line)
            if self.characters > LONGEST_RECORD:
                raise csv.Error(f"a row has more than {LONGEST_RECORD:,} characters")
            if other not in line:
                yield line
                continue
            self.guarded = True
            end = next(end for end in ("\r\n", self._newline, "\r", "") if line.endswith(end))
            yield line.removesuffix(end).replace(other, _GUARD) + end


def json_records(text: TextFile) -> Iterator[Record]:
    """Each record with its object: a line, or an element of the one array; blank lines are none.

    Raises:
        JabertError: a line or element is not a JSON object, or is nested too deep; names file and line.
    """
    starts = (piece.lstrip()[:1] for piece in text.pieces())
    is_array = next(filter(None, starts), "") == "["
    for record in _elements(text) if is_array else _json_lines(text):
        where = f"{text.location}, line {record.line}"
        if _is_deep(record.content):
            raise JabertError(f"{where}: the JSON value is nested more than {_DEEPEST} levels deep")
        if not isinstance(record.content, dict):
            found = json_text(record.content)[:40]
            raise JabertError(f"{where}: a JSON object is expected, not {found}")
        yield record


def _json_lines(text: TextFile) -> Iterator[Record]:
    for number, line in enumerate(text.lines(), 1):
        if line.strip():
            try:
                yield Record(number, json.loads(line), len(line))
            except (ValueError, RecursionError) as error:
                raise JabertError(
                    f"{text.location}, line {number}: not JSON ({error}); an object on each line, or one "
                    "array of objects, is expected"
                ) from None


def _elements(text: TextFile) -> Iterator[Record]:
    """The elements of the array that the file is, of which a few are held in memory."""
    window = _Window(text.pieces())
    try:
        window.take("[")
        while window.next_sign() != "]":
            yield window.value()
            if window.next_sign() != "]":
                window.take(",")
        window.take("]")
        if window.next_sign():
            raise ValueError("there is more behind the array")
    except (ValueError, RecursionError) as error:
        raise JabertError(f"{text.location}, line {window.line}: not JSON ({error})") from None


class _Window:
    """A piece of JSON text, from the place where it is read.

    Attributes:
        line: of that place, from 1.
    """

    def __init__(self, pieces: Iterator[str]) -> None:
        self._pieces, self._text, self._place, self.line = pieces, "", 0, 1

    def next_sign(self) -> str:
        """The next character that is not white space, "" at the end."""
        while True:
            found = _SPACE.match(self._text, self._place)
            self._go_to(found.end() if found else self._place)
            if self._place < len(self._text) or not self._grow():
                return self._text[self._place : self._place + 1]

    def take(self, sign: str) -> None:
        """Go behind the sign.

        Raises:
            ValueError: another one is next.
        """
        if self.next_sign() != sign:
            raise ValueError(f"{sign!r} is expected, not {self.next_sign()!r}")
        self._place += 1

    def value(self) -> Record:
        """The next value.

        Raises:
            ValueError, RecursionError: it is not JSON, or too long.
        """
        while True:
            try:
                value, end = _DECODER.raw_decode(self._text, self._place)
                if end < len(self._text) or not self._grow():  # a number may go on
                    record = Record(self.line, value, end - self._place)
                    self._go_to(end)
                    return record
            except ValueError:  # it may go on
                if len(self._text) - self._place > LONGEST_RECORD or not self._grow():
                    raise

    def _go_to(self, place: int) -> None:
        self.line += self._text.count("\n", self._place, place)
        self._place = place

    def _grow(self) -> bool:
        """Whether there was more text."""
        more = next(self._pieces, "")
        self._text, self._place = self._text[self._place :] + more, 0
        return bool(more)


def _is_deep(value: Any) -> bool:
    """Whether a JSON value is nested deeper than Python's own functions can follow everywhere."""
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(_DEEPEST):
        inner = (each.values() if isinstance(each, dict) else each for each in level)
        level = [each for of in inner for each in of if isinstance(each, dict | list)]
        if not level:
            return False
    return True


def json_text(value: Any) -> str:
    """A value as JSON: what JSON lacks as a string, half of a surrogate pair as an escape sequence."""
    value = _with_finite_numbers(value)
    text = json.dumps(value, ensure_ascii=False, default=plain_text)
    return text if is_unicode(text) else json.dumps(value, default=plain_text)


def plain_text(value: Any) -> str:
    """A value that is not a string as one; bytes in Base64."""
    return base64.b64encode(value).decode() if isinstance(value, bytes) else str(value)


def _with_finite_numbers(value: Any) -> Any:
    """The same value with strings for infinity and NaN, which JSON lacks."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, list):
        return [_with_finite_numbers(each) for each in value]
    if isinstance(value, dict):
        return {key: _with_finite_numbers(each) for key, each in value.items()}
    return value
