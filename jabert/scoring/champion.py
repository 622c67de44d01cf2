"""A version of the registered model that answers for texts, with the vectors of the feature store."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from jabert.config import Settings
from jabert.encoder import TokenIds, origin_of
from jabert.errors import JabertError
from jabert.evaluation import scaled
from jabert.features import FeatureStore, row_keys
from jabert.registry import Registry

ANSWER = pa.schema(
    {
        "label": pa.string(),
        "score": pa.float64(),
        "probabilities": pa.map_(pa.string(), pa.float64()),
        "model_version": pa.string(),
        "model_digest": pa.string(),
        "reason": pa.string(),
        "cut": pa.bool_(),
    }
)
"""What is said of a text: the most probable label, its probability, that of all labels, who says so, why
there is no label, and whether the model saw only some of the text (null if it cannot tell)."""


class Champion:
    """A version of the registered model.

    Args:
        registry: that has it.
        version: of the model.
        settings: name the feature store.

    Attributes:
        version: of the model.
        digest: SHA-256 of `SHA256SUMS` in its package, in hexadecimal.
        context: neighbours on each side of a text that it looks at.
        power: of a neighbour's probabilities that is evidence.

    Raises:
        JabertError: the version cannot be loaded, or is not a model that jabert made.
    """

    def __init__(self, registry: Registry, version: str, settings: Settings) -> None:
        self.version = version
        self._classifier = registry.load(version).unwrap_python_model()
        if not hasattr(self._classifier, "fault_of"):
            raise JabertError(
                f"version {version} of {registry.name!r} is of a kind that can only predict; "
                "`jabert retrain` makes one that scores tables"
            )
        # A model of jabert 0.1 is one network, and has the attributes of a member itself.
        members = getattr(self._classifier, "members", [self._classifier])
        self._members = [_Member(member, Path(settings.features.path)) for member in members]
        self.digest: str = self._classifier.digest
        context = self._classifier.about.get("context", {})
        self.context: int = context.get("texts", 0)
        self.power: int = context.get("power", 1)

    def prepare(self, cells: list[Any], faults: list[str | None]) -> list[list[Any]]:
        """What each member reads of the cells with which nothing is wrong: token ids, or texts."""
        good = [cell for cell, fault in zip(cells, faults, strict=True) if fault is None]
        return [member.prepare(good) for member in self._members]

    def cut(self, cells: list[Any], faults: list[str | None]) -> list[bool | None]:
        """Whether the model sees only some of each cell; None for no text, or where it cannot tell."""
        tells = getattr(self._classifier, "cut", None)
        texts = [cell for cell, fault in zip(cells, faults, strict=True) if fault is None]
        told = iter(tells(texts) if tells else [])
        return [next(told, None) if fault is None else None for fault in faults]

    def answer(
        self, prepared: list[list[Any]], faults: list[str | None], cut: list[bool | None]
    ) -> tuple[pa.Table, int]:
        """Classify the cells of a text column, each by itself.

        Args:
            prepared: of `prepare`.
            faults: what is wrong with each cell; it becomes the reason.
            cut: of `cut`.

        Returns:
            A table as `ANSWER` says, one row for each cell; and for how many the store had all vectors.
        """
        answers = [member.classify(inputs) for member, inputs in zip(self._members, prepared, strict=True)]
        parts = [probabilities for probabilities, _ in answers]
        join = getattr(self._classifier, "join", None)  # a model of jabert 0.1 has one part and no join
        about = self._classifier.about
        joined = scaled(join(parts) if join else parts[0], about.get("temperature", 1.0))
        reused = min((found for _, found in answers if found is not None), default=0)
        return self._told(joined, [fault and f"text is {fault}" for fault in faults], cut), reused

    def probabilities(self, answers: pa.Table) -> npt.NDArray[np.float64]:
        """Those in a table of `answer`, (rows, labels); 0 in a row that has none."""
        cells = answers["probabilities"].combine_chunks()
        found = np.zeros((len(answers), len(self._classifier.about["labels"])))
        found[_known(answers)] = cells.items.to_numpy().reshape(-1, found.shape[1])
        return found

    def in_context(self, answers: pa.Table, sums: npt.NDArray[np.float64]) -> pa.Table:
        """The answers of `answer` in the light of the neighbours.

        Args:
            answers: of `answer`.
            sums: of the neighbours' probabilities to `power`, (rows, labels).
        """
        own, known = self.probabilities(answers), _known(answers)
        pairs = zip(answers["reason"].to_pylist(), known.tolist(), strict=True)
        reasons = [None if is_known else reason for reason, is_known in pairs]
        seen = self._classifier.in_context(own[known], sums[known])
        return self._told(seen, reasons, answers["cut"].to_pylist())

    def _told(
        self, probabilities: npt.NDArray[np.float64], reasons: list[str | None], cut: list[bool | None]
    ) -> pa.Table:
        """A table as `ANSWER` says: a row for each reason, with probabilities where there is none."""
        labels, threshold = self._classifier.about["labels"], self._classifier.about.get("threshold", 0.0)
        source = {"model_version": self.version, "model_digest": self.digest}
        rows: list[dict[str, Any]] = [
            {**source, "reason": reason, "cut": part} for reason, part in zip(reasons, cut, strict=True)
        ]
        good = [row for row in rows if row["reason"] is None]
        for row, of in zip(good, probabilities.tolist(), strict=True):
            by_label = list(zip(labels, of, strict=True))
            row.update(score=max(of), probabilities=by_label)
            if max(of) >= threshold:
                row["label"] = labels[of.index(max(of))]
            else:
                row["reason"] = f"score is below the threshold {threshold:.3f}"
        return pa.Table.from_pylist(rows, ANSWER)


def _known(answers: pa.Table) -> npt.NDArray[np.bool_]:
    """Which rows have probabilities, (rows,)."""
    known: npt.NDArray[np.bool_] = answers["probabilities"].is_valid().to_numpy()
    return known


class _Member:
    """A classifier of a package, with the part of the feature store that has its token vectors, if any."""

    def __init__(self, classifier: Any, root: Path) -> None:
        self._classifier = classifier
        self._store: FeatureStore | None = None
        if vectors := classifier.vectors:
            # In a model of jabert 0.1 `about` names the encoder.
            about = getattr(classifier, "about", None) or {
                "encoder_fingerprint": vectors.encoder,
                "pad_to": vectors.pad_to,
            }
            layers = getattr(vectors, "layers", 1)  # a model comes with the code of its day
            origin = origin_of(
                about["encoder_fingerprint"], "openvino", vectors.precision, about["pad_to"], layers
            )
            self._store = FeatureStore(root, origin, vectors.hidden_size, vectors.dtype.name)
            # Models of before have no windows.
            self._longest = getattr(vectors, "longest", np.iinfo(np.int32).max)

    def prepare(self, texts: list[str]) -> list[Any]:
        """Token ids of each text, int32 (tokens,); the texts themselves where there is no network."""
        return texts if self._store is None else [self._classifier.token_ids(text) for text in texts]

    def classify(self, inputs: list[Any]) -> tuple[npt.NDArray[np.float64], int | None]:
        """Probabilities (texts, classes); for how many texts the store had vectors, None without a store."""
        if self._store is None:
            return self._classifier.classify(inputs), None
        ids = TokenIds.of(inputs)
        rows = self._store.find(row_keys(ids.divided(self._longest)))
        windows = np.split(rows, np.cumsum(ids.windows(self._longest)))[:-1]  # of each text
        has_all = np.array([bool((found >= 0).all()) for found in windows], dtype=bool)
        known, new = np.flatnonzero(has_all), np.flatnonzero(~has_all)
        stored = [np.concatenate([self._store.vectors(row) for row in windows[text]]) for text in known]
        from_vectors = self._classifier.classify_vectors(stored)
        from_ids = self._classifier.classify_ids([inputs[row] for row in new])
        probabilities = np.empty((len(inputs), from_ids.shape[1]))
        probabilities[known], probabilities[new] = from_vectors, from_ids
        return probabilities, len(known)
