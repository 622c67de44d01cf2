"""Fill the feature store for a table of texts, so that a later retraining finds its vectors there.

Run it as `jabert featurize --recipe … --set …`, `python flows/featurize.py` with the same options, or
as a Prefect deployment. Nothing is written to MLflow.
"""

from typing import Any

import flows  # noqa: F401  the settings come before Prefect
from flows import stages
from flows.flow import flow
from jabert.experiments import retraining
from jabert.tracking import with_local_encoder


@flow("featurize")
def featurize(recipe: str = "", overrides: list[str] | None = None) -> dict[str, Any]:
    """Read, tokenize and compute what the store lacks.

    Args:
        recipe: name of a bundled recipe (`knbc`, `seed`) or path of a TOML file; empty for none.
        overrides: settings as `group.key=value`.
    """
    settings = with_local_encoder(retraining.load(recipe, overrides or []))
    data = stages.read(settings)
    return stages.featurize(settings, stages.tokenize(settings, data)).to_dict()


if __name__ == "__main__":
    import sys

    from jabert.cli import main

    main(["featurize", *sys.argv[1:]])
