"""A commented recipe for a table: which columns hold what, which classes there are, which shares suit it."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomli_w

from jabert.config import DataSettings
from jabert.dataset.chunks import read_chunks
from jabert.dataset.corpus import Corpus, read_corpus
from jabert.dataset.readers import side_of
from jabert.dataset.sources import Held
from jabert.errors import JabertError
from jabert.safe import printable

_NAMES = {  # of columns, beside those that jabert itself calls so
    "text": ("text", "sentence", "body", "content", "review", "comment", "本文", "文", "テキスト", "内容"),
    "label": ("label", "class", "category", "topic", "genre", "ラベル", "分類", "カテゴリ", "ジャンル"),
    "group": ("group", "article", "thread", "document", "author", "user", "記事", "文書", "著者"),
}
_MOST_CLASSES = 200
_SHOWN = 20  # classes
_LONGEST = 40  # characters of a name in a comment
_SHARES = ((1000, 0.2, 0.2), (10_000, 0.15, 0.1))  # below so many rows: of test and validation rows
_USUAL = (0.1, 0.1)
_FEW = 10  # texts of a class that are too few to be measured


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        name: of it.
        filled: cells that hold something.
        distinct: different ones among them.
        length: mean number of characters.
        values: the different ones with their counts, if there are few.
    """

    name: str
    filled: int
    distinct: int
    length: float
    values: Mapping[str, int]


def suggest_recipe(path: str, recipe: str, shown: str | None = None) -> str:
    """Read a table, guess what its columns hold, and write that as a recipe in TOML.

    Args:
        path: of the table, or its URL, as for `data.path`.
        recipe: the name of the recipe's file, for its comments.
        shown: the path as the recipe has it; without it `path`.

    Raises:
        JabertError: the table cannot be read, no column looks like texts or labels, or its rows cannot be
            divided; names what is wrong.
    """
    columns = _columns(path)
    text = _text_column(columns, path)
    label = _label_column([column for column in columns if column != text], path)
    rest = [column for column in columns if column not in (text, label)]
    split = next((column for column in rest if _says_split(column)), None)
    group = _group_column([column for column in rest if column != split], label)
    roles = {"text_column": text, "label_column": label, "group_column": group, "split_column": split}
    chosen = {role: column.name for role, column in roles.items() if column}
    shares = _shares(text.filled)
    settings = DataSettings(path=path, test_share=shares[0], validation_share=shares[1], **chosen)
    corpus = read_corpus(settings)
    others = [column.name for column in rest if column not in (group, split)]
    settings = settings.model_copy(update={"path": shown or path})
    return "\n".join((*_head(path, recipe, corpus), *_data(settings, roles, corpus, others), *_tail()))


def _columns(path: str) -> list[Column]:
    """The columns of text, or of what can name a class."""
    found: dict[str, Counter[str]] = {}
    fit: dict[str, bool] = {}
    held = Held(DataSettings().max_bytes)
    for chunk in read_chunks(path, 4096, lambda names: names, held=held):
        for name in chunk.names if chunk.lines else ():
            cells: list[Any] = []
            fit.setdefault(name, False)
            with suppress(JabertError):  # of numbers, dates and the like
                cells = chunk.cells(name, or_classes=True)
                fit[name] = True
            found.setdefault(name, Counter()).update(
                cell for cell in cells if isinstance(cell, str) and cell.strip()
            )
    return [_column(name, counts) for name, counts in found.items() if fit[name] and counts]


def _column(name: str, counts: Counter[str]) -> Column:
    filled = counts.total()
    length = sum(len(cell) * count for cell, count in counts.items()) / filled
    return Column(name, filled, len(counts), length, counts if len(counts) <= _MOST_CLASSES else {})


def _named(columns: Collection[Column], role: str) -> Column | None:
    """The column whose name says what it holds, the likeliest name first."""
    by_name = {column.name.strip().lower(): column for column in columns}
    return next((by_name[name] for name in _NAMES[role] if name in by_name), None)


def _text_column(columns: Sequence[Column], path: str) -> Column:
    candidates = [column for column in columns if column.distinct > 1]
    if not candidates:
        raise JabertError(f"{path}: no column holds texts that differ, so there is nothing to learn from")
    return _named(candidates, "text") or max(candidates, key=lambda column: column.length)


