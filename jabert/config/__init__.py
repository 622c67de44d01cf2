"""Every setting of jabert: typed, frozen, read from one recipe and `group.key=value` overrides.

A recipe is a TOML file with a table for each group of settings; some come with the package
(`bundled_recipes`). Unknown names and wrong values are refused by name. Paths in a user's recipe are
relative to that recipe; those of overrides and of the built-in defaults to the current directory.
The resolved settings can be written back as a recipe that repeats the run.
"""

import difflib
import logging
import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from jabert.config.locations import BUNDLED, SQLITE, bundled, expanded, is_url, local_database, local_path
from jabert.config.settings import (
    CONTEXT,
    LONG_TEXTS,
    ClassWeights,
    Count,
    DataSettings,
    EncoderSettings,
    EnsembleSettings,
    FeaturesSettings,
    Kind,
    MethodSettings,
    Positive,
    PretrainingSettings,
    PromotionSettings,
    RegistrySettings,
    ServingSettings,
    Settings,
    Share,
    SweepSettings,
    TrackingSettings,
    TrainingSettings,
    VocabularySettings,
    about,
    decisive,
    fields,
    method_kinds,
    neutral_values,
    settings_with_method,
)
from jabert.config.urls import Location, Url, below, location, recordable, revealed
from jabert.errors import JabertError

__all__ = [
    "CONTEXT",
    "LONG_TEXTS",
    "RENAMED",
    "SQLITE",
    "ClassWeights",
    "Count",
    "DataSettings",
    "EncoderSettings",
    "EnsembleSettings",
    "FeaturesSettings",
    "Kind",
    "Location",
    "MethodSettings",
    "Positive",
    "PretrainingSettings",
    "PromotionSettings",
    "RegistrySettings",
    "ServingSettings",
    "Settings",
    "Share",
    "SweepSettings",
    "TrackingSettings",
    "TrainingSettings",
    "Url",
    "VocabularySettings",
    "about",
    "below",
    "bundled",
    "bundled_recipes",
    "decisive",
    "expanded",
    "fields",
    "is_url",
    "list_settings",
    "load_settings",
    "local_database",
    "local_path",
    "location",
    "method_kinds",
    "names_method",
    "names_setting",
    "neutral_values",
    "recordable",
    "rename_settings",
    "revealed",
    "settings_with_method",
    "with_method_of",
    "with_values",
]

log = logging.getLogger("jabert")

RENAMED = {"classifier.units": "method.units", "classifier.dropout": "method.dropout"}
"""Present names of settings by the names that they had in an earlier version."""

_OF_THE_RUN = ("seed", "watch", "work_path")
"""Settings of the group `training` that a method does not bring along."""

_SPACE = re.compile(r"sweep\.[^.]+\.")
"""Begins an override that gives a sweep a setting to choose, as `sweep.method.units=[64, 256]`."""
_FAR = 0.4  # likeness of a name that is only perhaps meant

_DEFAULT_KINDS = ("stack", "bi-lstm")
"""Of a recipe that names none: the first that has its settings. Earlier versions had only the last."""


def load_settings(recipe: str | Path | None = None, overrides: Iterable[str] = ()) -> Settings:
    """Read a recipe and apply overrides.

    Settings that had another name in an earlier version are accepted under it. Where an override chooses
    another kind of method than the recipe, the recipe's settings of the group `method` are set aside.

    Args:
        recipe: name of a bundled recipe or path of a TOML file; without it the defaults.
        overrides: strings `group.key=value`, the value written as in TOML, quotes optional.

    Raises:
        JabertError: no such recipe, a name that is not a setting, or a value that does not fit.

    Example:
        >>> jabert.load_settings("knbc", ["data.path=KNBC_v1.0", "method.units=128"]).method.units
        128
    """
    tree, folder = _read_recipe(recipe)
    chosen: dict[str, Any] = {}
    for override in overrides:
        group, key, value = _parse_override(override)
        chosen.setdefault(group, {})[key] = value
    model = _choose_method(tree, chosen, recipe)
    for name in (f"{group}.{key}" for group, values in chosen.items() for key in values):
        if name not in fields(model) and not _SPACE.match(name):
            raise JabertError(_unknown(name, model))
    _make_absolute(tree, folder, model)
    _make_absolute(chosen, Path.cwd(), model)
    for group, values in chosen.items():
        section = tree.setdefault(group, {})
        if isinstance(section, dict):  # otherwise refused below, with its name
            section.update(values)
    try:
        settings = model.model_validate({**tree, "recipe": str(recipe or "")})
    except ValidationError as error:
        raise JabertError(_sentence(error, recipe, model)) from None
    return _with_defaults_resolved(settings)


