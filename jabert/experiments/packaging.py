"""Building the folder that `runtime/text_classifier.py` reads, out of an encoder and a trained classifier."""

import json
import shutil
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jabert.config import Settings
from jabert.encoder import EncoderFolder, Tokenizer, choose, cpu_token_budget
from jabert.encoder.checkpoint import read_variables
from jabert.encoder.openvino import bert_graph, layout_graph
from jabert.files import digest_of_file, on_disk, write_json, write_text
from jabert.methods.bi_lstm import load_classifier
from jabert.methods.bi_lstm.export import classifier_graph
from jabert.tracking import Run

if TYPE_CHECKING:
    pass

__all__ = ["build_package", "log_package"]

_CODE = Path(str(files("jabert") / "runtime/text_classifier.py"))
_EXAMPLE = "京都の食堂で昼ごはんを食べた。"
_REQUIRED = ("mlflow", "numpy", "openvino", "pandas", "sentencepiece")  # what that file imports
_MAX_CHARACTERS = 100_000  # of a text that are tokenized: 30 ms, and far more than any encoder has positions


def build_package(
    folder: EncoderFolder, trained: Path, labels: list[str], settings: Settings, target: Path
) -> Path:
    """Write the folder that `runtime/text_classifier.py` reads; the networks become OpenVINO graphs.

    Args:
        folder: the encoder.
        trained: folder of a finished training.
        labels: class names in the order of the classifier's outputs.
        settings: written into the package, without paths.
        target: the folder to make; what stood there is replaced.
    """
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    with on_disk(target):
        shutil.copyfile(folder.sentencepiece, target / "sentencepiece.model")
        _write_graphs(folder, trained, len(labels), settings, target)
    write_text(target / "config.toml", settings.without_locations().to_toml())
    write_json(target / "package.json", _about(folder, labels, settings))
    sums = [f"{digest_of_file(path)}  {path.name}\n" for path in sorted(target.iterdir())]
    write_text(target / "SHA256SUMS", "".join(sums))
    return target


def _write_graphs(
    folder: EncoderFolder, trained: Path, classes: int, settings: Settings, target: Path
) -> None:
    import openvino

    layout = layout_graph(mask_id_zero=settings.encoder.pad_to is not None)
    encoder = bert_graph(read_variables(folder), folder.config)
    classifier = load_classifier(trained, folder.config.hidden_size, classes, settings.classifier)
    head = classifier_graph(classifier, np.dtype(settings.features.dtype))
    for name, graph in {"layout": layout, "encoder": encoder, "classifier": head}.items():
        openvino.save_model(graph, target / f"{name}.xml", compress_to_fp16=False)


def _about(folder: EncoderFolder, labels: list[str], settings: Settings) -> dict[str, Any]:
    tokenizer, precision = Tokenizer(folder, settings.encoder), choose(settings.encoder).precision
    return {
        "labels": labels,
        "max_texts": settings.package.max_texts,
        "max_characters": _MAX_CHARACTERS,
        "lower_case": tokenizer.lower_case,
        "cls_id": tokenizer.cls_id,
        "sep_id": tokenizer.sep_id,
        "max_tokens": tokenizer.max_tokens,
        "pad_to": tokenizer.pad_to,
        "precision": precision,
        "token_budget": settings.encoder.token_budget or cpu_token_budget(folder, precision),
        "encoder_fingerprint": folder.fingerprint,
    }


def log_package(package: Path, learned_from: Path, run: Run) -> str:
    """Log a package as the model of a run, as pyfunc from code.

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
    # Not mlflow.pyfunc.log_model: it wants an active run, and leaving that would end this one. The model is
    # created first, because Model.log would put it into the default experiment and that one's folder.
    model = run.client.create_logged_model(run.experiment_id, name="model", source_run_id=run.id)
    logged = Model.log(
        artifact_path=None,
        name="model",
        flavor=_Pyfunc,
        run_id=run.id,
        model_id=model.model_id,
        python_model=str(_CODE),
        artifacts={"classifier": str(package), "learned_from": str(learned_from)},
        signature=_signature(),
        input_example=pd.DataFrame({"text": [_EXAMPLE]}),
        pip_requirements=[f"{name}=={version(name)}" for name in _REQUIRED],
        metadata={"max_texts": about["max_texts"]},
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


def _signature() -> Any:
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema
    from mlflow.types.schema import Map

    outputs: list[Any] = [
        ColSpec(DataType.string, "label", required=False),  # None below the threshold
        ColSpec(DataType.double, "score"),
        ColSpec(Map(DataType.double), "probabilities"),
    ]
    params = [ParamSpec("top_k", DataType.long, None), ParamSpec("threshold", DataType.double, None)]
    return ModelSignature(Schema([ColSpec(DataType.string, "text")]), Schema(outputs), ParamSchema(params))
