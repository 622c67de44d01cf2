"""Rows of workbooks (.xlsx), which are held whole: what they take is found before they are unpacked.

A workbook is a zip of XML files. A kilobyte of it can unpack to gigabytes, name one long text in a million
cells, or fill two cells so far from each other that the empty ones between them take all memory.
"""

import io
import re
import zipfile
from collections import Counter
from typing import Any
from xml.parsers import expat

from jabert.dataset.records import Record
from jabert.dataset.sources import BLOCK, Held
from jabert.errors import JabertError, refusing

_CELL_BYTES = 32  # that the library takes for each cell of a sheet, empty ones included
_PLACE = re.compile(r"([A-Z]{1,3})(\d{1,7})")


def sheet_records(data: bytes, file: str, held: Held) -> tuple[list[Record], tuple[str, ...]]:
    """The first sheet with cells of a workbook, as it would be saved as CSV.

    Args:
        data: the file.
        file: its name, for errors.
        held: notes what it takes unpacked.

    Returns:
        The rows that are not empty, by their number; and sentences on sheets that are left out.

    Raises:
        JabertError: python-calamine is not installed, the file is no workbook, it is empty, or it is too
            large to be held.
    """
    try:
        from python_calamine import CalamineWorkbook
    except ImportError:
        raise JabertError(f"{file}: workbooks need python-calamine: pip install 'jabert[excel]'") from None
    with refusing(f"{file} cannot be read as a workbook"):
        held.note(file, _unpacked(data, file, held))
        book = CalamineWorkbook.from_filelike(io.BytesIO(data))
        sheets = ((name, book.get_sheet_by_name(name)) for name in book.sheet_names)
        name, sheet = next(((name, sheet) for name, sheet in sheets if sheet.start is not None), ("", None))
        if sheet is None:
            raise JabertError(f"{file} is empty")
        others = [other for other, sheet in sheets if sheet.start is not None]
        rows = [list(map(_as_saved, row)) for row in sheet.to_python()]
    top = sheet.start[0] + 1 if sheet.start else 1
    left_out = f"{file}: only the sheet {name!r} is read, not: {', '.join(map(repr, others))}"
    records = [Record(top + n, row, sum(map(len, row))) for n, row in enumerate(rows) if any(row)]
    return records, ((left_out,) if others else ())


def _as_saved(cell: Any) -> str:
    """A cell of a workbook as text: whole numbers, which are floats there, without a decimal point."""
    if isinstance(cell, bool):
        return "TRUE" if cell else "FALSE"
    return str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell)


def _unpacked(data: bytes, file: str, held: Held) -> int:
    """Bytes that a workbook takes in memory; its XML is read through, and not kept."""
    shared, size = _Strings(), 0
    with zipfile.ZipFile(io.BytesIO(data)) as packed:
        held.note(file, sum(member.file_size for member in packed.infolist()))
        for member in packed.infolist():
            part = _Part(shared)
            with packed.open(member) as stream:
                while block := stream.read(BLOCK):
                    part.feed(block)
            size += member.file_size + part.cells * _CELL_BYTES
    return size + shared.characters()


class _Strings:
    """Texts that cells name by their number.

    Attributes:
        lengths: of each text, characters.
        named: how many cells name each number.
    """

    def __init__(self) -> None:
        self.lengths: list[int] = []
        self.named: Counter[int] = Counter()

    def characters(self) -> int:
        """Of the texts of all cells."""
        known = ((number, count) for number, count in self.named.items() if number < len(self.lengths))
        return sum(self.lengths[number] * count for number, count in known)


class _Part:
    """Reads a part of a workbook, and finds the box that its cells lie in; what is not XML has none."""

    def __init__(self, shared: _Strings) -> None:
        self._shared, self._parser = shared, expat.ParserCreate()
        self._is_xml: bool | None = None
        self._parser.StartElementHandler = self._start
        self._parser.CharacterDataHandler = self._text
        self._row = self._column = 0
        self._rows: list[int] = []  # the first and the last
        self._columns: list[int] = []
        self._is_shared = self._in_value = self._in_string = False
        self._number = ""

    @property
    def cells(self) -> int:
        """In the box."""
        if not self._rows:
            return 0
        return (self._rows[1] - self._rows[0] + 1) * (self._columns[1] - self._columns[0] + 1)

    def feed(self, block: bytes) -> None:
        """The next bytes."""
        if self._is_xml is None:
            self._is_xml = block.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"<")
        if self._is_xml:
            self._parser.Parse(block)

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        kind = name.rpartition(":")[2]
        self._end_value()
        if kind == "si":
            self._shared.lengths.append(0)
            self._in_string = True
        elif kind == "row":
            self._row, self._column = int(attributes.get("r", self._row + 1)), 0
        elif kind == "c":
            self._in_string, self._is_shared = False, attributes.get("t") == "s"
            self._place(attributes.get("r", ""))
        elif kind == "v":
            self._in_value = self._is_shared

    def _place(self, reference: str) -> None:
        if found := _PLACE.fullmatch(reference):
            letters, digits = found.groups()
            self._row, self._column = int(digits), 0
            for letter in letters:
                self._column = 26 * self._column + ord(letter) - ord("A") + 1
        else:
            self._column += 1
        rows, columns = self._rows or [self._row] * 2, self._columns or [self._column] * 2
        self._rows = [min(rows[0], self._row), max(rows[1], self._row)]
        self._columns = [min(columns[0], self._column), max(columns[1], self._column)]

    def _text(self, text: str) -> None:
        if self._in_value:
            self._number += text
        elif self._in_string:
            self._shared.lengths[-1] += len(text)

    def _end_value(self) -> None:
        if self._number.strip().isdecimal():
            self._shared.named[int(self._number[:20])] += 1
        self._in_value, self._number = False, ""
