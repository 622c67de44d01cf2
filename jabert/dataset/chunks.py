"""The one reader of table files, in chunks of rows: delimited text, JSON (also with .gz), Parquet, workbooks.

Bytes (`sources`) become text (`encodings`), that records (`dialects`, `records`), and these columns, here.
Every column and every row is kept as it stands in the file; what a text must be is decided by the caller.
"""

import difflib
import gzip
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import cached_property
from hashlib import blake2b
from itertools import chain, islice
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from jabert.config import DataSettings
from jabert.dataset.dialects import DELIMITERS, composed, find_dialect, find_header, line_ends
from jabert.dataset.dialects import name_of as name_of_delimiter
from jabert.dataset.encodings import name_of
from jabert.dataset.records import (
    Record,
    TextFile,
    csv_records,
    is_packed,
    json_records,
    json_text,
    open_text,
)
from jabert.dataset.sources import Held, copied, opened, path_part, read_bytes
from jabert.dataset.workbooks import sheet_records
from jabert.errors import JabertError, refusing
from jabert.texts import is_unicode

DELIMITED = (".csv", ".tsv", ".txt")
JSON = (".jsonl", ".ndjson", ".json")
WORKBOOKS = (".xlsx", ".xlsm")
ENDINGS = (*DELIMITED[:2], ".parquet", *JSON, *DELIMITED[2:], *WORKBOOKS)
Select = Callable[[Sequence[str]], Iterable[str]]
OBJECT = "object"
"""The column of `Chunk.table` that holds the objects of JSON: by key, the text of each value."""

_FOR_HEADER = 1000  # rows that are looked at
_PART_BYTES = 16_000_000  # of a chunk, unpacked; its rows are fewer where they are long
_BATCH_ROWS = 64  # of Parquet that are unpacked at a time
_NEAR = 1000  # names of columns among which the nearest to a wrong one is looked for
_SHOWN = 20  # of them in a sentence


class NoColumnError(JabertError):
    """A table lacks a column that is needed."""


@dataclass(frozen=True)
class Form:
    """How a table file is read; None where its format leaves no choice.

    Attributes:
        file: path or URL.
        encoding: name of the codec.
        delimiter: of cells.
        quoting: `rfc4180`, or `none` if quotes are part of the texts.
        header: whether the first record holds the names of the columns.
        notes: sentences on what was guessed, and on what may not be expected.
    """

    file: str
    encoding: str | None = None
    delimiter: str | None = None
    quoting: str | None = None
    header: bool | None = None
    notes: tuple[str, ...] = ()

    def facts(self) -> dict[str, Any]:
        """JSON-ready, without the notes."""
        facts = asdict(self)
        del facts["notes"]
        return facts


@dataclass(frozen=True, eq=False)
class Chunk:
    """Consecutive rows of a table file.

    Attributes:
        file: path or URL.
        rows: as they were read: strings of delimited text and of workbooks, any types of Parquet, the objects
            of JSON.
        present: all columns as the file names them, of JSON the keys of these rows.
        lines: the line on which each row starts, of Parquet and workbooks its number; both from 1.
        share: how much of the file has been read after these rows, from 0 to 1; None while not known.
        form: how the file is read.
    """

    file: str
    rows: pa.Table | list[dict[str, Any]]
    present: Sequence[str]
    lines: Sequence[int]
    share: float | None
    form: Form

    @property
    def names(self) -> list[str]:
        """The name of each column, which no other has."""
        return list(self.present) if isinstance(self.rows, list) else own_names(self.present)

    @cached_property
    def table(self) -> pa.Table:
        """All columns, each under its own name; of JSON one column `OBJECT`, as rows may have own keys."""
        if isinstance(self.rows, pa.Table):
            return self.rows
        objects = [[(key, json_text(value)) for key, value in row.items()] for row in self.rows]
        return pa.table({OBJECT: pa.array(objects, pa.map_(pa.string(), pa.string()))})

    def cells(self, column: str, *, or_classes: bool = False) -> list[Any]:
        """The cells of a text column: strings and null, of JSON values of any type.

        Args:
            column: its name, as `require_column` returns it; of JSON a key that is absent counts as null.
            or_classes: whether what can name a class is allowed, too: whole numbers, also as floats, become
                their digits, truth values `true` and `false`, NaN null.

        Raises:
            JabertError: the column of a Parquet file has another type.
        """
        if isinstance(self.rows, list):
            values = [row.get(column) for row in self.rows]
            return list(map(_class_name, values)) if or_classes else values
        cells = self.rows[column]
        kind = cells.type.value_type if pa.types.is_dictionary(cells.type) else cells.type
        textual = pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
        if or_classes and (
            pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)
        ):
            return list(map(_class_name, cells.to_pylist()))
        if or_classes and pa.types.is_nested(kind):
            return list(cells.to_pylist())
        if not (textual or pa.types.is_null(kind)):
            raise JabertError(
                f"{self.file}: column {column!r} holds {kind}, not text; name another, or write it as text"
            )
        strings: list[str | None] = cells.cast(pa.large_string()).to_pylist()
        return strings

    def digest(self) -> str:
        """128 bits of a digest of all cells, in hexadecimal."""
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, self.table.schema) as stream:
            stream.write_table(self.table)
        return blake2b(sink.getvalue(), digest_size=16).hexdigest()


