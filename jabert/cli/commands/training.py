"""Commands that learn from texts, or look at what is learned from."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jabert.cli.shared import Given, command, run_flow
from jabert.errors import JabertError

if TYPE_CHECKING:
    from jabert.config import Settings

app = typer.Typer()


@command(app.command())
def retrain(
    given: Given,
    skip_unchanged: Annotated[
        bool, typer.Option("--skip-unchanged", help="Do nothing if the same was judged before.")
    ] = False,
) -> None:
    """Train on labelled texts, register the model, and promote it if it is better."""
    from jabert.config import load_settings
    from jabert.experiments.retraining import as_champion

    overrides = [*given.overrides, *as_champion(given.recipe, given.overrides)]
    settings = load_settings(given.recipe, overrides)
    _require_inputs(settings)
    from jabert.cli.summary import print_summary

    result = run_flow("retrain", given.recipe, overrides, skip_unchanged)
    if given.as_json:
        del result["evidence"]  # what programs read has had the same fields since 0.1.0
    given.show(result, print_summary, settings)


@command(app.command())
def leaderboard(
    given: Given,
    article: Annotated[
        bool, typer.Option("--article", help="The article's procedure and its word2vec, too.")
    ] = False,
    promote: Annotated[
        bool, typer.Option("--promote", help="Retrain the winner, and promote it if it is better.")
    ] = False,
    jobs: Annotated[int, typer.Option("--jobs", min=1, help="Local processes.")] = 1,
) -> None:
    """Measure methods on the same folds, and say which one to use."""
    from jabert.cli.summary import print_leaderboard
    from jabert.dataset.readers import location_of
    from jabert.experiments.leaderboard import ChildrenFailedError, methods_of
    from jabert.tracking import with_local_encoder

    location_of(given.settings.data)
    methods_of(with_local_encoder(given.settings), article=article)
    _read_early(given.settings)
    options = {"article": article, "promote": promote, "jobs": jobs}
    try:
        result = run_flow("leaderboard", given.recipe, given.overrides, **options)
    except ChildrenFailedError as failed:
        given.show(failed.result, print_leaderboard)
        raise
    given.show(result, print_leaderboard)


@command(app.command())
def sweep(
    given: Given,
    out: Annotated[
        Path, typer.Option("--out", metavar="FILE", help="Write the recipe of the best trial here.")
    ] = Path("best.toml"),
    jobs: Annotated[int, typer.Option("--jobs", min=1, help="Local processes.")] = 1,
) -> None:
    """Try settings of a method on validation rows, and write the best as a recipe."""
    from jabert.cli.summary import print_sweep
    from jabert.experiments.leaderboard import ChildrenFailedError
    from jabert.experiments.sweep import load

    if given.recipe and out.resolve() == Path(given.recipe).resolve():
        raise JabertError(f"--out {out} is the recipe itself; name another file")
    _require_inputs(load(given.recipe, given.overrides))
    try:
        result = run_flow("sweep", given.recipe, given.overrides, out=str(out), jobs=jobs)
    except ChildrenFailedError as failed:
        given.show(failed.result, print_sweep)
        raise
    given.show(result, print_sweep)


@command(app.command("validate"))
def validate_command(
    given: Given,
    check: Annotated[
        bool,
        typer.Option("--check", help="Name doubtful labels, near-duplicates and mixed groups too."),
    ] = False,
) -> None:
    """Check the data against their suite of expectations, without training."""
    from jabert.cli.summary import print_quick_check, print_validation
    from jabert.experiments import retraining, steps
    from jabert.experiments.data_check import quick_check
    from jabert.experiments.recording import tell

    settings = retraining.load(given.recipe, given.overrides)
    data = steps.read(settings)
    report = steps.validate(settings, data)
    warnings = [*data.notes, *report.warnings()]
    tell(warnings if given.as_json else data.notes)  # the findings are in the table of the report
    quick = quick_check(settings) if check else None
    facts = {
        "rows": data.counts,
        **report.to_dict(),
        "check": quick,
        "warnings": warnings,
        **data.form,
        "guessed": data.form,
        "files": data.forms,
    }
    given.show(facts, lambda _: print_validation(data.counts, report))
    if quick and not given.as_json:
        print_quick_check(quick)
    report.raise_if_critical()


@command(app.command())
def featurize(given: Given) -> None:
    """Compute the token vectors that the feature store lacks."""
    _require_inputs(given.settings)
    given.show(run_flow("featurize", given.recipe, given.overrides))


@command(app.command())
def pretrain(given: Given) -> None:
    """Make an encoder from raw text, or adapt one to other text."""
    from jabert.dataset.raw_text import files_of

    files_of(given.settings.corpus.paths)  # said before Prefect and TensorFlow are loaded
    given.show(run_flow("pretrain", given.recipe, given.overrides))


def _require_inputs(settings: "Settings") -> None:
    """Look for data and encoder, so that a fault is told once, before Prefect and TensorFlow are loaded."""
    from jabert.dataset.readers import location_of
    from jabert.methods import encoder_of
    from jabert.tracking import with_local_encoder

    location_of(settings.data)
    encoder_of(with_local_encoder(settings))
    _read_early(settings)


def _read_early(settings: "Settings") -> None:
    """Read the data, which the flow then finds; but not those that would be fetched once more."""
    from jabert.config import is_url
    from jabert.experiments import steps

    path = settings.data.path
    if not any(is_url(each) for each in ((path,) if isinstance(path, str) else path or ())):
        steps.read(settings)
