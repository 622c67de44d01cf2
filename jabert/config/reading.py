"""From a recipe and overrides to settings."""

import difflib
import os
import tomllib
from collections.abc import Iterable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from jabert.config.locations import PACKAGED, SQLITE, expanded, is_url, local_database
from jabert.config.settings import Kind, Settings, fields, kind_of, setting_names
from jabert.errors import JabertError

__all__ = ["load_settings", "packaged_recipes"]


def load_settings(recipe: str | Path | None = None, overrides: Iterable[str] = ()) -> Settings:
    """Read a recipe and apply overrides.

    Args:
        recipe: name of a packaged recipe or path of a TOML file; without it the defaults.
        overrides: strings `group.key=value`, the value written as in TOML, quotes optional.

    Raises:
        JabertError: no such recipe, a name that is not a setting, or a value that does not fit.
    """
    tree, folder = _read_recipe(recipe)
    _make_absolute(tree, folder)
    override_tree: dict[str, Any] = {}
    for override in overrides:
        group, key, value = _parse_override(override)
        override_tree.setdefault(group, {})[key] = value
    _make_absolute(override_tree, Path.cwd())
    for group, values in override_tree.items():
        section = tree.setdefault(group, {})
        if isinstance(section, dict):  # otherwise refused below, with its name
            section.update(values)
    try:
        settings = Settings.model_validate({**tree, "recipe": str(recipe or "")})
    except ValidationError as error:
        raise JabertError(_sentence(error, recipe)) from None
    return _with_defaults_resolved(settings)


def packaged_recipes() -> dict[str, Path]:
    """The recipes that come with jabert, by name."""
    folder = Path(str(files("jabert") / "recipes"))
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def _read_recipe(recipe: str | Path | None) -> tuple[dict[str, Any], Path]:
    if not recipe:
        return {}, Path.cwd()
    packaged = packaged_recipes()
    path = packaged.get(str(recipe)) or expanded(recipe)
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise JabertError(f"recipe {path} is not UTF-8 text") from None
    except OSError as error:
        known = ", ".join(packaged)
        raise JabertError(
            f"recipe {str(recipe)!r} is neither a file that can be read nor one of: {known}"
        ) from error
    try:
        return tomllib.loads(text), path.resolve().parent
    except tomllib.TOMLDecodeError as error:
        raise JabertError(f"recipe {path}: {error}") from None


def _parse_override(override: str) -> tuple[str, str, Any]:
    name, equals, text = override.partition("=")
    group, dot, key = name.strip().partition(".")
    if not (equals and dot and group and key):
        raise JabertError(f"setting {override!r} is not of the form group.key=value")
    name = f"{group}.{key}"
    if name not in fields():
        raise JabertError(_unknown(name))
    text = text.strip()
    if text.startswith(("[", '"', "'")):
        try:
            return group, key, tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError as error:
            raise JabertError(f"setting {name}: {text!r} cannot be read as a TOML value: {error}") from None
    # A bare word: pydantic reads numbers and true/false from text by the field's type.
    return group, key, None if text in ("", "none") else text


def _make_absolute(tree: Mapping[str, Any], folder: Path) -> None:
    for name, field in fields().items():
        group, key = name.split(".")
        section = tree.get(group)
        if not isinstance(section, dict):
            continue
        value = section.get(key)
        if isinstance(value, str) and value != PACKAGED.get(name):
            section[key] = _absolute(value, kind_of(field), folder)
        elif isinstance(value, (list, tuple)):
            section[key] = [_absolute(v, kind_of(field), folder) if isinstance(v, str) else v for v in value]


def _absolute(value: str, kind: Kind | None, folder: Path) -> str:
    if kind == Kind.STORE and (database := local_database(value)):
        options = value.partition("?")[1:]
        return "".join((SQLITE, _absolute(str(database), Kind.LOCATION, folder), *options))
    if (kind == Kind.LOCATION and not is_url(value)) or (kind == Kind.SUITE and value.endswith(".json")):
        return os.path.normpath(folder / expanded(value))
    return value


def _with_defaults_resolved(settings: Settings) -> Settings:
    """Make built-in default paths absolute and fill in the tracking store."""
    tree = settings.model_dump()
    tracking = tree["tracking"]
    tracking["uri"] = tracking["uri"] or os.environ.get("MLFLOW_TRACKING_URI") or f"{SQLITE}mlruns/mlflow.db"
    _make_absolute(tree, Path.cwd())
    database = local_database(tracking["uri"])
    if tracking["artifacts"] is None and database:
        tracking["artifacts"] = str(database.parent / "artifacts")
    return Settings.model_validate(tree)


def _unknown(name: str) -> str:
    # The right key in the wrong group is as likely as a misspelt one.
    by_key = {known.split(".")[1]: known for known in setting_names()}
    group, dot, key = name.partition(".")
    near = difflib.get_close_matches(name, setting_names(), n=1) if dot else []
    near_group = difflib.get_close_matches(group, {known.split(".")[0] for known in setting_names()}, n=1)
    near_key = difflib.get_close_matches(key or group, by_key, n=1)
    if near or (near_key and (dot or not near_group)):
        return f"there is no setting {name}; the nearest is {near[0] if near else by_key[near_key[0]]}"
    if near_group:
        return f"there is no setting {name}; the nearest group is {near_group[0]}"
    return f"there is no setting {name}; there are: {', '.join(setting_names())}"


def _sentence(error: ValidationError, recipe: str | Path | None) -> str:
    """One sentence for the first problem that pydantic found."""
    first = error.errors()[0]
    name = ".".join(str(part) for part in first["loc"] if isinstance(part, str) and "[" not in part)
    origin = f"recipe {recipe}: " if recipe else ""
    if first["type"] == "extra_forbidden":
        return origin + _unknown(name)
    value = first["input"]
    message = first["msg"].removeprefix("Value error, ")
    message = message[0].lower() + message[1:]
    if first["type"] == "tuple_type":
        message = f"it is a list, as {[value]!r}"
    sentence = f"{origin}setting {name} cannot be {value!r}: {message}"
    if first["type"] == "literal_error":
        field = fields()[name]
        options = [str(option) for option in getattr(field.annotation, "__args__", ())]
        near = difflib.get_close_matches(str(value), options, n=1, cutoff=0.4)
        sentence += f"; the nearest is {near[0]!r}" if near else ""
    return sentence
