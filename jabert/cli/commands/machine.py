"""Commands that start a server on this machine, or check the machine."""

from typing import Annotated

import typer

from jabert.cli.output import print_checks
from jabert.cli.shared import Given, command

app = typer.Typer()


@command(app.command(), has_json=False)
def serve(
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            metavar="URI",
            help="models:/NAME@ALIAS, which is followed, or models:/NAME/VERSION, models:/m-…, runs:/…/…; "
            "without it the champion of tracking.model_name.",
        ),
    ] = None,
    host: Annotated[str, typer.Option(help="Address of this machine to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="To listen on.")] = 8000,
    *,
    given: Given,
) -> None:
    """Classify texts over HTTP, always with the version that the alias points to."""
    from jabert.serving import serve

    serve(given.settings, model or f"models:/{given.settings.tracking.model_name}@champion", host, port)


@command(app.command(), has_json=False)
def ui(
    given: Given,
    port: Annotated[int, typer.Option(min=1, max=65535, help="To listen on, at 127.0.0.1.")] = 5000,
) -> None:
    """Open the MLflow UI on the project's own store."""
    from jabert.tracking.ui import serve

    serve(given.settings.tracking, port)


@command(app.command())
def doctor(given: Given) -> None:
    """Tell what is here, what is missing, and what to do about it."""
    from jabert.doctor import examine

    checks = examine(given.settings)
    given.show([vars(check) for check in checks], lambda _: print_checks(checks))
    if not all(check.ok for check in checks):
        raise typer.Exit(1)
