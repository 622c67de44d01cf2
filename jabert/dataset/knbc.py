"""The KNB corpus 1.0 (Kyoto University and NTT Blog corpus), sentence level.

Format: `corpus2/` with a tab-separated file for each topic, without header or quoting, in
EUC-JP or UTF-8; the first two columns are the sentence's id and the sentence. The id
`KN012_Gourmet_1-1-3-01` belongs to the article `KN012_Gourmet_1`. See the corpus's README
and section 8.1 of its manual.
"""

import bz2
import gzip
import io
import lzma
import re
import tarfile
import zipfile
from collections.abc import Callable, Collection, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd

from jabert.config import DataSettings, below
from jabert.dataset.sources import Held, exists, is_folder, names_in, path_part, read_bytes
from jabert.dataset.tables import rows_frame
from jabert.dataset.writing import write_table
from jabert.errors import JabertError, refusing

TOPICS = {"Gourmet": "グルメ", "Keitai": "携帯電話", "Kyoto": "京都", "Sports": "スポーツ"}  # file -> label
# The tag of 京都 is ［京都観光］. Three of the 249 tags are followed by a full-width space.
TAG = re.compile(r"\A［(?:グルメ|携帯電話|京都観光|スポーツ)］\s*")
_LARGEST_HEADER = 1 << 20  # bytes of the header of a member of a tar archive
_UNPACK: dict[bytes, Callable[[Any], Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ": lzma.open,
}
ARCHIVE_ENDINGS = (".zip", ".tar", ".tar.bz2", ".tbz2", ".tar.gz", ".tgz", ".tar.xz")


def is_archive(location: str) -> bool:
    """Whether the location has the ending of an archive."""
    return path_part(location).endswith(ARCHIVE_ENDINGS)


def corpus_folder(location: str) -> str | None:
    """The folder of the topic files: `location` itself, its `corpus2`, or that of a folder in it."""
    if any(exists(below(location, f"{topic}.tsv")) for topic in TOPICS):
        return location
    if not is_folder(location):
        return None
    candidates = [location, *(below(location, name) for name in names_in(location))]
    return next(filter(exists, (below(folder, "corpus2") for folder in candidates)), None)


def read_knbc(location: str, held: Held, sha256: str | None = None) -> pd.DataFrame:
    """Read the corpus from a folder or archive, at a path or URL; `held` notes its size.

    Returns:
        Columns text (with the topic tags), label (Japanese), group (the article), file, line.

    Raises:
        JabertError: it cannot be read, a topic's file is missing, a line is malformed, or it is too large to
            be held.
    """
    if is_archive(location) or not is_folder(location):
        contents = _in_archive(read_bytes(location, sha256, held), location, held)
    else:
        files = topic_files(location)
        contents = {topic: (file, read_bytes(file, held=held)) for topic, file in files.items()}
    topics = [_parse_topic(data, file, TOPICS[topic]) for topic, (file, data) in sorted(contents.items())]
    return pd.concat(topics, ignore_index=True)


def topic_files(location: str) -> dict[str, str]:
    """Topic -> its file, of the corpus in a folder.

    Raises:
        JabertError: a topic's file is missing.
    """
    folder = corpus_folder(location)
    files = {topic: below(folder or location, f"{topic}.tsv") for topic in TOPICS}
    _require_all([topic for topic in TOPICS if folder and exists(files[topic])], location)
    return files


def strip_topic_tags(rows: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    """Remove the tag that opens each article, e.g. `［グルメ］`, because it gives the label away.

    Returns:
        The rows, without those of a tag alone; and the number of these.
    """
    texts = pd.Series([TAG.sub("", text) for text in rows["text"]], index=rows.index, dtype="str")
    tag_only = (texts == "") & (rows["text"] != "")  # a sentence that was empty before stays
    kept = rows.assign(text=texts)[~tag_only]
    return kept.reset_index(drop=True), int(tag_only.sum())


def import_knbc(source: str, out: Path, *, strip_topic_tag: bool) -> dict[str, int]:
    """Write the corpus as a table with the columns text, label and group.

    Args:
        source: folder or archive, a path or URL.
        out: CSV, TSV, Parquet or JSONL by its ending; replaced if it is there.
        strip_topic_tag: whether to remove the tag that opens each article.

    Returns:
        Counts: rows_read, tag_only (dropped because they held only the tag), rows.

    Raises:
        JabertError: the corpus cannot be read, or the table not written.
    """
    rows = read_knbc(source, Held(DataSettings().max_bytes))
    kept, tag_only = strip_topic_tags(rows) if strip_topic_tag else (rows, 0)
    write_table(kept[["text", "label", "group"]], out)
    return {"rows_read": len(rows), "tag_only": tag_only, "rows": len(kept)}


def _require_all(topics: Collection[str], location: str) -> None:
    for topic in TOPICS:
        if topic not in topics:
            raise JabertError(
                f"{location} has no file corpus2/{topic}.tsv of the KNB corpus; give it whole, as published"
            )


def _in_archive(data: bytes, location: str, held: Held) -> dict[str, tuple[str, bytes]]:
    """Topic -> (file, contents), unpacked in memory: nothing of an archive is ever written to disk."""
    files: dict[str, tuple[str, bytes]] = {}
    with refusing(f"{location} cannot be read as an archive"):
        for member, contents in (_in_zip if data.startswith(b"PK") else _in_tar)(data, location, held):
            topic = PurePosixPath(member).stem
            if topic in files:
                raise JabertError(
                    f"{location} holds the topic {topic} twice, {files[topic][0]} and {member}: take one out"
                )
            files[topic] = (f"{location}::{member}", contents)
    _require_all(files, location)
    return files


def _in_zip(data: bytes, location: str, held: Held) -> Iterator[tuple[str, bytes]]:
    """Names and contents of the topic files in a zip archive."""
    with zipfile.ZipFile(io.BytesIO(data)) as packed:
        members = [member for member in packed.infolist() if _is_topic_file(member.filename)]
        # No more than that is ever unpacked: a member that holds more is damaged.
        held.note(location, sum(member.file_size for member in members))
        for member in members:
            yield member.filename, packed.read(member)


def _in_tar(data: bytes, location: str, held: Held) -> Iterator[tuple[str, bytes]]:
    """Names and contents of the topic files in a tar archive."""
    unpack = next((of for start, of in _UNPACK.items() if data.startswith(start)), None)
    file = io.BytesIO(data)
    tape: Any = _Tape(unpack(file) if unpack else file, location, held)
    with tarfile.open(fileobj=tape, mode="r:") as tar:
        for member in tar:
            if _is_topic_file(member.name) and member.isfile() and (found := tar.extractfile(member)):
                yield member.name, b"".join(iter(lambda: found.read(_LARGEST_HEADER), b""))
        while tape.read(_LARGEST_HEADER):  # the checksum is at the end
            pass


class _Tape:
    """An unpacked tar archive, as far as `tarfile` reads it; all that is passed over counts as held.

    Args:
        file: that unpacks what it reads.
        location: of the archive.
        held: notes how far it was read.
    """

    def __init__(self, file: Any, location: str, held: Held) -> None:
        self._file, self._location, self._held, self._most = file, location, held, 0

    def tell(self) -> int:
        """The place in the unpacked archive."""
        return int(self._file.tell())

    def seek(self, place: int) -> int:
        """Go to a place.

        Raises:
            JabertError: it is too far from the start.
        """
        self._note(place)
        return int(self._file.seek(place))

    def read(self, size: int) -> bytes:
        """So many bytes.

        Raises:
            tarfile.ReadError: a header claims more than any has.
            JabertError: they are too far from the start.
        """
        if size > _LARGEST_HEADER:
            raise tarfile.ReadError(f"a header has {size:,} bytes")
        self._note(self.tell() + size)
        return bytes(self._file.read(size))

    def _note(self, place: int) -> None:
        if place > self._most:
            self._most = place
            self._held.note(self._location, place, is_all=False)


def _is_topic_file(name: str) -> bool:
    path = PurePosixPath(name)
    # A member whose path leads out of the archive is not part of the corpus.
    belongs = path.parent.name in ("", "corpus2") and ".." not in path.parts and not path.is_absolute()
    return belongs and path.suffix == ".tsv" and path.stem in TOPICS


def _decoded(data: bytes, file: str) -> str:
    """The text of a topic, which is UTF-8 or EUC-JP; errors name the line up to which neither fits."""
    unfit = 0
    for encoding in ("utf-8-sig", "euc_jp"):
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError as error:
            unfit = max(unfit, 1 + error.object.count(b"\n", 0, error.start))
            continue
        if (position := text.find("\0")) >= 0:
            line = 1 + text.count("\n", 0, position)
            raise JabertError(f"{file}, line {line}: there is a NUL byte in the text; take it out")
        return text
    raise JabertError(
        f"{file}, line {unfit}: the file is not UTF-8 or EUC-JP text throughout; convert it, or take it as "
        "published"
    )


def _parse_topic(data: bytes, file: str, label: str) -> pd.DataFrame:
    lines = _decoded(data, file).removesuffix("\n").split("\n")
    texts, articles = [], []
    for number, line in enumerate(lines, start=1):
        columns = line.removesuffix("\r").split("\t")
        article, dash, _ = columns[0].partition("-")
        if len(columns) < 2 or not dash:
            raise JabertError(f"{file}, line {number}: not a sentence id and a sentence, separated by a tab")
        texts.append(columns[1])
        articles.append(article)
    cells = {"text": texts, "label": [label] * len(lines), "group": articles}
    return rows_frame(cells, file, range(1, len(lines) + 1))
