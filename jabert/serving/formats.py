"""The request formats of MLflow's scoring server.

`mlflow.pyfunc.scoring_server` is not used because it makes a pandas or NumPy table of a request before its
rows can be counted: that takes a third of a millisecond for a single text, and for one long text among many
short ones it can exhaust the memory.
"""

import csv
import io
import json
import reprlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from jabert.config import ServingSettings
from jabert.serving.errors import RequestError
from jabert.texts import fault_of

NEIGHBOURS = ("before", "after")
"""Columns of the texts beside a text, which a model may take too."""

_COLUMN = "text"
_Columns = Mapping[str, list[Any]]


@dataclass(frozen=True)
class Inputs:
    """The content of a request: texts to predict, one row each, and parameters of the model.

    Attributes:
        texts: of the rows.
        params: of the model.
        neighbours: by column, the texts beside each text; a column that is absent is empty in all rows.
    """

    texts: list[str]
    params: dict[str, Any]
    neighbours: dict[str, list[list[str]]] = field(default_factory=dict)

    @property
    def work(self) -> int:
        """Number of texts to classify: the rows, and different neighbours that are no row's text."""
        if not self.neighbours:
            return len(self.texts)
        beside = {text for rows in self.neighbours.values() for text in chain(*rows)}
        return len(self.texts) + len(beside.difference(self.texts))


def read_request(
    body: bytes, content_type: str, limits: ServingSettings, optional: Collection[str] = ()
) -> Inputs:
    """Read the body of a request.

    Args:
        body: the body as received.
        content_type: `application/json` or `text/csv`, with no parameter but `charset=utf-8`.
        limits: on the number of texts and on their length.
        optional: columns of `NEIGHBOURS` that are read too; all others are ignored.

    Raises:
        RequestError: 415 for another content type, 413 for too many texts, 400 for any other mistake.
    """
    kind, *parameters = (part.strip().lower() for part in content_type.split(";"))
    if kind not in ("application/json", "text/csv"):
        raise RequestError(415, "the content type must be one of application/json and text/csv")
    if any(parameter not in ("", "charset=utf-8", 'charset="utf-8"') for parameter in parameters):
        raise RequestError(415, "the content type may have no parameter but charset=utf-8")
    columns, params = _read_json(body) if kind == "application/json" else (_read_csv(body, limits), {})
    values = columns[_COLUMN]
    if len(values) > limits.max_texts:
        raise RequestError(413, f"{len(values)} rows are too many, at most {limits.max_texts} are taken")
    for row, value in enumerate(values):
        if isinstance(value, str):
            _check_length(row, "text", value, limits)
        if fault := fault_of(value):
            raise RequestError(400, f"row {row}: text is {fault}")
    found = {name: _texts_beside(name, columns, limits) for name in optional if name in columns}
    inputs = Inputs(values, params, {name: rows for name, rows in found.items() if any(rows)})
    if inputs.work > limits.max_texts:
        counted = f"{inputs.work} texts, those of {' and '.join(inputs.neighbours)} among them,"
        raise RequestError(413, f"{counted} are too many, at most {limits.max_texts} are taken")
    return inputs


def _check_length(row: int, what: str, text: str, limits: ServingSettings) -> None:
    if len(text) > limits.max_characters:
        most = f"at most {limits.max_characters} are taken"
        raise RequestError(400, f"row {row}: {what} has {len(text)} characters, {most}")


def _texts_beside(name: str, columns: _Columns, limits: ServingSettings) -> list[list[str]]:
    """A column of `NEIGHBOURS`, with none where the cell is null."""
    cells = columns[name]
    if not isinstance(cells, list) or len(cells) != len(columns[_COLUMN]):
        raise RequestError(400, f"{name} must be a list as long as {_COLUMN}, with a list of texts a row")
    for row, texts in enumerate(cells):
        if texts is None:
            continue
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            raise RequestError(400, f"row {row}: {name} is {reprlib.repr(texts)}, not a list of texts")
        if len(texts) > limits.max_texts:  # also if most are the same
            most = f"at most {limits.max_texts} are taken"
            raise RequestError(400, f"row {row}: {name} has {len(texts)} texts, {most}")
        for text in texts:
            _check_length(row, f"a text in {name}", text, limits)
    return [texts or [] for texts in cells]


def _read_json(body: bytes) -> tuple[_Columns, dict[str, Any]]:
    try:
        request = json.loads(body)
    except (ValueError, RecursionError):  # ValueError also for other bytes than UTF-8 and for huge numbers
        raise RequestError(400, "the body is not JSON") from None
    given = [name for name in FORMATS if name in request] if isinstance(request, dict) else []
    if len(given) != 1:
        raise RequestError(400, f"the body must be a JSON object with exactly one of {', '.join(FORMATS)}")
    params = request.get("params")
    if not isinstance(params, dict | None):
        raise RequestError(400, "params must be a JSON object")
    return FORMATS[given[0]](request[given[0]]), params or {}


