"""Raw text, streamed: one sentence a line, a blank line between documents (google-research/bert).

Memory is bounded by the longest line and by a thousand sentences of a document, whatever the size of the
corpus.
"""

import codecs
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import fsspec

from jabert.config import is_url
from jabert.dataset.sources import reading
from jabert.errors import JabertError

__all__ = ["CorpusFacts", "documents", "examine", "files_of"]

_LONGEST_LINE = 1_000_000  # bytes; beyond it a file is hardly one sentence a line
_LONGEST_DOCUMENT = 1000  # sentences; what goes on is taken as another document


@dataclass(frozen=True)
class CorpusFacts:
    """What a corpus holds. `digest` is that of its sentences and of where documents end."""

    files: int
    documents: int
    sentences: int
    characters: int
    digest: str

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self)


def examine(paths: Sequence[str]) -> CorpusFacts:
    """Read all of a corpus once, to check and describe it.

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
    """The documents of all files in turn, each a list of sentences without blank ends, none empty.

    Args:
        paths: files, globs, folders (every file in them, at any depth) or URLs; endings such as `.gz` and
            `.bz2` mean compression.

    Raises:
        JabertError: no file, a file that cannot be read or holds no sentence, or a line that is too
            long, not UTF-8, or holds a NUL byte; names file and line.
    """
    for file in files_of(paths):
        empty = True
        for document in _documents_of(file):
            empty = False
            yield document
        if empty:
            raise JabertError(f"{file} is empty: there is no sentence in it")


def files_of(paths: Sequence[str]) -> list[str]:
    """The files that the paths mean, those of a glob or folder sorted, each once.

    Raises:
        JabertError: nothing is given, or a path means no file.
    """
    if not paths:
        raise JabertError("corpus.paths is not set: give raw text, --set corpus.paths=…")
    return list(dict.fromkeys(file for path in paths for file in _expand(path)))


def _expand(path: str) -> list[str]:
    if path.startswith(("http://", "https://")):
        return [path]  # a web server has no folders; to ask it for one would read the whole file
    with reading(path):
        system, local = fsspec.core.url_to_fs(path)
        if system.isdir(local):
            found = system.find(local)
        elif system.exists(local):
            found = [local]
        else:
            found = [name for name in system.glob(local) if not system.isdir(name)]
        visible = sorted(name for name in found if not name.rpartition("/")[2].startswith("."))
        if not visible:
            raise JabertError(f"corpus.paths: {path} means no file")
        return [system.unstrip_protocol(name) if is_url(path) else name for name in visible]


def _documents_of(file: str) -> Iterator[list[str]]:
    document: list[str] = []
    for sentence in _sentences_of(file):
        if sentence:
            document.append(sentence)
        if document and (not sentence or len(document) == _LONGEST_DOCUMENT):
            yield document
            document = []
    if document:
        yield document


def _sentences_of(file: str) -> Iterator[str]:
    """Each line as text without blank ends; "" for a blank one."""
    with reading(file), fsspec.open(file, "rb", compression="infer") as stream:
        number = 0
        while line := stream.readline(_LONGEST_LINE + 1):
            number += 1
            yield _decode(line, f"{file}, line {number}", first=number == 1)


def _decode(line: bytes, place: str, *, first: bool) -> str:
    if len(line) > _LONGEST_LINE:
        raise JabertError(f"{place}: longer than {_LONGEST_LINE:,} bytes; one sentence a line is expected")
    try:
        text = line.removeprefix(codecs.BOM_UTF8 if first else b"").decode()
    except UnicodeDecodeError:
        raise JabertError(f"{place}: this is not UTF-8 text") from None
    if "\0" in text:
        raise JabertError(f"{place}: there is a NUL byte in the text")
    return text.strip()
