"""Reads labelled texts from whatever the settings point to."""

from typing import Literal

import pandas as pd

from jabert.config import DataSettings, packaged
from jabert.dataset.chunks import ENDINGS, table_ending
from jabert.dataset.knbc import corpus_folder, is_archive, read_knbc
from jabert.dataset.seed_folders import FOLDERS, read_seed_folders
from jabert.dataset.sources import exists, is_folder, names_in
from jabert.dataset.tables import read_table
from jabert.errors import JabertError

__all__ = ["Format", "format_of", "location_of", "read_rows"]

Format = Literal["table", "knbc", "seed"]


def read_rows(settings: DataSettings) -> pd.DataFrame:
    """Read the texts as they stand, before anything is removed or split.

    Returns:
        Columns text, label, group and split (these two if the data carries them), file, line;
        a missing text or label is null.

    Raises:
        JabertError: the data cannot be read; names file and line, column or setting.
    """
    location = location_of(settings)
    match format_of(settings):
        case "table" if is_folder(location):
            return _read_tables(location, settings)
        case "table":
            return read_table(location, settings)
        case "knbc":
            return read_knbc(location, settings.sha256)
        case "seed":
            if settings.sha256:
                raise JabertError(f"data.sha256 is the digest of a file, but {location} is a folder")
            return read_seed_folders(location)


def _read_tables(folder: str, settings: DataSettings) -> pd.DataFrame:
    """The rows of all tables in a folder, file after file by name; other files and hidden ones are left."""
    names = _tables_in(folder)
    if not names:
        raise JabertError(f"there is no table in the folder {folder}: {', '.join(ENDINGS)}")
    if settings.sha256:
        raise JabertError(f"data.sha256 is the digest of a file, but {folder} is a folder")
    return pd.concat(
        [read_table(f"{folder.rstrip('/')}/{name}", settings) for name in names], ignore_index=True
    )


def _tables_in(folder: str) -> list[str]:
    return [name for name in names_in(folder) if table_ending(name) and not name.startswith((".", "_"))]


def location_of(settings: DataSettings) -> str:
    """`data.path`, the file behind the name `sample`, or a JabertError if it is not set."""
    if found := packaged(settings.path, "data.path"):
        return str(found)
    if not settings.path:
        raise JabertError("the setting data.path is missing: the file, folder or URL of the labelled texts")
    return settings.path


def format_of(settings: DataSettings) -> Format:
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
