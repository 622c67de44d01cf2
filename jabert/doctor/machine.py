"""Checks of Python, libraries, device, engine, font, disk and Prefect's server."""

import ctypes
import os
import platform
import shutil
from collections.abc import Iterable, Iterator
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, metadata, requires, version
from importlib.util import find_spec
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from jabert.config import EncoderSettings
from jabert.doctor.check import Check, checked
from jabert.encoder import choose
from jabert.errors import JabertError
from jabert.legacy_keras import gpu_names, import_tensorflow
from jabert.redaction import shown_form
from jabert.sockets import proxies, reach_directly

_SHOWN = (
    "tensorflow",
    "tf-keras",
    "keras-bert",
    "sentencepiece",
    "prefect",
    "mlflow",
    "great-expectations",
    "fastapi",
    "sqlalchemy",
)
_ENOUGH_GIGABYTES = 5
_SECONDS_TO_ANSWER = 5


def python() -> Check:
    """Whether jabert supports this version of Python."""
    allowed = metadata("jabert")["Requires-Python"]
    found = platform.python_version()
    fits = SpecifierSet(allowed).contains(found, prereleases=True)
    return checked("Python", found, "" if fits else f"use a Python {allowed}")


def libraries() -> Iterator[Check]:
    """The versions of the main libraries, and a failure for each library outside of jabert's requirements.

    Prefect fails silently with a newer fastapi or sqlalchemy, and `pip check` does not report them.
    """
    requirements = [Requirement(line) for line in requires("jabert") or ()]
    wanted = {each.name: each.specifier for each in requirements if not each.marker or each.marker.evaluate()}
    found: dict[str, str] = {}
    for name in wanted:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    yield checked("libraries", ", ".join(f"{name} {found.get(name)}" for name in _SHOWN))
    for name, bounds in wanted.items():
        if name not in found or not bounds.contains(found[name], prereleases=True):
            remedy = f"jabert needs {name}{bounds}: `make setup` in a checkout, else pip install it"
            yield checked(name, found.get(name, "not installed"), remedy)


def device(setting: str) -> Iterator[Check]:
    """The devices of TensorFlow, and whether they fit `encoder.device`."""
    try:
        gpus = gpu_names()
    except (ImportError, OSError, JabertError) as error:
        yield checked("device", f"TensorFlow cannot be loaded: {error}", "reinstall tensorflow")
        return
    found = ", ".join(gpus) or f"no GPU; {os.cpu_count()} CPU cores"
    remedy = "install the extra jabert[gpu] and NVIDIA's driver, or set encoder.device to auto"
    yield checked("device", found, remedy if setting == "gpu" and not gpus else "")
    if gpus:
        major = import_tensorflow().sysconfig.get_build_info().get("cudnn_version")
        try:  # TensorFlow has loaded this library, and the same name refers to the same library
            number = int(ctypes.CDLL(f"libcudnn.so.{major}").cudnnGetVersion())
        except OSError as error:
            yield checked("cuDNN", str(error), "install the extra jabert[gpu]")
        else:
            yield checked("cuDNN", str(number), cudnn_remedy(number))


def engine(settings: EncoderSettings) -> Check:
    """The engine, precision and device that compute token vectors."""
    try:
        choice = choose(settings)
    except JabertError as error:
        return checked("engine", str(error), "set encoder.engine, .precision and .device to auto")
    return checked("engine", f"{choice.engine}, {choice.precision}, on {choice.device}")


def cudnn_remedy(number: int) -> str:
    """The remedy for a version of cuDNN, empty if it works; 8.1.0 is 8100, 9.3.0 is 90300.

    From 8.1 to 8.9.1 a masked LSTM is silently wrong (https://github.com/tensorflow/tensorflow/issues/60192).
    """
    return "install cuDNN 8.9.2 or later: this one computes wrong results" if 8100 <= number < 8902 else ""


def font() -> Check:
    """The Japanese font of the plots, found as a file because matplotlib would write a cache."""
    package = find_spec("matplotlib_fontja")
    folders = (package and package.submodule_search_locations) or []
    fonts = [file.name for folder in folders for file in Path(folder).glob("fonts/*.ttf")]
    return checked("font", ", ".join(fonts) or "none", "" if fonts else "pip install matplotlib-fontja")


def disk(paths: Iterable[str]) -> Iterator[Check]:
    """Free space of each disk that one of the paths is on."""
    folders = {folder.stat().st_dev: folder for folder in (nearest(Path(path)) for path in paths)}
    for folder in folders.values():
        gigabytes = shutil.disk_usage(folder).free / 1e9
        remedy = "free some space, or set features.path and training.work_path to folders on a larger disk"
        enough = gigabytes >= _ENOUGH_GIGABYTES
        yield checked("disk", f"{gigabytes:.1f} GB free at {folder}", "" if enough else remedy)


def nearest(path: Path) -> Path:
    """The path itself if it exists, else the closest folder above it that does."""
    return next(above for above in (path, *path.parents) if above.exists())


def proxy() -> Iterator[Check]:
    """The proxies of the environment, and that they do not stand before servers on this machine."""
    reach_directly()
    if found := proxies():
        named = ", ".join(f"{name}={shown_form(value)}" for name, value in found.items())
        yield checked("proxy", f"{named}; servers on this machine are reached without it")


def prefect_api() -> Check:
    """Whether the Prefect server at PREFECT_API_URL answers."""
    import requests

    url = os.environ.get("PREFECT_API_URL")
    if not url:
        return checked("Prefect", "PREFECT_API_URL is not set: each run starts a temporary server")
    try:
        answer = str(requests.get(f"{url}/health", timeout=_SECONDS_TO_ANSWER).status_code)
    except requests.RequestException as error:
        answer = type(error).__name__
    reachable = answer in ("200", "401", "403")  # also a server that requires authentication
    remedy = "start it with `prefect server start`, or unset PREFECT_API_URL"
    return checked("Prefect", f"{shown_form(url)} answers {answer}", "" if reachable else remedy)
