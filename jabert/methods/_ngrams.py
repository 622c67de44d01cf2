"""Counts of n-grams of characters, by NumPy: a tenth of the time and memory that strings in a dict take."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

_BLOCK = 1_000_000  # characters at a time; some 200 MB
_SPARE = 4  # candidates for each n-gram that is kept
_FACTOR = np.uint64(0x9E3779B97F4A7C15)  # odd, with no pattern in its bits

_Numbers = npt.NDArray[np.int64]
_Keys = npt.NDArray[np.uint64]


def count_ngrams(texts: Sequence[str], longest: int, most: int) -> tuple[Any, list[str]]:
    """The most frequent n-grams of 1 to `longest` characters, and how often each text has each.

    What scikit-learn's `CountVectorizer` counts, whose dict of all n-grams takes gigabytes. Where there are
    more than four times `most`, those that are rarest so far are forgotten on the way.

    Args:
        texts: at least one that is not empty.
        longest: characters of the longest n-gram.
        most: n-grams that are kept at most.

    Returns:
        A sparse matrix float64 (texts, n-grams), and the n-grams in the order of the columns, sorted.
    """
    from scipy import sparse

    keys, ngrams = _frequent(texts, longest, most)
    order = np.argsort(keys)
    blocks = []
    for block in _blocks(texts):
        rows, columns = [], []
        for n in range(1, longest + 1):
            starts, found = block.ngrams(n)
            at = np.minimum(np.searchsorted(keys, found, sorter=order), len(keys) - 1)
            known = keys[order[at]] == found
            rows.append(block.text_of[starts[known]])
            columns.append(order[at[known]])
        ones = np.ones(sum(map(len, rows)))
        counted = (ones, (np.concatenate(rows), np.concatenate(columns)))
        blocks.append(sparse.csr_matrix(counted, shape=(block.texts, len(keys))))  # it adds up the ones
    return sparse.vstack(blocks, format="csr"), ngrams


def _frequent(texts: Sequence[str], longest: int, most: int) -> tuple[_Keys, list[str]]:
    """Keys (n-grams,) of the most frequent n-grams, and these, sorted."""
    keys, counts = np.empty(0, np.uint64), np.empty(0, np.int64)
    places = np.empty((0, 2), np.int64)  # of one occurrence: first character in all texts, and characters
    before = 0
    for block in _blocks(texts):
        for n in range(1, longest + 1):
            starts, found = block.ngrams(n)
            found, first, times = np.unique(found, return_index=True, return_counts=True)
            here = np.stack([before + starts[first], np.full(len(first), n)], axis=1)
            keys, first, which = np.unique(
                np.concatenate([keys, found]), return_index=True, return_inverse=True
            )
            counts = np.bincount(which, np.concatenate([counts, times])).astype(np.int64)
            places = np.concatenate([places, here])[first]
            if len(keys) > _SPARE * most:
                kept = _most_frequent(counts, _SPARE * most // 2)
                keys, counts, places = keys[kept], counts[kept], places[kept]
        before += len(block.codes)
    kept = _most_frequent(counts, most)
    joined = "".join(texts)
    ngrams = [joined[start : start + n] for start, n in places[kept].tolist()]
    order = sorted(range(len(ngrams)), key=ngrams.__getitem__)
    return keys[kept][order], [ngrams[number] for number in order]


def _most_frequent(counts: _Numbers, most: int) -> _Numbers:
    return np.argsort(-counts, kind="stable")[:most]


@dataclass(frozen=True)
class _Block:
    """Some texts, one behind the other.

    Attributes:
        texts: how many there are.
        codes: the characters as numbers, uint32 (characters,).
        text_of: number of the text of each character, (characters,).
        room: characters from each one to the end of its text, itself included, (characters,).
    """

    texts: int
    codes: npt.NDArray[np.uint32]
    text_of: _Numbers
    room: _Numbers

    def ngrams(self, n: int) -> tuple[_Numbers, _Keys]:
        """First character, and key, of each n-gram of n characters.

        The key is a hash: of a million n-grams two have the same one once in thirty million corpora.
        """
        starts = np.flatnonzero(self.room >= n)
        keys = np.full(len(starts), n, np.uint64)
        for offset in range(n):
            keys = (keys ^ (keys >> np.uint64(32))) * _FACTOR + self.codes[starts + offset]
        return starts, keys


def _blocks(texts: Sequence[str]) -> Iterator[_Block]:
    lengths = np.array([len(text) for text in texts])
    number = (np.cumsum(lengths) - lengths) // _BLOCK  # a text belongs to the block that it begins in
    for bounds in np.split(np.arange(len(texts)), np.flatnonzero(np.diff(number)) + 1):
        own = lengths[bounds]
        codes = np.frombuffer("".join(texts[bounds[0] : bounds[-1] + 1]).encode("utf-32-le"), np.uint32)
        text_of = np.repeat(np.arange(len(own)), own)
        yield _Block(len(own), codes, text_of, np.cumsum(own)[text_of] - np.arange(len(codes)))
