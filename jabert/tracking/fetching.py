"""Download models and encoders from the MLflow store without leaving copies behind."""

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


def load_model(uri: str) -> "PyFuncModel":
    """Load a logged or registered model, and delete the downloaded copy.

    MLflow itself never deletes what it downloads from a server into the temporary folder.

    Args:
        uri: URI of the model, e.g. `models:/NAME/VERSION`.

    Raises:
        Exception: of any type, as the store may fail and the model's own code runs.
    """
    import mlflow.pyfunc

    with TemporaryDirectory(prefix="jabert-model-") as folder:
        loaded: PyFuncModel = mlflow.pyfunc.load_model(uri, dst_path=folder)
        return loaded


def with_local_encoder(settings: Settings, name: str = "encoder.path") -> Settings:
    """Replace the encoder of the settings by a local folder if it is an artifact of a run, `runs:/…`.

    An artifact on this machine is used in its folder. Any other is downloaded once per process, which deletes
    the copy when it ends.

    Args:
        settings: settings with the encoder.
        name: name of the setting that is the encoder.

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
        folder = _local_artifact(uri, settings.tracking)
    except (MlflowException, OSError) as error:
        raise JabertError(f"{name} {uri} cannot be fetched from MLflow ({reason_of(error)})") from error
    return settings.model_copy(update={group: values.model_copy(update={key: folder})})


@cache
def _local_artifact(uri: str, store: TrackingSettings) -> str:
    """A folder on this machine with an artifact of a run."""
    from mlflow.artifacts import download_artifacts

    run_id, _, name = uri.removeprefix("runs:/").partition("/")
    artifacts = local_path(connect(store).get_run(run_id).info.artifact_uri)
    if artifacts and (artifacts / name).is_dir():  # MLflow would copy it
        return str(artifacts / name)
    copy = tempfile.mkdtemp(prefix="jabert-encoder-")
    atexit.register(shutil.rmtree, copy, ignore_errors=True)
    return download_artifacts(artifact_uri=uri, dst_path=copy)
