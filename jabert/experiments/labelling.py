"""Which unlabelled texts are worth a label first, as a table for a labelling tool."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from jabert.config import Settings, with_method_of
from jabert.dataset.chunks import require_column
from jabert.dataset.sources import Held
from jabert.dataset.tables import read_columns
from jabert.dataset.writing import write_table
from jabert.errors import JabertError
from jabert.evaluation.labels import most_teaching
from jabert.evaluation.likeness import standardized
from jabert.experiments import steps
from jabert.experiments.data_check import require_rows
from jabert.experiments.folds import with_rows
from jabert.experiments.steps import Split
from jabert.methods import Job, encoder_of, method_of
from jabert.texts import fault_of, in_reading_form

_METHOD = "mean-pooling"
_POOL: Split = "validation"  # unlabelled rows stand as these, from which nothing is learned here


def most_worth(settings: Settings, unlabelled: Path, most: int) -> list[dict[str, Any]]:
    """The unlabelled texts whose labels would teach most, the least certain first.

    `mean-pooling` learns from the labelled rows, test rows excepted, and says how certain it is. Texts that
    are labelled, copies, and what is no text are left out.

    Args:
        settings: data and encoder; local. The column of the texts has the same name in both tables.
        unlabelled: a table of texts.
        most: how many at most.

    Returns:
        File, line, text, the likely label, and its probability as `score`; JSON-ready.

    Raises:
        JabertError: a table cannot be read, or holds no text that is to be labelled.
    """
    own = settings if settings.method.kind == _METHOD else with_method_of(settings, _METHOD)
    encoder = encoder_of(own)  # said before anything is read
    data = steps.read(own)
    require_rows(data.table)
    pool = _pool(settings, unlabelled, data.table["text"].tolist())
    learned = data.table[data.table["split"] != "test"].assign(split="train")
    # Nobody looks at the classes of the pool, but rows have one.
    joined = pd.concat([learned, pool.assign(label=learned["label"].iloc[0])], ignore_index=True)
    both = with_rows(own, data, joined)
    tokens = steps.tokenize(own, both)
    steps.featurize(own, tokens)
    rows = steps.rows_of(own, both, tokens, ["train"])
    asked = steps.rows_of(own, both, tokens, [_POOL])
    method = method_of(own)
    with tempfile.TemporaryDirectory() as scratch:
        job = Job(own, both.labels, encoder, Path(scratch))
        method.fit(job, rows, rows.take(np.arange(0)), lambda _: None)
        probabilities = method.predict(job, asked)
    found = most_teaching(probabilities, standardized(asked.stored_vectors().means), most)
    return [
        {
            **{name: pool[name].iloc[row] for name in ("file", "text")},
            "line": int(pool["line"].iloc[row]),
            "likely": both.labels[int(probabilities[row].argmax())],
            "score": float(probabilities[row].max()),
        }
        for row in found.tolist()
    ]


def _pool(settings: Settings, path: Path, labelled: Sequence[str]) -> pd.DataFrame:
    """The unlabelled texts: text, split, file and line."""

    def roles(names: Sequence[str]) -> dict[str, str]:
        return {"text": require_column(settings.data.text_column, names, str(path), "text")}

    cells, lines, _ = read_columns(str(path), roles, settings.data, Held(settings.data.max_bytes))
    known = set(map(in_reading_form, labelled))
    rows = []
    for line, text in zip(lines, cells["text"], strict=True):
        if fault_of(text) or in_reading_form(str(text)) in known:
            continue
        known.add(in_reading_form(str(text)))
        rows.append({"text": text, "split": _POOL, "file": str(path), "line": line})
    if not rows:
        raise JabertError(f"{path} has no text that is not labelled already")
    return pd.DataFrame(rows)


def write_to_label(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Write texts as a table whose column `label` is to be filled; filled, it is data.

    Raises:
        JabertError: it cannot be written.
    """
    columns = ["text", "label", "likely", "score", "file", "line"]
    write_table(pd.DataFrame(list(rows)).assign(label="")[columns], path)
