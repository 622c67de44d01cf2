"""The settings that a sweep chooses, and the values that each may take."""

import difflib
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from jabert.config import LONG_TEXTS, Kind, Settings, about, fields, with_values
from jabert.errors import JabertError

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

_GROUPS = ("method", "training")
_SINGLE = ("encoder.max_tokens", "encoder.lower_case", "encoder.pad_to", "features.layers", *LONG_TEXTS)
_NEVER = {
    "method.kind": "`jabert leaderboard` compares kinds of methods",
    "training.seed": "a seed that was chosen says nothing about the next rows",
    "training.watch": "it says which rows choose",
}
_WORDS = ("log", "choose")
_EXAMPLE = '"training.batch_size" = [16, 128, "log"]'


def space_of(settings: Settings) -> "dict[str, BaseDistribution]":
    """The settings to choose, by dotted name, with the values from which Optuna samples.

    Raises:
        JabertError: there is none, a name is not that of a setting which a sweep may choose, or some of its
            values do not fit it.
    """
    if not settings.sweep.space:
        raise JabertError(f"there is nothing to choose: name a setting and its values, as [sweep] {_EXAMPLE}")
    found = {}
    for name, values in settings.sweep.space.items():
        try:
            _require_choosable(settings, name, values)
            found[name] = _distribution(settings, name, values)
        except JabertError as error:
            raise JabertError(f"sweep, {name!r}: {error}") from None
    return found


def _require_choosable(settings: Settings, name: str, values: Sequence[Any]) -> None:
    if name not in fields(type(settings)):
        with_values(settings, {name: None})  # which says what is nearest
    if name in _NEVER:
        raise JabertError(f"it is not for a sweep to choose: {_NEVER[name]}")
    is_place = about(fields(type(settings))[name], "kind") == Kind.LOCATION
    if is_place or (name.partition(".")[0] not in _GROUPS and name not in _SINGLE):
        raise JabertError(
            f"it is not for a sweep to choose, which takes settings of {' and '.join(_GROUPS)}, and "
            f"{', '.join(_SINGLE)}"
        )
    if wrong := [value for value in values if not isinstance(value, bool | int | float | str)]:
        raise JabertError(f"{wrong[0]!r} is neither a number, nor a text, nor true or false")


def _distribution(settings: Settings, name: str, values: Sequence[Any]) -> "BaseDistribution":
    from optuna.distributions import CategoricalDistribution

    word = _word_of(values)
    if word in ("linear", "log"):
        return _range(settings, name, values[0], values[1], log=word == "log")
    choices = tuple(dict.fromkeys(values[:2] if word else values))
    if len(choices) < 2:
        raise JabertError(f"{list(values)!r} leaves nothing to choose; it takes two values at least")
    for value in choices:
        with_values(settings, {name: value})
    return CategoricalDistribution(choices)


def _word_of(values: Sequence[Any]) -> str | None:
    """How two numbers are meant, as ends of a range or as values; None where it is no pair of numbers."""
    if (
        len(values) not in (2, 3)
        or not all(map(_is_number, values[:2]))
        or _is_number(values[-1]) != (len(values) == 2)
    ):
        return None
    word = str(values[2]) if len(values) == 3 else "linear"
    if word not in ("linear", *_WORDS):
        near = difflib.get_close_matches(word, _WORDS, n=1, cutoff=0.4)
        hint = f"the nearest is {near[0]!r}" if near else f"there are: {', '.join(_WORDS)}"
        raise JabertError(f"{word!r} does not say how to choose between two numbers; {hint}")
    return word


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _range(settings: Settings, name: str, low: Any, high: Any, *, log: bool) -> "BaseDistribution":
    """Whole numbers if both ends are written as such."""
    from optuna.distributions import FloatDistribution, IntDistribution

    whole = isinstance(low, int) and isinstance(high, int)
    for value in (low, high):
        with_values(settings, {name: value})
    if low >= high:
        raise JabertError(f"the lower end {low} is not below the upper end {high}")
    if log and low <= 0:
        raise JabertError(f"the lower end {low} has no logarithm; it must be above 0")
    if whole:
        return IntDistribution(low, high, log=log)
    with_values(settings, {name: low + (high - low) / math.e})  # refused where only whole numbers fit
    return FloatDistribution(low, high, log=log)
