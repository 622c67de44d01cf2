"""A version of the registered model that answers for texts, with the vectors of the feature store."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from jabert.config import Settings
from jabert.encoder import origin_of
from jabert.errors import JabertError
from jabert.features import FeatureStore, row_keys
from jabert.registry import Registry

__all__ = ["ANSWER", "Answers", "Champion"]

ANSWER = pa.schema(
    {
        "label": pa.string(),
        "score": pa.float64(),
        "probabilities": pa.map_(pa.string(), pa.float64()),
        "model_version": pa.string(),
        "model_digest": pa.string(),
        "reason": pa.string(),
    }
)
"""What is said of a text: the most probable label, its probability, that of all labels, who says so, and why
there is none of it."""


@dataclass(frozen=True)
class Answers:
    """A table as `ANSWER` says, a row a text, and where the vectors came from."""

    table: pa.Table
    computed: int
    reused: int


class Champion:
    """A version of the registered model.

    Args:
        registry: that has it.
        version: of the model.
        settings: name the feature store.

    Raises:
        JabertError: the version cannot be loaded, or is no package of `package.py`.
    """

    def __init__(self, registry: Registry, version: str, settings: Settings) -> None:
        self.version = version
        self._classifier = registry.load(version).unwrap_python_model()
        if not hasattr(self._classifier, "classify_vectors"):
            raise JabertError(
                f"version {version} of {registry.name!r} is of a kind that can only predict; "
                "`jabert retrain` makes one that scores tables"
            )
        self._store = _store_of(self._classifier, Path(settings.features.path))
        self.digest: str = self._classifier.digest

    def token_ids(self, cells: list[Any], faults: list[str | None]) -> list[np.ndarray]:
        """Token ids, int32 (tokens,), of the cells with which nothing is wrong."""
        good = [cell for cell, fault in zip(cells, faults, strict=True) if fault is None]
        return [self._classifier.token_ids(text) for text in good]

    def answer(self, ids: list[np.ndarray], faults: list[str | None]) -> Answers:
        """Classify the cells of a text column.

        Args:
            ids: of `token_ids`.
            faults: what is wrong with each cell; it becomes the reason.
        """
        places = self._store.find(row_keys(ids))
        known, new = np.flatnonzero(places >= 0), np.flatnonzero(places < 0)
        probabilities = np.empty((len(ids), len(self._classifier.about["labels"])))
        probabilities[known] = self._classifier.classify_vectors(
            [self._store.vectors(place) for place in places[known]]
        )
        probabilities[new] = self._classifier.classify_ids([ids[row] for row in new])
        return Answers(self._table(probabilities, faults), computed=len(new), reused=len(known))

    def _table(self, probabilities: np.ndarray, faults: list[str | None]) -> pa.Table:
        labels = self._classifier.about["labels"]
        source = {"model_version": self.version, "model_digest": self.digest}
        rows: list[dict[str, Any]] = [{**source, "reason": fault and f"text is {fault}"} for fault in faults]
        good = [row for row in rows if row["reason"] is None]
        for row, of in zip(good, probabilities.tolist(), strict=True):
            best = max(of)
            row.update(
                label=labels[of.index(best)], score=best, probabilities=list(zip(labels, of, strict=True))
            )
        return pa.Table.from_pylist(rows, ANSWER)


def _store_of(classifier: Any, root: Path) -> FeatureStore:
    """The space of the store with the vectors that the package itself would compute."""
    about, vectors = classifier.about, classifier.vectors
    origin = origin_of(about["encoder_fingerprint"], "openvino", vectors.precision, about["pad_to"])
    return FeatureStore(root, origin, vectors.hidden_size, vectors.dtype.name)
