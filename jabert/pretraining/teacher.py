"""Distillation: an encoder whose token vectors the new one learns to reproduce."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from jabert.config import EncoderSettings
from jabert.encoder import EncoderFolder, TokenIds, load_encoder, token_budget
from jabert.encoder.batching import token_budget_batches
from jabert.pretraining.examples import Batch, Example
from jabert.pretraining.shards import Sentence, read_shard, shards_of
from jabert.pretraining.vocabulary import Vocabulary

_SAMPLE = 1024  # sentences from which means and standard deviations are estimated


@dataclass(frozen=True)
class Start:
    """Initial weights: `table @ kernel + bias` approximates the teacher's vectors of single pieces.

    Attributes:
        table: word embeddings (pieces, columns), with standard deviation 1.
        kernel: of the projection to the teacher's columns, (columns, teacher columns).
        bias: of the projection, (teacher columns,).
    """

    table: npt.NDArray[np.float32]
    kernel: npt.NDArray[np.float32]
    bias: npt.NDArray[np.float32]


class Teacher:
    """A teacher's token vectors, standardized column by column.

    Args:
        folder: the teacher's encoder folder.
        settings: device, cache of OpenVINO's graphs and token budget are used.
        shards: folder of the corpus as token ids; means and standard deviations are those of a sample of it.
        vocabulary: of the teacher and of the new encoder.
        columns: columns of the new encoder's vectors.

    Attributes:
        columns: columns of the teacher's vectors.
        start: initial weights, from the teacher's vector of each piece as a text of its own.
        text_deviation: standard deviations (columns,) of the mean vector of a text.
    """

    def __init__(
        self,
        folder: EncoderFolder,
        settings: EncoderSettings,
        shards: Path,
        vocabulary: Vocabulary,
        columns: int,
    ) -> None:
        used = settings.model_dump(include={"device", "cache_path", "token_budget"})
        running = EncoderSettings(path=str(folder.path), **used)
        self._encoder, self._token_budget = load_encoder(folder, running), token_budget(folder, running)
        self._vocabulary = vocabulary
        self.columns = self._encoder.hidden_size
        longest = folder.config.max_position_embeddings - 2
        texts = self._vectors([ids[:longest] for ids in _sample(shards)])
        vectors = np.concatenate(texts)
        self._mean, self._deviation = vectors.mean(axis=0), vectors.std(axis=0) + 1e-6  # (columns,)
        means = np.stack([text.mean(axis=0) for text in texts])
        self.text_deviation = np.asarray((means / self._deviation).std(axis=0) + 1e-6)
        pieces = self._vectors([np.array([piece], dtype=np.int32) for piece in range(vocabulary.size)])
        self.start = principal_start(self._standardized(np.stack([text[1] for text in pieces])), columns)

    def __call__(self, batch: Batch) -> npt.NDArray[np.float32]:
        """Standardized vectors (tokens without padding, columns) of a batch without its masks."""
        return self._standardized(self._encoder(batch.clean))

    def _vectors(self, texts: list[Sentence]) -> list[npt.NDArray[np.float32]]:
        """Vectors (tokens, columns) of each text, which is given without special pieces."""
        rows = TokenIds.of(Example(ids).ids(self._vocabulary) for ids in texts)
        found: dict[int, npt.NDArray[np.float32]] = {}
        for indices in token_budget_batches(rows.lengths, self._token_budget):
            batch = rows.take(indices)
            found |= zip(indices.tolist(), batch.parts(self._encoder(batch)), strict=True)
        return [found[index] for index in range(len(rows))]

    def _standardized(self, vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        return np.asarray((vectors - self._mean) / self._deviation)


def principal_start(vectors: npt.NDArray[np.float32], columns: int) -> Start:
    """Initial weights from the principal components of vectors (pieces, teacher columns).

    If there are fewer components than `columns`, the remaining columns are 0.
    """
    bias = vectors.mean(axis=0)
    _, spread, components = np.linalg.svd(np.cov(vectors.T))  # components: (teacher columns, teacher columns)
    kernel = np.zeros((columns, vectors.shape[1]), dtype=np.float32)
    kernel[: len(spread)] = components[:columns]
    table = (vectors - bias) @ kernel.T
    scale = table.std()
    return Start(table / scale, kernel * scale, bias)


def _sample(shards: Path) -> list[Sentence]:
    """Sentences from all shards of the training split, the same in every process."""
    random, paths = np.random.default_rng(0), shards_of(shards, "train")
    sample: list[Sentence] = []
    for path in paths:
        sentences = [sentence for document in read_shard(path) for sentence in document]
        chosen = random.permutation(len(sentences))[: -(-_SAMPLE // len(paths))]
        sample += [sentences[index] for index in chosen]
    return sample
