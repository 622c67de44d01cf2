"""Examples for pretraining, made anew from the token ids in every epoch, as in Google BERT.

google-research/bert, create_pretraining_data.py: pairs of segments that fill a target length, one in two
with a random second segment; 15 % of the tokens are to be predicted, of which 80 % are shown as `[MASK]`,
10 % as a random piece and 10 % as they are.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from jabert.config import PretrainingSettings
from jabert.encoder import TokenIds
from jabert.encoder.batching import token_budget_batches
from jabert.pretraining.shards import Document
from jabert.pretraining.vocabulary import Vocabulary

__all__ = ["Batch", "Example", "batches", "examples_of", "mask"]


def _nothing() -> np.ndarray:
    return np.zeros(0, dtype=np.int32)


@dataclass(frozen=True)
class Example:
    """One or two segments, int32 (pieces,), without special pieces; `follows`: the second belongs there."""

    first: np.ndarray
    second: np.ndarray = field(default_factory=_nothing)
    follows: bool = True

    def ids(self, vocabulary: Vocabulary) -> np.ndarray:
        """`[CLS]` first `[SEP]`, and second `[SEP]` if there is one; int32 (tokens,)."""
        cls, sep = [vocabulary.cls_id], [vocabulary.sep_id]
        second = [*self.second, *sep] if len(self.second) else []
        return np.array([*cls, *self.first, *sep, *second], dtype=np.int32)

    @property
    def tokens(self) -> int:
        """With special pieces."""
        return len(self.first) + 2 + (len(self.second) + 1 if len(self.second) else 0)


@dataclass(frozen=True)
class Batch:
    """Examples, right-padded with 0 and masked.

    Attributes:
        ids: int32 (batch, tokens), as they are shown.
        clean: as they are, without padding.
        segments: int32 (batch, tokens), 1 in the second segment.
        lengths: int32 (batch,).
        positions: int32 (masked,), flat positions in the batch of what is to be predicted.
        targets: int32 (masked,), the token ids there.
        random_next: int32 (batch,), 1 where the second segment is a random one.
    """

    ids: np.ndarray
    clean: TokenIds
    segments: np.ndarray
    lengths: np.ndarray
    positions: np.ndarray
    targets: np.ndarray
    random_next: np.ndarray


def examples_of(
    documents: Sequence[Document], settings: PretrainingSettings, random: np.random.Generator
) -> list[Example]:
    """The examples of one shard.

    With `pairs` a random second segment comes from another document of the shard, so there must be
    two; of a lone document all pairs are true.
    """
    if settings.examples == "sentences":
        longest = settings.max_tokens - 2
        return [Example(sentence[:longest]) for document in documents for sentence in document]
    if settings.examples == "packed":
        return [
            Example(np.concatenate(chunk)[: settings.max_tokens - 2])
            for document in documents
            for chunk in _chunks(document, settings, random, specials=2)
        ]
    return [pair for number in range(len(documents)) for pair in _pairs(documents, number, settings, random)]


def batches(
    examples: Sequence[Example],
    vocabulary: Vocabulary,
    settings: PretrainingSettings,
    random: np.random.Generator,
) -> Iterator[Batch]:
    """Batches of similar length in random order, at most `token_budget` tokens each with padding."""
    order = random.permutation(len(examples))
    lengths = np.array([examples[i].tokens for i in order])
    chosen = list(token_budget_batches(lengths, settings.token_budget))
    ordinary = np.array(vocabulary.ordinary_ids(), dtype=np.int32)
    for number in random.permutation(len(chosen)):
        yield _batch([examples[i] for i in order[chosen[number]]], vocabulary, ordinary, settings, random)


def mask(
    clean: np.ndarray,
    lengths: np.ndarray,
    candidates: np.ndarray,
    *,
    share: float,
    mask_id: int,
    ordinary: np.ndarray,
    random: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Choose what is to be predicted and hide it.

    Args:
        clean: int32 (batch, tokens).
        lengths: int32 (batch,), tokens without padding.
        candidates: bool (batch, tokens), what may be chosen.
        share: of the tokens of a row, special ones included; at least one if there is a candidate.
        mask_id: id of `[MASK]`.
        ordinary: int32, the ids from which a random piece is drawn.
        random: decides everything.

    Returns:
        The ids shown, int32 (batch, tokens), and bool (batch, tokens): what was chosen.
    """
    wanted = np.maximum(1, np.rint(lengths * share))  # (batch,)
    keys = np.where(candidates, random.random(clean.shape), 2.0)
    rank = keys.argsort(axis=1).argsort(axis=1)  # 0 for the smallest key of a row
    chosen = candidates & (rank < wanted[:, None])
    fate = random.random(clean.shape)
    shown = np.where(chosen & (fate < 0.8), np.int32(mask_id), clean)
    replaced = chosen & (fate >= 0.8) & (fate < 0.9)
    shown[replaced] = random.choice(ordinary, int(replaced.sum()))
    return shown, chosen


