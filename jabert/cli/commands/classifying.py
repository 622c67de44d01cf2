"""Commands that classify texts with the champion."""

from typing import Annotated, Any

import typer

from jabert.cli.shared import Given, command, run_flow

_HELP_BEFORE = "Texts before the only TEXT in its group, the nearest last, as a JSON array."

app = typer.Typer()


@command(app.command())
def predict(
    texts: Annotated[
        list[str] | None, typer.Argument(metavar="[TEXT]…", help="Or - for the lines of stdin.")
    ] = None,
    before: Annotated[str | None, typer.Option(metavar="JSON", help=_HELP_BEFORE)] = None,
    after: Annotated[str | None, typer.Option(metavar="JSON", help="The same of those after it.")] = None,
    file: Annotated[str | None, typer.Option(metavar="FILE", help="Classify its lines.")] = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Tell how much each piece of a text spoke for its label.")
    ] = False,
    *,
    given: Given,
) -> None:
    """Classify texts with the champion."""
    from jabert.cli.predicting import given_texts, predictions, print_predictions, texts_beside

    if bool(texts) == bool(file):
        raise typer.BadParameter("give either TEXT… or --file FILE")
    chosen = given_texts(texts or [], file, given.settings.data.max_bytes)
    beside = texts_beside(chosen, before=before, after=after)
    rows = predictions(given.settings, chosen, beside, explained=explain)
    given.show(rows, print_predictions)


@command(app.command())
def score(
    sources: Annotated[
        list[str],
        typer.Argument(metavar="IN", help="Tables, folders or globs, as `validate` reads them; or URLs."),
    ],
    target: Annotated[str, typer.Argument(metavar="OUT", help="To write: .csv, .tsv, .jsonl or .parquet.")],
    given: Given,
    *,
    encoding: Annotated[str, typer.Option(help="Of a CSV or TSV file, e.g. cp932.")] = "utf-8",
    bom: Annotated[bool, typer.Option("--bom", help="With the mark by which Excel knows UTF-8.")] = False,
    safe_cells: Annotated[
        bool, typer.Option("--safe-cells", help="With ' before what a spreadsheet would take for a formula.")
    ] = False,
) -> None:
    """Score tables of texts with the champion."""
    from jabert.cli.summary import print_scored
    from jabert.config import location
    from jabert.scoring import open_job

    sources = list(map(location, sources))
    form: dict[str, Any] = {"encoding": encoding, "bom": bom, "safe_cells": safe_cells}
    open_job(given.settings, sources, target, **form)  # said before Prefect is loaded
    given.show(run_flow("score", sources, target, given.recipe, given.overrides, **form), print_scored)
