"""Tables of texts scored by the champion: label, score and probabilities beside each row.

Run it as `jabert score texts.csv scored.csv`, as `python flows/score.py` with the same words, or as a
Prefect deployment with the parameters `source` and `target`. A run that was killed goes on where it was when
the same is run again. Nothing is written to MLflow or to the feature store.
"""

from typing import Any

import flows  # noqa: F401  the settings come before Prefect
from flows.flow import flow
from flows.pages import progress, show_table
from flows.stage import stage
from jabert import scoring
from jabert.config import Settings, load_settings, location
from jabert.scoring import Scored


@flow("score")
def score(
    source: str | list[str],
    target: str,
    recipe: str = "",
    overrides: list[str] | None = None,
    *,
    encoding: str = "utf-8",
    bom: bool = False,
    safe_cells: bool = False,
) -> dict[str, Any]:
    """Score tables.

    Args:
        source: path or URL of texts as `jabert validate` reads them: a table, folder or glob, or several.
        target: path of the file to write; its ending says the format.
        recipe: name of a bundled recipe or path of a TOML file; empty for none.
        overrides: settings as `group.key=value`.
        encoding: of a CSV or TSV file that is written.
        bom: whether it begins with a byte order mark, by which Excel knows UTF-8.
        safe_cells: whether an apostrophe comes before cells that a spreadsheet would take for formulas.
    """
    settings = load_settings(recipe, overrides or [])
    form = {"encoding": encoding, "bom": bom, "safe_cells": safe_cells}
    sources = [location(each) for each in ([source] if isinstance(source, str) else source)]
    return score_tables(settings, sources, target, form).to_dict()


@stage("Score")
def score_tables(settings: Settings, sources: list[str], target: str, form: dict[str, Any]) -> Scored:
    """All rows, a chunk at a time."""
    update = progress("progress", flow="score")
    scored = scoring.score(scoring.open_job(settings, sources, target, **form), update)
    update(1, 1)
    show_table("table", scored.to_dict(), flow="score")
    return scored


if __name__ == "__main__":
    import sys

    from jabert.cli import main

    main(["score", *sys.argv[1:]])
