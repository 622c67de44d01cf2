"""The model that is served: its URI, the version that it refers to at present, and that version loaded."""

import difflib
import re
import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from jabert.config import local_database
from jabert.errors import JabertError
from jabert.registry import cut_of
from jabert.serving.errors import RequestError
from jabert.serving.formats import NEIGHBOURS
from jabert.tracking import TrustedKey, get_or_none, load_model

if TYPE_CHECKING:
    from mlflow.pyfunc import PyFuncModel
    from mlflow.tracking import MlflowClient

_ALIAS = re.compile(r"models:/(?P<name>[^/:@]+)@(?P<alias>[^/:@]+)")
_FIXED = re.compile(r"models:/(?P<name>[^/:@]+)/(?P<version>\d+)|models:/(?P<id>m-[^/:@]+)|runs:/[^/]+/.+")
_LONGEST_NAME = 100  # of a parameter that is looked for
_SHORT, _LONG = "京都。", "京都の食堂で昼ごはんを食べた。" * 4


@dataclass(frozen=True)
class Address:
    """URI of a model; it has either an alias, which is followed, or the label of a fixed version."""

    uri: str
    name: str = ""
    alias: str = ""
    label: str = ""


@dataclass(frozen=True)
class Version:
    """The version that an address refers to at a point in time.

    Attributes:
        label: number of the version; id or URI if the model is not registered.
        uri: URI of this very version.
        created: ms since the epoch; distinguishes a version from a deleted one with the same number.
    """

    label: str
    uri: str
    created: int = 0


class LoadedVersion:
    """A version in memory.

    Args:
        version: what was loaded.
        model: the pyfunc model, with the column `text` in its signature.

    Attributes:
        version: what was loaded.
        neighbours: the columns of `NEIGHBOURS` in the model's signature.
    """

    def __init__(self, version: Version, model: "PyFuncModel") -> None:
        self.version = version
        self._model = model
        schema = model.metadata.get_params_schema()  # type: ignore[no-untyped-call]
        self._params = {param.name for param in schema.params} if schema else set()
        inputs = model.metadata.get_input_schema()  # type: ignore[no-untyped-call]
        self.neighbours = [name for name in NEIGHBOURS if inputs and name in inputs.input_names()]

    def predict(
        self,
        texts: list[str],
        params: dict[str, Any],
        neighbours: Mapping[str, list[list[str]]] = MappingProxyType({}),
    ) -> list[Any]:
        """Predict texts, at least one.

        Args:
            texts: not blank.
            params: parameters of the model's signature.
            neighbours: by column of `NEIGHBOURS`, the texts beside each text; those that are not in the
                model's signature are ignored.

        Returns:
            One JSON-ready row per text, with the columns of the model's table; where its answer is a single
            column, such as with `output`, the values.

        Raises:
            RequestError: 400 for a parameter that the signature does not have; MLflow would ignore it.
            MlflowException: the model rejects a text or the value of a parameter.
            TypeError: the model does not return a table or column with one row per text.
        """
        import pandas as pd

        self._check_names(params)
        beside = {name: rows for name, rows in neighbours.items() if name in self.neighbours}
        table = self._model.predict(pd.DataFrame({"text": texts, **beside}), params=params or None)
        if not isinstance(table, pd.DataFrame | pd.Series) or len(table) != len(texts):
            raise TypeError("the model does not return a table with one row per text")
        if isinstance(table, pd.Series):
            return table.tolist()
        # Not table.to_dict, which takes half a millisecond for one row.
        columns = [table[name].tolist() for name in table]
        return [dict(zip(table, values, strict=True)) for values in zip(*columns, strict=True)]

    def _check_names(self, params: dict[str, Any]) -> None:
        for name in params:
            if name not in self._params:
                near = difflib.get_close_matches(name[:_LONGEST_NAME], self._params, n=1)
                there = f"there are: {', '.join(sorted(self._params))}" if self._params else "it has none"
                hint = f"the nearest is {near[0]}" if near else there
                sentence = f"the model has no parameter {reprlib.repr(name)}; {hint}"
                raise RequestError(400, sentence)

    def cut(self, texts: list[str]) -> list[bool | None]:
        """Whether the model sees only some of each text; None where it cannot tell."""
        return cut_of(self._model, texts)


def address_of(uri: str) -> Address:
    """Parse the URI of a model.

    Raises:
        JabertError: the URI has none of the supported forms.
    """
    if found := _ALIAS.fullmatch(uri):
        return Address(uri, found["name"], found["alias"])
    if found := _FIXED.fullmatch(uri):
        return Address(uri, label=found["version"] or found["id"] or uri)
    raise JabertError(
        f"--model {uri!r} is none of models:/NAME@ALIAS, models:/NAME/VERSION, models:/m-… and runs:/…/…"
    )


def find_version(client: "MlflowClient", address: Address) -> Version | None:
    """The version that an address refers to at present, None if there is no such model or alias.

    Raises:
        MlflowException: the registry does not answer.
    """
    if not address.alias:
        return Version(address.label, address.uri)
    name, alias = address.name, address.alias
    version = get_or_none(lambda: client.get_model_version_by_alias(name, alias), invalid=True)
    if version is None:
        return None
    uri = f"models:/{name}/{version.version}"
    return Version(str(version.version), uri, int(version.creation_timestamp))


def require_database(client: "MlflowClient") -> None:
    """Check that an SQLite file is still there: whoever has it open can go on reading one that was deleted.

    Raises:
        FileNotFoundError: it is gone.
    """
    if database := local_database(client.tracking_uri):
        database.stat()


def load(version: Version, batch_texts: int, trusted: Sequence[TrustedKey] = ()) -> LoadedVersion:
    """Load a version and warm it up: the first prediction of each shape is slow.

    Args:
        version: the version to load.
        batch_texts: number of texts in the largest warm-up batch.
        trusted: one of these keys must have signed it, if there are any.

    Raises:
        Exception: of any type, as the model's own code runs.
    """
    served = LoadedVersion(version, load_model(version.uri, trusted))
    for texts in filter(None, ([_SHORT], [_LONG], [_SHORT, _LONG] * (batch_texts // 2))):
        served.predict(texts, {})
    return served
