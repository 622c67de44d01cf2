"""Download models and encoders from the MLflow store, checked, without leaving copies behind.

A model brings code of its own, so its files are compared with their *anchor* before anything of it is run:
the digests of all files as they were when it was registered, in a tag of the registry's version. The
registry's database is trusted, the store of artifacts need not be.
"""

import atexit
import json
import logging
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from jabert.config import Settings, TrackingSettings, local_path
from jabert.errors import JabertError, reason_of
from jabert.files import digest_of_file
from jabert.tracking.signing import SIGNATURE, TrustedKey, signer_of
from jabert.tracking.store import connect

if TYPE_CHECKING:
    from mlflow.pyfunc import PyFuncModel
    from mlflow.tracking import MlflowClient

log = logging.getLogger("jabert")

ANCHOR = "files"
"""Tag of a version: JSON, the SHA-256 of each file of the model by its path, in hexadecimal."""

_OF_MLFLOW = "registered_model_meta"  # MLflow writes it to a download
_VERSION = re.compile(r"models:/(?P<name>[^/:@]+)/(?P<version>\d+)")


def load_model(uri: str, trusted: Sequence[TrustedKey] = ()) -> "PyFuncModel":
    """Load a logged or registered model, once its files are those of its anchor; deletes the downloaded copy.

    MLflow itself never deletes what it downloads from a server into the temporary folder.

    Args:
        uri: URI of the model, e.g. `models:/NAME/VERSION`.
        trusted: one of these must have signed it, if there are any.

    Raises:
        JabertError: a file is not what it was when the model was registered, or nobody trusted signed it.
        Exception: of any type, as the store may fail and the model's own code runs.
    """
    import mlflow.pyfunc

    with model_files(uri, trusted) as folder:
        loaded: PyFuncModel = mlflow.pyfunc.load_model(str(folder))
        return loaded


@contextmanager
def model_files(uri: str, trusted: Sequence[TrustedKey] = ()) -> Iterator[Path]:
    """All files of a model as a copy that is deleted then, compared with its anchor; as `load_model`.

    Raises:
        JabertError: a file is not what it was when the model was registered, or nobody trusted signed it.
        MlflowException, OSError: they cannot be downloaded.
    """
    from mlflow.tracking import MlflowClient

    tags = registered_tags(MlflowClient(), uri)
    anchor = parse_anchor(tags[ANCHOR], uri) if tags else None
    if trusted:
        try:
            signer_of(tags, anchor or {}, trusted)
        except JabertError as error:
            raise JabertError(f"{uri} {error}; nothing of the model is run") from None
    with unchecked_files(uri) as folder:
        if anchor is None:
            _tell_unanchored(uri)
        elif faults := differences(folder, anchor):
            raise JabertError(f"{uri}: {next(iter(faults.values()))}; nothing of the model is run")
        yield folder


@contextmanager
def unchecked_files(uri: str) -> Iterator[Path]:
    """As `model_files`, to make an anchor of what is there.

    Raises:
        MlflowException, OSError: they cannot be downloaded.
    """
    from mlflow.artifacts import download_artifacts

    with TemporaryDirectory(prefix="jabert-model-") as copy:
        yield Path(download_artifacts(artifact_uri=uri, dst_path=copy))


def anchor_of(client: "MlflowClient", uri: str) -> dict[str, str] | None:
    """The anchor of a model by its URI, None if none of the versions that it is registered as has one.

    Raises:
        JabertError: the tag is no anchor.
    """
    tags = registered_tags(client, uri)
    return parse_anchor(tags[ANCHOR], uri) if tags else None


def registered_tags(client: "MlflowClient", uri: str) -> dict[str, str]:
    """Tags of the version with an anchor, and with a signature if one has, that a model is registered as."""
    if found := _VERSION.fullmatch(uri):
        versions = [client.get_model_version(found["name"], found["version"])]
    elif uri.startswith("runs:/"):
        versions = list(client.search_model_versions(f"run_id = '{uri.split('/')[1]}'"))
    else:
        versions = list(client.search_model_versions(f"source_path = '{uri}'"))
    anchored = [dict(version.tags) for version in versions if ANCHOR in version.tags]
    return next((tags for tags in anchored if SIGNATURE in tags), anchored[0] if anchored else {})


def parse_anchor(tag: str, uri: str) -> dict[str, str]:
    """The digests in a tag.

    Raises:
        JabertError: it has none.
    """
    try:
        anchor = json.loads(tag)
    except ValueError:
        anchor = None
    if not isinstance(anchor, dict) or not all(isinstance(digest, str) for digest in anchor.values()):
        raise JabertError(
            f"{uri}: the tag {ANCHOR!r} of the version in the registry is damaged; restore it from a backup"
        )
    return anchor


def file_digests(folder: Path) -> dict[str, str]:
    """The SHA-256 of each file below a folder by its path, as an anchor has them."""
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if not path.is_dir()}
    return {name: digest_of_file(path) for name, path in sorted(files.items()) if name != _OF_MLFLOW}


def differences(folder: Path, anchor: Mapping[str, str]) -> dict[str, str]:
    """What is not as the anchor says: by the name of the file a sentence without a full stop."""
    found = file_digests(folder)
    why = {
        **dict.fromkeys(found.keys() - anchor.keys(), "has been added"),
        **dict.fromkeys(anchor.keys() - found.keys(), "is missing"),
        **{name: "has changed" for name in found.keys() & anchor.keys() if found[name] != anchor[name]},
    }
    return {
        name: f"the file {name} {fault} since the model was registered" for name, fault in sorted(why.items())
    }


@cache
def _tell_unanchored(uri: str) -> None:
    log.warning(
        "%s has no anchor, so nobody can tell whether its files were changed; `jabert models anchor` makes "
        "one of what is there now",
        uri,
    )


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
