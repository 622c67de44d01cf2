"""The command line `jabert`. Each command imports what it needs, so that `--help` answers at once."""

import io
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jabert.cli.output import print_checks, print_json, print_listing, print_pairs
from jabert.errors import JabertError, reason_of, redacted
from jabert.process import collect_garbage_rarely, handle_signals

if TYPE_CHECKING:
    from jabert.config import Settings

_OPTIONS: dict[str, Any] = {
    "no_args_is_help": True,
    "pretty_exceptions_enable": False,
    "rich_markup_mode": None,
}
_CONTEXT = {"help_option_names": ["-h", "--help"]}
_SIGNS_OF_A_LOST_STORE = (  # of its database, its server or its files
    "API request to",
    "DatabaseError",
    "OperationalError",
    "Could not find an",
    "No such artifact",
)

app = typer.Typer(
    help="Retrain, compare and serve Japanese text classifiers.", context_settings=_CONTEXT, **_OPTIONS
)
models_app = typer.Typer(help="The registered model: its versions and aliases.")
features_app = typer.Typer(help="The store of token vectors: what is in it.")
data_app = typer.Typer(help="Import corpora.", **_OPTIONS)
encoder_app = typer.Typer(help="Check encoder folders and complete them.", **_OPTIONS)
app.add_typer(models_app, name="models")
app.add_typer(features_app, name="features")
app.add_typer(data_app, name="data")
app.add_typer(encoder_app, name="encoder")

RecipeOption = Annotated[
    str | None,
    typer.Option(
        "--recipe",
        help="A packaged recipe (sample, knbc, seed, the kind of a method) or a TOML file.",
    ),
]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="GROUP.KEY=VALUE", help="Override a setting; repeatable.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON on stdout, everything else on stderr.")]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit: 0, 1 after a `JabertError`, 2 for wrong usage, 130 after Ctrl-C.

    A `JabertError` is printed as its sentence; `--debug`, wherever it stands, gives the traceback.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    texts = given.index("--") if "--" in given else len(given)  # behind it everything is meant literally
    debug = "--debug" in given[:texts]
    _prepare_process()
    try:
        try:
            app([word for word in given[:texts] if word != "--debug"] + given[texts:])
        finally:
            print(end="", flush=True)
    except BrokenPipeError:  # the reader has seen enough, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:
        sentence = str(error) if isinstance(error, JabertError) else _trouble_with_a_server(error)
        if debug or not sentence:
            raise
        print(f"jabert: {sentence}", file=sys.stderr)
        sys.exit(1)


def _prepare_process() -> None:
    """Japanese is shown in any locale, and a signal ends the process as an exception."""
    collect_garbage_rarely()
    handle_signals()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and "PYTHONIOENCODING" not in os.environ:
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")


def _trouble_with_a_server(error: Exception) -> str | None:
    """A sentence if Prefect's server is away, or MLflow's store went away or lost files, else None."""
    if isinstance(error, RuntimeError) and str(error).startswith("Failed to reach API at "):
        url = redacted(str(error).removeprefix("Failed to reach API at "))
        return f"PREFECT_API_URL {url}: the server cannot be reached; start it, or unset the variable"
    if type(error).__module__ == "httpx":  # Prefect's client, later on
        return f"Prefect's server went away ({type(error).__name__}: {reason_of(error)})"
    if type(error).__module__ not in ("mlflow.exceptions", "sqlalchemy.exc"):  # without loading either
        return None
    if not any(sign in str(error) for sign in _SIGNS_OF_A_LOST_STORE):
        return None
    return f"tracking.uri: the MLflow store fails ({reason_of(error)}); see `jabert doctor`"


