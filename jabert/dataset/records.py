"""Records out of the bytes of a table: lines of a file of text, and what starts on each; rows of a sheet."""

import base64
import csv
import gzip
import io
import json
import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

from jabert.dataset.dialects import Dialect, has_width
from jabert.dataset.encodings import find_encoding, name_of, require_encoding
from jabert.dataset.sources import opened, path_part
from jabert.errors import JabertError
from jabert.texts import is_unicode

_BLOCK = 1 << 20  # bytes


class TextFile:
    """A file of text that can be read from its start again and again; `.gz` is unpacked.

    Args:
        file: open, readable at any position.
        location: its path or URL.
        size: in bytes, if that is known.
        encoding: the name of a codec, or `auto`.

    Attributes:
        location: its path or URL.
        encoding: the codec.

    Raises:
        JabertError: the file is not in that encoding, or it cannot be told in which it is.
    """

    def __init__(self, file: BinaryIO, location: str, size: int | None, encoding: str) -> None:
        self.location = location
        self._file = file
        self._size = size
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
            newline: what ends a line.

        Raises:
            JabertError: the file cannot be read or unpacked, or a line holds a NUL; names file and line.
        """
        stream = io.TextIOWrapper(
            io.BufferedReader(_Raw(self._start()), _BLOCK), self.encoding, newline=newline
        )
        number = 0
        try:
            for number, line in enumerate(stream, 1):
                if "\0" in line:
                    raise JabertError(f"{self.location}, line {number}: there is a NUL byte in the text")
                yield line.removeprefix("\ufeff") if number == 1 else line
        except UnicodeDecodeError:  # it was not so when the encoding was looked at
            where, expected = f"{self.location}, line {number + 1}", name_of(self.encoding)
            raise JabertError(f"{where}: the file is not {expected} text throughout") from None

    def text(self) -> str:
        """All of the file."""
        return "".join(self.lines())

    def _start(self) -> Any:
        self._file.seek(0)
        return gzip.GzipFile(fileobj=self._file) if is_packed(self.location) else self._file

    def _blocks(self) -> Iterator[bytes]:
        stream = self._start()
        while block := stream.read(_BLOCK):
            yield block


class _Raw(io.RawIOBase):
    """A stream that does not close the file that it reads."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._file.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


@contextmanager
def open_text(location: str, encoding: str, sha256: str | None = None) -> Iterator[TextFile]:
    """Open a file of text; arguments and errors are those of `TextFile` and `opened`."""
    with opened(location, sha256, seekable=True) as (file, size):
        yield TextFile(file, location, size, encoding)


def is_packed(location: str) -> bool:
    """Whether a location has the ending of gzip."""
    return path_part(location).endswith(".gz")


def csv_records(text: TextFile, dialect: Dialect) -> Iterator[tuple[int, list[str]]]:
    """The line and the cells of each record of a file, the first record, maybe a header, included.

    Empty lines are skipped. In a file of one column an empty line is an empty cell, except at the end of the
    file: otherwise the rows of the article's two files would no longer match. Empty cells beyond the width of
    the first record are left out.

    Raises:
        JabertError: there is no record, one has more or fewer cells than the first, or a quote is not closed.
    """
    csv.field_size_limit(sys.maxsize)  # the limit holds for the whole process, and is 131,072 by default
    reader = csv.reader(
        _guarded(text.lines(dialect.newline), dialect.newline),
        delimiter=dialect.delimiter,
        quoting=csv.QUOTE_NONE if dialect.quoting == "none" else csv.QUOTE_MINIMAL,
        strict=True,
    )
    file, line, width = text.location, 1, 0
    empty: list[int] = []
    try:
        for record in reader:
            if not record:
                empty.append(line)
            elif width and not has_width(record, width):
                raise JabertError(
                    f"{file}, line {line}: {len(record)} cells under a header of {width}; if it is right, "
                    "data.delimiter and data.quoting say how cells are divided"
                )
            else:
                if width == 1:
                    yield from ((number, [""]) for number in empty)
                empty.clear()
                width = width or len(record)
                yield line, [_unguarded(cell, dialect.newline) for cell in record[:width]]
            line = reader.line_num + 1
    except csv.Error as error:
        raise JabertError(
            f"{file}, line {line}: the quotes of a cell do not match ({error}); data.quoting = 'none' reads "
            "quotes as part of the texts"
        ) from None
    if not width:
        raise JabertError(f"{file} is empty")


