"""`jabert features`: the store of token vectors."""

from pathlib import Path
from typing import Annotated

import typer

from jabert.cli.output import print_listing, print_verified
from jabert.cli.shared import Given, command

app = typer.Typer(help="The store of token vectors: what is in it.")


@command(app.callback(invoke_without_command=True))
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


@command(app.command("verify"))
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
