"""Which model is served: its address, the version that this means now, and that version loaded."""

import re
from collections.abc import Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jabert.errors import JabertError
from jabert.tracking import load_model

if TYPE_CHECKING:
    from mlflow.pyfunc import PyFuncModel
    from mlflow.tracking import MlflowClient

__all__ = ["Address", "Served", "Version", "address_of", "find_version", "load"]

_ALIAS = re.compile(r"models:/(?P<name>[^/:@]+)@(?P<alias>[^/:@]+)")
_FIXED = re.compile(r"models:/(?P<name>[^/:@]+)/(?P<version>\d+)|models:/(?P<id>m-[^/:@]+)|runs:/[^/]+/.+")
_SHORT, _LONG = "京都。", "京都の食堂で昼ごはんを食べた。" * 4


@dataclass(frozen=True)
class Address:
    """A model's URI; `name` and `alias` are set where it is followed."""

    uri: str
    name: str = ""
    alias: str = ""


@dataclass(frozen=True)
class Version:
    """What an address means at one time.

    Attributes:
        label: the version's number; of a model that is not registered its id or URI.
        uri: of exactly this version.
        created: epoch, ms; tells a version from a namesake that was deleted.
    """

    label: str
    uri: str
    created: int = 0


class Served:
    """A version in memory."""

    def __init__(self, version: Version, model: "PyFuncModel") -> None:
        self.version = version
        self._model = model
        schema = model.metadata.get_params_schema()  # type: ignore[no-untyped-call]
        self._params = {param.name for param in schema.params} if schema else set()

    def predict(self, texts: list[str], params: dict[str, Any]) -> list[dict[Hashable, Any]]:
        """Predict texts, at least one.

        Args:
            texts: not blank.
            params: of the model; others are left out, as MLflow does.

        Returns:
            A JSON-ready row a text.

        Raises:
            MlflowException: the model refuses a text or a parameter.
            TypeError: the model does not answer with a table of one row a text.
        """
        import pandas as pd

        known = {name: value for name, value in params.items() if name in self._params}
        table = self._model.predict(pd.DataFrame({"text": texts}), params=known or None)
        if not isinstance(table, pd.DataFrame) or len(table) != len(texts):
            raise TypeError("the model does not answer with a table of one row a text")
        # Not table.to_dict: that takes half a millisecond for one row.
        columns = [table[name].tolist() for name in table]
        return [dict(zip(table, values, strict=True)) for values in zip(*columns, strict=True)]


def address_of(uri: str) -> Address:
    """Read a model's URI.

    Raises:
        JabertError: it has none of the forms that are served.
    """
    if found := _ALIAS.fullmatch(uri):
        return Address(uri, found["name"], found["alias"])
    if not _FIXED.fullmatch(uri):
        raise JabertError(
            f"--model {uri!r} is none of models:/NAME@ALIAS, models:/NAME/VERSION, models:/m-… and runs:/…/…"
        )
    return Address(uri)


def find_version(client: "MlflowClient", address: Address) -> Version | None:
    """The version that an address means now, None if there is no such model or alias.

    Raises:
        MlflowException: the registry cannot be asked.
    """
    if not address.alias:
        found = _FIXED.fullmatch(address.uri)
        label = (found["version"] or found["id"]) if found else None
        return Version(label or address.uri, address.uri)
    from mlflow.exceptions import MlflowException

    try:
        version = client.get_model_version_by_alias(address.name, address.alias)
    except MlflowException as error:
        # A missing alias is reported as an invalid parameter.
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise
    uri = f"models:/{address.name}/{version.version}"
    return Version(str(version.version), uri, int(version.creation_timestamp))


def load(version: Version, batch_texts: int) -> Served:
    """Load a version and predict with it, short and long texts, alone and in a batch: what is first is slow.

    Raises:
        Exception: whatever the model's own code or its files come up with.
    """
    served = Served(version, load_model(version.uri))
    for texts in ([_SHORT], [_LONG], [_SHORT, _LONG] * (batch_texts // 2)):
        if texts:
            served.predict(texts, {})
    return served
