"""How a file of text is divided into cells: the delimiter, the quoting and the header that its content shows.

A file can be read with quoting as in RFC 4180, or with every quote as part of a text. Which is meant follows
from the whole file: a reading in which rows have different widths is none. Where both are possible and
differ, what only one kind of writer would write decides, and otherwise the file is refused. Libraries that
guess (`csv.Sniffer`, DuckDB, Polars) look at a sample, and take one of two possible readings without a word.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Literal

from jabert.errors import JabertError

Quoting = Literal["rfc4180", "none"]
OpenLines = Callable[[str], Iterable[str]]
"""Reads the lines of a file from its start, each with its end, which is the argument."""

_Lines = Callable[[], Iterable[str]]

DELIMITERS = (",", "\t", ";", "|")
LONGEST_RECORD = 10_000_000  # characters; the quote that opens a longer one is hardly ever closed
_LONGEST_HEADER = 100  # lines
_FEW = 5  # rows of which chance can make one width
_ENOUGH = 20  # rows in which the labels occur again
_KEPT = 10_000  # rows whose cells are remembered
_KEPT_CHARACTERS = 10_000_000  # of all that is remembered of a file


@dataclass(frozen=True)
class Dialect:
    """How a file is divided.

    Attributes:
        delimiter: one character.
        quoting: `rfc4180`, or `none` if quotes are part of the texts.
        newline: what ends a line: a line feed, also behind a carriage return, or a carriage return alone.
        notes: sentences on what may not be expected of it.
        fits: whether all rows have the same width.
        in_doubt: whether so few rows may have the same number of delimiters by chance.
    """

    delimiter: str
    quoting: Quoting
    newline: str = "\n"
    notes: tuple[str, ...] = ()
    fits: bool = True
    in_doubt: bool = False


def find_dialect(
    open_lines: OpenLines,
    file: str,
    *,
    newlines: Sequence[str],
    delimiters: Sequence[str],
    quoting: str,
    text_column: str,
    columns: int = 2,
) -> Dialect:
    """The delimiter, the quoting and the end of a line with which all rows of a file have the same width.

    Args:
        open_lines: of the file; called several times.
        file: named in errors.
        newlines: what can end a line, as from `line_ends`.
        delimiters: that are possible, the most likely first.
        quoting: `auto`, or what it is known to be.
        text_column: its name in the header tells which of two possible delimiters is meant.
        columns: that there are at least; with 1, a few lines may have none of the delimiters.

    Raises:
        JabertError: there are several possibilities; names the file and the setting. A file that cannot be
            read at all is not refused here but at the row that is not as the others.
    """
    dialects = [
        replace(_find(partial(open_lines, newline), file, delimiters, quoting, text_column), newline=newline)
        for newline in newlines
    ]
    for dialect in dialects:
        if columns == 1 and len(delimiters) > 1 and dialect.in_doubt:
            raise JabertError(
                f"{file} can be divided at {name_of(dialect.delimiter)} or not at all: set data.delimiter, "
                "if no line is divided to a character that is not there"
            )
    fitting = [dialect for dialect in dialects if dialect.fits]
    if len(fitting) > 1:
        raise JabertError(
            f"{file}: some lines end in a carriage return, others in a line feed; end all alike, and put "
            "quotes around cells with line breaks (data.quoting = 'rfc4180')"
        )
    return (fitting or dialects)[0]


def line_ends(pieces: Iterable[str]) -> list[str]:
    """What can end a line: not a carriage return alone where the first stands before a line feed.

    Args:
        pieces: the text, of which nobody knows yet how long its lines are.

    Example:
        >>> line_ends(["text,label\r", "\n寺,京都\n"]), line_ends(["text\r寺\n"])
        (['\n'], ['\n', '\r'])
    """
    fed = alone = False
    held = ""
    for piece in pieces:
        text = held + piece
        held = "\r" if text.endswith("\r") else ""  # what stands behind it is in the next piece
        first = text.find("\r", 0, len(text) - len(held))
        if first >= 0 and not alone:
            if text[first + 1] == "\n":
                return ["\n"]
            alone = True
        fed = fed or "\n" in text
        if fed and alone:
            break
    alone = alone or bool(held)
    return ["\n"] * (fed or not alone) + ["\r"] * alone


def _find(
    open_lines: _Lines, file: str, delimiters: Sequence[str], quoting: str, text_column: str
) -> Dialect:
    """As `find_dialect`, with one end of a line."""
    first, by_name = _first_record(open_lines()), not text_column.isdecimal()
    readings = {
        each: _scanned(open_lines, each, quoting, by_name=by_name) for each in delimiters if each in first
    }
    wide = [reading for reading in readings.values() if len(reading.names) > 1]
    fitting = [reading for reading in wide if reading.fits]
    named = [each for each in wide if by_name and composed(text_column) in map(composed, each.names)]
    if len(fitting) > 1:
        fitting = [reading for reading in fitting if reading in named]
        if len(fitting) != 1:
            choice = " or ".join(name_of(reading.delimiter) for reading in wide if reading.fits)
            raise JabertError(f"{file} can be divided at {choice}: set data.delimiter to one of them")
    if fitting:
        rows = fitting[0].lines if fitting[0].even else fitting[0].records
        in_doubt = rows < _FEW and fitting[0] not in named
        return replace(_resolved(fitting[0], file), in_doubt=in_doubt)
    is_name = composed(first.strip('\r\n"')) == composed(text_column)
    if wide and not is_name:  # the row that is not as the first is refused when it is read
        return _unfit((named or wide)[0].delimiter, quoting)
    for number, delimiter in enumerate(delimiters):
        reading = readings.get(delimiter) or _scanned(open_lines, delimiter, quoting, by_name=by_name)
        if reading.fits and len(reading.names) == 1:
            dialect = _resolved(reading, file)
            undivided = (
                f"{file}: lines are not divided at {name_of(delimiters[0])}, which the first line lacks"
            )
            return replace(dialect, notes=(*dialect.notes, *([undivided] if number else [])))
    return _unfit(delimiters[0], quoting)


def _first_record(lines: Iterable[str]) -> str:
    """The first line that is not blank, and those behind it up to that which closes its quotes."""
    text = ""
    for number, line in enumerate(lines):
        if not text and not line.strip("\r\n"):
            continue
        text += line
        if text.count('"') % 2 == 0 or number > _LONGEST_HEADER or len(text) > LONGEST_RECORD:
            break
    return text


def _unfit(delimiter: str, quoting: str) -> Dialect:
    return Dialect(delimiter, "none" if quoting == "none" else "rfc4180", fits=False)


@dataclass
class _Reading:
    """What a file is with one delimiter, with quoting as in RFC 4180 and without.

    Attributes:
        delimiter: one character.
        by_name: whether the first record is a header; otherwise it may be a row.
        even: whether all lines have the same width without quoting.
        strict: whether all records follow RFC 4180 and have the same width.
        plain_names: the cells of the first line.
        names: those of the first record, with quoting if that is possible.
        lines: that are not blank, like the next two up to the first that is not even.
        quotes: lines with a quote.
        opened: lines with a cell that begins with a quote.
        records: with quoting.
        header_quoted: whether a cell of the first record is quoted.
        doubled: number of quoted cells with a quote inside, which had to be quoted.
        needless: by column the line of the first quoted cell that had no need to be.
        filled: by column and whether they are quoted the number of cells, empty ones only if quoted.
        broken: number of records on several lines, and that of their lines.
        joined: line and lines of the first of them, kept only if each line could be a row.
        seen: by column the cells of the first records on one line.
        kept: characters of `joined` and `seen`.
        line_ends: of the lines that are not blank, how many end in a carriage return and a line feed, and how
            many in a line feed alone.
        record_ends: of the records, with quoting.
    """

    delimiter: str
    by_name: bool
    even: bool = True
    strict: bool = True
    plain_names: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    lines: int = 0
    quotes: int = 0
    opened: int = 0
    records: int = 0
    header_quoted: bool = False
    doubled: int = 0
    needless: dict[int, int] = field(default_factory=dict)
    filled: Counter[tuple[int, bool]] = field(default_factory=Counter)
    broken: tuple[int, int] = (0, 0)
    joined: list[tuple[int, list[str]]] = field(default_factory=list)
    seen: dict[int, set[str]] = field(default_factory=dict)
    kept: int = 0
    line_ends: Counter[str] = field(default_factory=Counter)
    record_ends: Counter[str] = field(default_factory=Counter)

    @property
    def fits(self) -> bool:
        """Whether it can be read."""
        return self.even or self.strict

    def take_line(self, text: str) -> None:
        """Note a line, without quoting."""
        self.lines += 1
        is_quoted = '"' in text
        if self.plain_names and not is_quoted and text.count(self.delimiter) + 1 == len(self.plain_names):
            return  # as nearly all lines
        cells = text.split(self.delimiter)
        self.plain_names = self.plain_names or cells
        if is_quoted:
            self.quotes += 1
            self.opened += any(cell.startswith('"') for cell in cells)
        self.even = self.even and has_width(cells, len(self.plain_names))

    def take_record(self, line: int, lines: list[str], cells: list[str], quoted: list[bool]) -> None:
        """Note a record, with quoting."""
        self.record_ends[_end_of(lines[-1])] += 1
        if not self.records:
            self.names, self.header_quoted = cells, self.by_name and any(quoted)
        self.records += 1
        self.strict = has_width(cells, len(self.names))
        room = self.kept < _KEPT_CHARACTERS
        if len(lines) > 1:
            self.broken = self.broken[0] + 1, self.broken[1] + len(lines)
            if self.even and (room or not self.joined):
                self.joined.append((line, lines))
                self.kept += sum(map(len, lines))
        elif self.records <= _KEPT and room:
            self.kept += sum(map(len, cells)) + len(cells)
            for column, cell in enumerate(cells):
                self.seen.setdefault(column, set()).add(cell)
        if (self.records == 1 and self.by_name) or not (self.even or any(quoted)):
            return
        for column, (cell, is_quoted) in enumerate(zip(cells, quoted, strict=True)):
            self.filled[column, is_quoted] += bool(is_quoted or cell)
            if is_quoted and '"' in cell:
                self.doubled += 1
            elif is_quoted and not set(cell) & {self.delimiter, "\r", "\n"} and (cell or len(cells) > 1):
                self.needless.setdefault(column, line)


def has_width(cells: Sequence[str], width: int) -> bool:
    """Whether a record has the width of the header; Excel may write empty cells behind several."""
    return len(cells) == width or (len(cells) > width > 1 and not any(cells[width:]))


def _scanned(open_lines: _Lines, delimiter: str, quoting: str, *, by_name: bool) -> _Reading:
    """The file read with one delimiter, with those of the two quotings that are possible.

    Both end at the first line or record that rules them out: a bomb may have a thousand million lines.
    """
    reading = _Reading(delimiter, by_name)
    for line in open_lines():
        if text := line.rstrip("\r\n"):
            reading.take_line(text)
            reading.line_ends[_end_of(line)] += 1
            if not reading.even:  # without a quote so far, it is so with quoting, too
                break
    if not reading.quotes or quoting == "none":
        reading.strict = reading.even and not reading.quotes
    else:
        for record in _records(open_lines(), delimiter):
            if record is None:
                reading.strict = False
            else:
                reading.take_record(*record)
            if not reading.strict:
                break
    reading.even = reading.even and (quoting != "rfc4180" or not reading.quotes)
    reading.names = reading.names if reading.strict and reading.quotes else reading.plain_names
    return reading


def _records(
    lines: Iterable[str], delimiter: str
) -> Iterator[tuple[int, list[str], list[str], list[bool]] | None]:
    """Line, lines, cells and whether each cell is quoted, of each record; None where it breaks RFC 4180."""
    end = re.escape(delimiter)
    cell = re.compile(f'(?:"([^"]*(?:""[^"]*)*)"|([^"{end}]*))({end}|\\Z)')
    part: list[str] = []
    start, quotes, size = 1, 0, 0
    for number, line in enumerate(lines, 1):
        if not part:
            start, quotes, size = number, 0, 0
        part.append(line)
        quotes += line.count('"')
        size += len(line)
        if quotes % 2 and size < LONGEST_RECORD:
            continue  # a record ends where all its quotes are closed
        if text := "".join(part).rstrip("\r\n"):
            cells = text.split(delimiter)
            divided = _divided(text, cell) if quotes else (cells, [False] * len(cells))
            yield divided and (start, part, *divided)
        part = []
    if part:
        yield None


def _divided(text: str, cell: re.Pattern[str]) -> tuple[list[str], list[bool]] | None:
    """The cells of a record, and whether each is quoted; None if it breaks RFC 4180."""
    cells, quoted, place = [], [], 0
    while match := cell.match(text, place):
        is_quoted = match[1] is not None
        cells.append(match[1].replace('""', '"') if is_quoted else match[2])
        quoted.append(is_quoted)
        place = match.end()
        if not match[3]:
            return (cells, quoted) if place == len(text) else None
    return None


def _resolved(reading: _Reading, file: str) -> Dialect:
    """The dialect of a reading that fits: its quoting, decided by what only one of the two would write.

    Raises:
        JabertError: both quotings are possible, and rows would differ.
    """
    ends = reading.record_ends if reading.quotes else reading.line_ends
    quoted_notes = (*_broken_lines(reading, file), *_mixed_ends(ends, file))
    unquoted_notes = (*_open_quotes(reading, file), *_mixed_ends(reading.line_ends, file))
    quoted = Dialect(reading.delimiter, "rfc4180", notes=quoted_notes)
    unquoted = Dialect(reading.delimiter, "none", notes=unquoted_notes)
    if not reading.even or not reading.quotes:
        return quoted
    if not reading.strict:
        return unquoted
    if reading.header_quoted or not reading.opened:
        return quoted
    if reading.joined:
        if _holds_rows(reading):
            return unquoted
        line, lines = reading.joined[0]
        raise JabertError(
            f"{file}, line {line}: with quoting as in RFC 4180 this line and the next {len(lines) - 1} are "
            "one row, without quoting each is a row; data.quoting = 'rfc4180' or 'none' says which is meant"
        )
    doubtful = [line for column, line in reading.needless.items() if not _all_quoted(reading, column)]
    if not doubtful:
        return quoted
    raise JabertError(
        f"{file}, line {min(doubtful)}: the quotes around a cell can be part of it or not, as other cells of "
        "its column have none; data.quoting = 'none' keeps them, 'rfc4180' removes them"
    )


def _all_quoted(reading: _Reading, column: int) -> bool:
    return reading.filled[column, True] > 1 and not reading.filled[column, False]


def _holds_rows(reading: _Reading) -> bool:
    """Whether what would be cells on several lines hold rows of this table: cells that other rows have.

    Only what is within the quotes tells: a row with such a cell has others before and behind it.
    """
    known: list[bool] = []
    for _, lines in reading.joined:
        within = False
        for line in lines:
            found = []
            for column, cell in enumerate(line.rstrip("\r\n").split(reading.delimiter)):
                if within and '"' not in cell:
                    found.append(bool(cell) and cell in reading.seen.get(column, ()))
                within ^= bool(cell.count('"') % 2)
            known += [any(found)] if found else []
    return bool(known) and sum(known) * 2 >= len(known)


def _broken_lines(reading: _Reading, file: str) -> Iterator[str]:
    rows, lines = reading.broken
    if rows:
        yield (
            f"{file}: {rows:,} rows take {lines:,} lines, as there are line breaks in quoted cells; "
            "data.quoting = 'none' reads each line as a row"
        )


def _open_quotes(reading: _Reading, file: str) -> Iterator[str]:
    if reading.opened:
        yield (
            f"{file}: quotes are read as part of the texts, as they are not those of RFC 4180 (data.quoting)"
        )


def _end_of(line: str) -> str:
    return line[len(line.rstrip("\r\n")) :][-2:]


def _mixed_ends(ends: Counter[str], file: str) -> Iterator[str]:
    both, alone = ends["\r\n"], ends["\n"]
    if both and alone:
        yield (
            f"{file}: {both:,} of {both + alone:,} lines end in a carriage return and a line feed, the "
            "others in a line feed alone; no carriage return there is read as part of a text"
        )


def find_header(
    records: Iterable[Sequence[str]], file: str, *, text_column: str, names: Collection[str]
) -> tuple[bool, str | None]:
    """Whether the first record holds the names of the columns, and a sentence that says so if it was guessed.

    A text column that is named is named in a header. One that is given by its number may have none: then the
    first record is the header if it has one of the names; otherwise a row if one of its cells occurs again in
    its column, and the header if in some column all other cells do.

    Raises:
        JabertError: neither is so.
    """
    if not text_column.isdecimal():
        return True, None
    first, *rows = records
    numbers = [list(map(str, range(start, start + len(first)))) for start in (0, 1)]
    if set(map(composed, first)) & set(map(composed, names)):
        return True, None
    if len(first) > 1 and first in numbers:  # as pandas names columns that have no name
        return True, None
    columns = [Counter(row[place] for row in rows if place < len(row)) for place in range(len(first))]
    shown = ", ".join(repr(cell[:20]) for cell in first)
    if any(cell and cell in counts for cell, counts in zip(first, columns, strict=True)):
        return False, f"{file}: line 1 ({shown}) is read as a row, as there is no header (data.header)"
    if len(rows) >= _ENOUGH and any(min(counts.values()) > 1 for counts in columns):
        return True, f"{file}: line 1 ({shown}) is read as the header (data.header)"
    raise JabertError(
        f"{file}, line 1: {shown} can be a header or a row; data.header = true or false says which it is"
    )


def composed(name: str) -> str:
    """The name of a column in the form in which names are compared: composed (NFC), however it was typed."""
    return unicodedata.normalize("NFC", name)


def name_of(delimiter: str) -> str:
    """A delimiter as people call it."""
    return {"\t": "a tab"}.get(delimiter, repr(delimiter))
