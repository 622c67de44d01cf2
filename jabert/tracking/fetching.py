"""Models and encoders fetched from the store, without leaving copies behind."""

import atexit
import shutil
import tempfile
from functools import cache
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from jabert.config import Settings, TrackingSettings, local_path
from jabert.errors import JabertError, reason_of
from jabert.tracking.store import connect

if TYPE_CHECKING:
    from mlflow.pyfunc import PyFuncModel

__all__ = ["load_model", "with_local_encoder"]


def load_model(uri: str) -> "PyFuncModel":
    """A logged or registered model in memory, from a copy that is gone when it is loaded.

    MLflow by itself leaves what it fetches from a server in the temporary folder, for good.

    Raises:
        Exception: whatever the store, the model's own code or its files come up with.
    """
    import mlflow.pyfunc

    with TemporaryDirectory(prefix="jabert-model-") as folder:
        loaded: PyFuncModel = mlflow.pyfunc.load_model(uri, dst_path=folder)
        return loaded


def with_local_encoder(settings: Settings, name: str = "encoder.path") -> Settings:
    """The settings with an encoder as a folder here if it is one of a run's artifacts, `runs:/…`.

    Artifacts that lie on this machine are used where they are; others are fetched once by each process,
    which removes them when it ends.

    Args:
        settings: those of a job.
        name: of the setting that is the encoder.

    Raises:
        JabertError: there is no such run or artifact; names the setting.
    """
    group, key = name.split(".")
    values = getattr(settings, group)
    uri = getattr(values, key)
    if uri is None or not uri.startswith("runs:/"):
        return settings
    from mlflow.exceptions import MlflowException

    try:
        folder = _fetched(uri, settings.tracking)
    except (MlflowException, OSError) as error:
        raise JabertError(f"{name} {uri} cannot be fetched from MLflow ({reason_of(error)})") from error
    return settings.model_copy(update={group: values.model_copy(update={key: folder})})


@cache
def _fetched(uri: str, store: TrackingSettings) -> str:
    """A folder of a run's artifacts on this machine."""
    from mlflow.artifacts import download_artifacts

    run_id, _, name = uri.removeprefix("runs:/").partition("/")
    artifacts = local_path(connect(store).get_run(run_id).info.artifact_uri)
    if artifacts and (artifacts / name).is_dir():  # MLflow would make a copy
        return str(artifacts / name)
    copy = tempfile.mkdtemp(prefix="jabert-encoder-")
    atexit.register(shutil.rmtree, copy, ignore_errors=True)
    return download_artifacts(artifact_uri=uri, dst_path=copy)
