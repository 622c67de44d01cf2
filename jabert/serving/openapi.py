"""The description of `/invocations` in the OpenAPI page."""

from typing import Any

from pydantic import BaseModel, Field

ABOUT = (
    "Classifies Japanese texts, in the formats and on the routes of `mlflow models serve`. "
    "The columns `before` and `after` are optional, and ignored by a model that takes a text alone; "
    "in CSV each cell is one JSON array. "
    "The header `X-Jabert-Version` names the version that answered."
)
_EXAMPLE = "紅葉の京都を一日歩いた。"
_TEXT = {"type": "string", "minLength": 1, "pattern": r"\S"}
_TEXTS = {"type": "array", "items": _TEXT}
_ABOUT_NEIGHBOURS = {
    "before": "The texts before it in its group, e.g. its article, the nearest last.",
    "after": "The texts after it in its group, the nearest first.",
}
_BESIDE = {"type": ["array", "null"], "items": {"type": "string"}}
_NEIGHBOURS = {name: {**_BESIDE, "description": about} for name, about in _ABOUT_NEIGHBOURS.items()}
_RECORD = {"type": "object", "properties": {"text": _TEXT, **_NEIGHBOURS}, "required": ["text"]}
_RECORDS = {"type": "array", "items": _RECORD}
_SPLIT = {
    "type": "object",
    "properties": {
        "columns": {
            "type": "array",
            "contains": {"const": "text"},
            "description": "`text`, and perhaps `before` and `after`: "
            + " ".join(_ABOUT_NEIGHBOURS.values()),
        },
        "data": {"type": "array", "description": "Rows, each with one cell per column."},
        "index": {"type": ["array", "null"]},
    },
    "required": ["columns", "data"],
    "additionalProperties": False,
}
_BY_COLUMN = {
    "type": "object",
    "properties": {
        "text": _TEXTS,
        **{
            name: {"type": "array", "items": _BESIDE, "description": f"Of each text. {about}"}
            for name, about in _ABOUT_NEIGHBOURS.items()
        },
    },
    "required": ["text"],
}
_VALUES = {"anyOf": [_TEXTS, _RECORDS, _BY_COLUMN, _RECORD]}
_FORMATS: dict[str, tuple[dict[str, Any], Any]] = {  # each with its schema and an example
    "dataframe_split": (_SPLIT, {"columns": ["text"], "data": [[_EXAMPLE]]}),
    "dataframe_records": (_RECORDS, [{"text": _EXAMPLE}]),
    "inputs": (_VALUES, [_EXAMPLE]),
    "instances": (_VALUES, [_EXAMPLE]),
}
_PARAMS = {
    "type": ["object", "null"],
    "description": "Parameters of the model, such as `top_k` and `threshold`; others are refused.",
}
_JSON = {
    "schema": {
        "oneOf": [
            {
                "title": name,
                "type": "object",
                "properties": {name: schema, "params": _PARAMS},
                "required": [name],
            }
            for name, (schema, _) in _FORMATS.items()
        ]
    },
    "examples": {name: {"value": {name: example}} for name, (_, example) in _FORMATS.items()},
}
_CSV = {"schema": {"type": "string"}, "example": f"text\n{_EXAMPLE}\n"}
INVOCATIONS: dict[str, Any] = {
    "requestBody": {"required": True, "content": {"application/json": _JSON, "text/csv": _CSV}}
}


class Health(BaseModel):
    """What is served, and whether the alias can be followed."""

    status: str = Field(description="`ok`, or `degraded` while the alias cannot be followed")
    model: str = Field(description="URI of the model that is served")
    version: str = Field(description="version of the model that is served now")
    trouble: str | None = Field(description="a sentence on why the alias cannot be followed")


class Predictions(BaseModel):
    """One row per text, in the order of the request."""

    predictions: list[dict[str, Any]]


class Error(BaseModel):
    """The reason why there are no predictions."""

    error_code: str
    message: str = Field(description="one sentence")


_PREDICTED = {
    "label": "京都",
    "score": 0.97,
    "probabilities": {"グルメ": 0.02, "京都": 0.97, "携帯電話": 0.01},
}
_HEADERS = {
    "X-Jabert-Version": {"description": "the version that answered", "schema": {"type": "string"}},
    "X-Jabert-Cut": {
        "description": "rows, from 0, of which the model saw only some, as they are too long; else absent",
        "schema": {"type": "string"},
    },
}
_ERRORS = {
    400: "The request is malformed; the sentence names the row.",
    408: "The body did not arrive in time.",
    413: "The body is too long, or has too many rows.",
    415: "The content type is neither application/json nor text/csv.",
    500: "The model failed.",
    503: "Too many texts are waiting; try again after the seconds in `Retry-After`.",
    504: "The prediction did not end in time.",
}
RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "model": Predictions,
        "description": "The predictions.",
        "headers": _HEADERS,
        "content": {"application/json": {"example": {"predictions": [_PREDICTED]}}},
    },
    **{status: {"model": Error, "description": sentence} for status, sentence in _ERRORS.items()},
}
