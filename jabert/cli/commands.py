"""The command line `jabert`. Each command imports what it needs, so that `--help` answers at once."""

import atexit
import functools
import inspect
import io
import logging
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import module_from_spec, spec_from_file_location
from itertools import chain
from pathlib import Path
from shlex import quote
from traceback import format_exception
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jabert.cli.output import (
    print_checks,
    print_diff,
    print_json,
    print_listing,
    print_pairs,
    print_verified,
    say,
)
from jabert.errors import JabertError, reason_of
from jabert.logs import choose_loudness, make_logs_safe, shown
from jabert.process import collect_garbage_rarely, let_signals_kill, received_signal
from jabert.redaction import keep_out
from jabert.sockets import reach_directly

if TYPE_CHECKING:
    from jabert.config import Settings

_HELP_BEFORE = "Texts before the only TEXT in its group, the nearest last, as a JSON array."
_OPTIONS: dict[str, Any] = {
    "no_args_is_help": True,
    "pretty_exceptions_enable": False,
    "rich_markup_mode": None,
}
_ANYWHERE = {"debug": ("--debug",), "verbose": ("-v", "--verbose"), "quiet": ("-q", "--quiet")}
_SIGNS_OF_A_LOST_STORE = (  # of its database, its server or its files
    "API request to",
    "DatabaseError",
    "OperationalError",
    "Could not find an",
    "No such artifact",
)

app = typer.Typer(
    help="Retrain, compare and serve Japanese text classifiers.",
    context_settings={"help_option_names": ["-h", "--help"]},
    **_OPTIONS,
)
models_app = typer.Typer(help="The registered model: its versions and aliases.")
features_app = typer.Typer(help="The store of token vectors: what is in it.")
data_app = typer.Typer(help="Import corpora, write texts for pretraining.", **_OPTIONS)
encoder_app = typer.Typer(
    help="Check encoder folders, complete or import them, export fine-tuned ones.", **_OPTIONS
)
app.add_typer(models_app, name="models")
app.add_typer(features_app, name="features")
app.add_typer(data_app, name="data")
app.add_typer(encoder_app, name="encoder")


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


def _command(
    register: Callable[[Any], Any], *, has_json: bool = True
) -> Callable[[Callable[..., None]], None]:
    """Register a command: its parameter `given` becomes --recipe and --set, and --json comes last."""

    def run(
        command: Callable[..., None],
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
            command(given=Given(recipe or "", overrides or [], settings, as_json), **rest)

    def decorate(command: Callable[..., None]) -> None:
        shared = inspect.signature(run).parameters
        parameters = [shared["context"]]
        for parameter in inspect.signature(command).parameters.values():
            is_given = parameter.name == "given"
            parameters += [shared["recipe"], shared["overrides"]] if is_given else [parameter]
        parameters += [shared["as_json"]] if has_json else []
        registered = functools.wraps(command)(functools.partial(run, command))
        by_name = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in parameters]
        registered.__signature__ = inspect.Signature(by_name)  # type: ignore[attr-defined]
        register(registered)

    return decorate


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit: 0, 1 after an error, 2 for wrong usage, 130 after Ctrl-C.

    A `JabertError` is printed as its sentence, another error with its traceback, all without secrets;
    `--debug` gives the traceback of both. Like `--verbose` and `--quiet`, it may stand anywhere.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    texts = given.index("--") if "--" in given else len(given)  # behind it everything is meant literally
    asked = {name: bool(set(words) & set(given[:texts])) for name, words in _ANYWHERE.items()}
    choose_loudness(verbose=asked["verbose"], quiet=asked["quiet"])
    collect_garbage_rarely()
    reach_directly()
    make_logs_safe()
    for word in given:
        keep_out(word)
    for stream in (sys.stdout, sys.stderr):  # Japanese is shown in any locale
        if isinstance(stream, io.TextIOWrapper) and "PYTHONIOENCODING" not in os.environ:
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    try:
        try:
            code = app(
                [word for word in given[:texts] if word not in chain(*_ANYWHERE.values())] + given[texts:],
                standalone_mode=False,
            )
            sys.exit(code if isinstance(code, int) else 0)
        except typer.TyperException as error:  # wrong usage
            error.show(told := io.StringIO())  # type: ignore[attr-defined]  # as those have it that are raised
            say(shown(told.getvalue().rstrip("\n")), error=True)
            sys.exit(error.exit_code)
        finally:
            atexit.register(let_signals_kill)
            print(end="", flush=True)
    except BrokenPipeError:  # the reader has seen enough, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:
        sentence = str(error) if isinstance(error, JabertError) else _trouble_with_a_server(error)
        if received_signal():
            raise
        if asked["debug"] or not sentence:
            say(shown("".join(format_exception(error)).rstrip("\n")), error=True)
        else:
            say(f"jabert: {shown(sentence)}", error=True)
        sys.exit(1)


