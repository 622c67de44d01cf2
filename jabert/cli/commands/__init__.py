"""The commands. Each imports what it needs, so that `--help` answers at once."""

import logging
from typing import Annotated

import typer

from jabert.cli.commands import (
    classifying,
    data,
    encoder,
    features,
    machine,
    models,
    recipes,
    records,
    training,
)
from jabert.cli.shared import OPTIONS

__all__ = ["app"]

app = typer.Typer(
    help="Retrain, compare and serve Japanese text classifiers.",
    context_settings={"help_option_names": ["-h", "--help"]},
    **OPTIONS,
)
for _commands in (training, classifying, recipes, records, machine):
    app.add_typer(_commands.app)
app.add_typer(models.app, name="models")
app.add_typer(features.app, name="features")
app.add_typer(data.app, name="data")
app.add_typer(encoder.app, name="encoder")


def _show_version(wanted: bool) -> None:
    if wanted:
        from jabert import __version__

        print(f"jabert {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    # These three are read by `main`.
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,  # noqa: ARG001
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show all that is told.")] = False,  # noqa: ARG001
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show results and errors only.")] = False,  # noqa: ARG001
    version: Annotated[  # noqa: ARG001
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    logging.getLogger("urllib3").setLevel(logging.ERROR)  # else each attempt to reach a server is told
