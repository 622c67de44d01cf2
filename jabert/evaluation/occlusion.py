"""How much each piece of a text spoke for a label: the text is classified once more without it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from jabert.texts import fault_of

Divided = Sequence[tuple[str, bool]]
"""The pieces of a text in order, and whether the tokenizer knows each."""
Answer = Callable[[list[str], list[int]], npt.NDArray[np.float64]]
"""Texts, and for each the number of the whole text that it is made of, to probabilities (texts, classes)."""

_MOST = 64  # parts of a text; more are joined


@dataclass(frozen=True)
class Piece:
    """A piece of a text, or several neighbouring pieces of a long one.

    Attributes:
        text: of the piece.
        known: whether it is in the vocabulary; of several, whether all are.
        effect: probability of the label that is lost without it, negative if it is gained; None where
            nothing is left of the text without it.
    """

    text: str
    known: bool
    effect: float | None


@dataclass(frozen=True)
class Similar:
    """A text that was learned from and is like another.

    Attributes:
        text: of it.
        label: its own.
        likeness: cosine of their mean token vectors, or of their n-grams of characters.
    """

    text: str
    label: str
    likeness: float


@dataclass(frozen=True)
class Explained:
    """A text that was classified wrongly, and what speaks for why.

    Attributes:
        text: of the row.
        label: its true label.
        predicted: the label that it was given.
        score: the probability of that label.
        pieces: of the text, with what each spoke for `predicted`.
        similar: texts that were learned from, the most similar first.
    """

    text: str
    label: str
    predicted: str
    score: float
    pieces: Sequence[Piece]
    similar: Sequence[Similar]


def occlude(
    divided: Sequence[Divided], classes: Sequence[int] | None, answer: Answer, work: int | None = None
) -> list[list[Piece]]:
    """The pieces of texts, and how much each spoke for a label.

    Args:
        divided: the pieces of each text, which is not blank.
        classes: of each text, the number of the class that is explained; without it the most probable.
        answer: called once, with all texts whole and without each piece.
        work: characters that may be classified for each text, which bounds the parts it is taken apart into;
            but it has four, if it has so many pieces.

    Returns:
        For each text its pieces in order.

    Example:
        >>> from jabert.evaluation.occlusion import occlude
        >>> import numpy as np
        >>> def answer(texts, origins):
        ...     return np.array([[0.9, 0.1] if "京都" in text else [0.5, 0.5] for text in texts])
        >>> occlude([[("京都", True), ("へ", True)]], None, answer)[0][0]
        Piece(text='京都', known=True, effect=0.4)
    """
    joined = [_joined(pieces, work) for pieces in divided]
    variants = [
        (number, place, text)
        for number, pieces in enumerate(joined)
        for place, text in enumerate(
            [_without(None, pieces), *(_without(i, pieces) for i in range(len(pieces)))]
        )
        if fault_of(text) is None
    ]
    found = answer([text for _, _, text in variants], [number for number, _, _ in variants])
    by_place = {variant[:2]: found[row] for row, variant in enumerate(variants)}
    explained = []
    for number, pieces in enumerate(joined):
        whole = by_place[number, 0]
        label = int(whole.argmax()) if classes is None else classes[number]
        left = [by_place.get((number, place)) for place in range(1, len(pieces) + 1)]
        effects = [None if each is None else float(whole[label] - each[label]) for each in left]
        explained.append(
            [Piece(text, known, effect) for (text, known), effect in zip(pieces, effects, strict=True)]
        )
    return explained


def _without(left_out: int | None, pieces: Divided) -> str:
    return "".join(text for place, (text, _) in enumerate(pieces) if place != left_out)


def _joined(pieces: Divided, work: int | None) -> list[tuple[str, bool]]:
    """The pieces, or neighbours together where there are too many."""
    length = sum(len(text) for text, _ in pieces)
    most = _MOST if work is None else min(_MOST, max(4, work // max(1, length)))
    size = -(-len(pieces) // most)
    groups = [pieces[start : start + size] for start in range(0, len(pieces), size)]
    return [("".join(text for text, _ in group), all(is_known for _, is_known in group)) for group in groups]