def _trouble_with_a_server(error: Exception) -> str | None:
    """A sentence if Prefect's server is away, or MLflow's store went away or lost files, else None."""
    if isinstance(error, RuntimeError) and str(error).startswith("Failed to reach API at "):
        url = str(error).removeprefix("Failed to reach API at ")
        return f"PREFECT_API_URL {url}: the server cannot be reached; start it, or unset the variable"
    if type(error).__module__ == "httpx":  # Prefect's client, later on
        return f"Prefect's server went away ({type(error).__name__}: {reason_of(error)})"
    of_a_store = type(error).__module__ in ("mlflow.exceptions", "sqlalchemy.exc")  # without loading either
    if not of_a_store or not any(sign in str(error) for sign in _SIGNS_OF_A_LOST_STORE):
        return None
    return f"tracking.uri: the MLflow store fails ({reason_of(error)}); see `jabert doctor`"


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


def _run_flow(name: str, *arguments: Any, **more: Any) -> Any:
    """Run a flow of jabert; the user's folder may have a package `flows` that Python would find first."""
    own = Path(__file__).resolve().parents[2] / "flows" / "__init__.py"
    if getattr(sys.modules.get("flows"), "__file__", None) != str(own):
        spec = spec_from_file_location("flows", own)  # by its name a package, which is searched beside it
        assert spec and spec.loader
        package = module_from_spec(spec)
        sys.modules["flows"] = package
        spec.loader.exec_module(package)
    from flows.command import run_flow

    return run_flow(name, *arguments, **more)


@_command(app.command())
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

    result = _run_flow("retrain", given.recipe, overrides, skip_unchanged)
    if given.as_json:
        del result["evidence"]  # what programs read has had the same fields since 0.1.0
    given.show(result, print_summary, settings)


@_command(app.command())
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
        result = _run_flow("leaderboard", given.recipe, given.overrides, **options)
    except ChildrenFailedError as failed:
        given.show(failed.result, print_leaderboard)
        raise
    given.show(result, print_leaderboard)


@_command(app.command())
def sweep(
    given: Given,
    out: Annotated[
        Path, typer.Option("--out", metavar="FILE", help="Write the recipe of the best trial here.")
    ] = Path("best.toml"),
    jobs: Annotated[int, typer.Option("--jobs", min=1, help="Local processes.")] = 1,
) -> None:
    """Try settings of a method on validation rows, and write the best as a recipe."""
    from jabert.cli.summary import print_sweep
    from jabert.dataset.readers import location_of
    from jabert.experiments.leaderboard import ChildrenFailedError
    from jabert.experiments.sweep import load
    from jabert.methods import encoder_of
    from jabert.tracking import with_local_encoder

    location_of(given.settings.data)
    encoder_of(with_local_encoder(load(given.recipe, given.overrides)))
    if given.recipe and out.resolve() == Path(given.recipe).resolve():
        raise JabertError(f"--out {out} is the recipe itself; name another file")
    try:
        result = _run_flow("sweep", given.recipe, given.overrides, out=str(out), jobs=jobs)
    except ChildrenFailedError as failed:
        given.show(failed.result, print_sweep)
        raise
    given.show(result, print_sweep)


@_command(app.command("validate"))
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


@_command(app.command())
def featurize(given: Given) -> None:
    """Compute the token vectors that the feature store lacks."""
    _require_inputs(given.settings)
    given.show(_run_flow("featurize", given.recipe, given.overrides))


@_command(app.command())
def pretrain(given: Given) -> None:
    """Make an encoder from raw text, or adapt one to other text."""
    from jabert.dataset.raw_text import files_of

    files_of(given.settings.corpus.paths)  # said before Prefect and TensorFlow are loaded
    given.show(_run_flow("pretrain", given.recipe, given.overrides))


