"""`jabert encoder`: encoder folders."""

from pathlib import Path
from typing import Annotated

import typer

from jabert.cli.output import print_json, print_pairs, say
from jabert.cli.shared import OPTIONS, Given, JsonOption, command

app = typer.Typer(help="Check encoder folders, complete or import them, export fine-tuned ones.", **OPTIONS)


@app.command("inspect")
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


@app.command("init")
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


@app.command("import")
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


@command(app.command("export"), has_json=False)
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
