"""The neighbours of scored texts: rows of the same group, whichever chunk of the table they are in.

A chunk is scored text by text, as by a model without a context; once all are, each answer is seen in the
light of the neighbours' probabilities. So a text is classified once, and a killed run goes on at its chunk.
"""

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from jabert.config import DataSettings
from jabert.dataset.chunks import Chunk, require_column
from jabert.dataset.context import in_group_order
from jabert.dataset.dialects import composed
from jabert.dataset.tables import strings_of
from jabert.scoring.champion import Champion
from jabert.scoring.output import read_answers

log = logging.getLogger("jabert")


class Places:
    """Where each row stands: its group and its place in that, in the columns that `retrain` reads.

    Args:
        settings: name the columns.
    """

    def __init__(self, settings: DataSettings) -> None:
        self._settings = settings
        self._columns: dict[str, dict[str, str]] = {}  # of each file by their role; empty without groups
        self._chunks: list[pd.DataFrame] = []

    def add(self, chunk: Chunk) -> None:
        """Note the rows of the next chunk.

        Raises:
            JabertError: there are groups, but not the column `data.order_column`; or a cell is not text.
        """
        if chunk.file not in self._columns:
            self._columns[chunk.file] = self._columns_of(chunk)
        cells = {role: strings_of(chunk, role, column) for role, column in self._columns[chunk.file].items()}
        rows = {role: pd.Series(values, dtype="str") for role, values in cells.items()}
        self._chunks.append(pd.DataFrame(rows, range(len(chunk.lines))).replace("", None))

    def table(self) -> pd.DataFrame | None:
        """Columns group, order (if there is one), file and line of all rows; None without groups."""
        if not any(self._columns.values()):
            return None
        rows = pd.concat(self._chunks, ignore_index=True)
        return rows.assign(file="", line=range(len(rows)))

    def _columns_of(self, chunk: Chunk) -> dict[str, str]:
        group, order = self._settings.group_column or "group", self._settings.order_column
        if not {composed(group)} & set(map(composed, chunk.present)):
            log.warning("%s has no column %r: each text is scored without its neighbours", chunk.file, group)
            return {}
        return {
            "group": require_column(group, chunk.present, chunk.file, "group"),
            **({"order": require_column(order, chunk.present, chunk.file, "order")} if order else {}),
        }


def in_context(parts: Sequence[Path], champion: Champion, table: pd.DataFrame) -> Iterator[pa.Table]:
    """The answers of each part, with the neighbours seen. The probabilities of all rows are in memory.

    Args:
        parts: of a scored table, in order.
        champion: that scored it.
        table: of `Places`.
    """
    own = np.concatenate([champion.probabilities(read_answers(part)) for part in parts])
    sums, start = _sums(own**champion.power, table, champion.context), 0
    for part in parts:
        answers = read_answers(part)
        yield champion.in_context(answers, sums[start : start + len(answers)])
        start += len(answers)


def _sums(evidence: npt.NDArray[np.float64], table: pd.DataFrame, most: int) -> npt.NDArray[np.float64]:
    """Of each row the sum of its neighbours' evidence, as `sums_of` makes it of fewer rows."""
    rows, groups = in_group_order(table)
    sums = np.zeros_like(evidence)
    for distance in range(1, most + 1):
        same = groups[distance:] == groups[:-distance]
        first, second = rows[:-distance][same], rows[distance:][same]
        sums[first] += evidence[second]
        sums[second] += evidence[first]
    return sums