@_command(app.command())
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
    chosen = given_texts(texts or [], file)
    beside = texts_beside(chosen, before=before, after=after)
    rows = predictions(given.settings, chosen, beside, explained=explain)
    given.show(rows, print_predictions)


@_command(app.command())
def score(
    source: Annotated[str, typer.Argument(metavar="IN", help="A table, as `validate` reads it; or its URL.")],
    target: Annotated[str, typer.Argument(metavar="OUT", help="To write: .csv, .tsv, .jsonl or .parquet.")],
    given: Given,
    *,
    encoding: Annotated[str, typer.Option(help="Of a CSV or TSV file, e.g. cp932.")] = "utf-8",
    bom: Annotated[bool, typer.Option("--bom", help="With the mark by which Excel knows UTF-8.")] = False,
    safe_cells: Annotated[
        bool, typer.Option("--safe-cells", help="With ' before what a spreadsheet would take for a formula.")
    ] = False,
) -> None:
    """Score a table of texts with the champion."""
    from jabert.config import location
    from jabert.scoring import open_job

    source = location(source)
    form: dict[str, Any] = {"encoding": encoding, "bom": bom, "safe_cells": safe_cells}
    open_job(given.settings, source, target, **form)  # said before Prefect is loaded
    given.show(_run_flow("score", source, target, given.recipe, given.overrides, **form))


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


@_command(models_app.callback(invoke_without_command=True))
def models(given: Given) -> None:
    """List the versions of the registered model, newest first."""
    from jabert.registry import open_registry

    columns = ("version", "aliases", "weighted_f1", "created", "promotion", "reason")
    name = given.settings.tracking.model_name
    empty = f"no version of {name!r} is registered yet; `jabert retrain` makes one"
    given.show(open_registry(given.settings).listing(), print_listing, columns, empty)


@_command(models_app.command("promote"))
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


@_command(models_app.command("rollback"))
def models_rollback(given: Given) -> None:
    """Make the version before the champion again, at once."""
    from jabert.registry import open_registry

    move, name = open_registry(given.settings).rollback(), given.settings.tracking.model_name
    given.show(vars(move), lambda _: say(f"version {move.version} of {name!r} is the champion again"))


VersionsArgument = Annotated[
    list[str] | None, typer.Argument(metavar="[VERSION]…", help="Numbers of versions; without any, all.")
]


@_command(models_app.command("verify"))
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


@_command(models_app.command("anchor"))
def models_anchor(given: Given, versions: VersionsArgument = None) -> None:
    """Note the digests of all files of versions that have none yet; registry.sign_key signs all of them."""
    from jabert.registry import open_registry

    registry = open_registry(given.settings)
    found = [
        {"version": version, "anchored": True, "new": registry.anchor(version)}
        for version in versions or registry.numbers()
    ]
    given.show(found, print_listing, ("version", "anchored", "new"), "there is no version")


@_command(models_app.command("card"), has_json=False)
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
        raise JabertError(f"version {version} of {registry.name!r} has no card")
    say(write_text(html, card.decode()) if html else card.decode())


@_command(models_app.command("diff"))
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


@_command(app.command())
def runs(
    given: Given,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many.")] = 20,
) -> None:
    """List tracked runs, newest first."""
    from jabert.tracking import connect, list_runs

    tracking = given.settings.tracking
    listed = list_runs(connect(tracking), tracking.experiment, limit)
    columns = ("started", "name", "status", "weighted_f1", "version", "reason")
    empty = f"no run in experiment {tracking.experiment!r} yet; `jabert retrain` makes one"
    to_the_minute = [{**run, "started": run["started"][:16]} for run in listed]
    given.show(listed, lambda _: print_listing(to_the_minute, columns, empty))


@_command(app.command(), has_json=False)
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
    from jabert.tracking import connect, get_or_none, list_runs, read_artifact

    tracking = given.settings.tracking
    client = connect(tracking)
    if run is None:
        newest = list_runs(client, tracking.experiment, 1)
        if not newest:
            raise JabertError(f"no run in experiment {tracking.experiment!r} yet; `jabert retrain` makes one")
        run = newest[0]["run_id"]
    page = get_or_none(lambda: read_artifact(client, run, REPORT_PAGE), invalid=True)
    if page is None:
        raise JabertError(f"there is no run {run} with a {REPORT_PAGE}; `jabert runs --json` lists runs")
    path = write_text(out or Path(given.settings.training.work_path) / REPORT_PAGE, page.decode())
    say(path)
    if out is None and sys.stdout.isatty():
        webbrowser.open(path.resolve().as_uri())


