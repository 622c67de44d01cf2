"""A larger encoder whose vectors the new one learns to give (distillation)."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from jabert.config import EncoderSettings
from jabert.encoder import EncoderFolder, TokenIds, load_encoder, token_budget
from jabert.encoder.batching import token_budget_batches
from jabert.pretraining.examples import Batch, Example
from jabert.pretraining.shards import read_shard, shards_of
from jabert.pretraining.vocabulary import Vocabulary

__all__ = ["Start", "Teacher", "principal_start"]

_SAMPLE = 1024  # sentences from which mean and deviation are taken


class Start(NamedTuple):
    """Where learning a teacher's vectors begins: `table @ kernel + bias` comes close to those of lone pieces.

    Attributes:
        table: float32 (pieces, columns), of standard deviation 1.
        kernel: float32 (columns, teacher columns).
        bias: float32 (teacher columns,).
    """

    table: np.ndarray
    kernel: np.ndarray
    bias: np.ndarray


class Teacher:
    """A teacher's vectors of whatever text it is shown, standardised column by column.

    Args:
        folder: the teacher.
        settings: on which device it is run, where OpenVINO's graphs are kept, and the tokens of a batch.
        shards: folder of the corpus as token ids; a sample of it gives mean and deviation.
        vocabulary: of the teacher, and so of the new encoder.
        columns: of the new encoder's vectors.

    Attributes:
        start: what the new encoder begins with, from each piece as a text of its own.
    """

    def __init__(
        self,
        folder: EncoderFolder,
        settings: EncoderSettings,
        shards: Path,
        vocabulary: Vocabulary,
        columns: int,
    ) -> None:
        running = EncoderSettings(
            path=str(folder.path),
            device=settings.device,
            cache_path=settings.cache_path,
            token_budget=settings.token_budget,
        )
        self._encoder, self._token_budget = load_encoder(folder, running), token_budget(folder, running)
        self._vocabulary = vocabulary
        self.columns = self._encoder.hidden_size
        longest = folder.config.max_position_embeddings - 2
        texts = self._vectors([ids[:longest] for ids in _sample(shards)])
        vectors = np.concatenate(texts)
        self._mean, self._deviation = vectors.mean(axis=0), vectors.std(axis=0) + 1e-6  # (columns,)
        means = np.stack([text.mean(axis=0) for text in texts])
        self.text_deviation: np.ndarray = (means / self._deviation).std(axis=0) + 1e-6  # (columns,)
        pieces = self._vectors([np.array([piece]) for piece in range(vocabulary.size)])
        self.start = principal_start(self._standardised(np.stack([text[1] for text in pieces])), columns)

    def __call__(self, batch: Batch) -> np.ndarray:
        """Standardised vectors float32 (tokens without padding, columns) of a batch as it was unmasked."""
        return self._standardised(self._encoder(batch.clean))

    def _vectors(self, texts: list[np.ndarray]) -> list[np.ndarray]:
        """Vectors (tokens, columns) of each text, which is given without special pieces."""
        rows = TokenIds.of(Example(ids).ids(self._vocabulary) for ids in texts)
        found: dict[int, np.ndarray] = {}
        for places in token_budget_batches(rows.lengths, self._token_budget):
            batch = rows.take(places)
            found |= zip(places.tolist(), batch.parts(self._encoder(batch)), strict=True)
        return [found[place] for place in range(len(rows))]

    def _standardised(self, vectors: np.ndarray) -> np.ndarray:
        standardised: np.ndarray = (vectors - self._mean) / self._deviation
        return standardised


def principal_start(vectors: np.ndarray, columns: int) -> Start:
    """Cut vectors float32 (pieces, teacher columns) to their principal components.

    Where more columns are asked for than there are components, the last ones are 0.
    """
    bias = vectors.mean(axis=0)
    _, spread, components = np.linalg.svd(np.cov(vectors.T))  # components: (teacher columns, teacher columns)
    kernel = np.zeros((columns, vectors.shape[1]), dtype=np.float32)
    kernel[: len(spread)] = components[:columns]
    table = (vectors - bias) @ kernel.T
    scale = table.std()
    return Start(table / scale, kernel * scale, bias)


def _sample(shards: Path) -> list[np.ndarray]:
    """Token ids of sentences from all shards of the training side, the same in every process."""
    random, paths = np.random.default_rng(0), shards_of(shards, "train")
    sample: list[np.ndarray] = []
    for path in paths:
        sentences = [sentence for document in read_shard(path) for sentence in document]
        places = random.permutation(len(sentences))[: -(-_SAMPLE // len(paths))]
        sample += [sentences[place] for place in places]
    return sample
