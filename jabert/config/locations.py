"""What a location means: a path, a URL, a store, or something that comes with jabert."""

import re
from importlib.resources import files
from pathlib import Path
from urllib.parse import urlparse
from urllib.request import url2pathname

from jabert.errors import JabertError

SQLITE = "sqlite:///"
BUNDLED = {"data.path": "sample", "encoder.path": "jabert-mini", "pretraining.start": "jabert-mini"}
"""By name of the setting, the value that means what comes with jabert."""


def bundled(location: str | None, name: str) -> Path | None:
    """The file or folder that comes with jabert if `location`, the value of setting `name`, means one."""
    if location is None or location != BUNDLED.get(name):
        return None
    home = Path(str(files("jabert")))
    return home / ("dataset/sample/sample.csv" if name == "data.path" else f"encoders/{location}")


def is_url(location: str) -> bool:
    """Whether a location is a URL or URI, such as `s3://bucket/x` or `runs:/1/x`, and not a path."""
    return "://" in location or re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", location) is not None


def local_database(uri: str | None) -> Path | None:
    """The file of an SQLite store, None if `uri` names a store of another kind."""
    path = (uri or "").partition("?")[0].removeprefix(SQLITE)
    return Path(path) if uri and uri.startswith(SQLITE) and path not in ("", ":memory:") else None


def local_path(uri: str | None) -> Path | None:
    """A path or `file:` URI as a path on this machine, None if `uri` is of another kind."""
    parts = urlparse(uri or "other:")
    return Path(url2pathname(parts.path)) if parts.scheme in ("", "file") else None


def expanded(path: str | Path) -> Path:
    """A path with the home folder in place of `~` or `~name` at its beginning.

    Raises:
        JabertError: nobody of that name has a home folder here; names the path.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise JabertError(f"{path}: there is no such home folder") from None
