"""Reads labelled texts from whatever the settings point to, and tells which files these are."""

import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import PurePosixPath
from typing import Literal
from urllib.parse import urlsplit

import pandas as pd

from jabert.config import DataSettings, below, bundled, is_url, revealed
from jabert.dataset.chunks import ENDINGS, Form, table_ending
from jabert.dataset.dialects import composed
from jabert.dataset.encodings import name_of
from jabert.dataset.knbc import corpus_folder, is_archive, read_knbc, topic_files
from jabert.dataset.labels import with_classes
from jabert.dataset.records import open_text
from jabert.dataset.sources import Held, digest_of, exists, files_below, is_folder, is_web, matching, names_in
from jabert.dataset.tables import FILES, FOLDERS, read_seed_folders, read_table, rows_frame
from jabert.errors import JabertError

_ALWAYS = (".csv", ".tsv", ".parquet", ".jsonl")  # of tables in a folder; others count only without these
_SIDES = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev", "devel", "development", "eval", "evaluation"),
    "test": ("test", "testing"),
}
_SIDE_OF = {word: side for side, words in _SIDES.items() for word in words}
_SHOWN = 5  # names of files in a sentence
_ADDRESS = re.compile(r"https?://\S+\s*\Z")


@dataclass(frozen=True, eq=False)
class Rows:
    """Labelled texts as they were read, before anything is removed or split.

    Attributes:
        table: columns text, label, group, split and order (these three if the data has them), file, line; a
            missing text or label is null.
        forms: how each table was read.
        notes: sentences on what was guessed, left out, or may not be expected.
    """

    table: pd.DataFrame
    forms: tuple[Form, ...] = ()
    notes: tuple[str, ...] = ()


def read_rows(settings: DataSettings) -> pd.DataFrame:
    """The table of `read_files`."""
    return read_files(settings).table


def read_files(settings: DataSettings) -> Rows:
    """Read the texts as they are, before anything is removed or split.

    Raises:
        JabertError: the data cannot be read, or are more than `data.max_bytes`; names file and line, column
            or setting.
    """
    files, held = files_of(settings), Held(settings.max_bytes)  # refuses a data.sha256 of a folder
    notes = list(left_out(settings, files))
    forms: list[Form] = []
    match format_of(settings):
        case "table":
            table, forms = _read_tables(files, settings, held, notes)
        case "classes":
            table, forms = _read_classes(files, settings, held, notes)
        case "knbc":
            table = read_knbc(location_of(settings), held, settings.sha256)
        case "seed":
            table, forms = read_seed_folders(location_of(settings), settings, held)
    notes += [note for form in forms for note in form.notes]
    if "split" in table:
        table = _with_sides(table, notes)
    table, of_labels = with_classes(table, settings)
    return Rows(table, tuple(forms), (*notes, *of_labels))


def _read_tables(
    files: Mapping[str, str], settings: DataSettings, held: Held, notes: list[str]
) -> tuple[pd.DataFrame, list[Form]]:
    """The rows of all tables, with the split that the names of the files say, unless a column says it."""
    sides = _sides_of(files, settings, notes)
    own = settings.model_copy(update={"split": "auto"}) if sides else settings
    read = [read_table(file, own, held) for file in files.values()]
    tables = [rows for rows, _ in read]
    if sides and not all("split" in rows for rows in tables):
        tables = [
            rows if "split" in rows else rows.assign(split=side)
            for rows, side in zip(tables, sides.values(), strict=True)
        ]
        said = ", ".join(f"{name} {side}" for name, side in sides.items())
        notes.append(f"the names of the files say the split: {said}; data.split = 'sentence' makes another")
    return pd.concat(tables, ignore_index=True), [form for _, form in read]


def _sides_of(files: Mapping[str, str], settings: DataSettings, notes: list[str]) -> dict[str, str]:
    """The split of each file, if all names say one, and they say two at least."""
    if len(files) < 2 or settings.split not in ("auto", "given"):
        return {}
    found = {name: side_of(PurePosixPath(name).name) for name in files}
    sides = {name: side for name, side in found.items() if side}
    if len(sides) == len(files) and len(set(sides.values())) > 1 and "train" in sides.values():
        return sides
    if len(set(sides.values())) > 1:
        others = ", ".join(name for name in files if name not in sides) or "none is of training rows"
        notes.append(
            f"the names of some files say a split, but not of all, so none is taken from them ({others})"
        )
    return {}


def side_of(name: str) -> str | None:
    """The split that the name of a file or folder says, e.g. `dev.tsv` or `train-00000-of-00001.parquet`."""
    words = re.split(r"[^a-z]+", name.lower().partition(".")[0])
    sides = {_SIDE_OF[word] for word in words if word in _SIDE_OF}
    return sides.pop() if len(sides) == 1 else None


