"""Building the folder that `package.py` reads, out of an encoder and a trained classifier."""

import shutil
from importlib.metadata import version
from pathlib import Path
from typing import Any

from jabert.classifier import load_classifier
from jabert.config import Settings
from jabert.encoder import EncoderFolder, Tokenizer, token_budget
from jabert.encoder.reference import ReferenceEncoder
from jabert.files import write_json, write_text
from jabert.legacy_keras import import_tensorflow, use_device
from jabert.tracking import Run

__all__ = ["build_package", "log_package"]

_CODE = Path(__file__).with_name("package.py")
_EXAMPLE = "京都の食堂で昼ごはんを食べた。"

# What package.py imports, and what that needs at run time.
_REQUIRED = ("mlflow", "numpy", "pandas", "sentencepiece", "tensorflow")


def build_package(
    folder: EncoderFolder, trained: Path, labels: list[str], settings: Settings, target: Path
) -> Path:
    """Write the model package; encoder and classifier become one TensorFlow function.

    Args:
        folder: the encoder.
        trained: folder of a finished training.
        labels: class names in the order of the classifier's outputs.
        settings: written into the package.
        target: the folder to make; what stood there is replaced.
    """
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    shutil.copyfile(folder.sentencepiece, target / "sentencepiece.model")
    classifier = load_classifier(trained, folder.config.hidden_size, len(labels), settings.classifier)
    _export(folder, classifier, settings, target / "network")
    tokenizer = Tokenizer(folder, settings.encoder)
    write_text(target / "config.toml", settings.to_toml())
    write_json(
        target / "package.json",
        {
            "labels": labels,
            "lower_case": tokenizer.lower_case,
            "cls_id": tokenizer.cls_id,
            "sep_id": tokenizer.sep_id,
            "max_tokens": tokenizer.max_tokens,
            "pad_to": tokenizer.pad_to,
            "token_budget": token_budget(folder, settings.encoder),
            "encoder_fingerprint": folder.fingerprint,
            "features_dtype": settings.features.dtype,
        },
    )
    return target


def log_package(package: Path, learned_from: Path, run: Run) -> str:
    """Log a package as the model of a run, as pyfunc from code.

    Args:
        package: the folder.
        learned_from: digests of the rows that the model learned from; they travel with it.
        run: that made it.

    Returns:
        The URI of the logged model.
    """
    import mlflow.pyfunc
    import pandas as pd
    from mlflow.models import Model, ModelSignature
    from mlflow.types import ColSpec, DataType, Schema
    from mlflow.types.schema import Map

    outputs = Schema(
        [
            ColSpec(DataType.string, "label"),
            ColSpec(DataType.double, "score"),
            ColSpec(Map(DataType.double), "probabilities"),
        ]
    )
    # Not mlflow.pyfunc.log_model: it wants an active run, and leaving that would end this one. The model is
    # created first, because Model.log would put it into the default experiment and that one's folder.
    model = run.client.create_logged_model(run.experiment_id, name="model", source_run_id=run.id)
    logged = Model.log(
        artifact_path=None,
        name="model",
        flavor=mlflow.pyfunc,
        run_id=run.id,
        model_id=model.model_id,
        python_model=str(_CODE),
        artifacts={"classifier": str(package), "learned_from": str(learned_from)},
        signature=ModelSignature(Schema([ColSpec(DataType.string, "text")]), outputs),
        input_example=pd.DataFrame({"text": [_EXAMPLE]}),
        pip_requirements=[f"{name}=={version(name)}" for name in _REQUIRED],
    )
    return str(logged.model_uri)


def _export(folder: EncoderFolder, classifier: Any, settings: Settings, target: Path) -> None:
    tf = import_tensorflow()
    device = use_device(settings.encoder.device)
    encoder = ReferenceEncoder(folder, device, mask_id_zero=settings.encoder.pad_to is not None)
    ids_shape, lengths_shape = tf.TensorSpec([None, None], tf.int32), tf.TensorSpec([None], tf.int32)

    @tf.function(input_signature=[ids_shape, lengths_shape])  # type: ignore[untyped-decorator]
    def probabilities(ids: Any, lengths: Any) -> Any:
        vectors = encoder.forward(ids, lengths)  # (batch, tokens, hidden)
        stored = tf.cast(tf.cast(vectors, settings.features.dtype), tf.float32)  # as training saw them
        return classifier([stored, lengths], training=False)  # (batch, classes)

    network = tf.Module()
    # The function keeps no variable alive by itself, and Keras models would be exported with all their
    # training functions; so only the variables are attached.
    network.weights = [*encoder.variables, *classifier.variables]
    network.probabilities = probabilities
    tf.saved_model.save(network, str(target))
