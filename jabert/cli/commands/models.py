"""`jabert models`: the registered model."""

from pathlib import Path
from typing import Annotated

import typer

from jabert.cli.output import print_diff, print_listing, print_pairs, say, to_the_minute
from jabert.cli.shared import Given, command
from jabert.errors import JabertError

app = typer.Typer(help="The registered model: its versions and aliases.")
VersionsArgument = Annotated[
    list[str] | None, typer.Argument(metavar="[VERSION]…", help="Numbers of versions; without any, all.")
]


@command(app.callback(invoke_without_command=True))
def models(given: Given) -> None:
    """List the versions of the registered model, newest first."""
    from jabert.registry import open_registry
    from jabert.tracking import how_to_begin

    registry = open_registry(given.settings)
    listed = registry.listing()
    columns = ("version", "aliases", "weighted_f1", "created", "promotion", "reason")
    begin = "" if listed else how_to_begin(registry.client)
    empty = f"no version of {registry.name!r} is registered yet; {begin}"
    given.show(listed, lambda _: print_listing(to_the_minute(listed, "created"), columns, empty))


@command(app.command("promote"))
def models_promote(
    version: Annotated[str, typer.Argument(help="The version's number.")],
    given: Given,
    force: Annotated[bool, typer.Option("--force", help="Whatever the comparison says.")] = False,
) -> None:
    """Compare a version with the champion on today's test rows, and promote it if it is better."""
    from jabert.experiments.promotion import promote
    from jabert.experiments.retraining import load

    verdict = promote(load(given.recipe, given.overrides), version, force=force)
    facts = verdict.facts() | {"evidence": verdict.evidence}
    given.show({"promoted": verdict.promoted, **facts}, lambda _: print_pairs(facts))


@command(app.command("rollback"))
def models_rollback(given: Given) -> None:
    """Make the version before the champion again, at once."""
    from jabert.registry import open_registry

    move, name = open_registry(given.settings).rollback(), given.settings.tracking.model_name
    given.show(vars(move), lambda _: say(f"version {move.version} of {name!r} is the champion again"))


@command(app.command("verify"))
def models_verify(given: Given, versions: VersionsArgument = None) -> None:
    """Compare the files of versions with what was registered, and name what differs; runs nothing of them."""
    from jabert.registry import open_registry

    registry = open_registry(given.settings)
    found = [registry.verify(version) for version in versions or registry.numbers()]
    given.show(
        found, print_listing, ("version", "anchored", "ok", "signed_by", "fault"), "there is no version"
    )
    if any(each["ok"] is False for each in found):
        raise typer.Exit(1)


@command(app.command("anchor"))
def models_anchor(given: Given, versions: VersionsArgument = None) -> None:
    """Note the digests of all files of versions that have none yet; registry.sign_key signs all of them."""
    from jabert.registry import open_registry

    registry = open_registry(given.settings)
    found = [
        {"version": version, "anchored": True, "new": registry.anchor(version)}
        for version in versions or registry.numbers()
    ]
    given.show(found, print_listing, ("version", "anchored", "new"), "there is no version")


@command(app.command("card"), has_json=False)
def models_card(
    version: Annotated[str, typer.Argument(metavar="V", help="Number of the version.")],
    html: Annotated[Path | None, typer.Option("--html", help="Write it as a page to this file.")] = None,
    *,
    given: Given,
) -> None:
    """Print the model card of a version, as Markdown."""
    from jabert.experiments.recording import CARD, CARD_PAGE
    from jabert.files import write_text
    from jabert.registry import open_registry

    registry = open_registry(given.settings)
    card = registry.artifact(version, CARD_PAGE if html else CARD)
    if card is None:
        raise JabertError(
            f"version {version} of {registry.name!r} has no card; `jabert models` tells what is known of it"
        )
    say(write_text(html, card.decode()) if html else card.decode())


@command(app.command("diff"))
def models_diff(
    a: Annotated[str, typer.Argument(metavar="A", help="Number of a version.")],
    b: Annotated[str, typer.Argument(metavar="B", help="Number of another.")],
    given: Given,
) -> None:
    """Compare two versions: settings, data, metrics, and the texts that only one classifies correctly."""
    from jabert.registry import open_registry
    from jabert.registry.diff import diff

    found = diff(open_registry(given.settings), a, b)
    given.show(found.to_dict(), lambda _: print_diff(found))