def with_method_of(settings: Settings, recipe: str | Mapping[str, Any]) -> Settings:
    """The same settings with the method of a recipe: its groups `method` and `training`.

    The seed, the rows that choose and the folder of the run stay.

    Args:
        settings: of a run.
        recipe: name or path of a recipe, or a kind of method, which then has its defaults; or the settings of
            the group `method` themselves, those of `training` among them under that name.

    Raises:
        JabertError: no such recipe, or it is not a good one.
    """
    if isinstance(recipe, Mapping):
        own = {key: value for key, value in recipe.items() if key != "training"}
        return _with_groups(settings, {"method": own, "training": recipe.get("training", {})})
    names_kind = recipe in method_kinds() and recipe not in bundled_recipes()
    chosen = load_settings(None, [f"method.kind={recipe}"]) if names_kind else load_settings(recipe)
    training = {} if names_kind else _read_recipe(recipe)[0].get("training", {})
    return _with_groups(settings, {"method": chosen.method.model_dump(), "training": training})


def _with_groups(settings: Settings, chosen: dict[str, Any]) -> Settings:
    """The settings with another group `method`, and some of the group `training` changed."""
    model, tree = _choose_method(chosen, {}, None), settings.model_dump()
    tree["method"] = chosen["method"]
    training = chosen["training"]
    if not isinstance(training, dict):
        raise JabertError(f"setting training cannot be {training!r}: it is a table of settings")
    tree["training"].update({key: value for key, value in training.items() if key not in _OF_THE_RUN})
    try:
        return model.model_validate(tree)
    except ValidationError as error:
        raise JabertError(_sentence(error, None, model)) from None


def with_values(settings: Settings, values: Mapping[str, Any]) -> Settings:
    """The same settings with other values of some, by dotted name.

    Raises:
        JabertError: a name is not a setting, or its value does not fit.
    """
    model, tree = type(settings), settings.model_dump()
    for name, value in values.items():
        if name not in fields(model):
            raise JabertError(_unknown(name, model))
        group, key = name.split(".")
        tree[group][key] = value
    try:
        return model.model_validate(tree)
    except ValidationError as error:
        raise JabertError(_sentence(error, None, model)) from None


def list_settings(group: str | None = None) -> list[dict[str, Any]]:
    """Every setting, those of each kind of method behind `method.kind`: what `jabert settings` lists.

    Args:
        group: name of a group, or of one setting; None for all.

    Returns:
        For each `setting`, its dotted name; `kind`, of method that has it, None for all; `default`, None
        without; and `meaning`, one line.

    Raises:
        JabertError: there is no such group or setting; names the nearest.
    """
    found: list[dict[str, Any]] = []
    for name, field in fields().items():
        found.append(_listed(name, field))
        if name == "method.kind":
            for kind in method_kinds():
                own = fields(settings_with_method(kind)).items()
                found += [_listed(of, field, kind) for of, field in own if of not in fields()]
    chosen = [each for each in found if group in (None, each["setting"], each["setting"].partition(".")[0])]
    if not chosen:
        raise JabertError(_unknown(str(group), Settings, [each["setting"] for each in found]))
    return chosen


def _listed(name: str, field: FieldInfo, kind: str | None = None) -> dict[str, Any]:
    default = field.default
    return {
        "setting": name,
        "kind": kind,
        "default": list(default) if isinstance(default, tuple) else default,
        "meaning": " ".join((field.description or "").split()),
    }


def rename_settings(tree: dict[str, Any]) -> list[str]:
    """Move settings of earlier versions to their present names, in place.

    Args:
        tree: groups of settings, as a recipe has them.

    Returns:
        The names of earlier versions that were found.
    """
    found = []
    for old, new in RENAMED.items():
        (old_group, old_key), (new_group, new_key) = old.split("."), new.split(".")
        section = tree.get(old_group)
        if isinstance(section, dict) and old_key in section:
            tree.setdefault(new_group, {}).setdefault(new_key, section.pop(old_key))
            found.append(old)
            if not section:
                del tree[old_group]
    return found


