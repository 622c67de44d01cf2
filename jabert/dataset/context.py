"""The neighbours of a text: those before and after it in its group, e.g. the sentences of an article."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from jabert.errors import JabertError

Neighbours = list[list[int]]
"""Of each row of a table, the numbers of other rows in that table, in the order of the texts."""


def neighbours(table: pd.DataFrame, most: int) -> tuple[Neighbours, Neighbours]:
    """The rows before and after each row, in the same group and the same split.

    The order of a group is that of the column `order`, as numbers where all are, or else that of the files.

    Args:
        table: columns group, file and line; optional split and order. A row without a group has no
            neighbours.
        most: rows before, and as many after.

    Returns:
        The rows before (the nearest last), and those after (the nearest first).

    Example:
        >>> table = pd.DataFrame({"group": ["a", "a", "b", "a"], "file": "x.csv", "line": [4, 2, 3, 5]})
        >>> neighbours(table, 1)
        ([[1], [], [], [0]], [[3], [0], [], []])
    """
    before: Neighbours = [[] for _ in range(len(table))]
    after: Neighbours = [[] for _ in range(len(table))]
    found, groups = in_group_order(table)
    rows, edges = found.tolist(), [np.searchsorted(groups, groups, side) for side in ("left", "right")]
    for place, (row, first, end) in enumerate(zip(rows, *edges, strict=True)):
        before[row] = rows[max(first, place - most) : place]
        after[row] = rows[place + 1 : min(end, place + 1 + most)]
    return before, after


def in_group_order(table: pd.DataFrame) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The rows that have a group, those of a group (and split) one behind the other, in its order.

    Args:
        table: as for `neighbours`.

    Returns:
        The number of each row in the table, and that of its group, which rises; both (rows,).
    """
    keys = ["split", "group"] if "split" in table else ["group"]
    groups = table.groupby(keys, sort=False).ngroup().fillna(-1).to_numpy().astype(np.int64)
    rows = np.lexsort([table["line"].to_numpy(), np.array(_order(table)), groups]).astype(np.int64)
    rows = rows[np.searchsorted(groups[rows], 0) :]  # those of group -1 have none
    return rows, groups[rows]


def with_neighbours(table: pd.DataFrame, most: int) -> pd.DataFrame:
    """The table with the columns before and after, lists of texts as the registered model takes them."""
    texts = table["text"].tolist()
    before, after = neighbours(table, most)
    columns = {"before": before, "after": after}
    return table.assign(
        **{
            name: pd.Series([[texts[i] for i in rows] for rows in found], index=table.index, dtype=object)
            for name, found in columns.items()
        }
    )


def require_groups(table: pd.DataFrame, most: int) -> None:
    """Refuse a table without groups if neighbours are asked for.

    Raises:
        JabertError: there are none.
    """
    if most and ("group" not in table or table["group"].isna().all()):
        raise JabertError(
            f"data.context = {most} needs groups of texts, but the data has none: data.group_column can name "
            "their column"
        )


def _order(table: pd.DataFrame) -> Sequence[float]:
    if "order" not in table:
        return [0.0] * len(table) if table["file"].nunique() == 1 else pd.factorize(table["file"])[0].tolist()
    numbers = pd.to_numeric(table["order"], errors="coerce")
    if numbers.notna().all():
        found: list[float] = numbers.tolist()
        return found
    _, places = np.unique(table["order"].astype("str"), return_inverse=True)
    return [float(place) for place in places]
