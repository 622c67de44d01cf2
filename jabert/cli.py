"""The command line `jabert`. Each command imports what it needs, so that `--help` answers at once."""

import json
import logging
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jabert.errors import JabertError

if TYPE_CHECKING:
    from jabert.config import Settings

__all__ = ["main"]

_OPTIONS: dict[str, Any] = {
    "no_args_is_help": True,
    "pretty_exceptions_enable": False,
    "rich_markup_mode": None,
}
_CONTEXT = {"help_option_names": ["-h", "--help"]}

app = typer.Typer(help="Retrain, compare and serve Japanese text classifiers.", **_OPTIONS)
models_app = typer.Typer(help="The registered model: its versions and aliases.")
data_app = typer.Typer(help="Import corpora.", **_OPTIONS)
encoder_app = typer.Typer(help="Check encoder folders.", **_OPTIONS)
app.add_typer(models_app, name="models")
app.add_typer(data_app, name="data")
app.add_typer(encoder_app, name="encoder")

RecipeOption = Annotated[
    str | None, typer.Option("--recipe", help="A packaged recipe (knbc, seed) or a TOML file.")
]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="GROUP.KEY=VALUE", help="Override a setting; repeatable.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON on stdout, everything else on stderr.")]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; a `JabertError` becomes its sentence and exit code 1."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        app([word for word in given if word != "--debug"])
    except JabertError as error:
        if "--debug" in given:
            raise
        print(f"jabert: {error}", file=sys.stderr)
        sys.exit(1)


@app.callback()
def _options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,  # noqa: ARG001
) -> None:
    logging.basicConfig(format="%(message)s", level=logging.WARNING, stream=sys.stderr)


@app.command()
def retrain(recipe: RecipeOption = None, overrides: SetOption = None, as_json: JsonOption = False) -> None:
    """Train on labelled texts, register the model, and promote it if it is better."""
    _load(recipe, overrides)  # a wrong setting is said before Prefect and TensorFlow are loaded
    import flows

    flows.quiet_console()
    from flows.retrain import retrain as flow

    result = flow(recipe, list(overrides or []))
    if as_json:
        _print_json(result)
    else:
        from jabert.summary import print_summary

        print_summary(result, _load(recipe, overrides))


@app.command()
def validate(recipe: RecipeOption = None, overrides: SetOption = None, as_json: JsonOption = False) -> None:
    """Hold the data against its suite of expectations, without training."""
    settings = _load(recipe, overrides)
    from jabert.dataset import read_corpus
    from jabert.validation import check_texts

    corpus = read_corpus(settings.data)
    folder = Path(settings.training.work_path) / "validation"
    report = check_texts(corpus.table, settings, corpus.split_by, folder)
    if as_json:
        _print_json({"rows": corpus.counts, **report.to_dict()})
    else:
        print(report.to_markdown())
        print(f"data docs: {report.folder / 'data_docs' / 'index.html'}")
    report.raise_if_critical()


@app.command()
def featurize(recipe: RecipeOption = None, overrides: SetOption = None, as_json: JsonOption = False) -> None:
    """Compute the token vectors that the feature store lacks."""
    _load(recipe, overrides)
    import flows

    flows.quiet_console()
    from flows.featurize import featurize as flow

    result = flow(recipe, list(overrides or []))
    _print_json(result) if as_json else _print_pairs(result)


