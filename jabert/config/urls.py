"""Settings that hold secrets: as text they have none, and only what opens a URL asks for the whole of it."""

import json
import os
import tomllib
from typing import Annotated, Any, Self

from pydantic import ValidatorFunctionWrapHandler, WrapValidator

from jabert.errors import JabertError
from jabert.redaction import keep_out, links_of, redacted, shown_form, split_url

VARIABLE = "JABERT_URLS"
"""Variable of the environment: URLs with their secrets, separated by blanks. A setting that names one of them
by scheme, host and path means it."""

_UNKNOWN = ":***@"  # what earlier versions wrote for a password

_NOTING = {"filecache", "blockcache", "cached"}  # fsspec's caches that keep a list of URLs


class Url(str):
    """A URL: as text it is scheme, host and path; so it is printed, compared to JSON, recorded and pickled.

    Of a chain of fsspec's that holds for each link. `revealed` has the whole, and two are equal only if that
    is. A URL without a secret is looked for in the environment's `JABERT_URLS`.

    Raises:
        JabertError: two URLs there are meant by it, or a cache of fsspec's would write its secret to disk.

    Example:
        >>> url = Url("https://me:secret@host/x.csv?sig=abc")
        >>> print(url, revealed(url))
        https://host/x.csv https://me:secret@host/x.csv?sig=abc
    """

    _whole: str

    def __new__(cls, text: str) -> Self:  # noqa: D102
        whole = revealed(text)
        shown = shown_form(whole)
        if whole == shown or _UNKNOWN in whole:
            whole = _of_environment(shown)
        keep_out(whole)
        if whole != shown and (cache := _NOTING.intersection(links_of(shown))):
            raise JabertError(
                f"{shown} has a secret, which {cache.pop()} would note in a file; simplecache:: notes nothing"
            )
        made = super().__new__(cls, shown)
        made._whole = whole
        return made

    def __eq__(self, other: object) -> bool:
        return isinstance(other, str) and self._whole == revealed(other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash(self._whole)

    def __reduce__(self) -> tuple[Any, ...]:
        return Url, (str(self),)

    def __deepcopy__(self, _memo: object) -> Self:
        return self


def revealed(text: str) -> str:
    """The whole of a URL, for the library that opens it and nothing else; another text as it is."""
    return text._whole if isinstance(text, Url) else text


def _of_environment(shown: str) -> str:
    named = [url for url in os.environ.get(VARIABLE, "").split() if shown_form(url) == shown]
    if len(set(named)) > 1:
        raise JabertError(f"{VARIABLE} has several URLs that are shown as {shown}; give that one by --set")
    return named[0] if named else shown


def location(text: str) -> str:
    """A `Url` of a text that is one, another text, such as a path, as it is."""
    return Url(text) if "://" in text else text


def below(folder: str, name: str) -> str:
    """The location of a file or folder in a folder, a path or URL; with the secrets of that."""
    if not isinstance(folder, Url):
        return f"{folder.rstrip('/')}/{name}"
    first, *rest = links_of(revealed(folder))
    parts = split_url(first)
    child = f"{parts.scheme}{parts.user}{parts.place.rstrip('/')}/{name}{parts.more}"
    return Url("::".join([child, *rest]))


def _kept(value: Any, validate: ValidatorFunctionWrapHandler) -> Any:
    return value if isinstance(value, Url) else location(validate(value))


Location = Annotated[str, WrapValidator(_kept)]
"""Of a setting that takes a path or URL."""


def recordable(override: str) -> str:
    """A setting as `group.key=value`, or a location, without the secrets of URLs in it."""
    name, equals, value = override.partition("=")
    if "://" in name:
        return Url(override)
    return f"{name}{equals}{_shown_value(value.strip())}" if "://" in value else override


def _shown_value(text: str) -> str:
    if not text.startswith(("[", '"', "'")):
        return Url(text)
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:  # which is said where the setting is read
        return redacted(text)
    urls = value if isinstance(value, list) else [value]
    shown = [str(location(url)) if isinstance(url, str) else url for url in urls]
    return json.dumps(shown if isinstance(value, list) else shown[0], ensure_ascii=False)
