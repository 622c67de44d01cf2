"""Bytes and text from files and folders, local or at any URL that fsspec knows."""

import gzip
import hashlib
import io
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, BinaryIO
from urllib.parse import urlsplit

import fsspec

from jabert.errors import JabertError

__all__ = [
    "Lines",
    "decode",
    "exists",
    "is_folder",
    "names_in",
    "opened",
    "path_part",
    "read_bytes",
    "text_lines",
    "unpacking",
]

_BLOCK_BYTES = 1 << 16


def read_bytes(location: str, sha256: str | None = None) -> bytes:
    """The whole contents of a file.

    Args:
        location: path or URL.
        sha256: the digest that the contents must have, in hexadecimal.

    Raises:
        JabertError: the file cannot be read, or has another digest.
    """
    with _file_system(location) as (system, path):
        data: bytes = system.cat_file(path)
    found = hashlib.sha256(data).hexdigest() if sha256 else None
    if sha256 and found != sha256.lower():
        raise JabertError(f"{location} has the SHA-256 {found}, but data.sha256 is {sha256}")
    return data


@contextmanager
def opened(location: str) -> Iterator[tuple[BinaryIO, int | None]]:
    """A file to read from as it is needed, and its size in bytes, if that is known.

    Raises:
        JabertError: the file cannot be read; also while it is read, inside of the `with`.
    """
    with _file_system(location) as (system, path), system.open(path, "rb") as file:
        yield file, system.size(path)


@contextmanager
def unpacking(location: str) -> Iterator[None]:
    """Turn what gzip finds wrong with a file into a `JabertError` that names it."""
    try:
        yield
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise JabertError(f"{location} cannot be unpacked: {error}") from error


class Lines:
    """The lines of a UTF-8 file, read as they are asked for, each with its line feed; `.gz` is unpacked.

    Attributes:
        share: how much of the file has been read, from 0 to 1; None while its size is not known.
    """

    def __init__(self, location: str) -> None:
        self._location = location
        self.share: float | None = None

    def __iter__(self) -> Iterator[str]:
        """See `text_lines`.

        Raises:
            JabertError: the file cannot be read or unpacked, or is no text.
        """
        return text_lines(self._bytes(), self._location)

    def _bytes(self) -> Iterator[bytes]:
        with opened(self._location) as (file, size), unpacking(self._location):
            packed = path_part(self._location).endswith(".gz")
            raw: Any = gzip.GzipFile(fileobj=file) if packed else file
            stream = io.BufferedReader(raw, _BLOCK_BYTES)
            while lines := stream.readlines(_BLOCK_BYTES):
                self.share = file.tell() / size if size else None
                yield from lines


def text_lines(lines: Iterable[bytes], file: str) -> Iterator[str]:
    """The lines of a file as text, without a byte order mark.

    Raises:
        JabertError: a line is not UTF-8, or holds a NUL byte; names `file` and the line.
    """
    for number, line in enumerate(lines, start=1):
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError:
            raise _unfit(file, number) from None
        if "\0" in text:
            raise _with_nul(file, number)
        yield text


def exists(location: str) -> bool:
    """Whether there is a file or folder at `location`."""
    with _file_system(location) as (system, path):
        return bool(system.exists(path))


def is_folder(location: str) -> bool:
    """Whether `location` is a folder."""
    with _file_system(location) as (system, path):
        return bool(system.isdir(path))


def names_in(folder: str) -> list[str]:
    """Names of the files and folders in `folder`, sorted."""
    with _file_system(folder) as (system, path):
        return sorted(entry.rstrip("/").rpartition("/")[2] for entry in system.ls(path, detail=False))


def path_part(location: str) -> str:
    """`location` without the host and query of a URL, in lower case: what its ending is read from."""
    return (urlsplit(location).path if _is_url(location) else location).lower()


def decode(data: bytes, file: str, encodings: Sequence[str] = ("utf-8-sig",)) -> str:
    """Text of `data` in the first of the encodings that fits all of it.

    Raises:
        JabertError: no encoding fits, or the text holds a NUL byte; names `file` and the line.
    """
    for encoding in encodings:
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        if (position := text.find("\0")) >= 0:
            raise _with_nul(file, text.count("\n", 0, position) + 1)
        return text
    expected = " or ".join(encoding.removesuffix("-sig").upper().replace("_", "-") for encoding in encodings)
    raise _unfit(file, _first_unfit_line(data, encodings), expected)


def _unfit(file: str, line: int, expected: str = "UTF-8") -> JabertError:
    return JabertError(f"{file}, line {line}: the file is not {expected} text throughout")


def _with_nul(file: str, line: int) -> JabertError:
    return JabertError(f"{file}, line {line}: there is a NUL byte in the text")


def _first_unfit_line(data: bytes, encodings: Sequence[str]) -> int:
    """Number of the line at which no single encoding fits any more, so also that of a mixed file."""
    fitting = list(encodings)
    for number, line in enumerate(data.split(b"\n"), start=1):
        fitting = [encoding for encoding in fitting if _fits(line, encoding)]
        if not fitting:
            return number
    raise AssertionError("called with data that an encoding fits")


def _fits(line: bytes, encoding: str) -> bool:
    try:
        line.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def _is_url(location: str) -> bool:
    return "://" in location


@contextmanager
def _file_system(location: str) -> Iterator[tuple[Any, str]]:
    """The file system of `location` and its path there; every failure to read becomes one sentence."""
    try:
        yield fsspec.core.url_to_fs(location) if _is_url(location) else (fsspec.filesystem("file"), location)
    except JabertError:
        raise
    except Exception as error:  # each remote file system has exceptions of its own
        if _is_url(location):
            raise JabertError(
                f"{location} could not be read ({_reason(error)}); a downloaded copy can be given instead"
            ) from error
        if isinstance(error, OSError):
            raise JabertError(f"{location} cannot be read: {_reason(error)}") from error
        raise


def _reason(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        cause = error.__cause__  # fsspec says so of a server, too, that it cannot reach
        return _reason(cause) if isinstance(cause, OSError) else "there is no such file or folder"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error).partition("\n")[0] or type(error).__name__