def _label_column(columns: Sequence[Column], path: str) -> Column:
    """By its name, else the column with the fewest values, which each stand in several rows."""
    candidates = [
        column
        for column in columns
        if column.distinct > 1 and column.values and 2 * column.distinct <= column.filled
    ]
    candidates = [column for column in candidates if not _says_split(column)]
    if not candidates:
        names = ", ".join(_brief(column.name) for column in columns) or "none"
        raise JabertError(
            f"{path}: no column looks like labels, with 2 to {_MOST_CLASSES} values that stand in several "
            f"rows each (beside the texts there are: {names})"
        )
    return _named(candidates, "label") or min(candidates, key=lambda column: column.distinct)


def _says_split(column: Column) -> bool:
    sides = {side_of(value) for value in column.values}
    return bool(column.values) and None not in sides and "train" in sides and len(sides) > 1


def _group_column(columns: Sequence[Column], label: Column) -> Column | None:
    """By its name, where several rows share a value, and there are more values than classes."""
    several = [
        column
        for column in columns
        if column.filled == label.filled and label.distinct < column.distinct < column.filled
    ]
    return _named(several, "group")


def _shares(rows: int) -> tuple[float, float]:
    return next(((test, validation) for below, test, validation in _SHARES if rows < below), _USUAL)


def _head(path: str, recipe: str, corpus: Corpus) -> Iterator[str]:
    read, used = (corpus.counts[name] for name in ("rows_read", "rows"))
    yield f"# {_brief(Path(path).name)}: {read:,} rows, of which {used:,} are used."
    yield "# Made by `jabert init`; what it guessed stands in comments, to be looked at."
    yield from (f"# - {_brief(note, 300)}" for note in corpus.notes)
    yield "#"
    yield f"#   jabert validate --recipe {recipe}"
    yield f"#   jabert retrain --recipe {recipe}"
    yield ""


def _data(
    settings: DataSettings, roles: Mapping[str, Column | None], corpus: Corpus, others: Sequence[str]
) -> Iterator[str]:
    yield "[data]"
    yield _line("path", settings.path)
    text, label, group, split = roles.values()
    if text:
        yield _line("text_column", text.name, f"{text.distinct:,} texts of {text.length:.0f} characters")
    if label:
        yield _line("label_column", label.name, f"{label.distinct:,} classes")
        yield from (f"#   {line}" for line in _classes(corpus))
    if group:
        yield _line("group_column", group.name, f"{group.distinct:,} groups, never in two splits")
    else:
        yield '# group_column = "…" # texts of one article, thread or author, which are never in two splits'
    if split:
        yield _line("split_column", split.name, ", ".join(map(_brief, split.values)))
    else:
        counts = corpus.counts
        yield _line("test_share", settings.test_share, f"{counts['test']:,} rows, which choose nothing")
        yield _line("validation_share", settings.validation_share, f"{counts['validation']:,} rows")
    if others:
        yield f"# not read: {', '.join(map(_brief, others))}"
    yield ""


def _classes(corpus: Corpus) -> Iterator[str]:
    """The classes with their rows, the largest first, and those that are too small."""
    counts = corpus.table["label"].value_counts()
    shown = [f"{_brief(str(label))} {count:,}" for label, count in counts.head(_SHOWN).items()]
    yield ", ".join(shown) + (f" and {len(counts) - _SHOWN:,} more" if len(counts) > _SHOWN else "")
    if few := int((counts < _FEW).sum()):
        yield f"{few:,} have fewer than {_FEW} texts, too few to say how well they are recognised"


def _tail() -> Iterator[str]:
    yield "[method]"
    yield _line("kind", "tfidf", "needs no encoder; with one, stack is better: `jabert methods` lists all")
    yield ""
    yield "# [encoder]"
    yield '# path = "path/to/encoder" # for stack, bi-lstm, mean-pooling or finetune'
    yield ""
    yield "# `jabert settings` lists everything else that can stand here."
    yield ""


def _line(name: str, value: Any, comment: str = "") -> str:
    line = tomli_w.dumps({name: value}).strip()
    return f"{line} # {comment}" if comment else line


def _brief(text: str, longest: int = _LONGEST) -> str:
    """A text of the table as it may stand in a comment."""
    line = printable(" ".join(text.split()))
    return line if len(line) <= longest else f"{line[:longest]}…"
