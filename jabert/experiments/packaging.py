"""The package of a classifier, which the code in `jabert/runtime/` reads: made, opened, logged to MLflow."""

import json
import shutil
from dataclasses import asdict
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from jabert.evaluation import Calibration
from jabert.files import digest_of_file, write_json, write_text
from jabert.methods import Job, Member, method_of
from jabert.sbom import bill_of_materials
from jabert.tracking import Run

if TYPE_CHECKING:
    from jabert.runtime.text_classifier import TextClassifier

_CODE = Path(str(files("jabert") / "runtime" / "text_classifier.py"))
SUMS = "SHA256SUMS"
_EXAMPLE = "京都の食堂で昼ごはんを食べた。"
_REQUIRED = ("mlflow", "numpy", "pandas")  # what that file imports, whatever is in a package


def build_package(job: Job, target: Path, calibration: Calibration | None = None) -> Path:
    """Write the folder that `jabert/runtime/text_classifier.py` describes.

    Args:
        job: a fitted classifier; the settings are written into the package, without paths.
        target: the folder to make; what stood there is replaced.
        calibration: of the answers; without it they are the classifier's probabilities.
    """
    settings, kind = job.settings, job.settings.method.kind
    shutil.rmtree(target, ignore_errors=True)
    (target / kind).mkdir(parents=True)
    export = method_of(settings).export(job, target / kind)
    about: dict[str, Any] = {
        "format": "2",
        "labels": list(job.labels),
        "max_texts": settings.package.max_texts,
        "members": [_member(member, kind) for member in export.members],
        **({"join": asdict(export.join)} if export.join else {}),
    }
    if calibration:
        context = calibration.context and asdict(calibration.context)
        told = {
            "temperature": calibration.temperature,
            "context": context,
            "threshold": calibration.threshold,
        }
        about |= {name: value for name, value in told.items() if value is not None}
    write_json(target / "package.json", about)
    write_text(target / "config.toml", settings.without_locations().to_toml())
    write_text(target / SUMS, _sums(target))
    return target


def is_whole(package: Path) -> bool:
    """Whether the files of a package are those that were written, and all are there."""
    return (package / SUMS).read_bytes() == _sums(package).encode()


def _sums(package: Path) -> str:
    written = sorted(path for path in package.rglob("*") if path.is_file() and path != package / SUMS)
    lines = (f"{digest_of_file(path)}  {path.relative_to(package).as_posix()}\n" for path in written)
    return "".join(lines)


def _member(member: Member, kind: str) -> dict[str, Any]:
    """A member as `package.json` has it, its paths below the folder of the package."""
    listed = {
        "folder": (PurePosixPath(kind) / member.folder).as_posix(),
        "runtime": member.runtime,
        "requires": member.requires,
    }
    heads = [(PurePosixPath(kind) / head).as_posix() for head in member.heads]
    return {**listed, "heads": heads} if heads else listed


def open_package(package: Path) -> "TextClassifier":
    """A package in memory, without MLflow's store.

    Raises:
        MlflowException: its files are not what was written.
    """
    from jabert.runtime.text_classifier import TextClassifier

    return TextClassifier().load(package)


def log_package(package: Path, learned_from: Path, run: Run) -> str:
    """Log a package as the model of a run, as pyfunc from code; with it goes an SBOM of what it requires.

    Args:
        package: the folder.
        learned_from: digests of the rows that the model learned from; they travel with it.
        run: that made it.

    Returns:
        The URI of the logged model.
    """
    import pandas as pd
    from mlflow.models import Model

    about = json.loads((package / "package.json").read_text(encoding="utf-8"))
    required = {*_REQUIRED, *(name for member in about["members"] for name in member["requires"])}
    # Not mlflow.pyfunc.log_model: it wants an active run, and leaving that would end this one. The model is
    # created first, because Model.log would put it into the default experiment and that one's folder.
    requirements = [f"{name}=={version(name)}" for name in sorted(required)]
    sbom = write_json(learned_from.with_name("sbom.json"), bill_of_materials(requirements, "model"))
    model = run.client.create_logged_model(run.experiment_id, name="model", source_run_id=run.id)
    logged = Model.log(
        artifact_path=None,
        name="model",
        flavor=_Pyfunc,
        run_id=run.id,
        model_id=model.model_id,
        python_model=str(_CODE),
        artifacts={"classifier": str(package), "learned_from": str(learned_from), "sbom": str(sbom)},
        model_config={"output": None},  # which callers may override that can pass no parameters
        signature=_signature(takes_neighbours="context" in about),
        input_example=pd.DataFrame({"text": [_EXAMPLE]}),
        pip_requirements=requirements,
        metadata={"max_texts": about["max_texts"], "context": about.get("context", {}).get("texts", 0)},
    )
    return str(logged.model_uri)


class _Pyfunc:
    """MLflow's pyfunc flavor, without the paths of this machine that it notes in the file MLmodel."""

    @staticmethod
    def save_model(path: str, mlflow_model: Any, **arguments: Any) -> None:
        import mlflow.pyfunc

        mlflow.pyfunc.save_model(path=path, mlflow_model=mlflow_model, **arguments)
        noted = mlflow_model.flavors[mlflow.pyfunc.FLAVOR_NAME]
        noted["model_code_path"] = Path(noted["model_code_path"]).name
        for artifact in noted["artifacts"].values():
            artifact["uri"] = artifact["path"]
        mlflow_model.save(str(Path(path) / "MLmodel"))


def _signature(*, takes_neighbours: bool) -> Any:
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema
    from mlflow.types.schema import Array, Map

    outputs: list[Any] = [
        ColSpec(DataType.string, "label", required=False),  # None below the threshold
        ColSpec(DataType.double, "score"),
        ColSpec(Map(DataType.double), "probabilities"),
    ]
    params = [
        ParamSpec("top_k", DataType.long, None),
        ParamSpec("threshold", DataType.double, None),
        ParamSpec("output", DataType.string, None),
    ]
    inputs: list[Any] = [ColSpec(DataType.string, "text")]
    if takes_neighbours:
        inputs += [ColSpec(Array(DataType.string), name, required=False) for name in ("before", "after")]
    return ModelSignature(Schema(inputs), Schema(outputs), ParamSchema(params))
