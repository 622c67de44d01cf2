"""Scores tables of texts with the champion, chunk by chunk; a killed run is resumed at its chunk."""

import json
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path, PurePath
from typing import Any

from jabert.config import DataSettings, Settings, bundled, is_url
from jabert.dataset.chunks import Chunk
from jabert.dataset.unlabelled import Texts, read_texts
from jabert.dataset.writing import UTF_8, Encoding, require_writable_ending
from jabert.errors import JabertError
from jabert.files import digest_of_json, exclusive, set_aside, write_json
from jabert.registry import Registry, open_registry
from jabert.scoring.champion import Champion
from jabert.scoring.context import Places, in_context
from jabert.scoring.output import is_whole, read_answers, write_output, write_part
from jabert.texts import fault_of

log = logging.getLogger("jabert")

Progress = Callable[[int, int], None]  # rows done, estimated rows of the table

_FORMAT = "3"  # of the files of an unfinished run
_PART = ".arrow"  # their suffix
_NOTE = "version.json"  # names the model version with which the run was begun
_CHUNK_ROWS = 4096  # enough to fill batches of similar length; a kill costs the work on one chunk
_WAITING = "another process scores the same table into the same file; waiting for it to end"
_SECONDS_BETWEEN_LINES = 10.0


@dataclass(frozen=True)
class Job:
    """Texts to score, and the file for the result.

    Attributes:
        source: path or URL of the texts, as `data.path` has them: a file, folder or glob, or several.
        target: the file to write.
        settings: how a table is read and the columns of text, group and order in `data`, `features`,
            `training.work_path` and `tracking` are used.
        chunk_rows: rows that are read, scored and saved at a time.
        encoding: of the file for the result, if that is CSV or TSV.
    """

    source: str | tuple[str, ...]
    target: Path
    settings: Settings
    chunk_rows: int = _CHUNK_ROWS
    encoding: Encoding = UTF_8

    @property
    def folder(self) -> Path:
        """The folder of the finished chunks; its name is a digest of the job, so that a rerun finds it."""
        tracking, column = self.settings.tracking, self.settings.data.text_column
        parts = [_FORMAT, self.source, str(self.target), column, tracking.uri, tracking.model_name]
        return Path(self.settings.training.work_path) / f"score-{digest_of_json(parts)[:16]}"

    @cached_property
    def data(self) -> DataSettings:
        """How the texts are read: what `data` says of the labelled ones, but for where they are."""
        data = self.settings.data
        form = "table" if data.format == "table" else "auto"
        return data.model_copy(update={"path": self.source, "format": form, "sha256": None})

    def texts(self) -> Iterator[Texts]:
        """The rows with their texts; errors as `read_texts`."""
        return read_texts(self.data, self.chunk_rows)


@dataclass
class Scored:
    """The result of a scoring.

    Attributes:
        rows: of the table.
        scored: rows with probabilities, and with a label unless the model's threshold withholds it.
        failed: rows without, because their text is null, blank, not a string or not Unicode.
        computed: texts that went through encoder and classifier in this run.
        reused: texts whose vectors the feature store had.
        resumed: rows that an earlier, unfinished run had scored.
        cut: rows of which the model saw only some, because they are longer than it takes.
        context: neighbours on each side of a text that were looked at, 0 where none were.
        seconds: from reading the first row to the finished output, without loading the model.
        setup_seconds: for loading the model.
        model_version: of the model that scored.
        model_digest: SHA-256 of `SHA256SUMS` in the package of that model, in hexadecimal.
        output: path of the scored table.
    """

    rows: int = 0
    scored: int = 0
    failed: int = 0
    computed: int = 0
    reused: int = 0
    resumed: int = 0
    cut: int = 0
    context: int = 0
    seconds: float = 0.0
    setup_seconds: float = 0.0
    model_version: str = ""
    model_digest: str = ""
    output: str = ""

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        rate = (self.rows - self.resumed) / max(self.seconds, 1e-9)
        return {**asdict(self), "rows_per_second": round(rate, 1)}