def _from_split(value: Any) -> _Columns:
    """`{"columns": ["text"], "data": [["…"], …]}`, optionally with `index`."""
    if not isinstance(value, dict) or not value.keys() <= {"columns", "data", "index"}:
        sentence = "dataframe_split must be an object with columns, data and at most index besides"
        raise RequestError(400, sentence)
    columns, data, index = value.get("columns"), value.get("data"), value.get("index")
    if not isinstance(columns, list) or columns.count(_COLUMN) != 1:
        raise RequestError(400, f"dataframe_split.columns must be a list that holds {_COLUMN!r} once")
    if not isinstance(data, list):
        raise RequestError(400, "dataframe_split.data must be a list of rows")
    for row, cells in enumerate(data):
        if (found := len(cells) if isinstance(cells, list) else 1) != len(columns):
            raise RequestError(400, f"row {row}: it has {found} cells, but there are {len(columns)} columns")
    if index is not None and not (isinstance(index, list) and len(index) == len(data)):
        raise RequestError(400, "dataframe_split.index must be a list as long as data")
    places = {name: columns.index(name) for name in _known(columns)}
    return {
        name: [cells[place] if isinstance(cells, list) else cells for cells in data]
        for name, place in places.items()
    }


def _from_records(value: Any) -> _Columns:
    """`[{"text": "…"}, …]`."""
    if not isinstance(value, list):
        raise RequestError(400, f"records must be a list of objects with {_COLUMN!r}")
    for row, record in enumerate(value):
        if not isinstance(record, dict) or _COLUMN not in record:
            raise RequestError(400, f"row {row}: it is no object with {_COLUMN!r}")
    return {name: [record.get(name) for record in value] for name in (_COLUMN, *NEIGHBOURS)}


def _from_values(value: Any) -> _Columns:
    """`["…", …]`, records as in `dataframe_records`, or columns `{"text": ["…", …]}`."""
    if isinstance(value, dict) and _COLUMN in value:
        is_one = not isinstance(value[_COLUMN], list)
        return {name: [value[name]] if is_one else value[name] for name in _known(value)}
    if not isinstance(value, list):
        sentence = f"inputs and instances must be a list of texts, or an object with {_COLUMN!r}"
        raise RequestError(400, sentence)
    if any(isinstance(element, dict) for element in value):
        return _from_records(value)
    return {_COLUMN: value}


def _known(names: Collection[Any]) -> list[str]:
    return [name for name in (_COLUMN, *NEIGHBOURS) if name in names]


FORMATS: dict[str, Callable[[Any], _Columns]] = {
    "dataframe_split": _from_split,
    "dataframe_records": _from_records,
    "inputs": _from_values,
    "instances": _from_values,
}


def _read_csv(body: bytes, limits: ServingSettings) -> _Columns:
    """CSV as `DataFrame.to_csv` writes it, with or without the index; the header has the column `text`.

    A cell of `NEIGHBOURS` is JSON, or empty.
    """
    try:
        rows = csv.reader(io.StringIO(body.decode("utf-8-sig"), newline=""), strict=True)
        header = next(rows, [])
        if header.count(_COLUMN) != 1:
            raise RequestError(400, f"the first line of the CSV must name the column {_COLUMN!r} once")
        places = {name: header.index(name) for name in _known(header)}
        columns: dict[str, list[Any]] = {name: [] for name in places}
        texts = columns[_COLUMN]
        for cells in rows:
            if not cells:  # an empty line
                continue
            if not places[_COLUMN] < len(cells) <= len(header):
                counts = f"{len(cells)} cells, the header {len(header)}"
                raise RequestError(400, f"row {len(texts)}: it has {counts}")
            for name, place in places.items():
                cell = cells[place] if place < len(cells) else ""
                columns[name].append(cell if name == _COLUMN else _from_json(cell))
            if len(texts) > limits.max_texts:
                break
    except UnicodeDecodeError:
        raise RequestError(400, "the body is not UTF-8") from None
    except csv.Error as error:
        raise RequestError(400, f"the body is not CSV: {error}") from None
    return columns


def _from_json(cell: str) -> Any:
    """The value in a cell, None if it is empty; the cell itself if it is not JSON."""
    try:
        return json.loads(cell) if cell else None
    except (ValueError, RecursionError):
        return cell