@_command(app.command(), has_json=False)
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


@_command(app.command(), has_json=False)
def ui(
    given: Given,
    port: Annotated[int, typer.Option(min=1, max=65535, help="To listen on, at 127.0.0.1.")] = 5000,
) -> None:
    """Open the MLflow UI on the project's own store."""
    from jabert.tracking.ui import serve

    serve(given.settings.tracking, port)


@_command(app.command())
def doctor(given: Given) -> None:
    """Tell what is here, what is missing, and what to do about it."""
    from jabert.doctor import examine

    checks = examine(given.settings)
    given.show([vars(check) for check in checks], lambda _: print_checks(checks))
    if not all(check.ok for check in checks):
        raise typer.Exit(1)


@_command(features_app.callback(invoke_without_command=True))
def features(given: Given) -> None:
    """List what the feature store holds, a line for each encoder and precision."""
    from jabert.features.verification import list_partitions

    root = Path(given.settings.features.path)
    partitions = list_partitions(root)
    origin = ("encoder", "layers", "engine", "precision", "dtype", "padding")
    columns = (*origin, "rows", "tokens", "bytes", "path")
    shown = [{"layers": "1", **partition, "encoder": partition["encoder"][:12]} for partition in partitions]
    empty = f"the feature store {root} is empty; `jabert featurize` fills it"
    given.show(partitions, lambda _: print_listing(shown, columns, empty))


@_command(features_app.command("verify"))
def features_verify(
    given: Given,
    rows: Annotated[int, typer.Option(min=1, help="Compute so many rows again.")] = 100,
    seed: Annotated[int, typer.Option(min=0, help="Chooses the rows.")] = 0,
) -> None:
    """Compute a random sample of stored vectors again and name what differs."""
    from jabert.encoder import folder_of
    from jabert.features.verification import verify
    from jabert.tracking import with_local_encoder

    folder = folder_of(with_local_encoder(given.settings).encoder)
    verified = verify(folder, given.settings, rows, seed)
    given.show(verified.to_dict(), lambda _: print_verified(verified))
    if not verified.ok:
        raise typer.Exit(1)