def _choose_method(tree: dict[str, Any], chosen: dict[str, Any], recipe: str | Path | None) -> type[Settings]:
    """The model of the settings for the kind of method that is asked for.

    Settings of another kind are removed from the recipe; from the overrides too if they came under a name
    of an earlier version, which had only one kind. One line of the log says what was renamed or removed.
    """
    renamed = [(source, old) for source in (tree, chosen) for old in rename_settings(source)]
    own, asked = (source.get("method") for source in (tree, chosen))
    own, asked = own if isinstance(own, dict) else {}, asked or {}
    kind = (
        asked.get("kind") or own.get("kind") or _kind_with({**own, **asked, **chosen.get("classifier", {})})
    )
    if kind not in method_kinds():
        near = difflib.get_close_matches(str(kind), method_kinds(), n=1)
        hint = f"the nearest is {near[0]!r}" if near else f"there are: {', '.join(method_kinds())}"
        raise JabertError(f"setting method.kind cannot be {kind!r}; {hint}")
    model, aside = settings_with_method(kind), []
    if kind != (own.get("kind") or _kind_with(own)):
        aside = [key for key in own if key != "kind"]
        tree["method"] = {}
    for source, old in renamed:
        key = RENAMED[old].partition(".")[2]
        if RENAMED[old] not in fields(model) and source.get("method", {}).pop(key, None) is not None:
            aside.append(key)
    said = [f"{old} is called {RENAMED[old]} now" for old in dict.fromkeys(old for _, old in renamed)]
    said += [f"set aside for method.kind {kind!r}: {', '.join(sorted(set(aside)))}"] if aside else []
    if said:
        log.info("%s: %s", f"recipe {recipe}" if recipe else "settings", "; ".join(said))
    return model


def _kind_with(own: Mapping[str, Any]) -> str:
    """The kind that is meant where only settings of it are named."""
    return next((kind for kind in _DEFAULT_KINDS if _has(kind, own)), _DEFAULT_KINDS[-1])


def _has(kind: str, own: Mapping[str, Any]) -> bool:
    return all(f"method.{key}" in fields(settings_with_method(kind)) for key in own)


def names_method(recipe: str | Path | None, overrides: Iterable[str]) -> bool:
    """Whether a recipe or overrides, as for `load_settings`, choose a method or one of its settings."""
    return any(name.startswith("method.") for name in _named(recipe, overrides))


def names_setting(name: str, recipe: str | Path | None, overrides: Iterable[str]) -> bool:
    """Whether a recipe or overrides, as for `load_settings`, give the setting a value."""
    return name in _named(recipe, overrides)


def _named(recipe: str | Path | None, overrides: Iterable[str]) -> set[str]:
    """The settings that have a value, by their present names; `method.` for an empty group of that name."""
    tree = _read_recipe(recipe)[0]
    rename_settings(tree)
    found = {f"{group}.{key}" for group, of in tree.items() if isinstance(of, dict) for key in of or [""]}
    given = (".".join(_parse_override(override)[:2]) for override in overrides)
    return found | {RENAMED.get(name, name) for name in given}


def bundled_recipes() -> dict[str, Path]:
    """The recipes that come with jabert, by name."""
    return {path.stem: path for path in sorted(Path(str(files("jabert"))).glob("recipes/*.toml"))}


def _read_recipe(recipe: str | Path | None) -> tuple[dict[str, Any], Path]:
    if not recipe:
        return {}, Path.cwd()
    recipes = bundled_recipes()
    path = recipes.get(str(recipe)) or expanded(recipe)
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise JabertError(f"recipe {path} is not UTF-8 text; save it as such") from None
    except OSError as error:
        known = f"nor one of: {', '.join(recipes)}"
        raise JabertError(f"recipe {str(recipe)!r} is neither a file that can be read {known}") from error
    try:
        return tomllib.loads(text), path.resolve().parent
    except (ValueError, RecursionError) as error:  # also a number of 5,000 digits
        raise JabertError(f"recipe {path}: {error}") from None


