"""A method on one split of the data: how good it is, and what it costs."""

import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from jabert.config import Settings
from jabert.evaluation import Score
from jabert.experiments import steps
from jabert.experiments.packaging import build_package, open_package
from jabert.experiments.steps import Data, Fit, Split, Tokens
from jabert.experiments.store import find_or_make, key_of
from jabert.methods import Epoch, method_of

_MEASURE = 1  # raised when what is measured, or how, changes
_TIMED_TEXTS = 50


@dataclass(frozen=True)
class Measured(Score):
    """A method on the test rows of a split, and what it answers there.

    Attributes:
        fit: numbers about the fit, by name.
        predicted: int64 (rows,), index of the predicted label of each test row.
    """

    fit: dict[str, float]
    predicted: npt.NDArray[np.int64]


def measure(settings: Settings, data: Data) -> Measured:
    """Fit a method, and classify the test rows with its package; what was measured before is found.

    It is the times of the first measurement that are found, too. Only where neighbours change what is
    answered (`data.context`) is the package calibrated: nothing else in it changes which label is first.

    Args:
        settings: of the method.
        data: the split table.

    Raises:
        JabertError: as the steps.
    """
    calibration = None
    tokens, fit = fitted(settings, data, "test", lambda _: None)
    if settings.data.context:
        calibration = steps.calibrate(settings, data, tokens, fit)

    def make(folder: Path) -> dict[str, Any]:
        with tempfile.TemporaryDirectory() as scratch:
            package = build_package(fit.job, Path(scratch) / "package", calibration)
            evaluated = steps.evaluate(
                settings, data, tokens, fit, "test", package=lambda: package, calibration=calibration
            )
            np.save(folder / "predicted.npy", evaluated.answers.argmax(axis=1))
            report = evaluated.report
            scores = {name: getattr(report, name) for name in ("weighted_f1", "macro_f1", "accuracy")}
            return {"rows": report.rows, **scores, **_costs(fit, package, evaluated.rows["text"].tolist())}

    calibrated = asdict(calibration) if calibration else None
    key = key_of(_MEASURE, fit.key, settings.package.max_texts, calibrated)
    folder, record = find_or_make(Path(settings.training.work_path), "measure", key, make)
    predicted = np.load(folder / "predicted.npy", allow_pickle=False)
    return Measured(**record, fit=fit.fitted.metrics, predicted=predicted)


def fitted(
    settings: Settings, data: Data, measured_on: Split, on_epoch: Callable[[Epoch], None]
) -> tuple[Tokens | None, Fit]:
    """Token ids, if the method needs them, and its fit; arguments as of `steps.fit`."""
    method, tokens = method_of(settings), None
    if method.needs_tokens:
        tokens = steps.tokenize(settings, data)
    if tokens and "vectors" in method.needs:
        steps.featurize(settings, tokens)
    return tokens, steps.fit(settings, data, tokens, measured_on, on_epoch=on_epoch)


def _costs(fit: Fit, package: Path, texts: list[str]) -> dict[str, float]:
    classifier, timed = open_package(package), []
    chosen = texts[:: max(1, len(texts) // _TIMED_TEXTS)][:_TIMED_TEXTS]
    classifier.classify(chosen[:1])  # what is set up with the first text is not counted
    for text in chosen:
        started = time.perf_counter()
        classifier.classify([text])
        timed.append(time.perf_counter() - started)
    size = sum(path.stat().st_size for path in package.rglob("*") if path.is_file())
    return {"fit_seconds": fit.seconds, "serve_ms": 1000 * statistics.median(timed), "bytes": size}
