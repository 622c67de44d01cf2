"""A script that downloads a registered model, loads it and classifies texts with it.

The smoke check runs it in a process of its own and without jabert, as a user who downloads the model would.
It reads JSON {"uri", "store", "texts", "files"}; `files` has the SHA-256 of each file by its path, or is
null. The argument is the folder to download to. It prints one line of JSON: for each text an object
{label: probability}.
"""

import hashlib
import json
import sys
from pathlib import Path


def main(folder: str) -> None:
    """Classify the texts that standard input names."""
    import mlflow
    import pandas as pd

    wanted = json.load(sys.stdin)
    mlflow.set_tracking_uri(wanted["store"])
    mlflow.set_registry_uri(wanted["store"])
    fetched = mlflow.artifacts.download_artifacts(wanted["uri"], dst_path=folder)
    if wanted["files"] is not None:
        require_files(Path(fetched), wanted["files"])
    predicted = mlflow.pyfunc.load_model(fetched).predict(pd.DataFrame({"text": wanted["texts"]}))
    print(json.dumps(list(predicted["probabilities"])), flush=True)


def require_files(folder: Path, digests: dict[str, str]) -> None:
    """End the process unless the files of the folder are these, MLflow's note on a download aside."""
    present = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    present.pop("registered_model_meta", None)
    for name in sorted({*present, *digests}):
        found = hashlib.sha256(present[name].read_bytes()).hexdigest() if name in present else None
        if found != digests.get(name):
            raise SystemExit(f"the file {name} is not what it was when the model was registered")


if __name__ == "__main__":
    main(*sys.argv[1:])