def _with_sides(table: pd.DataFrame, notes: list[str]) -> pd.DataFrame:
    """The table with train, validation and test for other words of the same meaning."""
    found = Counter(table["split"].dropna().tolist())
    sides = {word: _SIDE_OF.get(word.strip().lower(), word) for word in found}
    changed = {word: side for word, side in sides.items() if side != word}
    notes += [f"the split {word!r} ({found[word]:,} rows) means {side}" for word, side in changed.items()]
    return table.assign(split=table["split"].replace(changed)) if changed else table


def _read_classes(
    files: Mapping[str, str], settings: DataSettings, held: Held, notes: list[str]
) -> tuple[pd.DataFrame, list[Form]]:
    """A text for each file, its label the folder of the file; the folder around that may say the split."""
    texts, addresses, encodings = [], 0, Counter[str]()
    for file in files.values():
        with open_text(file, settings.encoding, held=held) as text:
            lines = list(text.lines())
            encodings[text.encoding] += 1
        addresses += bool(lines) and bool(_ADDRESS.match(lines[0]))
        texts.append("".join(lines[settings.skip_lines :]).rstrip("\r\n"))
    parts = [PurePosixPath(name).parts for name in files]
    cells: dict[str, list[str | None]] = {"text": list(texts), "label": [composed(of[-2]) for of in parts]}
    if settings.split in ("auto", "given") and all(len(of) == 3 for of in parts):
        cells["split"] = [side_of(of[0]) for of in parts]
        notes.append("the folders around the classes say the split")
    if addresses > len(files) / 2 and not settings.skip_lines:
        notes.append(
            f"the first line of {addresses:,} of {len(files):,} files is an address, and part of the text; "
            "data.skip_lines leaves lines out, 2 in the livedoor corpus"
        )
    rows = rows_frame(cells, location_of(settings), [1 + settings.skip_lines] * len(texts))
    forms = [Form(location_of(settings), encoding) for encoding in encodings]
    if settings.encoding == "auto" and set(encodings) != {"utf-8"}:
        found = ", ".join(f"{count:,} as {name_of(name)}" for name, count in encodings.items())
        notes.append(f"files are read {found} text (data.encoding)")
    return rows.assign(file=list(map(str, files.values()))), forms


def content_digest(settings: DataSettings) -> str:
    """Digest of what `read_rows` reads for these settings; nothing is parsed, or held in memory.

    It covers the name and the contents of each file, and not where the files are. At a URL, contents are
    fetched unless `data.sha256` says what their digest must be.

    Returns:
        SHA-256 of lines as `sha256sum` writes them, sorted by name, in hexadecimal.

    Raises:
        JabertError: a file is missing or cannot be read.
    """
    digest = hashlib.sha256()
    for name, file in sorted(files_of(settings).items()):
        expected = settings.sha256 if is_url(file) else None
        digest.update(f"{(expected or digest_of(file)).lower()}  {name}\n".encode())
    return digest.hexdigest()


def location_of(settings: DataSettings) -> str:
    """`data.path`, the file behind the name `sample`, or a JabertError if it is not set."""
    if isinstance(settings.path, tuple):
        return ", ".join(settings.path)
    if found := bundled(settings.path, "data.path"):
        return str(found)
    if not settings.path:
        raise JabertError("the setting data.path is missing: the file, folder or URL of the labelled texts")
    return settings.path


def format_of(settings: DataSettings) -> Literal["table", "classes", "knbc", "seed"]:
    """`data.format`; for `auto`, what the location looks like.

    Raises:
        JabertError: there is nothing, or nothing that can be recognised.
    """
    location = location_of(settings)
    if settings.format != "auto":
        return settings.format
    if _is_several(settings) or (table_ending(location) and not is_archive(location)):
        return "table"
    if is_archive(location):
        return "knbc"
    return _format_of_folder(location, settings)


def _format_of_folder(location: str, settings: DataSettings) -> Literal["table", "classes", "knbc", "seed"]:
    if any(exists(below(location, folder)) for folder in FOLDERS):
        return "seed"
    if corpus_folder(location):
        return "knbc"
    if is_folder(location):
        if _tables_in(location):
            return "table"
        if len({PurePosixPath(name).parent.name for name in _class_files(location, settings)}) > 1:
            return "classes"
    elif not exists(location):
        raise JabertError(f"there is no file or folder {location}")
    raise JabertError(
        f"{location} is neither a folder with trains/ and tests/, nor the KNB corpus, nor a folder with a "
        "folder of .txt files for each class, nor a file with one of the endings "
        f"{', '.join(ENDINGS)} or a folder of such files; data.format can say what it is"
    )


