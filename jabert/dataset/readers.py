"""Reads labelled texts from whatever the settings point to, and tells which files these are."""

import hashlib
from pathlib import PurePosixPath
from typing import Literal
from urllib.parse import urlsplit

import pandas as pd

from jabert.config import DataSettings, bundled, is_url
from jabert.dataset.chunks import ENDINGS, table_ending
from jabert.dataset.knbc import corpus_folder, is_archive, read_knbc, topic_files
from jabert.dataset.sources import digest_of, exists, is_folder, is_web, names_in
from jabert.dataset.tables import FILES, FOLDERS, read_seed_folders, read_table
from jabert.errors import JabertError


def read_rows(settings: DataSettings) -> pd.DataFrame:
    """Read the texts as they are, before anything is removed or split.

    Returns:
        Columns text, label, group and split (these two if the data has them), file, line;
        a missing text or label is null.

    Raises:
        JabertError: the data cannot be read; names file and line, column or setting.
    """
    files = _files_of(settings)  # refuses a data.sha256 of a folder
    match format_of(settings):
        case "table":
            return pd.concat([read_table(file, settings) for file in files.values()], ignore_index=True)
        case "knbc":
            return read_knbc(location_of(settings), settings.sha256)
        case "seed":
            return read_seed_folders(location_of(settings))


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
    for name, file in sorted(_files_of(settings).items()):
        expected = settings.sha256 if is_url(file) else None
        digest.update(f"{(expected or digest_of(file)).lower()}  {name}\n".encode())
    return digest.hexdigest()


def location_of(settings: DataSettings) -> str:
    """`data.path`, the file behind the name `sample`, or a JabertError if it is not set."""
    if found := bundled(settings.path, "data.path"):
        return str(found)
    if not settings.path:
        raise JabertError("the setting data.path is missing: the file, folder or URL of the labelled texts")
    return settings.path


def format_of(settings: DataSettings) -> Literal["table", "knbc", "seed"]:
    """`data.format`; for `auto`, what the location looks like.

    Raises:
        JabertError: there is nothing, or nothing that can be recognised.
    """
    location = location_of(settings)
    if settings.format != "auto":
        return settings.format
    if is_archive(location):
        return "knbc"
    if table_ending(location):
        return "table"
    if any(exists(f"{location.rstrip('/')}/{folder}") for folder in FOLDERS):
        return "seed"
    if corpus_folder(location):
        return "knbc"
    if is_folder(location) and _tables_in(location):
        return "table"
    if not exists(location):
        raise JabertError(f"there is no file or folder {location}")
    raise JabertError(
        f"{location} is neither a folder with trains/ and tests/, nor the KNB corpus, nor a file with one of "
        f"the endings {', '.join(ENDINGS)} or a folder of such files; data.format can say what it is"
    )


def _files_of(settings: DataSettings) -> dict[str, str]:
    """Name -> location of the files to read: the name of a single file, or names relative to the folder."""
    location = location_of(settings)
    folder = location.rstrip("/")
    match format_of(settings):
        # To ask a web server whether a file is a folder would fetch the file.
        case "table" if not (is_web(location) and table_ending(location)) and is_folder(location):
            names = _tables_in(location)
            if not names:
                raise JabertError(f"there is no table in the folder {location}: {', '.join(ENDINGS)}")
            files = {name: f"{folder}/{name}" for name in names}
        case "knbc" if not is_archive(location) and is_folder(location):
            files = {PurePosixPath(file).name: file for file in topic_files(location).values()}
        case "seed":
            files = {name: f"{folder}/{name}" for name in FILES}
        case _:
            path = urlsplit(location).path if is_url(location) else location
            return {PurePosixPath(path).name: location}
    if settings.sha256:
        raise JabertError(f"data.sha256 is the digest of a file, but {location} is a folder")
    return files


def _tables_in(folder: str) -> list[str]:
    """The tables in a folder by name; hidden files, and those that a tool marked with `_`, are left out."""
    return [name for name in names_in(folder) if table_ending(name) and not name.startswith((".", "_"))]
