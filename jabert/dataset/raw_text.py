"""Raw text, streamed: one sentence per line, a blank line between documents (google-research/bert).

Memory is bounded by the longest line and by a thousand sentences of a document, whatever the size of the
corpus.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import fsspec
import pandas as pd
from fsspec.utils import infer_compression

from jabert.config import Url, is_url, revealed
from jabert.dataset.sources import is_web, reading
from jabert.errors import JabertError
from jabert.files import write_text

_LONGEST_LINE = 1_000_000  # bytes; a file with longer lines hardly has one sentence per line
_LONGEST_DOCUMENT = 1000  # sentences; the rest of a longer document is taken as further documents


@dataclass(frozen=True)
class CorpusFacts:
    """Size and digest of a corpus.

    Attributes:
        files: number of files.
        documents: number of documents.
        sentences: number of sentences.
        characters: of all sentences.
        digest: SHA-256 of the sentences and the boundaries between documents.
    """

    files: int
    documents: int
    sentences: int
    characters: int
    digest: str


def examine(paths: Sequence[str]) -> CorpusFacts:
    """Read a whole corpus once, to check and describe it.

    Raises:
        JabertError: as `documents`.
    """
    digest = hashlib.sha256()
    count = sentences = characters = 0
    for document in documents(paths):
        count += 1
        sentences += len(document)
        characters += sum(map(len, document))
        digest.update(("\n".join(document) + "\n\n").encode())
    return CorpusFacts(len(files_of(paths)), count, sentences, characters, digest.hexdigest())


def documents(paths: Sequence[str]) -> Iterator[list[str]]:
    """The documents of all files in order, each a list of stripped, non-empty sentences.

    Args:
        paths: files, globs, folders (all files in them, at any depth) or URLs; suffixes such as `.gz` and
            `.bz2` mean compression.

    Raises:
        JabertError: there is no file, a file cannot be read or has no sentence, or a line is too long, is not
            UTF-8 or has a NUL byte; names file and line.
    """
    for file in files_of(paths):
        document: list[str] = []
        empty = True
        for sentence in chain(_sentences_of(file), [""]):  # a document ends with the file at the latest
            if sentence:
                document.append(sentence)
                empty = False
            if document and (not sentence or len(document) == _LONGEST_DOCUMENT):
                yield document
                document = []
        if empty:
            raise JabertError(f"{file} is empty: there is no sentence in it")


def write_documents(table: pd.DataFrame, path: Path) -> int:
    """Write texts as raw text: each on a line of its own, and the texts of a group as one document.

    Args:
        table: with `text`, and with `group` or not; without, each text is a document.
        path: file to write; must not be there.

    Returns:
        Number of documents.

    Raises:
        JabertError: the file is there.
    """
    if path.exists():
        raise JabertError(f"{path} is there already; move it away, or write to another file")
    found: dict[str, list[str]] = {}
    for number, row in enumerate(table.itertuples()):
        group = getattr(row, "group", None)
        name = f"row {number}" if pd.isna(group) else f"group {group}"
        found.setdefault(name, []).append("\n".join(filter(str.strip, str(row.text).splitlines())))
    write_text(path, "\n\n".join("\n".join(texts) for texts in found.values()) + "\n")
    return len(found)


def files_of(paths: Sequence[str]) -> list[str]:
    """The files that the paths match, without repetition; those of a glob or folder sorted.

    Raises:
        JabertError: no path is given, or a path matches no file.
    """
    if not paths:
        raise JabertError("corpus.paths is not set: give raw text, --set corpus.paths=…")
    return list(dict.fromkeys(file for path in paths for file in _expand(path)))


def _expand(path: str) -> list[str]:
    if is_web(path):
        return [path]  # asking a web server whether this is a folder would download the file
    with reading(path):
        system, local = fsspec.core.url_to_fs(revealed(path))
        if system.exists(local):
            found = system.find(local)  # a file finds itself
        else:
            found = [name for name in system.glob(local) if not system.isdir(name)]
        visible = sorted(name for name in found if not name.rpartition("/")[2].startswith("."))
        if not visible:
            raise JabertError(f"corpus.paths: {path} matches no file")
        return [Url(system.unstrip_protocol(name)) if is_url(path) else name for name in visible]


def _sentences_of(file: str) -> Iterator[str]:
    """Each line stripped; "" for a blank one."""
    with reading(file), fsspec.open(revealed(file), "rb", compression=infer_compression(file)) as stream:
        for number, line in enumerate(iter(lambda: stream.readline(_LONGEST_LINE + 1), b""), 1):
            where = f"{file}, line {number}"
            if len(line) > _LONGEST_LINE:
                raise JabertError(
                    f"{where}: longer than {_LONGEST_LINE:,} bytes; one sentence per line is expected"
                )
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError:
                raise JabertError(f"{where}: this is not UTF-8 text; convert it, e.g. with iconv") from None
            if "\0" in text:
                raise JabertError(f"{where}: there is a NUL byte in the text; take it out")
            yield text.strip()
