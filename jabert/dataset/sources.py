"""Bytes from files and folders, local or at any URL that fsspec knows."""

import gzip
import hashlib
import lzma
import tempfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, BinaryIO
from urllib.parse import urlsplit

import fsspec

from jabert.config import Url, is_url, revealed
from jabert.errors import JabertError

BLOCK = 1 << 20  # bytes that are read at a time
DAMAGED = (EOFError, gzip.BadGzipFile, zlib.error, lzma.LZMAError)  # what decompressors raise


_COUNTED = 1_000_000_000  # bytes of a file that are unpacked to tell its size, at least


class Held:
    """Counts the bytes of the data that are held in memory at the same time, unpacked.

    Args:
        most: that may be, `data.max_bytes`.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._sizes: dict[str, int] = {}
        self._total = 0

    def note(self, location: str, size: int, *, is_all: bool = True) -> None:
        """Note the bytes of a file, all of them or those that were found so far.

        Raises:
            JabertError: with those of the files before they are too many; names file, setting and sizes.
        """
        self._total += size - self._sizes.get(location, 0)
        self._sizes[location] = size
        if self._total > self.most:
            told = f"{'' if is_all else 'more than '}{size:,} bytes,"
            if len(self._sizes) > 1:
                told += f" all {len(self._sizes):,} files so far {self._total:,},"
            raise JabertError(
                f"{location} unpacked has {told} but data.max_bytes allows {self.most:,} to be held in "
                "memory: set it higher if there is enough, or give fewer rows"
            )

    def count(self, location: str, blocks: Iterable[bytes]) -> None:
        """Note the bytes of a file by reading it, to its end if that is not far beyond what is allowed."""
        size, enough = 0, max(2 * self.most, _COUNTED)
        for block in blocks:
            size += len(block)
            if size > enough:
                return self.note(location, size, is_all=False)
        return self.note(location, size)


@contextmanager
def reading(location: str) -> Iterator[None]:
    """Turn every failure to read a file or folder into a `JabertError` of one sentence that names it.

    Each remote file system has exceptions of its own, and a damaged file makes a library raise anything.
    """
    try:
        yield
    except JabertError:
        raise
    except Exception as error:
        if isinstance(error, DAMAGED):
            raise JabertError(
                f"{location} cannot be unpacked: {_reason(error)}; fetch or pack it again"
            ) from error
        if is_url(location):
            raise JabertError(
                f"{location} could not be read ({_reason(error)}); a downloaded copy can be given instead"
            ) from error
        raise JabertError(f"{location} cannot be read: {_reason(error)}") from error


@contextmanager
def opened(
    location: str, sha256: str | None = None, *, seekable: bool = False, held: Held | None = None
) -> Iterator[tuple[BinaryIO, int | None]]:
    """Open a file to be read from start to end.

    Args:
        location: path or URL.
        sha256: the digest that the contents must have, in hexadecimal.
        seekable: whether the file must be readable at any position.
        held: notes the size of the file as it is, packed or not.

    Yields:
        The file, and its size in bytes if that is known.

    Raises:
        JabertError: the file cannot be read, has another digest, or is too large to be held; also while it is
            read, inside the `with`.
    """
    web = is_web(location)  # its files are read in one go, because a server may not know ranges of bytes
    with ExitStack() as stack:
        system, path = stack.enter_context(_file_system(location))
        file = stack.enter_context(system.open(path, "rb", **({"block_size": 0} if web else {})))
        if held and (size := system.size(path)):
            held.note(location, size)
        if (web and seekable) or (is_url(location) and sha256):  # what is verified is fetched once
            file = stack.enter_context(copied(file, location, held))
        if sha256:
            found = _sha256(file)
            if found != sha256.lower():
                raise JabertError(
                    f"{location} has the SHA-256 {found}, but data.sha256 is {sha256}; set the first, "
                    "if the file is the one that is meant"
                )
            file.seek(0)
        yield file, system.size(path)


@contextmanager
def copied(file: BinaryIO | gzip.GzipFile, location: str, held: Held | None = None) -> Iterator[BinaryIO]:
    """The contents of a file in a temporary one, which can be read at any position.

    Raises:
        JabertError: they are too large to be held.
    """
    with tempfile.TemporaryFile() as copy:
        size = 0
        while block := file.read(BLOCK):
            size += copy.write(block)
            if held and size > held.most:
                held.note(location, size, is_all=False)
        copy.seek(0)
        yield copy


def read_bytes(location: str, sha256: str | None = None, held: Held | None = None) -> bytes:
    """The whole contents of a file; arguments and errors are those of `opened`."""
    with opened(location, sha256, held=held) as (file, size):
        if held is None or size is not None:
            return file.read()
        content = bytearray()  # a server need not say how much will come
        while block := file.read(BLOCK):
            content += block
            held.note(location, len(content), is_all=False)
        return bytes(content)


def digest_of(location: str) -> str:
    """SHA-256 of the contents of a file, in hexadecimal; they are not held in memory."""
    with opened(location) as (file, _):
        return _sha256(file)


def is_web(location: str) -> bool:
    """Whether a location is at a web server."""
    return location.startswith(("http://", "https://"))


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


def files_below(folder: str, depth: int) -> list[str]:
    """Files in `folder` and its folders, so many levels deep, by their names relative to it, sorted."""
    with _file_system(folder) as (system, path):
        root = system._strip_protocol(path).rstrip("/")
        found = system.find(root, maxdepth=depth)
        return sorted(name.removeprefix(root).lstrip("/") for name in found)


def matching(pattern: str) -> list[str]:
    """The files that a glob matches, sorted."""
    with _file_system(pattern) as (system, path):
        found = sorted(name for name in system.glob(path) if not system.isdir(name))
        return [Url(system.unstrip_protocol(name)) for name in found] if is_url(pattern) else found


def path_part(location: str) -> str:
    """`location` without the host and query of a URL, in lower case: what its ending is read from."""
    return (urlsplit(location).path if is_url(location) else location).lower()


@contextmanager
def _file_system(location: str) -> Iterator[tuple[Any, str]]:
    """The file system of `location` and its path there; see `reading` for errors."""
    with reading(location):
        url = is_url(location)
        yield fsspec.core.url_to_fs(revealed(location)) if url else (fsspec.filesystem("file"), location)


def _sha256(file: Any) -> str:
    return hashlib.file_digest(file, "sha256").hexdigest()


def _reason(error: BaseException) -> str:
    if isinstance(error, FileNotFoundError):
        cause = error.__cause__  # fsspec raises it for a server that it cannot reach, too
        return _reason(cause) if isinstance(cause, OSError) else "there is no such file or folder"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error).partition("\n")[0] or type(error).__name__