def read_chunks(
    location: str,
    rows: int,
    select: Select,
    settings: DataSettings | None = None,
    *,
    sha256: str | None = None,
    held: Held | None = None,
) -> Iterator[Chunk]:
    """Read a table in chunks of at most `rows` rows, and of about 16 MB; one without rows is one such chunk.

    Only a chunk at a time is in memory, of workbooks all.

    What an ending doesn't say is looked for in all of the file, before any row is given out: the same file
    means the same rows, whoever reads it.

    Args:
        location: path or URL.
        rows: of a chunk.
        select: called once with the names of the columns, before any row is read; it may refuse them, and
            returns those that are needed: of a Parquet file only these are read. JSON has no header, so
            there it is called with the keys of the first `rows` rows, unless there are none.
        settings: encoding, delimiter, quoting and header, if they are not to be guessed.
        sha256: the digest that the file must have, in hexadecimal.
        held: notes the size of the file, if the caller holds all chunks.

    Raises:
        JabertError: the file cannot be read, has another digest, is too large to be held, or is not such a
            table; names file and line. And what `select` raises.
    """
    settings = settings or DataSettings()
    ending = table_ending(location)
    if ending == ".parquet":
        yield from _parquet_chunks(location, rows, select, sha256, held)
    elif ending in WORKBOOKS:
        yield from _sheet_chunks(
            location, rows, select, settings, sha256=sha256, held=held or Held(settings.max_bytes)
        )
    else:
        with open_text(location, settings.encoding, sha256, held) as text:
            if ending in JSON:
                yield from _json_chunks(text, rows, select, _form(text, settings))
            else:
                yield from _csv_chunks(text, rows, select, settings)


def table_ending(location: str) -> str | None:
    """Which of `ENDINGS` the location has, a further `.gz` aside; None if it has another."""
    path = path_part(location).removesuffix(".gz")
    return next((ending for ending in ENDINGS if path.endswith(ending)), None)


def require_ending(location: str, endings: Sequence[str] = ENDINGS) -> str:
    """As `table_ending`, for a location that must have one of the endings.

    Raises:
        JabertError: it has none of them.
    """
    if (ending := table_ending(location)) in endings:
        return str(ending)
    raise JabertError(f"{location} has none of the endings of a table: {', '.join(endings)}")


def require_column(column: str, present: Sequence[str], file: str, role: str) -> str:
    """The name under which a chunk has a column, after checking that there is exactly one of its name.

    Args:
        column: its name, in any composition (NFC or NFD), or its number from 1 if no column has that name.
        present: the names of the file.
        file: named in errors.
        role: of the column, as in the name of the setting that names it, `data.<role>_column`.

    Raises:
        JabertError: naming the file, the column, those that are there and the setting.
    """
    named = [place for place, name in enumerate(present) if composed(name) == composed(column)]
    if not named and column.isdecimal() and 0 < int(column) <= len(present):
        named = [int(column) - 1]
    if len(named) == 1:
        return own_names(present)[named[0]]
    if named:
        raise JabertError(f"{file} has more than one column {column!r}; give its number, from 1, instead")
    short = [name for name in present[:_NEAR] if len(name) < _NEAR]
    near = difflib.get_close_matches(column[:_NEAR], short, n=1)
    hint = f"; the nearest is {near[0]!r}" if near else ""
    hint += f"; data.{role}_column names it"
    shown = ", ".join(repr(name if len(name) < 40 else f"{name[:40]}…") for name in present[:_SHOWN])
    shown += f" and {len(present) - _SHOWN:,} more" if len(present) > _SHOWN else ""
    raise NoColumnError(f"{file} has no column {column!r} but: {shown}{hint}")