def _is_several(settings: DataSettings) -> bool:
    """Whether the path is a list or a glob."""
    path = settings.path
    if not isinstance(path, str):
        return path is not None
    return not is_web(path) and bool(set("*?[") & set(revealed(path))) and not exists(path)


def is_one_file(settings: DataSettings) -> bool:
    """Whether the path is that of a file, and not a list, glob or folder."""
    location = location_of(settings)
    # To ask a web server whether a file is a folder would fetch the file.
    is_page = is_web(location) and table_ending(location)
    return not _is_several(settings) and bool(is_page or not is_folder(location))


def files_of(settings: DataSettings) -> dict[str, str]:
    """Name -> location of the files to read: the name of a single file, or names relative to the folder."""
    location = location_of(settings)
    match format_of(settings):
        case "table" if _is_several(settings):
            files = _several(settings)
        case "table" if not is_one_file(settings):
            names = _tables_in(location)
            if not names:
                raise JabertError(f"there is no table in the folder {location}: {', '.join(ENDINGS)}")
            files = {name: below(location, name) for name in names}
        case "classes":
            files = {name: below(location, name) for name in _class_files(location, settings)}
            if not files:
                raise JabertError(f"{location} has no folder with .txt files for each class")
        case "knbc" if not is_archive(location) and is_folder(location):
            files = {PurePosixPath(file).name: file for file in topic_files(location).values()}
        case "seed":
            files = {name: below(location, name) for name in FILES}
        case _:
            path = urlsplit(location).path if is_url(location) else location
            return {PurePosixPath(path).name: location}
    if settings.sha256:
        what = "several files" if _is_several(settings) else "a folder"
        raise JabertError(
            f"data.sha256 is the digest of a file, but {location} is {what}; leave it out, or give a file"
        )
    return files


def _several(settings: DataSettings) -> dict[str, str]:
    """The tables that a list or a glob names, each once."""
    paths = (settings.path,) if isinstance(settings.path, str) else settings.path or ()
    found: dict[str, None] = {}
    for path in paths:
        if not is_web(path) and not exists(path):
            files = [file for file in matching(path) if not _is_hidden(PurePosixPath(file).name)]
            if not files:
                raise JabertError(f"there is no file or folder {path}, and none that matches it")
        elif not is_web(path) and is_folder(path):
            files = [below(path, name) for name in _tables_in(path)]
        else:
            files = [path]
        found |= dict.fromkeys(files)
    if settings.format == "auto":
        for file in found:
            if not table_ending(file):
                raise JabertError(
                    f"{file} has none of the endings of a table: {', '.join(ENDINGS)}; name only tables"
                )
    names = [PurePosixPath(file).name for file in found]
    return dict(zip(names if len(set(names)) == len(names) else found, found, strict=True))


def _tables_in(folder: str) -> list[str]:
    """The tables in a folder by name; hidden files, and those that a tool marked with `_`, are left out.

    Files that may be notes or facts about the tables (.txt, .json) count only where nothing else does, or
    where their names say a split.
    """
    names = [name for name in names_in(folder) if table_ending(name) and not _is_hidden(name)]
    found = [name for name in names if table_ending(name) in _ALWAYS]
    sided = [name for name in names if side_of(name)]
    if len({side_of(name) for name in sided}) > 1 and not found:
        return sided
    return found or [name for name in names if table_ending(name) != ".txt"]


def _class_files(folder: str, settings: DataSettings) -> list[str]:
    """The texts in a folder of folders by name: class/file, or split/class/file."""
    names = [PurePosixPath(name) for name in files_below(folder, 3)]
    texts = [name for name in names if _is_text(name) and not _is_skipped(name, settings)]
    sided = [str(name) for name in texts if len(name.parts) == 3 and side_of(name.parts[0])]
    return sided or [str(name) for name in texts if len(name.parts) == 2]


def _is_text(name: PurePosixPath) -> bool:
    return name.suffix in (".txt", "") and not any(map(_is_hidden, name.parts))


def _is_skipped(name: PurePosixPath, settings: DataSettings) -> bool:
    return any(fnmatch(name.name, pattern) for pattern in settings.skip)


def _is_hidden(name: str) -> bool:
    return name.startswith((".", "_"))


def left_out(settings: DataSettings, files: Mapping[str, str]) -> Iterator[str]:
    """What else is in the folder."""
    location = location_of(settings)
    match format_of(settings):
        case "table" if not _is_several(settings) and not is_web(location) and is_folder(location):
            others = [name for name in names_in(location) if name not in files and not _is_hidden(name)]
        case "classes":
            others = [name for name in files_below(location, 3) if name not in files]
        case _:
            return
    if others:
        more = ", …" if len(others) > _SHOWN else ""
        yield f"{location}: {len(others):,} files or folders are not read: {', '.join(others[:_SHOWN])}{more}"