def _batch(
    examples: Sequence[Example],
    vocabulary: Vocabulary,
    ordinary: np.ndarray,
    settings: PretrainingSettings,
    random: np.random.Generator,
) -> Batch:
    texts = TokenIds.of(example.ids(vocabulary) for example in examples)
    clean, lengths = texts.padded(), texts.lengths  # (batch, tokens), (batch,)
    place = np.arange(clean.shape[1])  # (tokens,)
    second = np.array([len(example.first) + 2 for example in examples])[:, None]
    inside = place < lengths[:, None]
    special = (clean == vocabulary.cls_id) | (clean == vocabulary.sep_id) | (clean == vocabulary.unknown_id)
    shown, chosen = clean, np.zeros(clean.shape, dtype=bool)
    if settings.masked_lm_weight:  # otherwise nothing is to be predicted
        shown, chosen = mask(
            clean,
            lengths,
            inside & ~special,
            share=settings.masked_share,
            mask_id=vocabulary.mask_id,
            ordinary=ordinary,
            random=random,
        )
    positions = np.flatnonzero(chosen).astype(np.int32)
    return Batch(
        ids=shown,
        clean=texts,
        segments=(inside & (place >= second)).astype(np.int32),
        lengths=lengths,
        positions=positions,
        targets=clean.ravel()[positions],
        random_next=np.array([not example.follows for example in examples], dtype=np.int32),
    )


def _chunks(
    document: Document, settings: PretrainingSettings, random: np.random.Generator, specials: int
) -> Iterator[Document]:
    """Consecutive sentences, until a target length is reached; the last chunk may be shorter."""
    target = _target_length(settings, random, specials)
    chunk: Document = []
    for sentence in document:
        chunk.append(sentence)
        if sum(map(len, chunk)) >= target:
            yield chunk
            chunk, target = [], _target_length(settings, random, specials)
    if chunk:
        yield chunk


def _target_length(settings: PretrainingSettings, random: np.random.Generator, specials: int) -> int:
    longest = settings.max_tokens - specials
    return int(random.integers(2, longest + 1)) if random.random() < settings.short_share else longest


def _pairs(
    documents: Sequence[Document], number: int, settings: PretrainingSettings, random: np.random.Generator
) -> Iterator[Example]:
    """The pairs of one document. What a random second segment pushes out is used for the next pair."""
    document, place = documents[number], 0
    while place < len(document):
        target = _target_length(settings, random, specials=3)
        taken = _taken(document, place, target)
        cut = int(random.integers(1, taken)) if taken > 1 else 1
        first = np.concatenate(document[place : place + cut])
        is_random = len(documents) > 1 and (taken == 1 or random.random() < 0.5)
        if is_random:
            other = documents[(number + int(random.integers(1, len(documents)))) % len(documents)]
            start = int(random.integers(len(other)))
            end = start + _taken(other, start, max(1, target - len(first)))
            second, place = np.concatenate(other[start:end]), place + cut
        else:
            rest = document[place + cut : place + taken]
            second, place = np.concatenate([_nothing(), *rest]), place + taken
        yield Example(*_fit(first, second, settings.max_tokens - 3, random), follows=not is_random)


def _taken(document: Document, place: int, target: int) -> int:
    """How many sentences from `place` on reach the target length, or are left."""
    pieces = count = 0
    for sentence in document[place:]:
        pieces, count = pieces + len(sentence), count + 1
        if pieces >= target:
            break
    return count


def _fit(
    first: np.ndarray, second: np.ndarray, longest: int, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Cut the longer of the two, at its front or end by chance, until both fit."""
    while len(first) + len(second) > longest:
        cut = slice(1, None) if random.random() < 0.5 else slice(None, -1)
        if len(first) > len(second):
            first = first[cut]
        else:
            second = second[cut]
    return first, second
