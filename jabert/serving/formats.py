"""The request formats of MLflow's scoring server.

`mlflow.pyfunc.scoring_server` is not used because it makes a pandas or NumPy table of a request before its
rows can be counted: that takes a third of a millisecond for a single text, and for one long text among many
short ones it can exhaust the memory.
"""

import csv
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from jabert.config import ServingSettings
from jabert.serving.errors import RequestError
from jabert.texts import fault_of

_COLUMN = "text"


@dataclass(frozen=True)
class Inputs:
    """The content of a request: texts to predict, one row each, and parameters of the model."""

    texts: list[str]
    params: dict[str, Any]


def read_request(body: bytes, content_type: str, limits: ServingSettings) -> Inputs:
    """Read the body of a request.

    Args:
        body: the body as received.
        content_type: `application/json` or `text/csv`, with no parameter but `charset=utf-8`.
        limits: on the number of texts and on their length.

    Raises:
        RequestError: 415 for another content type, 413 for too many rows, 400 for any other mistake.
    """
    kind, *parameters = (part.strip().lower() for part in content_type.split(";"))
    if kind not in ("application/json", "text/csv"):
        raise RequestError(415, "the content type must be one of application/json and text/csv")
    if any(parameter not in ("", "charset=utf-8", 'charset="utf-8"') for parameter in parameters):
        raise RequestError(415, "the content type may have no parameter but charset=utf-8")
    values, params = _read_json(body) if kind == "application/json" else (_read_csv(body, limits), {})
    if len(values) > limits.max_texts:
        raise RequestError(413, f"{len(values)} rows are too many, at most {limits.max_texts} are taken")
    for row, value in enumerate(values):
        if isinstance(value, str) and len(value) > limits.max_characters:
            most = f"at most {limits.max_characters} are taken"
            raise RequestError(400, f"row {row}: text has {len(value)} characters, {most}")
        if fault := fault_of(value):
            raise RequestError(400, f"row {row}: text is {fault}")
    return Inputs(values, params)


def _read_json(body: bytes) -> tuple[list[Any], dict[str, Any]]:
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


def _from_split(value: Any) -> list[Any]:
    """`{"columns": ["text"], "data": [["…"], …]}`, optionally with `index`."""
    if not isinstance(value, dict) or not value.keys() <= {"columns", "data", "index"}:
        sentence = "dataframe_split must be an object with columns, data and at most index besides"
        raise RequestError(400, sentence)
    columns, data, index = value.get("columns"), value.get("data"), value.get("index")
    if not isinstance(columns, list) or columns.count(_COLUMN) != 1:
        raise RequestError(400, f"dataframe_split.columns must be a list that holds {_COLUMN!r} once")
    if not isinstance(data, list):
        raise RequestError(400, "dataframe_split.data must be a list of rows")
    rows = [cells if isinstance(cells, list) else [cells] for cells in data]
    for row, cells in enumerate(rows):
        if len(cells) != len(columns):
            counts = f"{len(cells)} cells, but there are {len(columns)} columns"
            raise RequestError(400, f"row {row}: it has {counts}")
    if index is not None and not (isinstance(index, list) and len(index) == len(data)):
        raise RequestError(400, "dataframe_split.index must be a list as long as data")
    column = columns.index(_COLUMN)
    return [cells[column] for cells in rows]


def _from_records(value: Any) -> list[Any]:
    """`[{"text": "…"}, …]`."""
    if not isinstance(value, list):
        raise RequestError(400, f"records must be a list of objects with {_COLUMN!r}")
    for row, record in enumerate(value):
        if not isinstance(record, dict) or _COLUMN not in record:
            raise RequestError(400, f"row {row}: it is no object with {_COLUMN!r}")
    return [record[_COLUMN] for record in value]


def _from_values(value: Any) -> list[Any]:
    """`["…", …]`, records as in `dataframe_records`, or a column `{"text": ["…", …]}`."""
    if isinstance(value, dict) and _COLUMN in value:
        column = value[_COLUMN]
        return column if isinstance(column, list) else [column]
    if not isinstance(value, list):
        sentence = f"inputs and instances must be a list of texts, or an object with {_COLUMN!r}"
        raise RequestError(400, sentence)
    return _from_records(value) if any(isinstance(element, dict) for element in value) else value


FORMATS: dict[str, Callable[[Any], list[Any]]] = {
    "dataframe_split": _from_split,
    "dataframe_records": _from_records,
    "inputs": _from_values,
    "instances": _from_values,
}


def _read_csv(body: bytes, limits: ServingSettings) -> list[Any]:
    """CSV as `DataFrame.to_csv` writes it, with or without the index; the header has the column `text`."""
    try:
        rows = csv.reader(io.StringIO(body.decode("utf-8-sig"), newline=""), strict=True)
        header = next(rows, [])
        if header.count(_COLUMN) != 1:
            raise RequestError(400, f"the first line of the CSV must name the column {_COLUMN!r} once")
        column = header.index(_COLUMN)
        texts: list[Any] = []
        for cells in rows:
            if not cells:  # an empty line
                continue
            if not column < len(cells) <= len(header):
                counts = f"{len(cells)} cells, the header {len(header)}"
                raise RequestError(400, f"row {len(texts)}: it has {counts}")
            texts.append(cells[column])
            if len(texts) > limits.max_texts:
                break
    except UnicodeDecodeError:
        raise RequestError(400, "the body is not UTF-8") from None
    except csv.Error as error:
        raise RequestError(400, f"the body is not CSV: {error}") from None
    return texts
