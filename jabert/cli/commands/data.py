"""`jabert data`: corpora and tables of texts."""

from pathlib import Path
from typing import Annotated

import typer

from jabert.cli.output import print_json, print_pairs
from jabert.cli.shared import OPTIONS, Given, JsonOption, command
from jabert.errors import JabertError

app = typer.Typer(help="Import corpora, write texts for pretraining.", **OPTIONS)


@app.command("knbc")
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


@command(app.command("texts"))
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


@command(app.command("check"))
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