@data_app.command("knbc")
def data_knbc(
    source: Annotated[str, typer.Argument(metavar="PATH_OR_URL", help="Folder, .tar.bz2, .tar.gz or .zip.")],
    out: Annotated[Path, typer.Argument(help="Table to write: .csv, .tsv, .parquet or .jsonl.")],
    keep_tags: Annotated[bool, typer.Option("--keep-tags", help="Keep the topic tags of articles.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Turn the KNB corpus into a table with the columns text, label and group."""
    from jabert.config import location
    from jabert.dataset import import_knbc

    counts = import_knbc(location(source), out, strip_topic_tag=not keep_tags)
    print_json(counts) if as_json else print_pairs({"table": str(out), **counts})


@_command(data_app.command("texts"))
def data_texts(
    out: Annotated[Path, typer.Argument(help="File to write.")],
    given: Given,
    split: Annotated[str, typer.Option(help="train, validation or test.")] = "train",
) -> None:
    """Write the texts of a split without labels, as `jabert pretrain` reads them."""
    from jabert.dataset.raw_text import write_documents
    from jabert.experiments import retraining, steps

    table = steps.read(retraining.load(given.recipe, given.overrides)).table  # split as a retraining does it
    chosen = table[table["split"] == split]
    if not len(chosen):
        raise JabertError(f"no row has the split {split!r}; --split takes {', '.join(set(table['split']))}")
    documents = write_documents(chosen, out)
    given.show({"file": str(out), "texts": len(chosen), "documents": documents})


@_command(data_app.command("check"))
def data_check(
    given: Given,
    *,
    write_kept: Annotated[
        Path | None, typer.Option("--write-kept", metavar="FILE", help="Write the rows that are not doubted.")
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(
            "--labels", metavar="FILE", help="Labels that were looked at, by file and line: they hold."
        ),
    ] = None,
    page: Annotated[
        Path | None, typer.Option("--page", metavar="FILE", help="Write what was found as a web page.")
    ] = None,
    suspects: Annotated[
        Path | None, typer.Option("--suspects", metavar="FILE", help="Write the doubted rows as a table.")
    ] = None,
    unlabelled: Annotated[
        Path | None, typer.Option("--unlabelled", metavar="FILE", help="A table of texts without labels.")
    ] = None,
    to_label: Annotated[
        Path | None,
        typer.Option("--to-label", metavar="FILE", help="Write those whose labels would teach most."),
    ] = None,
    most: Annotated[int, typer.Option("--most", min=1, help="At most so many.")] = 100,
) -> None:
    """Rank labels that are probably wrong; find near-duplicates, outliers, and what more labels bring."""
    from jabert.cli.summary import print_data_check
    from jabert.experiments import retraining
    from jabert.experiments.data_check import check
    from jabert.experiments.labelling import most_worth, write_to_label
    from jabert.experiments.recording import tell
    from jabert.files import write_text
    from jabert.report.data_check import data_check_html
    from jabert.tracking import with_local_encoder

    if bool(unlabelled) != bool(to_label):
        raise JabertError("--unlabelled FILE and --to-label FILE go together: a table to read, one to write")
    settings = retraining.load(given.recipe, given.overrides)  # split as a retraining does it
    settings = with_local_encoder(settings)
    checked = check(settings, labels)
    tell(checked.notes)
    found = checked.to_dict()
    if unlabelled and to_label:
        found["to_label"] = most_worth(settings, unlabelled, most)
        write_to_label(found["to_label"], to_label)
    if write_kept:
        found["written"] = checked.write_kept(write_kept)
    if suspects:
        checked.write_suspects(suspects)
    if page:
        write_text(page, data_check_html(found))
    given.show(found, print_data_check)


@encoder_app.command("inspect")
def encoder_inspect(
    folder: Annotated[str, typer.Argument(help="Encoder folder.")], as_json: JsonOption = False
) -> None:
    """Check an encoder folder and describe it."""
    from jabert.encoder.inspection import describe

    facts = describe(folder)
    if as_json:
        print_json(facts)
        return
    notes = facts.pop("notes")
    print_pairs(facts)
    for note in notes:
        say(f"note: {note}", error=True)


@encoder_app.command("init")
def encoder_init(
    folder: Annotated[str, typer.Argument(help="Folder with a checkpoint.")],
    heads: Annotated[int | None, typer.Option(help="Number of attention heads.")] = None,
) -> None:
    """Write the bert_config.json that a downloaded checkpoint lacks."""
    from jabert.encoder.inspection import init_config

    path, remarks = init_config(folder, heads)
    say(path)
    for remark in remarks:
        say(f"note: {remark}", error=True)


@encoder_app.command("import")
def encoder_import(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="Hugging Face folder.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Encoder folder to write; must not be there.")],
    prefix: Annotated[str | None, typer.Option(help="Put before every text, e.g. 'query: '.")] = None,
    first_position: Annotated[
        int | None,
        typer.Option(min=0, help="Of a text in the table of positions, if it is not the architecture's."),
    ] = None,
) -> None:
    """Make an encoder folder of a BERT, RoBERTa, XLM-R or DistilBERT in Hugging Face's form."""
    from jabert.pretraining.hugging_face import import_encoder

    path, remarks = import_encoder(source, out, prefix=prefix, first_position=first_position)
    say(path)
    for remark in remarks:
        say(f"note: {remark}", error=True)


@_command(encoder_app.command("export"), has_json=False)
def encoder_export(
    version: Annotated[str, typer.Argument(metavar="VERSION", help="Number of a version of the model.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder to write; must not be there.")],
    given: Given,
) -> None:
    """Write the encoder in a version, e.g. a fine-tuned one, as an encoder folder."""
    from jabert.pretraining.export import export_encoder
    from jabert.registry import open_registry

    registry = open_registry(given.settings)
    card = f"# The encoder of version {version} of {registry.name}\n\nWritten by `jabert encoder export`.\n"
    with registry.files(version) as files:
        say(export_encoder(files / "artifacts", out, card))


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
