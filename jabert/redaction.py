"""What of a URL may be shown, and taking the rest out of texts, such as the errors of libraries.

Only scheme, host and path of a URL may: user and password, query and fragment are secrets. `keep_out` notes
those of a URL for the rest of the process, so that `redacted` finds them in any text, in any way of writing
them; and it shortens whatever else looks like a URL.
"""

import html
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple
from urllib.parse import quote, unquote, unquote_plus

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
# fsspec's chains: zip://a.csv::https://host/b.zip, simplecache::s3://bucket/c
_LINK = re.compile(r"::(?=(?:[A-Za-z][A-Za-z0-9+.-]*::)*[A-Za-z][A-Za-z0-9+.-]*://)")
_CERTAIN_HOST = re.compile(r"(localhost|\d+(\.\d+){3}|\[[0-9A-Fa-f:.]+\])(:\d+)?|[\w-]+(\.[\w-]+)+", re.ASCII)
# What stands first in these is the name of a store, never a user; `@` may stand in their paths.
_NAMED = {"file", "local", "memory", "zip", "tar", "sqlite", "s3", "s3a", "gs", "gcs", "az", "oss", "hdfs"}
_NAMED |= {"dbfs", "hf", "runs", "models", "mlflow-artifacts"}
_CONTAINER = re.compile(r"(?:abfss?|wasbs?)://\Z", re.IGNORECASE)  # which stands before the `@`
_IN_TEXT = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s'\"<>`]+")
_AFTER_URL = re.compile(r"[)\],.;:!?、。」）]*\Z")
_HIDDEN = "***"
# Characters: a shorter secret is looked for as a whole word only, and not at all if it is very short.
_SHORT, _SHORTEST, _SHORTEST_PIECE = 8, 3, 6
_TOKEN = 12  # characters of a user beside a password that is a token and no name


class Parts(NamedTuple):
    """A URL, or a link of a chain of them, in order; `"".join(parts)` is all of it.

    Attributes:
        scheme: with `://`.
        user: user and password with the `@` behind them, as far as there are any.
        place: host and path.
        more: query and fragment with their signs.
    """

    scheme: str
    user: str
    place: str
    more: str


def split_url(link: str) -> Parts:
    """Divide a URL; where it can be read in two ways, so that more of it is secret.

    A password may hold `/`, `?`, `#`, `@` and blanks, though they should be escaped. So everything before the
    last `@` is user and password, unless what stands before it is surely a host.
    """
    found = _SCHEME.search(link)
    if found is None:
        return Parts("", "", link, "")
    scheme, rest = link[: found.end()], link[found.end() :]
    end = _end_of_user(found[0][:-3].lower(), rest)
    end = 0 if _CONTAINER.search(scheme) and ":" not in rest[:end] else end
    signs = "?#;" if scheme.lower().endswith(("http://", "https://")) else "?#"
    place = re.split(f"[{signs}]", rest[end:], maxsplit=1)[0]
    return Parts(scheme, rest[:end], place, rest[end + len(place) :])


def _end_of_user(scheme: str, rest: str) -> int:
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    first, last = authority.rfind("@") + 1, rest.rfind("@") + 1
    is_named = scheme in _NAMED and not first and ":" not in authority
    return first if is_named or not authority or _CERTAIN_HOST.fullmatch(authority[first:]) else last


def links_of(url: str) -> list[str]:
    """The links of a chain, the URL itself if it is none."""
    return _LINK.split(url)


def shown_form(url: str) -> str:
    """A URL without its secrets: scheme, host and path, of each link of a chain; the same for the result.

    Example:
        >>> shown_form("https://me:secret@host/x.csv?sig=abc")
        'https://host/x.csv'
    """
    return "::".join(f"{part.scheme}{part.place}" for part in map(split_url, links_of(url)))


class _Known:
    """The secrets of this process, and what finds them in a text."""

    def __init__(self) -> None:
        self.secrets: set[str] = set()
        self.pattern: re.Pattern[str] | None = None
        self._lock = threading.Lock()

    def add(self, secrets: set[str]) -> None:
        with self._lock:
            if secrets <= self.secrets:
                return
            self.secrets |= secrets
            longest_first = sorted(self.secrets, key=lambda secret: (-len(secret), secret))
            self.pattern = re.compile("|".join(map(_found_by, longest_first)), re.IGNORECASE)


_known = _Known()


def keep_out(url: str) -> None:
    """Note the secrets of a URL, or of a word that ends in one, so that `redacted` finds them from now on."""
    secrets = {secret for part in map(split_url, links_of(url)) for secret in _secrets_in(part)}
    _known.add({written for secret in secrets for written in _ways_to_write(secret)})


def _secrets_in(parts: Parts) -> Iterator[str]:
    """What of a URL gives access: password or token, and what is in its query."""
    whole = parts.user[:-1]
    user, _, password = whole.partition(":")
    token = user if not password or len(user) >= _TOKEN else ""  # else a name that other texts have too
    yield from (each for each in (whole if password else "", password, token) if len(each) >= _SHORTEST)
    # A library that takes the URL apart in another way speaks of pieces.
    given = password or user
    words = {word for written in (given, unquote(given)) for word in re.split(r"[/@:?#\s]", written)}
    pieces = [*words, parts.more[1:], *re.split("[&;#?]", parts.more)]
    values = [piece.partition("=")[2] for piece in pieces]
    yield from (each for each in (*pieces, *values) if len(each) >= _SHORTEST_PIECE)


def _ways_to_write(secret: str) -> set[str]:
    """A secret as libraries write it: escaped for a URL or not, for HTML, JSON or Python."""
    plain = {secret, unquote(secret), unquote_plus(secret)}
    in_urls = {quote(each, safe, errors="replace") for each in plain for safe in ("", "/")}
    every = plain | in_urls | {each.replace("%20", "+") for each in in_urls}
    escaped = {
        form for each in every for form in (html.escape(each), json.dumps(each)[1:-1], repr(each)[1:-1])
    }
    return every | escaped


def _found_by(secret: str) -> str:
    found = re.escape(secret)
    return rf"(?<![^\W_]){found}(?![^\W_])" if len(secret) < _SHORT else found


def redacted(text: str) -> str:
    """A text with `***` for the secrets of this process, and of each URL only what may be shown.

    Example:
        >>> redacted("no answer from https://me:secret@host/x.csv?sig=abc")
        'no answer from https://host/x.csv'
    """
    if _known.pattern:
        text = _known.pattern.sub(_HIDDEN, text)
    return _IN_TEXT.sub(_shortened, text) if "://" in text else text


def _shortened(found: re.Match[str]) -> str:
    after = _AFTER_URL.search(found[0])
    assert after
    url = found[0][: after.start()]
    parts = split_url(url)
    if parts.more.startswith("#") and "=" not in parts.more and not parts.user:
        return found[0]  # the anchor of a page
    return shown_form(url) + after[0]


@contextmanager
def errors_redacted() -> Iterator[None]:
    """Let an error leave the block, or the function that this decorates, without secrets in its text.

    It keeps its type, unless it makes its text anew each time.

    Raises:
        RuntimeError: in place of such an error.
    """
    try:
        yield
    except Exception as error:
        if redacted(str(error)) == str(error):
            raise
        error.args = tuple(redacted(part) if isinstance(part, str) else part for part in error.args)
        named = {**vars(error), **{name: getattr(error, name, None) for name in ("filename", "strerror")}}
        for name, value in named.items():
            if isinstance(value, str):
                setattr(error, name, redacted(value))
        if redacted(str(error)) == str(error):
            raise
        raise RuntimeError(redacted(f"{type(error).__name__}: {error}")) from None