def own_names(names: Sequence[str]) -> list[str]:
    """A name for each column that no other has: its number for an empty one, and more if it is taken."""
    given, own = set(names), dict[str, None]()
    for number, name in enumerate(names, 1):
        free = name or str(number)
        while free in own or (free != name and free in given):
            free += f"_{number}"
        own[free] = None
    return list(own)


def _class_name(value: Any) -> Any:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and math.isnan(value):
        return None
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value) if isinstance(value, int) else value


def _form(text: TextFile, settings: DataSettings, **more: Any) -> Form:
    """What is known of a file, and that its encoding was guessed if it is not UTF-8."""
    file = text.location
    guessed = settings.encoding == "auto" and text.encoding != "utf-8"
    note = f"{file} is read as {name_of(text.encoding)} text (data.encoding)"
    notes = ((note,) if guessed else ()) + more.pop("notes", ())
    return Form(file, text.encoding, notes=notes, **more)


def _csv_chunks(text: TextFile, rows: int, select: Select, settings: DataSettings) -> Iterator[Chunk]:
    file, ending = text.location, table_ending(text.location)
    usual = "\t" if ending == ".tsv" else ","
    dialect = find_dialect(
        text.lines,
        file,
        newlines=line_ends(text.pieces()),
        delimiters=sorted(DELIMITERS, key=lambda each: each != usual)
        if settings.delimiter == "auto"
        else [settings.delimiter],
        quoting=settings.quoting,
        text_column=settings.text_column,
        columns=_least_columns(settings),
    )
    header, note = _header(csv_records(text, dialect), file, settings)
    notes = [*dialect.notes, *([note] if note else [])]
    if settings.delimiter == "auto" and ending != ".txt" and dialect.delimiter != usual:
        notes.insert(
            0, f"{file}: cells are divided at {name_of_delimiter(dialect.delimiter)} (data.delimiter)"
        )
    form = _form(
        text,
        settings,
        delimiter=dialect.delimiter,
        quoting=dialect.quoting,
        header=header,
        notes=tuple(notes),
    )
    yield from _record_chunks(csv_records(text, dialect), rows, select, file, form, text=text)


def _least_columns(settings: DataSettings) -> int:
    """How many columns a table has at least, if the columns are given by number."""
    wanted = (settings.text_column, settings.label_column, settings.group_column, settings.order_column)
    if not settings.text_column.isdecimal():
        return 2
    return max(int(column) for column in wanted if column and column.isdecimal())


def _sheet_chunks(
    location: str, rows: int, select: Select, settings: DataSettings, *, sha256: str | None, held: Held
) -> Iterator[Chunk]:
    records, notes = sheet_records(read_bytes(location, sha256, held), location, held)
    header, note = _header(records, location, settings)
    form = Form(location, header=header, notes=(*notes, *([note] if note else [])))
    yield from _record_chunks(iter(records), rows, select, location, form)


def _header(records: Iterable[Record], file: str, settings: DataSettings) -> tuple[bool, str | None]:
    if settings.header == "auto":
        columns = (settings.label_column, settings.group_column, settings.split_column, settings.order_column)
        names = {"text", "label", *filter(None, columns)}
        named = [name for name in names if not name.isdecimal()]
        return find_header(_first(records), file, text_column=settings.text_column, names=named)
    return settings.header, None


def _first(records: Iterable[Record]) -> Iterator[list[str]]:
    """The cells of the first records, as many as are looked at and held."""
    size = 0
    for record in islice(records, _FOR_HEADER):
        yield record.content
        size += record.characters
        if size > _PART_BYTES:
            return


