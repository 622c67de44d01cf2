"""A larger encoder whose vectors the new one learns to give (distillation)."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from jabert.config import EncoderSettings, Settings
from jabert.encoder import EncoderFolder, TokenIds
from jabert.features import FeatureStore, featurize, open_store, row_keys
from jabert.pretraining.examples import Batch, examples_of
from jabert.pretraining.shards import read_shard, shards_of
from jabert.pretraining.vocabulary import Vocabulary

__all__ = ["Teacher"]

_SAMPLE = 4096  # texts from which mean and deviation are taken


class Teacher:
    """The vectors of a teacher, computed once into the feature store and standardised column by column.

    Args:
        folder: the teacher.
        settings: where the store is and how the teacher is run.
        shards: folder of the corpus as token ids.
        vocabulary: of the teacher, and so of the new encoder.
        on_progress: called with shards done and to do.
    """

    def __init__(
        self,
        folder: EncoderFolder,
        settings: Settings,
        shards: Path,
        vocabulary: Vocabulary,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> None:
        running = {"path": str(folder.path), "device": settings.encoder.device}
        settings = settings.model_copy(update={"encoder": EncoderSettings.model_validate(running)})
        paths = [*shards_of(shards, "train"), *shards_of(shards, "validation")]
        random = np.random.default_rng(0)  # sentences are examples as they are
        sample: list[np.ndarray] = []
        for done, path in enumerate(paths, start=1):
            examples = examples_of(read_shard(path), settings.pretraining, random)
            ids = [example.ids(vocabulary) for example in examples]
            featurize(TokenIds.of(ids), folder, settings)
            sample += ids[: _SAMPLE - len(sample)]
            if on_progress:
                on_progress(done, len(paths))
        self._store = open_store(folder, settings)
        self.columns = self._store.hidden_size
        vectors = _vectors(self._store, sample)
        self._mean, self._deviation = vectors.mean(axis=0), vectors.std(axis=0) + 1e-6  # (columns,)
        texts = np.stack([_vectors(self._store, [ids]).mean(axis=0) for ids in sample])
        self.text_deviation: np.ndarray = (texts / self._deviation).std(axis=0) + 1e-6  # (columns,)

    def __call__(self, batch: Batch) -> np.ndarray:
        """Standardised vectors float32 (tokens without padding, columns) of a batch as it was unmasked."""
        rows = [ids[:length] for ids, length in zip(batch.clean, batch.lengths, strict=True)]
        vectors: np.ndarray = (_vectors(self._store, rows) - self._mean) / self._deviation
        return vectors


def _vectors(store: FeatureStore, rows: Sequence[np.ndarray]) -> np.ndarray:
    places = store.find(row_keys(rows))
    vectors: np.ndarray = np.concatenate([store.vectors(place) for place in places])
    return vectors.astype(np.float32)
