"""The surest mistakes of a classifier: what each piece spoke for, and the texts most like it that it knew."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from jabert.config import Settings
from jabert.dataset.context import with_neighbours
from jabert.encoder import folder_of, longest_row
from jabert.evaluation import predictions
from jabert.evaluation.likeness import directions_of_texts, directions_of_vectors, nearest
from jabert.evaluation.occlusion import Explained, Piece, Similar, occlude
from jabert.experiments.packaging import open_package
from jabert.experiments.steps import Data, Evaluated, Fit, Tokens
from jabert.features import open_store
from jabert.methods import method_of
from jabert.training.rows import StoredVectors

if TYPE_CHECKING:
    from jabert.runtime.text_classifier import TextClassifier

_MISTAKES = 10
_WORK = 3000  # characters that are classified to explain a text
_SIMILAR = 3
_LEARNED = 5000  # texts that similar ones are looked for among
_LONGEST = 1000  # characters of a text that are compared


def explain_mistakes(
    settings: Settings, data: Data, tokens: Tokens | None, fit: Fit, evaluated: Evaluated, *, package: Path
) -> list[Explained]:
    """Explain the ten surest mistakes of an evaluation.

    Args:
        settings: of the run.
        data: the table.
        tokens: of its texts, None for a method that needs none.
        fit: the classifier.
        evaluated: its answers.
        package: the folder of the packaged classifier, which classifies the texts without each piece.
    """
    found = predictions(evaluated.rows, evaluated.answers, evaluated.report.labels)
    wrong = found[found["predicted"] != found["label"]]
    worst = wrong.sort_values("score", ascending=False, kind="stable").head(_MISTAKES)
    if worst.empty:
        return []
    most = settings.data.context
    rows = (with_neighbours(evaluated.rows, most) if most else evaluated.rows).loc[worst.index]
    pieces = _pieces(open_package(package), rows, worst["predicted"].tolist())
    similar = _similar(settings, data, tokens, fit, worst.index)
    columns = (worst[name].tolist() for name in ("text", "label", "predicted", "score"))
    return [Explained(*of) for of in zip(*columns, pieces, similar, strict=True)]


def _pieces(classifier: "TextClassifier", rows: pd.DataFrame, predicted: Sequence[str]) -> list[list[Piece]]:
    beside = classifier.neighbours_of(rows)

    def answer(texts: list[str], origins: list[int]) -> npt.NDArray[np.float64]:
        return classifier.answer(texts, beside and [beside[origin] for origin in origins])

    classes = [classifier.about["labels"].index(label) for label in predicted]
    return occlude([classifier.parts(text) for text in rows["text"]], classes, answer, _WORK)


def _similar(
    settings: Settings, data: Data, tokens: Tokens | None, fit: Fit, mistakes: "pd.Index[Any]"
) -> list[list[Similar]]:
    """The texts most like each mistake among those that were learned from, or an even part of very many."""
    table = data.table
    learned = np.flatnonzero(table["split"].isin(fit.learned_from))
    learned = learned[:: -(-len(learned) // _LEARNED)]
    chosen = np.concatenate([table.index.get_indexer(mistakes), learned])
    directions: Any
    if tokens and "vectors" in method_of(settings).needs:
        encoder = folder_of(settings.encoder)
        store, longest = open_store(encoder, settings), longest_row(encoder, settings.encoder)
        ids = tokens.tokenized.ids.take(chosen)
        directions = directions_of_vectors(StoredVectors.find(store, ids, longest).means)
    else:
        directions = directions_of_texts([text[:_LONGEST] for text in table["text"].iloc[chosen]])
    known = table.iloc[learned]
    return [
        [Similar(known["text"].iloc[row], known["label"].iloc[row], likeness) for row, likeness in found]
        for found in nearest(directions[: len(mistakes)], directions[len(mistakes) :], _SIMILAR)
    ]
