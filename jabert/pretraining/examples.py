"""Examples for pretraining, drawn from the token ids again in every epoch, as in Google BERT.

After google-research/bert, create_pretraining_data.py: pairs of segments fill a target length, and half of
the pairs have a random second segment; 15 % of the tokens are to be predicted, of which 80 % are replaced by
`[MASK]`, 10 % by a random piece and 10 % are not changed.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain

import numpy as np
import numpy.typing as npt

from jabert.config import PretrainingSettings
from jabert.encoder import TokenIds
from jabert.encoder.batching import token_budget_batches
from jabert.pretraining.shards import Document, Sentence
from jabert.pretraining.vocabulary import Vocabulary


@dataclass(frozen=True)
class Example:
    """One or two segments.

    Attributes:
        first: token ids without special pieces.
        second: likewise; empty if there is only one segment.
        follows: False if the second segment is a random one.
    """

    first: Sentence
    second: Sentence | tuple[()] = ()
    follows: bool = True

    def ids(self, vocabulary: Vocabulary) -> npt.NDArray[np.int32]:
        """Token ids (tokens,): `[CLS]`, first, `[SEP]`, and if there is a second segment, second, `[SEP]`."""
        second = [*self.second, vocabulary.sep_id] if len(self.second) else []
        return np.array([vocabulary.cls_id, *self.first, vocabulary.sep_id, *second], dtype=np.int32)


@dataclass(frozen=True)
class Batch:
    """Examples, right-padded with 0 and masked.

    Attributes:
        ids: (batch, tokens), with masks.
        clean: the token ids without masks.
        segments: (batch, tokens), 1 in the second segment.
        lengths: (batch,), tokens of each example.
        positions: (masked,), indices in the flattened batch of the tokens to be predicted.
        targets: (masked,), their token ids.
        random_next: (batch,), 1 where the second segment is a random one.
    """

    ids: npt.NDArray[np.int32]
    clean: TokenIds
    segments: npt.NDArray[np.int32]
    lengths: npt.NDArray[np.int32]
    positions: npt.NDArray[np.int32]
    targets: npt.NDArray[np.int32]
    random_next: npt.NDArray[np.int32]


def examples_of(
    documents: Sequence[Document], settings: PretrainingSettings, random: np.random.Generator
) -> list[Example]:
    """The examples of one shard.

    In `pairs`, a random second segment is from another document of the shard; if there is no other document,
    no pair has one.
    """
    if settings.examples == "pairs":
        pairs = (_pairs(documents, number, settings, random) for number in range(len(documents)))
        return list(chain.from_iterable(pairs))
    sentences: Iterable[Sentence] = chain.from_iterable(documents)
    if settings.examples == "packed":
        sentences = (chunk for document in documents for chunk in _chunks(document, settings, random))
    return [Example(sentence[: settings.max_tokens - 2]) for sentence in sentences]


def batches(
    examples: Sequence[Example],
    vocabulary: Vocabulary,
    settings: PretrainingSettings,
    random: np.random.Generator,
) -> Iterator[Batch]:
    """Batches of similar lengths in random order, with at most `token_budget` tokens, padding included."""
    shuffled = [examples[i] for i in random.permutation(len(examples))]
    texts = TokenIds.of(example.ids(vocabulary) for example in shuffled)
    chosen = list(token_budget_batches(texts.lengths, settings.token_budget))
    ordinary = np.array(vocabulary.ordinary_ids(), dtype=np.int32)
    special = [vocabulary.cls_id, vocabulary.sep_id, vocabulary.unknown_id]
    for number in random.permutation(len(chosen)):
        ids, batch = texts.take(chosen[number]), [shuffled[i] for i in chosen[number]]
        clean, lengths = ids.padded(), ids.lengths  # (batch, tokens), (batch,)
        column = np.arange(clean.shape[1])  # (tokens,)
        second = np.array([len(example.first) + 2 for example in batch])[:, None]
        inside = column < lengths[:, None]
        masked, predicted = clean, np.zeros(clean.shape, dtype=bool)
        if settings.masked_lm_weight:  # otherwise nothing is to be predicted
            masked, predicted = mask(
                clean,
                lengths,
                inside & ~np.isin(clean, special),
                share=settings.masked_share,
                mask_id=vocabulary.mask_id,
                ordinary=ordinary,
                random=random,
            )
        positions = np.flatnonzero(predicted).astype(np.int32)
        yield Batch(
            ids=masked,
            clean=ids,
            segments=(inside & (column >= second)).astype(np.int32),
            lengths=lengths,
            positions=positions,
            targets=clean.ravel()[positions],
            random_next=np.array([not example.follows for example in batch], dtype=np.int32),
        )


def mask(
    clean: npt.NDArray[np.int32],
    lengths: npt.NDArray[np.int32],
    candidates: npt.NDArray[np.bool_],
    *,
    share: float,
    mask_id: int,
    ordinary: npt.NDArray[np.int32],
    random: np.random.Generator,
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.bool_]]:
    """Choose the tokens to be predicted and mask them.

    Args:
        clean: token ids (batch, tokens).
        lengths: (batch,), tokens of each row without padding.
        candidates: (batch, tokens), true for the tokens that may be chosen.
        share: of the tokens of a row, special ones included, that is chosen; at least one token, if there is
            a candidate.
        mask_id: id of `[MASK]`.
        ordinary: ids from which random pieces are drawn.
        random: source of all random choices.

    Returns:
        The masked token ids (batch, tokens), and true where a token was chosen (batch, tokens).
    """
    wanted = np.maximum(1, np.rint(lengths * share))  # (batch,)
    keys = np.where(candidates, random.random(clean.shape), 2.0)
    rank = keys.argsort(axis=1).argsort(axis=1)  # 0 for the smallest key of a row
    chosen = candidates & (rank < wanted[:, None])
    fate = random.random(clean.shape)
    masked = np.where(chosen & (fate < 0.8), np.int32(mask_id), clean)
    replaced = chosen & (fate >= 0.8) & (fate < 0.9)
    masked[replaced] = random.choice(ordinary, int(replaced.sum()))
    return masked, chosen


def _chunks(
    document: Document, settings: PretrainingSettings, random: np.random.Generator
) -> Iterator[Sentence]:
    """Consecutive sentences that reach a target length together, joined; the last chunk may be shorter."""
    target = _target_length(settings, random, specials=2)
    chunk: Document = []
    for sentence in document:
        chunk.append(sentence)
        if sum(map(len, chunk)) >= target:
            yield np.concatenate(chunk)
            chunk, target = [], _target_length(settings, random, specials=2)
    if chunk:
        yield np.concatenate(chunk)


def _target_length(settings: PretrainingSettings, random: np.random.Generator, specials: int) -> int:
    longest = settings.max_tokens - specials
    return int(random.integers(2, longest + 1)) if random.random() < settings.short_share else longest


def _pairs(
    documents: Sequence[Document], number: int, settings: PretrainingSettings, random: np.random.Generator
) -> Iterator[Example]:
    """The pairs of one document. Sentences that a random second segment replaces go to the next pair."""
    document, start = documents[number], 0
    while start < len(document):
        target = _target_length(settings, random, specials=3)
        taken = _taken(document, start, target)
        cut = int(random.integers(1, taken)) if taken > 1 else 1
        first = np.concatenate(document[start : start + cut])
        is_random = len(documents) > 1 and (taken == 1 or random.random() < 0.5)
        if is_random:
            other = documents[(number + int(random.integers(1, len(documents)))) % len(documents)]
            begin = int(random.integers(len(other)))
            end = begin + _taken(other, begin, max(1, target - len(first)))
            second, start = np.concatenate(other[begin:end]), start + cut
        else:
            rest = document[start + cut : start + taken]
            second, start = np.concatenate([first[:0], *rest]), start + taken
        yield Example(*_fit(first, second, settings.max_tokens - 3, random), follows=not is_random)


def _taken(document: Document, start: int, target: int) -> int:
    """Number of sentences from `start` on that reach the target length, or that are left."""
    reached = enumerate(accumulate(map(len, document[start:])), 1)
    return next((count for count, pieces in reached if pieces >= target), len(document) - start)


def _fit(
    first: Sentence, second: Sentence, longest: int, random: np.random.Generator
) -> tuple[Sentence, Sentence]:
    """Remove pieces of the longer segment, each at its start or end by chance, until both fit."""
    while len(first) + len(second) > longest:
        cut = slice(1, None) if random.random() < 0.5 else slice(None, -1)
        if len(first) > len(second):
            first = first[cut]
        else:
            second = second[cut]
    return first, second
