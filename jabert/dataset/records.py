"""Records out of the lines of a CSV, TSV or JSONL file, each with the line on which it starts."""

import base64
import csv
import io
import json
import math
import sys
from collections.abc import Iterable, Iterator
from typing import Any

from jabert.errors import JabertError
from jabert.texts import is_unicode


def csv_records(
    lines: Iterable[str], file: str, delimiter: str
) -> tuple[list[str], Iterator[tuple[int, list[str]]]]:
    """The header and the records of a file with delimiters and quoting as in RFC 4180.

    Args:
        lines: of the file, with their line feeds.
        file: named in errors.
        delimiter: between two cells.

    Returns:
        The header; and, read as they are asked for, the line and the cells of each record.

    Raises:
        JabertError: there is no header; and, as the records are read, one has more or fewer cells than the
            header, or a quote is never closed.
    """
    csv.field_size_limit(sys.maxsize)  # the limit holds for the whole process, and is 131,072 by default
    records = _raw_records(lines, file, delimiter)
    header = next((record for _, record in records if record), None)
    if header is None:
        raise JabertError(f"{file} is empty")
    return header, _of_width(len(header), records, file)


def _raw_records(lines: Iterable[str], file: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(_divided(lines), delimiter=delimiter, strict=True)
    line = 1
    try:
        for record in reader:
            yield line, record
            line = reader.line_num + 1
    except csv.Error as error:
        raise JabertError(f"{file}, line {line}: the quotes of a cell do not match ({error})") from None


def _divided(lines: Iterable[str]) -> Iterator[str]:
    """The lines, divided where a carriage return alone ends a line."""
    for line in lines:
        if "\r" in line.removesuffix("\r\n"):
            yield from io.StringIO(line, newline="")
        else:
            yield line


def _of_width(
    width: int, records: Iterable[tuple[int, list[str]]], file: str
) -> Iterator[tuple[int, list[str]]]:
    """The records without the empty lines, which CSV skips.

    In a file of one column an empty line is an empty cell, except at the end of the file: otherwise the rows
    of the article's two files would no longer match.
    """
    empty: list[int] = []
    for line, record in records:
        if not record:
            empty.append(line)
            continue
        if len(record) != width:
            raise JabertError(f"{file}, line {line}: {len(record)} cells under a header of {width}")
        if width == 1:
            yield from ((number, [""]) for number in empty)
        empty.clear()
        yield line, record


def json_records(lines: Iterable[str], file: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """The line and the object of each record of a JSONL file; blank lines are skipped.

    Raises:
        JabertError: a line is not a JSON object, or a key of it is not Unicode; names file and line.
    """
    for line, text in enumerate(lines, start=1):
        if not text.strip():
            continue
        try:
            record = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise JabertError(f"{file}, line {line}: not JSON ({error})") from None
        if not isinstance(record, dict):
            raise JabertError(f"{file}, line {line}: a JSON object is expected, not {text.strip()[:40]}")
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