def _parse_override(override: str) -> tuple[str, str, Any]:
    name, equals, text = override.partition("=")
    group, dot, key = name.strip().partition(".")
    if not (equals and dot and group and key):
        raise JabertError(f"setting {override!r} is not of the form group.key=value")
    name = f"{group}.{key}"
    text = text.strip()
    if text.startswith(("[", '"', "'")):
        try:
            return group, key, tomllib.loads(f"value = {text}")["value"]
        except (ValueError, RecursionError) as error:
            raise JabertError(f"setting {name}: {text!r} cannot be read as a TOML value: {error}") from None
    # A bare word: pydantic reads numbers and true/false from text by the field's type.
    return group, key, None if text in ("", "none") else text


def _make_absolute(tree: Mapping[str, Any], folder: Path, model: type[Settings]) -> None:
    for name, field in fields(model).items():
        group, key = name.split(".")
        section = tree.get(group)
        if not isinstance(section, dict):
            continue
        value, kind = section.get(key), about(field, "kind")
        if isinstance(value, str) and value != BUNDLED.get(name):
            section[key] = _absolute(value, kind, folder)
        elif isinstance(value, (list, tuple)):
            section[key] = [_absolute(v, kind, folder) if isinstance(v, str) else v for v in value]


def _absolute(value: str, kind: Kind | None, folder: Path) -> str:
    if kind == Kind.STORE and (database := local_database(value)):
        options = revealed(value).partition("?")[1:]
        return Url("".join((SQLITE, _absolute(str(database), Kind.LOCATION, folder), *options)))
    if kind and is_url(value):
        return location(value)
    if kind == Kind.LOCATION or (kind == Kind.SUITE and value.endswith(".json")):
        return os.path.normpath(folder / expanded(value))
    return value


def _with_defaults_resolved(settings: Settings) -> Settings:
    """Make built-in default paths absolute and fill in the tracking store."""
    tree = settings.model_dump()
    tracking = tree["tracking"]
    tracking["uri"] = tracking["uri"] or os.environ.get("MLFLOW_TRACKING_URI") or f"{SQLITE}mlruns/mlflow.db"
    _make_absolute(tree, Path.cwd(), type(settings))
    database = local_database(tracking["uri"])
    if tracking["artifacts"] is None and database:
        tracking["artifacts"] = str(database.parent / "artifacts")
    return type(settings).model_validate(tree)


def _unknown(name: str, model: type[Settings], known: Iterable[str] = ()) -> str:
    # The right key in the wrong group is as likely as a misspelt one.
    names = list(known or fields(model))
    by_key = {known.split(".")[1]: known for known in names}
    group, dot, key = name.partition(".")
    near = difflib.get_close_matches(name, names, n=1) if dot else []
    near_group = difflib.get_close_matches(group, {known.split(".")[0] for known in names}, n=1)
    near_key = difflib.get_close_matches(key or group, by_key, n=1)
    if near or (near_key and (dot or not near_group)):
        return f"there is no setting {name}; the nearest is {near[0] if near else by_key[near_key[0]]}"
    if near_group:
        return f"there is no setting {name}; the nearest group is {near_group[0]}"
    near = difflib.get_close_matches(name, names, n=1, cutoff=_FAR)
    hint = f"the nearest is {near[0]}, and " if near else ""
    return f"there is no setting {name}; {hint}`jabert settings` lists all"


def _sentence(error: ValidationError, recipe: str | Path | None, model: type[Settings]) -> str:
    """One sentence for the first problem that pydantic found."""
    first = error.errors()[0]
    name = ".".join(str(part) for part in first["loc"] if isinstance(part, str) and "[" not in part)
    origin = f"recipe {recipe}: " if recipe else ""
    if first["type"] == "extra_forbidden":
        return origin + _unknown(name, model)
    value, message = first["input"], first["msg"].removeprefix("Value error, ")
    message = message[0].lower() + message[1:]
    if first["type"] == "tuple_type":
        message = f"it is a list, as {[value]!r}"
    if first["type"] == "literal_error":
        options = map(str, getattr(fields(model)[name].annotation, "__args__", ()))
        near = difflib.get_close_matches(str(value), list(options), n=1, cutoff=0.4)
        message += f"; the nearest is {near[0]!r}" if near else ""
    return f"{origin}setting {name} cannot be {value!r}: {message}"