def open_job(
    settings: Settings,
    source: str | Sequence[str],
    target: str,
    *,
    encoding: str = "utf-8",
    bom: bool = False,
    safe_cells: bool = False,
) -> Job:
    """Check quickly whether texts can be scored; the first rows are read.

    Args:
        settings: of the job.
        source: path or URL of a table, or what else `data.path` may be; or several.
        target: path of the file to write.
        encoding: of that file, if it is CSV or TSV.
        bom: whether it begins with a byte order mark, by which Excel knows UTF-8.
        safe_cells: whether cells that a spreadsheet would take for formulas are neutralized.

    Raises:
        JabertError: the texts cannot be read or have no text column, the target cannot be written, or there
            is no champion.
    """
    if is_url(target):
        raise JabertError(f"{target} is a URL, but a scored table is written to a path")
    path = Path(target).resolve()
    written = Encoding(encoding, bom, safe_cells)
    require_writable_ending(path, written)
    if path.is_dir():
        raise JabertError(f"{path} is a folder; name a file in it")
    if not path.parent.is_dir():
        raise JabertError(f"there is no folder {path.parent}")
    if not os.access(path.parent, os.W_OK):
        raise JabertError(f"{path} cannot be written: Permission denied")
    sources = tuple(map(_place, [source] if isinstance(source, str) else source))
    for each in sources:
        _require_apart(path, each)
    if len(sources) > 1 and path.exists():
        raise JabertError(
            f"{path} is there already, and might be one of the tables, as the last name is that of the file "
            "to write; delete it or give another name"
        )
    job = Job(sources[0] if len(sources) == 1 else sources, path, settings, encoding=written)
    next(job.texts())
    registry = open_registry(settings)
    _begun_with(job, registry) or registry.require_champion()
    return job


def _place(source: str) -> str:
    """A path, made absolute, or a URL; `sample` stays."""
    return source if is_url(source) or bundled(source, "data.path") else str(Path(source).resolve())


def _require_apart(target: Path, source: str) -> None:
    """Refuse to write where the next run would read."""
    if source == str(target):
        raise JabertError(f"{target} is the table itself; the scored one needs a name of its own")
    if not is_url(source) and (target.parent == Path(source) or PurePath(target).match(source)):
        raise JabertError(
            f"{target} would be one of the tables to score the next time; write it to a place beside {source}"
        )


def score(job: Job, on_progress: Progress | None = None) -> Scored:
    """Score a table, or resume a killed run with the model version with which it began.

    Args:
        job: as `open_job` returns it.
        on_progress: called after each chunk.

    Raises:
        JabertError: the table cannot be read to its end, the model cannot be loaded, or the disk is full.
            The next run of the same job reuses the finished chunks.
    """
    with exclusive(job.folder.with_suffix(".lock"), _WAITING):
        began = time.perf_counter()
        registry = open_registry(job.settings)
        if version := _begun_with(job, registry):
            log.info("resuming an unfinished run with its model version %s", version)
        champion = Champion(registry, version or registry.require_champion(), job.settings)
        write_json(job.folder / _NOTE, champion.version)
        started = time.perf_counter()
        scored = Scored(
            setup_seconds=started - began,
            model_version=champion.version,
            model_digest=champion.digest,
            output=str(job.target),
        )
        places = Places(job.settings.data) if champion.context else None
        parts, names = _score_chunks(job, champion, scored, places, _logged(on_progress))
        answers = None
        if places and (table := places.table()) is not None:
            scored.context, answers = champion.context, in_context(parts, champion, table)
        write_output(
            parts,
            job.target,
            answers=answers,
            names=names if any(names) else None,
            encoding=job.encoding,
        )
        if scored.cut:
            log.warning(
                "%s of %s texts are longer than the model takes and were cut: the column cut has them",
                f"{scored.cut:,}",
                f"{scored.rows:,}",
            )
        shutil.rmtree(job.folder)
        scored.seconds = time.perf_counter() - started
        return scored


