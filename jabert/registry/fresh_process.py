"""A script: fetch a registered model, load it, and say what it makes of texts.

The smoke check runs it in a process of its own, apart from jabert: whoever pulls the model has no more.
It reads a JSON object {"uri", "store", "texts"} from the file given first, fetches the model to the folder
given second, and prints one line of JSON, a list of {label: probability}.
"""

import json
import sys
from pathlib import Path

__all__ = ["main"]


def main(request: str, folder: str) -> None:
    """Answer a request."""
    import mlflow
    import pandas as pd

    wanted = json.loads(Path(request).read_text(encoding="utf-8"))
    mlflow.set_tracking_uri(wanted["store"])
    mlflow.set_registry_uri(wanted["store"])
    fetched = mlflow.artifacts.download_artifacts(wanted["uri"], dst_path=folder)
    predicted = mlflow.pyfunc.load_model(fetched).predict(pd.DataFrame({"text": wanted["texts"]}))
    print(json.dumps(list(predicted["probabilities"])), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
