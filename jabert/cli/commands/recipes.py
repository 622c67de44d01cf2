"""Commands that tell what may be set, and begin a recipe."""

import os
from pathlib import Path
from shlex import quote
from typing import Annotated

import typer

from jabert.cli.output import print_json, print_listing, say
from jabert.cli.shared import JsonOption
from jabert.errors import JabertError

app = typer.Typer()


@app.command()
def init(
    table: Annotated[str, typer.Argument(metavar="TABLE", help="Of labelled texts: a file or its URL.")],
    out: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Recipe to write; must not be there. Else it is printed."),
    ] = None,
) -> None:
    """Make a commented recipe for a table: its columns, classes and groups, and shares that suit it."""
    from jabert.config import expanded, is_url, location
    from jabert.dataset.suggesting import suggest_recipe
    from jabert.files import write_text

    target = expanded(out) if out else None
    if target and target.exists():
        raise JabertError(f"{out} is there already; name another file")
    path, shown = location(table), str(location(table))
    if not is_url(table):
        path = str(expanded(table).absolute())
        shown = os.path.relpath(path, target.absolute().parent if target else Path.cwd())
    recipe = suggest_recipe(path, out or "recipe.toml", shown)
    if target is None:
        say(recipe.rstrip("\n"))
        return
    write_text(target, recipe)
    say(f"{out} is written; look at it, then: jabert validate --recipe {quote(str(out))}")


@app.command()
def settings(
    group: Annotated[
        str | None, typer.Argument(metavar="[GROUP]", help="Such as data or encoder; or one.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """List the settings: name, default, meaning."""
    from jabert.config import list_settings

    listed = list_settings(group)
    named = [
        {**each, "setting": each["setting"] + (f" ({each['kind']})" if each["kind"] else "")}
        for each in listed
    ]
    print_json(listed) if as_json else print_listing(named, ("setting", "default", "meaning"), "")


@app.command()
def methods(as_json: JsonOption = False) -> None:
    """List the methods that make a classifier: what each needs of a text, and what it costs."""
    from jabert.methods import list_methods

    listed, columns = list_methods(), ("kind", "needs", "summary", "cost")
    print_json(listed) if as_json else print_listing(listed, columns, "")