def _begun_with(job: Job, registry: Registry) -> str | None:
    """The version with which an unfinished run began; None if it finished no chunk or the version is gone."""
    if not any(job.folder.glob(f"*{_PART}")):
        return None
    note = job.folder / _NOTE
    try:
        version = json.loads(note.read_text(encoding="utf-8"))
        if not isinstance(version, str):
            raise ValueError
    except (OSError, ValueError, RecursionError):
        if note.exists():
            set_aside(note, f"{note} is damaged")
        return None
    try:
        registry.get(version)
    except JabertError:
        return None
    return version


@dataclass(frozen=True)
class _Part:
    """A chunk to score.

    Attributes:
        chunk: the rows.
        name: of their table, if there are several.
        path: the file for rows and answers.
        faults: what is wrong with each text, None where nothing is.
        prepared: what each member of the model reads of the texts without a fault; None if the file exists.
        cut: whether the model sees only some of each text.
    """

    chunk: Chunk
    name: str | None
    path: Path
    faults: list[str | None]
    prepared: list[list[Any]] | None
    cut: list[bool | None]


def _parts(job: Job, champion: Champion) -> Iterator[_Part]:
    model = f"{champion.version}-{champion.digest[:16]}"  # a new registry counts from 1 again
    said: set[str] = set()
    for number, read in enumerate(job.texts()):
        chunk, texts = read.chunk, read.cells
        for note in chunk.form.notes if chunk.file not in said else ():
            log.warning("%s", note)
        said.add(chunk.file)
        path = job.folder / f"{number:06}-{chunk.digest()}-{model}{_PART}"
        faults = [fault_of(text) for text in texts]
        if path.exists() and not is_whole(path):
            set_aside(path, f"{path} is damaged")
        prepared = None if path.exists() else champion.prepare(texts, faults)
        cut = champion.cut(texts, faults) if prepared is not None else read_answers(path)["cut"].to_pylist()
        yield _Part(chunk, read.name, path, faults, prepared, cut)


def _score_chunks(
    job: Job, champion: Champion, scored: Scored, places: Places | None, on_progress: Progress
) -> tuple[list[Path], list[str | None]]:
    """Score the chunks that have no file yet, and count and place all rows.

    Returns:
        The files of the chunks, in order, and the name of the table of each, if there are several.

    While a chunk is scored, one thread reads and tokenizes the next, and another writes the previous one.
    """
    paths: list[Path] = []
    names: list[str | None] = []
    written: Future[None] | None = None
    parts = _parts(job, champion)
    with _two_threads() as threads:
        following = threads.submit(next, parts, None)
        while part := following.result():
            following = threads.submit(next, parts, None)
            if places:
                places.add(part.chunk)
            if part.prepared is not None:
                answers, reused = champion.answer(part.prepared, part.faults, part.cut)
                if written:
                    written.result()
                written = threads.submit(write_part, part.chunk.table, answers, part.path)
                scored.computed += part.faults.count(None) - reused
                scored.reused += reused
            else:
                scored.resumed += len(part.faults)
            paths.append(part.path)
            names.append(part.name)
            scored.rows += len(part.faults)
            scored.cut += part.cut.count(True)
            scored.scored += part.faults.count(None)
            scored.failed = scored.rows - scored.scored
            if part.chunk.share:
                on_progress(scored.rows, round(scored.rows / part.chunk.share))
        if written:
            written.result()
    return paths, names


@contextmanager
def _two_threads() -> Iterator[ThreadPoolExecutor]:
    """Threads that end with the block, save where a signal ends the process: reading may take long."""
    threads = ThreadPoolExecutor(2)
    try:
        yield threads
    except Exception:
        threads.shutdown()  # what was computed is written
        raise
    except BaseException:
        threads.shutdown(wait=False, cancel_futures=True)
        raise
    threads.shutdown()


def _logged(on_progress: Progress | None) -> Progress:
    """Report progress to `on_progress`, and every few seconds in the log."""
    said = time.monotonic()

    def report(done: int, expected: int) -> None:
        nonlocal said
        if time.monotonic() - said >= _SECONDS_BETWEEN_LINES:
            said = time.monotonic()
            log.info("%s of about %s rows", f"{done:,}", f"{expected:,}")
        if on_progress:
            on_progress(done, expected)

    return report