def _show_version(wanted: bool) -> None:
    if wanted:
        from jabert import __version__

        print(f"jabert {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,  # noqa: ARG001
    version: Annotated[  # noqa: ARG001
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    logging.getLogger("urllib3").setLevel(logging.ERROR)  # else each attempt to reach a server is told


@app.command()
def retrain(
    recipe: RecipeOption = None,
    overrides: SetOption = None,
    skip_unchanged: Annotated[
        bool, typer.Option("--skip-unchanged", help="Do nothing if the same was judged before.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Train on labelled texts, register the model, and promote it if it is better."""
    settings = _load_job(recipe, overrides)
    from flows.command import run_flow

    result = run_flow("retrain", recipe or "", list(overrides or []), skip_unchanged)
    if as_json:
        print_json(result)
    else:
        from jabert.cli.summary import print_summary

        print_summary(result, settings)


@app.command("validate")
def validate_command(
    recipe: RecipeOption = None, overrides: SetOption = None, as_json: JsonOption = False
) -> None:
    """Check the data against their suite of expectations, without training."""
    settings = _load(recipe, overrides)
    from jabert.experiments import steps

    data = steps.read(settings)
    report = steps.validate(settings, data)
    if as_json:
        print_json({"rows": data.counts, **report.to_dict()})
    else:
        print(report.to_markdown())
        print(f"data docs: {report.page}")
    report.raise_if_critical()


@app.command()
def featurize(recipe: RecipeOption = None, overrides: SetOption = None, as_json: JsonOption = False) -> None:
    """Compute the token vectors that the feature store lacks."""
    _load_job(recipe, overrides)
    from flows.command import run_flow

    result = run_flow("featurize", recipe or "", list(overrides or []))
    print_json(result) if as_json else print_pairs(result)


@app.command()
def pretrain(recipe: RecipeOption = None, overrides: SetOption = None, as_json: JsonOption = False) -> None:
    """Make an encoder from raw text, or adapt one to other text."""
    settings = _load(recipe, overrides)
    from jabert.pretraining.corpus import files_of

    files_of(settings.corpus.paths)  # said before Prefect and TensorFlow are loaded
    from flows.command import run_flow

    result = run_flow("pretrain", recipe or "", list(overrides or []))
    print_json(result) if as_json else print_pairs(result)


@app.command()
def predict(
    texts: Annotated[list[str], typer.Argument(metavar="TEXT…")],
    recipe: RecipeOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Classify texts with the champion."""
    settings = _load(recipe, overrides)
    from jabert.texts import fault_of, is_unicode

    for number, text in enumerate(texts, 1):
        if not is_unicode(text):  # bytes that Python could not decode
            raise JabertError(f"text {number} is not in the encoding of the locale")
        if fault := fault_of(text):
            raise JabertError(f"text {number} is {fault}")
    import pandas as pd

    from jabert.registry import open_registry

    predicted = open_registry(settings).load_champion().predict(pd.DataFrame({"text": texts}))
    rows = [
        {"text": text, "label": label, "probabilities": probabilities}
        for text, label, probabilities in zip(
            texts, predicted["label"], predicted["probabilities"], strict=True
        )
    ]
    if as_json:
        print_json(rows)
    else:
        scored = [{**row, "score": max(row["probabilities"].values())} for row in rows]
        print_listing(scored, ("text", "label", "score"), "")


@app.command()
def score(
    source: Annotated[str, typer.Argument(metavar="IN", help="Table: .csv, .tsv, .jsonl, .parquet; or URL.")],
    target: Annotated[str, typer.Argument(metavar="OUT", help="File to write, with one of these endings.")],
    recipe: RecipeOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Score a table of texts with the champion."""
    settings = _load(recipe, overrides)
    from jabert.scoring import open_job

    open_job(settings, source, target)  # what is missing is said before Prefect is loaded
    from flows.command import run_flow

    result = run_flow("score", source, target, recipe or "", list(overrides or []))
    print_json(result) if as_json else print_pairs(result)


@app.command()
def methods(as_json: JsonOption = False) -> None:
    """List the methods that make a classifier: what each needs of a text, and what it costs."""
    from jabert.methods import list_methods

    listed = list_methods()
    if as_json:
        print_json(listed)
    else:
        print_listing(listed, ("kind", "needs", "summary", "cost"), "")


@models_app.callback(invoke_without_command=True)
def models(
    context: typer.Context,
    recipe: RecipeOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the versions of the registered model, newest first."""
    if context.invoked_subcommand:
        return
    settings = _load(recipe, overrides)
    from jabert.registry import open_registry

    versions = open_registry(settings).listing()
    columns = ("version", "aliases", "weighted_f1", "created", "promotion", "reason")
    empty = f"no version of {settings.tracking.model_name!r} is registered yet; `jabert retrain` makes one"
    print_json(versions) if as_json else print_listing(versions, columns, empty)


@models_app.command("promote")
def models_promote(
    version: Annotated[str, typer.Argument(help="The version's number.")],
    recipe: RecipeOption = None,
    overrides: SetOption = None,
    force: Annotated[bool, typer.Option("--force", help="Whatever the comparison says.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Compare a version with the champion on today's test rows, and promote it if it is better."""
    settings = _load(recipe, overrides)
    from jabert.experiments.promotion import promote

    verdict = promote(settings, version, force=force)
    if as_json:
        print_json({"promoted": verdict.promoted, **verdict.facts()})
    else:
        print_pairs(verdict.facts())


@models_app.command("rollback")
def models_rollback(
    recipe: RecipeOption = None, overrides: SetOption = None, as_json: JsonOption = False
) -> None:
    """Make the version before the champion again, at once."""
    settings = _load(recipe, overrides)
    from jabert.registry import open_registry

    move = open_registry(settings).rollback()
    if as_json:
        print_json(vars(move))
    else:
        print(f"version {move.version} of {settings.tracking.model_name!r} is the champion again")


@models_app.command("card")
def models_card(
    version: Annotated[str, typer.Argument(metavar="V", help="Number of the version.")],
    html: Annotated[Path | None, typer.Option("--html", help="Write it as a page to this file.")] = None,
    recipe: RecipeOption = None,
    overrides: SetOption = None,
) -> None:
    """Print the model card of a version, as Markdown."""
    settings = _load(recipe, overrides)
    from jabert.experiments.recording import CARD, CARD_PAGE
    from jabert.files import write_text
    from jabert.registry import open_registry

    registry = open_registry(settings)
    card = registry.artifact(version, CARD_PAGE if html else CARD)
    if card is None:
        raise JabertError(f"version {version} of {registry.name!r} has no card")
    print(write_text(html, card.decode()) if html else card.decode())


@models_app.command("diff")
def models_diff(
    a: Annotated[str, typer.Argument(metavar="A", help="Number of a version.")],
    b: Annotated[str, typer.Argument(metavar="B", help="Number of another.")],
    recipe: RecipeOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compare two versions: settings, data, metrics, and the texts that only one classifies correctly."""
    settings = _load(recipe, overrides)
    from jabert.cli.output import print_diff
    from jabert.registry import open_registry
    from jabert.registry.diff import diff

    found = diff(open_registry(settings), a, b)
    print_json(found.to_dict()) if as_json else print_diff(found)


@app.command()
def runs(
    recipe: RecipeOption = None,
    overrides: SetOption = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many.")] = 20,
    as_json: JsonOption = False,
) -> None:
    """List tracked runs, newest first."""
    settings = _load(recipe, overrides)
    from jabert.tracking import connect, list_runs

    listed = list_runs(connect(settings.tracking), settings.tracking.experiment, limit)
    columns = ("started", "name", "status", "weighted_f1", "version", "reason")
    empty = f"no run in experiment {settings.tracking.experiment!r} yet; `jabert retrain` makes one"
    if as_json:
        print_json(listed)
    else:
        to_the_minute = [{**run, "started": run["started"][:16]} for run in listed]
        print_listing(to_the_minute, columns, empty)


@app.command()
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
    recipe: RecipeOption = None,
    overrides: SetOption = None,
) -> None:
    """Classify texts over HTTP, always with the version that the alias points to."""
    settings = _load(recipe, overrides)
    from jabert.serving import serve

    serve(settings, model or f"models:/{settings.tracking.model_name}@champion", host, port)


@app.command()
def ui(
    recipe: RecipeOption = None,
    overrides: SetOption = None,
    port: Annotated[int, typer.Option(min=1, max=65535, help="To listen on, at 127.0.0.1.")] = 5000,
) -> None:
    """Open the MLflow UI on the project's own store."""
    settings = _load(recipe, overrides)
    from jabert.tracking.ui import serve

    serve(settings.tracking, port)


@app.command()
def doctor(recipe: RecipeOption = None, overrides: SetOption = None, as_json: JsonOption = False) -> None:
    """Tell what is here, what is missing, and what to do about it."""
    settings = _load(recipe, overrides)
    from jabert.doctor import examine

    checks = examine(settings)
    print_json([vars(check) for check in checks]) if as_json else print_checks(checks)
    if not all(check.ok for check in checks):
        raise typer.Exit(1)


@features_app.callback(invoke_without_command=True)
def features(
    context: typer.Context,
    recipe: RecipeOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """List what the feature store holds, a line for each encoder and precision."""
    if context.invoked_subcommand:
        return
    root = Path(_load(recipe, overrides).features.path)
    from jabert.features.verification import list_partitions

    partitions = list_partitions(root)
    columns = ("encoder", "engine", "precision", "dtype", "padding", "rows", "tokens", "bytes", "path")
    shown = [{**partition, "encoder": partition["encoder"][:12]} for partition in partitions]
    empty = f"the feature store {root} is empty; `jabert featurize` fills it"
    print_json(partitions) if as_json else print_listing(shown, columns, empty)


@features_app.command("verify")
def features_verify(
    recipe: RecipeOption = None,
    overrides: SetOption = None,
    rows: Annotated[int, typer.Option(min=1, help="Compute so many rows again.")] = 100,
    seed: Annotated[int, typer.Option(min=0, help="Chooses the rows.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Compute a random sample of stored vectors again and name what differs."""
    settings = _load(recipe, overrides)
    from jabert.encoder import open_folder
    from jabert.features.verification import verify
    from jabert.tracking import with_local_encoder

    verified = verify(open_folder(with_local_encoder(settings).encoder.path), settings, rows, seed)
    if as_json:
        print_json(verified.to_dict())
    else:
        print(f"{verified.store}: {verified.rows} rows, {verified.checked} computed again")
        for sentence in (*verified.damaged, *verified.unread):
            print(sentence)
        print_listing(verified.to_dict()["differing"], ("cosine", "difference", "text"), "no row differs")
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
    from jabert.dataset import import_knbc

    counts = import_knbc(source, out, strip_topic_tag=not keep_tags)
    print_json(counts) if as_json else print_pairs({"table": str(out), **counts})


@encoder_app.command("inspect")
def encoder_inspect(
    folder: Annotated[str, typer.Argument(help="Encoder folder.")], as_json: JsonOption = False
) -> None:
    """Check an encoder folder and describe it."""
    from jabert.encoder.inspection import describe

    facts = describe(folder)
    print_json(facts) if as_json else print_pairs(facts)


@encoder_app.command("init")
def encoder_init(
    folder: Annotated[str, typer.Argument(help="Folder with a checkpoint.")],
    heads: Annotated[int | None, typer.Option(help="Number of attention heads.")] = None,
) -> None:
    """Write the bert_config.json that a downloaded checkpoint lacks."""
    from jabert.encoder.inspection import init_config

    path, remarks = init_config(folder, heads)
    print(path)
    for remark in remarks:
        print(f"note: {remark}", file=sys.stderr)


def _load(recipe: str | None, overrides: Sequence[str] | None) -> "Settings":
    from jabert.config import load_settings

    return load_settings(recipe, overrides or [])


def _load_job(recipe: str | None, overrides: Sequence[str] | None) -> "Settings":
    """Settings of a job; what it cannot start without is said before Prefect and TensorFlow are loaded."""
    settings = _load(recipe, overrides)
    from jabert.dataset.readers import location_of
    from jabert.methods import encoder_of
    from jabert.tracking import with_local_encoder

    location_of(settings.data)
    encoder_of(with_local_encoder(settings))
    return settings