_GUARD = "\0"  # which no line holds
_OTHER = {"\n": "\r", "\r": "\n"}


def _guarded(lines: Iterator[str], newline: str) -> Iterator[str]:
    """The lines without the other sign that ends lines, which `csv` would heed, unless at their end."""
    for line in lines:
        end = next(end for end in ("\r\n", newline, "\r", "") if line.endswith(end))
        core = line.removesuffix(end)
        yield core.replace(_OTHER[newline], _GUARD) + end if _OTHER[newline] in core else line


def _unguarded(cell: str, newline: str) -> str:
    return cell.replace(_GUARD, _OTHER[newline]) if _GUARD in cell else cell


def json_records(text: TextFile) -> Iterator[tuple[int, dict[str, Any]]]:
    """The line and the object of each record: a line, or an element of the one array; blank lines are none.

    Raises:
        JabertError: a line or element is not a JSON object; names file and line.
    """
    first = next((line for line in text.lines() if line.strip()), "")
    records = _elements(text) if first.lstrip().startswith("[") else _json_lines(text)
    for line, record in records:
        if not isinstance(record, dict):
            found = json_text(record)[:40]
            raise JabertError(f"{text.location}, line {line}: a JSON object is expected, not {found}")
        yield line, record


def _json_lines(text: TextFile) -> Iterator[tuple[int, Any]]:
    for number, line in enumerate(text.lines(), 1):
        if line.strip():
            try:
                yield number, json.loads(line)
            except (ValueError, RecursionError) as error:
                raise JabertError(
                    f"{text.location}, line {number}: not JSON ({error}); an object on each line, or one "
                    "array of objects, is expected"
                ) from None


def _elements(text: TextFile) -> Iterator[tuple[int, Any]]:
    """The line and the value of each element of the array that the file is; it is held in memory."""
    content, decoder = text.text(), json.JSONDecoder()
    place, line, counted = content.index("[") + 1, 1, 0
    try:
        while True:
            place = _behind_space(content, place)
            line, counted = line + content.count("\n", counted, place), place
            if content[place : place + 1] == "]":
                break
            value, place = decoder.raw_decode(content, place)
            yield line, value
            place = _behind_space(content, place)
            if content[place : place + 1] not in ("]", ","):
                raise json.JSONDecodeError("Expecting ',' or ']'", content, place)
            place += content[place] == ","
        if content[place + 1 :].strip():
            raise json.JSONDecodeError("Extra data", content, place + 1)
    except (ValueError, RecursionError) as error:
        raise JabertError(f"{text.location}, line {line}: not JSON ({error})") from None


def _behind_space(content: str, place: int) -> int:
    while content[place : place + 1] in (" ", "\t", "\r", "\n"):
        place += 1
    return place


def sheet_records(data: bytes, file: str) -> tuple[list[tuple[int, list[str]]], tuple[str, ...]]:
    """The first sheet with cells of a workbook, as it would be saved as CSV.

    Returns:
        Number and cells of each row that is not empty; and sentences on sheets that are left out.

    Raises:
        JabertError: python-calamine is not installed, the file is no workbook, or it is empty.
    """
    try:
        from python_calamine import CalamineError, CalamineWorkbook
    except ImportError:
        raise JabertError(f"{file}: workbooks need python-calamine: pip install 'jabert[excel]'") from None
    try:
        book = CalamineWorkbook.from_filelike(io.BytesIO(data))
        sheets = [(name, book.get_sheet_by_name(name)) for name in book.sheet_names]
        filled = [(name, sheet) for name, sheet in sheets if sheet.start is not None]
        if not filled:
            raise JabertError(f"{file} is empty")
        (name, sheet), others = filled[0], [name for name, _ in filled[1:]]
        rows = [list(map(_as_saved, row)) for row in sheet.to_python()]
    except CalamineError as error:
        raise JabertError(f"{file} cannot be read as a workbook: {error}") from error
    top = sheet.start[0] + 1 if sheet.start else 1
    left_out = f"{file}: only the sheet {name!r} is read, not: {', '.join(map(repr, others))}"
    return [(top + n, row) for n, row in enumerate(rows) if any(row)], ((left_out,) if others else ())


def _as_saved(cell: Any) -> str:
    """A cell of a workbook as text: whole numbers, which are floats there, without a decimal point."""
    if isinstance(cell, bool):
        return "TRUE" if cell else "FALSE"
    return str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell)


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
