"""Unpacks what an earlier version of jabert left behind, at any place; `make_fixture.py` says what that is.

MLflow and jabert note absolute paths in databases and files. In the archive a placeholder stands for the
folder that all of them lie in.
"""

import sqlite3
import tarfile
from contextlib import closing
from pathlib import Path

__all__ = ["PLACEHOLDER", "replace_everywhere", "unpack"]

PLACEHOLDER = "/ROOT-OF-JABERT-0.1"
_SUMS = "SHA256SUMS"
_DATABASE = b"SQLite format 3\x00"


def unpack(archive: Path, root: Path) -> None:
    """Unpack `archive` into the folder `root`, which is made, with its path for the placeholder."""
    root = root.absolute()
    root.mkdir(parents=True, exist_ok=True)
    with tarfile.open(archive) as packed:
        packed.extractall(root, filter="data")
    # As a URI first, where a blank and the like are written in another way.
    replace_everywhere(root, f"file://{PLACEHOLDER}", root.as_uri())
    replace_everywhere(root, PLACEHOLDER, str(root))


def replace_everywhere(folder: Path, old: str, new: str) -> None:
    """Put `new` in place of `old` in all SQLite databases and UTF-8 text files under `folder`.

    Other files stay as they are, and so do those whose digests stand in a file SHA256SUMS beside them.
    """
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        content = path.read_bytes()
        if content.startswith(_DATABASE):
            _replace_in_database(path, old, new)
        elif old.encode() in content and _is_text(content) and path.name not in _listed(path.parent):
            path.write_bytes(content.replace(old.encode(), new.encode()))


def _replace_in_database(path: Path, old: str, new: str) -> None:
    with closing(sqlite3.connect(path)) as database, database:
        tables = database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        for (table,) in tables:
            for _, column, *_ in database.execute(f'PRAGMA table_info("{table}")').fetchall():
                database.execute(
                    f'UPDATE "{table}" SET "{column}" = replace("{column}", ?, ?) '
                    f"""WHERE typeof("{column}") = 'text' AND instr("{column}", ?)""",
                    (old, new, old),
                )


def _is_text(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return b"\x00" not in content


def _listed(folder: Path) -> set[str]:
    """Names of the files that SHA256SUMS vouches for."""
    sums = folder / _SUMS
    if not sums.exists():
        return set()
    return {line.partition("  ")[2] for line in sums.read_text(encoding="utf-8").splitlines()} | {_SUMS}