def _record_chunks(
    records: Iterator[Record],
    rows: int,
    select: Select,
    file: str,
    form: Form,
    *,
    text: TextFile | None = None,
) -> Iterator[Chunk]:
    first = next(records)
    numbered = [str(number) for number in range(1, len(first.content) + 1)]
    present = first.content if form.header else numbered
    if not form.header:
        records = chain([first], records)
    try:
        select(present)
    except NoColumnError as error:
        hint = "if line 1 is a row, set data.header = false and name columns by number, from 1"
        hint = hint if form.header else "as data.header is false, columns have numbers: data.text_column = 1"
        raise JabertError(f"{error}; {hint}") from None
    names = own_names(present)
    for part, numbers in _parts(records, rows):
        cells = [pa.array([record[place] for record in part], pa.string()) for place in range(len(names))]
        share = text.share if text else None
        yield Chunk(file, pa.Table.from_arrays(cells, names), present, numbers, share, form)


def _json_chunks(text: TextFile, rows: int, select: Select, form: Form) -> Iterator[Chunk]:
    for number, (part, numbers) in enumerate(_parts(json_records(text), rows)):
        names = list(dict.fromkeys(chain.from_iterable(part)))
        if wrong := [name for name in names if not is_unicode(name)]:
            raise JabertError(
                f"{text.location}: half of a surrogate pair stands alone in the key {wrong[0]!a}; correct it"
            )
        if number == 0 and part:
            select(names)
        yield Chunk(text.location, part, names, numbers, text.share, form)


def _parts(records: Iterator[Record], rows: int) -> Iterator[tuple[list[Any], list[int]]]:
    """Contents and lines of so many records, or of fewer long ones; the first part is always there."""
    part: list[Any] = []
    lines: list[int] = []
    size, is_first = 0, True
    for record in records:
        part.append(record.content)
        lines.append(record.line)
        size += record.characters
        if len(part) == rows or size > _PART_BYTES:
            yield part, lines
            part, lines, size, is_first = [], [], 0, False
    if part or is_first:
        yield part, lines


def _parquet_chunks(
    location: str, rows: int, select: Select, sha256: str | None, held: Held | None
) -> Iterator[Chunk]:
    with ExitStack() as stack:
        # The footer of Parquet comes first, so that the file must be readable at any position.
        file, _ = stack.enter_context(opened(location, sha256, seekable=not is_packed(location), held=held))
        if is_packed(location):
            unpacked = gzip.GzipFile(fileobj=file, mode="rb")
            file = stack.enter_context(copied(unpacked, location, held))
        stack.enter_context(refusing(f"{location} cannot be read as Parquet"))
        # Buffered, because otherwise all of a row group is read at once.
        parquet = pq.ParquetFile(file, buffer_size=1 << 20)
        names, total, done = parquet.schema_arrow.names, parquet.metadata.num_rows, 0
        selected, own = set(select(names)), own_names(names)
        columns = [name for name in names if name in selected] if own == names else None
        for table in _tables(parquet, rows, columns, location, held):
            numbers = range(done + 1, done + len(table) + 1)
            done += len(table)
            named = table if own == names else table.rename_columns(own)
            yield Chunk(location, named, names, numbers, done / max(1, total), Form(location))


def _tables(
    parquet: pq.ParquetFile, rows: int, columns: list[str] | None, location: str, held: Held | None
) -> Iterator[pa.Table]:
    """The rows of a Parquet file, so many at a time, or fewer if they are large; one table at least."""
    batches: list[pa.RecordBatch] = []
    size = count = unpacked = 0
    is_first = True
    for batch in parquet.iter_batches(min(rows, _BATCH_ROWS), columns=columns):
        _require_sound(batch, location)
        batches.append(batch)
        size, count, unpacked = size + batch.nbytes, count + len(batch), unpacked + batch.nbytes
        if held:
            held.note(location, unpacked)
        if count + _BATCH_ROWS > rows or size > _PART_BYTES:
            yield _joined(batches)
            batches, size, count, is_first = [], 0, 0, False
    if batches or is_first:
        yield _joined(batches or [pa.RecordBatch.from_pylist([], parquet.schema_arrow)])


def _require_sound(batch: pa.RecordBatch, location: str) -> None:
    """Refuse damaged columns: their offsets would point outside the memory that they have."""
    try:
        batch.validate(full=True)
    except pa.ArrowInvalid:
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            with refusing(f"{location}: column {name!r} holds bytes that are not UTF-8 text, or is damaged"):
                column.validate(full=True)
        raise


def _joined(batches: Sequence[pa.RecordBatch]) -> pa.Table:
    return pa.Table.from_batches(batches).combine_chunks().replace_schema_metadata()
