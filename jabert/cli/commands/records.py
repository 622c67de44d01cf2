"""Commands that show tracked runs."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from jabert.cli.output import print_listing, say, to_the_minute
from jabert.cli.shared import Given, command
from jabert.errors import JabertError

app = typer.Typer()


@command(app.command())
def runs(
    given: Given,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many.")] = 20,
) -> None:
    """List tracked runs, newest first."""
    from jabert.tracking import FIRST_RUN, connect, list_runs

    tracking = given.settings.tracking
    listed = list_runs(connect(tracking), tracking.experiment, limit)
    columns = ("started", "name", "status", "weighted_f1", "version", "reason")
    empty = f"no run in experiment {tracking.experiment!r} yet; {FIRST_RUN}"
    given.show(listed, lambda _: print_listing(to_the_minute(listed, "started"), columns, empty))


@command(app.command(), has_json=False)
def report(
    run: Annotated[str | None, typer.Argument(metavar="[RUN]", help="Id of a run; the newest.")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Write it to this file.")] = None,
    *,
    given: Given,
) -> None:
    """Open the report of a run in the browser, or write it to a file."""
    import webbrowser

    from jabert.experiments.recording import REPORT_PAGE
    from jabert.files import write_text
    from jabert.tracking import FIRST_RUN, connect, get_or_none, list_runs, read_artifact

    tracking = given.settings.tracking
    client = connect(tracking)
    if run is None:
        newest = list_runs(client, tracking.experiment, 1)
        if not newest:
            raise JabertError(f"no run in experiment {tracking.experiment!r} yet; {FIRST_RUN}")
        run = newest[0]["run_id"]
    page = get_or_none(lambda: read_artifact(client, run, REPORT_PAGE), invalid=True)
    if page is None:
        raise JabertError(f"there is no run {run} with a {REPORT_PAGE}; `jabert runs --json` lists runs")
    path = write_text(out or Path(given.settings.training.work_path) / REPORT_PAGE, page.decode())
    say(path)
    if out is None and sys.stdout.isatty():
        webbrowser.open(path.resolve().as_uri())
