"""Records out of the bytes of a CSV, TSV or JSONL file: its lines as text, and what starts on each."""

import base64
import csv
import gzip
import io
import json
import math
import sys
from collections.abc import Iterator, Sequence
from itertools import chain, count, islice
from typing import Any

from jabert.dataset.sources import opened, path_part
from jabert.errors import JabertError
from jabert.texts import is_unicode


class Lines:
    """The lines of a UTF-8 file, read as they are asked for; `.gz` is unpacked.

    Args:
        location: path or URL.
        sha256: the digest that the file must have, in hexadecimal.

    Attributes:
        share: how much of the file has been read, from 0 to 1; None while its size is not known.
    """

    def __init__(self, location: str, sha256: str | None) -> None:
        self.location = location
        self._sha256 = sha256
        self.share: float | None = None

    def __iter__(self) -> Iterator[str]:
        """Each line with its line feed, without a byte order mark.

        Raises:
            JabertError: the file cannot be read or unpacked, or a line is not UTF-8 or holds a NUL byte;
                names file and line.
        """
        numbers = count(1)
        with opened(self.location, self._sha256) as (file, size):
            raw: Any = gzip.GzipFile(fileobj=file) if is_packed(self.location) else file
            stream = io.BufferedReader(raw, 1 << 16)
            while lines := list(islice(stream, 64)):  # not at each line, for speed
                self.share = file.tell() / size if size else None
                for line, number in zip(lines, numbers, strict=False):
                    encoding = "utf-8-sig" if number == 1 else "utf-8"
                    yield decode(line, self.location, [encoding], number)


def is_packed(location: str) -> bool:
    """Whether a location has the ending of gzip."""
    return path_part(location).endswith(".gz")


def decode(data: bytes, file: str, encodings: Sequence[str], line: int = 1) -> str:
    """Text of `data`, which starts at `line` of `file`, in the first of the encodings that fits all of it.

    Raises:
        JabertError: no encoding fits, or the text holds a NUL byte; names `file` and the line.
    """
    unfit = 0  # the line up to which no single encoding fits: also where a file changes its encoding
    for encoding in encodings:
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError as error:
            unfit = max(unfit, line + error.object.count(b"\n", 0, error.start))
            continue
        if (position := text.find("\0")) >= 0:
            line += text.count("\n", 0, position)
            raise JabertError(f"{file}, line {line}: there is a NUL byte in the text")
        return text
    expected = " or ".join(encoding.removesuffix("-sig").upper().replace("_", "-") for encoding in encodings)
    raise JabertError(f"{file}, line {unfit}: the file is not {expected} text throughout")


def csv_records(lines: Lines, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """The line and the cells of each record of a file with quoting as in RFC 4180, first those of the header.

    CSV skips empty lines. In a file of one column an empty line is an empty cell, except at the end of the
    file: otherwise the rows of the article's two files would no longer match.

    Raises:
        JabertError: there is no header, a record has more or fewer cells than the header, or a quote is
            never closed.
    """
    csv.field_size_limit(sys.maxsize)  # the limit holds for the whole process, and is 131,072 by default
    # A carriage return alone ends a line, too.
    divided = chain.from_iterable(
        io.StringIO(text, newline="") if "\r" in text.removesuffix("\r\n") else [text] for text in lines
    )
    reader = csv.reader(divided, delimiter=delimiter, strict=True)
    file, line, width = lines.location, 1, 0
    empty: list[int] = []
    try:
        for record in reader:
            if not record:
                empty.append(line)
            elif width and len(record) != width:
                raise JabertError(f"{file}, line {line}: {len(record)} cells under a header of {width}")
            else:
                if width == 1:
                    yield from ((number, [""]) for number in empty)
                empty.clear()
                width = len(record)
                yield line, record
            line = reader.line_num + 1
    except csv.Error as error:
        raise JabertError(f"{file}, line {line}: the quotes of a cell do not match ({error})") from None
    if not width:
        raise JabertError(f"{file} is empty")


def json_records(lines: Lines) -> Iterator[tuple[int, dict[str, Any]]]:
    """The line and the object of each record of a JSONL file; blank lines are skipped.

    Raises:
        JabertError: a line is not a JSON object; names file and line.
    """
    for line, text in enumerate(lines, start=1):
        if not text.strip():
            continue
        try:
            record = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise JabertError(f"{lines.location}, line {line}: not JSON ({error})") from None
        if not isinstance(record, dict):
            raise JabertError(
                f"{lines.location}, line {line}: a JSON object is expected, not {text.strip()[:40]}"
            )
        yield line, record


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
