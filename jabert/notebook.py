"""What a notebook or script does with jabert; `jabert` offers all of it by name."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd

from jabert.config import Settings, load_settings
from jabert.dataset import read_corpus
from jabert.encoder import EncoderFolder, TokenIds, Tokenizer, load_encoder, longest_row, token_budget
from jabert.encoder import open_folder as open_encoder
from jabert.encoder.batching import token_budget_batches
from jabert.errors import JabertError
from jabert.evaluation import EvaluationReport, evaluate
from jabert.experiments import Experiment, steps
from jabert.experiments import run as run_experiment
from jabert.experiments.packaging import build_package, log_package, open_package
from jabert.methods import method_of
from jabert.registry import open_registry, write_training_digests
from jabert.report.plots import confusion_matrix as plot_confusion_matrix
from jabert.tracking import tracked_run, with_local_encoder

if TYPE_CHECKING:
    from mlflow.pyfunc import PyFuncModel

    from jabert.runtime.text_classifier import TextClassifier

__all__ = [
    "Classifier",
    "EvaluationReport",
    "Experiment",
    "JabertError",
    "Settings",
    "Tokenizer",
    "evaluate",
    "fit",
    "load_champion",
    "load_settings",
    "open_encoder",
    "plot_confusion_matrix",
    "read_corpus",
    "register",
    "run_experiment",
    "token_vectors",
]


@dataclass(frozen=True)
class Classifier:
    """A fitted classifier, as it will be served.

    Attributes:
        settings: it was made with.
        labels: class names, in the order of the columns of `predict`.
        package: folder of its files.

    Example:
        >>> classifier = jabert.fit(jabert.load_settings("sample", ["method.kind=tfidf"]))
        >>> classifier.predict(["京都のお寺を歩いた。"]).shape
        (1, 4)
    """

    settings: Settings
    labels: Sequence[str]
    package: Path
    _data: steps.Data
    _runtime: "TextClassifier"

    def predict(
        self,
        texts: Sequence[str],
        before: Sequence[Sequence[str]] | None = None,
        after: Sequence[Sequence[str]] | None = None,
    ) -> npt.NDArray[np.float64]:
        """Class probabilities (texts, classes) of texts that are not blank, calibrated.

        Args:
            texts: to classify.
            before: of each text those before it in its group, the nearest last; not looked at unless
                `data.context` was set.
            after: the same of those after it, the nearest first.
        """
        beside = {"before": before, "after": after}
        columns = {name: list(given) for name, given in beside.items() if given is not None}
        rows = pd.DataFrame({"text": list(texts), **columns})
        return self._runtime.answer(rows["text"].tolist(), self._runtime.neighbours_of(rows))


def token_vectors(ids: TokenIds, encoder: EncoderFolder, settings: Settings) -> list[npt.NDArray[np.float32]]:
    """Token vectors of texts, computed at once and not stored.

    Args:
        ids: token ids of each text, as a `Tokenizer` makes them.
        encoder: its folder.
        settings: the group `encoder` names engine, precision and device, `features.layers` the layers.

    Returns:
        For each text (tokens, layers · hidden), `[CLS]` first and `[SEP]` last; those of its windows in
        order.

    Raises:
        JabertError: the checkpoint does not fit its configuration, it has fewer layers, or there is no such
            device.

    Example:
        >>> settings = jabert.load_settings("sample")
        >>> encoder = jabert.open_encoder(settings.encoder.path)
        >>> found = jabert.Tokenizer(encoder, settings.encoder)(["京都のお寺。", "電話"])
        >>> [vectors.shape[1] for vectors in jabert.token_vectors(found.ids, encoder, settings)]
        [96, 96]
    """
    engine = load_encoder(encoder, settings.encoder, settings.features.layers)
    windows, budget = (
        ids.divided(longest_row(encoder, settings.encoder)),
        token_budget(encoder, settings.encoder),
    )
    vectors = np.empty((len(ids.flat), engine.hidden_size), dtype=np.float32)
    parts = windows.parts(vectors)
    for batch in token_budget_batches(windows.lengths, budget, engine.width_step):
        rows = windows.take(batch)
        for number, found in zip(batch, rows.parts(engine(rows)), strict=True):
            parts[number][:] = found
    return ids.parts(vectors)


def fit(settings: Settings) -> Classifier:
    """Fit the method that the settings name on their data; what was made before is found.

    Nothing is recorded and nothing is registered.

    Args:
        settings: name data, encoder and method.

    Raises:
        JabertError: the data do not meet their suite of expectations, or something is missing.

    Example:
        >>> settings = jabert.load_settings("sample", ["method.kind=tfidf"])
        >>> jabert.fit(settings).labels
        ['グルメ', 'スポーツ', '京都', '携帯電話']
    """
    settings = with_local_encoder(settings)
    method, data, tokens = method_of(settings), steps.read(settings), None
    steps.validate(settings, data).raise_if_critical()
    if method.needs_tokens:
        tokens = steps.tokenize(settings, data)
    if tokens and "vectors" in method.needs:
        steps.featurize(settings, tokens)
    fitted = steps.fit(settings, data, tokens, "test", on_epoch=lambda _: None)
    calibration = steps.calibrate(settings, data, tokens, fitted)
    folder = Path(settings.training.work_path) / "packages" / fitted.key
    package = build_package(fitted.job, folder, calibration)
    return Classifier(settings, data.labels, package, data, open_package(package))


def register(classifier: Classifier) -> str:
    """Log a classifier as the model of a new MLflow run, and register it as a version.

    It is not promoted: `jabert models promote` holds it against the champion.

    Returns:
        The number of the version.

    Raises:
        JabertError: the MLflow store cannot be reached.

    Example:
        >>> jabert.register(jabert.fit(jabert.load_settings("sample", ["method.kind=tfidf"])))
        '1'
    """
    settings, data = classifier.settings, classifier._data
    with tracked_run(settings, {"data_digest": data.digest}) as run:
        digests = write_training_digests(data.table, data.split_by, classifier.package.with_suffix(".json"))
        return open_registry(settings).register(log_package(classifier.package, digests, run))


def load_champion(settings: Settings) -> "PyFuncModel":
    """The version of the registered model that serves, as MLflow loads it.

    Raises:
        JabertError: there is none, or it cannot be loaded.

    Example:
        >>> jabert.load_champion(jabert.load_settings("sample"))
        Traceback (most recent call last):
        ...
        jabert.errors.JabertError: the registered model 'jabert-sample' has no champion yet; ...
    """
    model: PyFuncModel = open_registry(settings).load_champion()
    return model
