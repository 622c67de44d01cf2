"""What commands share: their common options, what these say, and how a command runs a flow."""

import functools
import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jabert.cli.output import print_json, print_pairs

if TYPE_CHECKING:
    from jabert.config import Settings

OPTIONS: dict[str, Any] = {
    "no_args_is_help": True,
    "pretty_exceptions_enable": False,
    "rich_markup_mode": None,
}
"""Of each `typer.Typer`."""


def _recipes(begun: str) -> list[str]:
    """For completion in a shell."""
    from jabert.config import bundled_recipes

    return [name for name in bundled_recipes() if name.startswith(begun)]


def _settings(begun: str) -> list[str]:
    from jabert.config import list_settings

    return [f"{name}=" for each in list_settings() if (name := each["setting"]).startswith(begun)]


RecipeOption = Annotated[
    str | None,
    typer.Option(
        "--recipe",
        help="A bundled recipe (sample, knbc, seed, the kind of a method) or a TOML file.",
        autocompletion=_recipes,
    ),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="GROUP.KEY=VALUE",
        help="Override a setting; repeatable.",
        autocompletion=_settings,
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON on stdout, everything else on stderr.")]


@dataclass(frozen=True)
class Given:
    """What the options that most commands share say.

    Attributes:
        recipe: as typed, "" for none.
        overrides: as typed, `group.key=value`.
        settings: that recipe and overrides make.
        as_json: whether to print JSON.
    """

    recipe: str
    overrides: list[str]
    settings: "Settings"
    as_json: bool

    def show(self, value: Any, shown: Callable[..., None] = print_pairs, *arguments: Any) -> None:
        """Print a value as JSON if that is asked for, else by `shown(value, *arguments)`."""
        print_json(value) if self.as_json else shown(value, *arguments)


def command(
    register: Callable[[Any], Any], *, has_json: bool = True
) -> Callable[[Callable[..., None]], None]:
    """Register a command: its parameter `given` becomes --recipe and --set, and --json comes last."""

    def run(
        body: Callable[..., None],
        context: typer.Context,
        recipe: RecipeOption = None,
        overrides: SetOption = None,
        as_json: JsonOption = False,
        **rest: Any,
    ) -> None:
        if context.invoked_subcommand:  # which has options of its own
            return
        from jabert.config import load_settings

        settings = load_settings(recipe, overrides or [])
        from jabert.tracking import told_if_full

        with told_if_full(settings):
            body(given=Given(recipe or "", overrides or [], settings, as_json), **rest)

    def decorate(body: Callable[..., None]) -> None:
        shared = inspect.signature(run).parameters
        parameters = [shared["context"]]
        for parameter in inspect.signature(body).parameters.values():
            is_given = parameter.name == "given"
            parameters += [shared["recipe"], shared["overrides"]] if is_given else [parameter]
        parameters += [shared["as_json"]] if has_json else []
        registered = functools.wraps(body)(functools.partial(run, body))
        by_name = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in parameters]
        registered.__signature__ = inspect.Signature(by_name)  # type: ignore[attr-defined]
        register(registered)

    return decorate


def run_flow(name: str, *arguments: Any, **more: Any) -> Any:
    """Run a flow of jabert; the user's folder may have a package `flows` that Python would find first."""
    own = Path(__file__).resolve().parents[2] / "flows" / "__init__.py"
    if getattr(sys.modules.get("flows"), "__file__", None) != str(own):
        spec = spec_from_file_location("flows", own)  # by its name a package, which is searched beside it
        assert spec and spec.loader
        package = module_from_spec(spec)
        sys.modules["flows"] = package
        spec.loader.exec_module(package)
    from flows.command import run_flow as run

    return run(name, *arguments, **more)