@app.command()
def predict(
    texts: Annotated[list[str], typer.Argument(metavar="TEXT…")],
    recipe: RecipeOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Classify texts with the champion."""
    settings = _load(recipe, overrides)
    for number, text in enumerate(texts, 1):
        if not text.strip():
            raise JabertError(f"text {number} is blank")
    import pandas as pd

    from jabert.registry import load_champion
    from jabert.tracking import connect

    champion = load_champion(connect(settings.tracking), settings.tracking.model_name)
    predicted = champion.predict(pd.DataFrame({"text": texts}))
    rows = [
        {"text": text, "label": label, "probabilities": probabilities}
        for text, label, probabilities in zip(
            texts, predicted["label"], predicted["probabilities"], strict=True
        )
    ]
    if as_json:
        _print_json(rows)
    else:
        scored = [
            {"text": row["text"], "label": row["label"], "score": f"{max(row['probabilities'].values()):.3f}"}
            for row in rows
        ]
        _print_table(scored)


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
    from jabert.registry import list_versions
    from jabert.tracking import connect

    versions = list_versions(connect(settings.tracking), settings.tracking.model_name)
    _print_listing(versions, as_json, f"no version of {settings.tracking.model_name!r} is registered yet")


@app.command()
def runs(
    recipe: RecipeOption = None,
    overrides: SetOption = None,
    limit: Annotated[int, typer.Option(help="At most so many.")] = 20,
    as_json: JsonOption = False,
) -> None:
    """List tracked runs, newest first."""
    settings = _load(recipe, overrides)
    from jabert.tracking import connect, list_runs

    listed = list_runs(connect(settings.tracking), settings.tracking.experiment, limit)
    _print_listing(listed, as_json, f"no run in experiment {settings.tracking.experiment!r} yet")


@app.command()
def ui(
    recipe: RecipeOption = None,
    overrides: SetOption = None,
    port: Annotated[int, typer.Option(help="To listen on, at 127.0.0.1.")] = 5000,
) -> None:
    """Open the MLflow UI on the project's own store."""
    settings = _load(recipe, overrides)
    from jabert.ui import serve

    serve(settings.tracking, port)


@app.command()
def doctor(recipe: RecipeOption = None, overrides: SetOption = None, as_json: JsonOption = False) -> None:
    """Tell what is here, what is missing, and what to do about it."""
    settings = _load(recipe, overrides)
    from jabert.doctor import examine

    checks = [vars(check) for check in examine(settings)]
    _print_listing(checks, as_json, "")
    if not all(check["ok"] for check in checks):
        sys.exit(1)


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
    _print_json(counts) if as_json else _print_pairs({"table": str(out), **counts})


@encoder_app.command("inspect")
def encoder_inspect(
    folder: Annotated[Path, typer.Argument(help="Encoder folder.")], as_json: JsonOption = False
) -> None:
    """Check an encoder folder and describe it."""
    from jabert.encoder.inspection import describe

    facts = describe(folder)
    _print_json(facts) if as_json else _print_pairs(facts)


@encoder_app.command("init")
def encoder_init(
    folder: Annotated[Path, typer.Argument(help="Folder with a checkpoint.")],
    heads: Annotated[int | None, typer.Option(help="Number of attention heads.")] = None,
) -> None:
    """Write the bert_config.json that a downloaded checkpoint lacks."""
    from jabert.encoder.folder import init_config

    path, remarks = init_config(folder, heads)
    print(path)
    for remark in remarks:
        print(f"note: {remark}", file=sys.stderr)


def _load(recipe: str | None, overrides: Sequence[str] | None) -> "Settings":
    from jabert.config import load_settings

    return load_settings(recipe, overrides or [])


def _print_json(value: Any) -> None:
    print(json.dumps(value, ensure_ascii=False, indent=2))


def _print_pairs(values: Mapping[str, Any]) -> None:
    from rich.table import Table

    table = Table(show_header=False)
    for name, value in values.items():
        table.add_row(name, str(value))
    _print_rich(table)


def _print_table(rows: Sequence[Mapping[str, Any]]) -> None:
    from rich.table import Table

    table = Table(*rows[0])
    for row in rows:
        table.add_row(*("" if value is None else str(value) for value in row.values()))
    _print_rich(table)


def _print_listing(rows: Sequence[Mapping[str, Any]], as_json: bool, empty: str) -> None:
    if as_json:
        _print_json(rows)
    elif rows:
        _print_table(rows)
    else:
        print(empty)


def _print_rich(table: Any) -> None:
    from rich.console import Console

    Console(markup=False, highlight=False).print(table)
