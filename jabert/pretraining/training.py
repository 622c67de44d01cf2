"""The training loop of pretraining, which resumes a killed training from its last measurement."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from jabert import markdown
from jabert.config import PretrainingSettings
from jabert.encoder.folder import BertConfig
from jabert.pretraining.examples import Batch, batches, examples_of
from jabert.pretraining.shards import read_shard, shards_of
from jabert.pretraining.vocabulary import Vocabulary
from jabert.training.state import TrainingState

if TYPE_CHECKING:  # it loads TensorFlow
    from jabert.pretraining.learning import Learner, Mean

Point = dict[str, float]
"""A measurement: step, epoch, batches of that epoch that are done, losses and accuracies since the last
measurement, the same of the validation split as `val_…`, pieces_per_second, and seconds."""

_VALIDATION_PIECES = 1 << 16  # more pieces would hardly change the metrics


@dataclass(frozen=True)
class Pretrained:
    """A finished pretraining.

    Attributes:
        config: sizes of the encoder.
        weights: by Google's variable names.
        history: a measurement every `report_steps` steps and at the end.
        resumed: number of measurements that an earlier, killed process had made.
    """

    config: BertConfig
    weights: dict[str, npt.NDArray[np.float32]]
    history: list[Point]
    resumed: int

    def to_markdown(self) -> str:
        """The history as a table."""
        columns = [name for name in self.history[-1] if name not in ("epoch", "batches")]
        rows = [[int(point["step"]), *(point[name] for name in columns[1:])] for point in self.history]
        return f"{markdown.table(columns, rows)}\n\nResumed after {self.resumed} measurements.\n"


def pretrain(
    learner: "Learner",
    vocabulary: Vocabulary,
    shards: Path,
    settings: PretrainingSettings,
    folder: Path,
    *,
    on_point: Callable[[Point], None],
) -> Pretrained:
    """Train for `settings.steps` steps.

    After each measurement, weights, optimizer, random numbers and history are saved in `folder`. A call with
    the same folder resumes from there and, on a CPU, gives the result of an uninterrupted training.

    Args:
        learner: the model with its initial weights.
        vocabulary: its vocabulary.
        shards: folder of the corpus as token ids.
        settings: steps, examples and batches.
        folder: for checkpoints; only for the same settings, corpus and encoders.
        on_point: called with each measurement, including those of an earlier process.
    """
    state = TrainingState(learner.state(), folder, "step")
    history = state.restore()
    resumed = len(history)
    for point in history:
        on_point(point)
    held_out = _held_out(shards, vocabulary, settings)
    at: Point = history[-1] if history else {"step": 0, "epoch": 0, "batches": 0}
    stream = _stream(shards, vocabulary, settings, int(at["epoch"]), int(at["batches"]))
    while (step := int(at["step"])) < settings.steps:
        started, pieces = time.perf_counter(), 0
        steps = min(settings.report_steps, settings.steps - step)
        metrics: list[dict[str, Mean]] = []
        for _ in range(steps):
            epoch, done, batch = next(stream)
            pieces += int(batch.lengths.sum())
            metrics.append(learner.learn(batch))
        seconds = time.perf_counter() - started
        at = {"step": step + steps, "epoch": epoch, "batches": done, **_averages(metrics)}
        at |= {"pieces_per_second": round(pieces / seconds, 1), "seconds": round(seconds, 3)}
        measured = _averages([learner.measure(batch) for batch in held_out])
        at |= {f"val_{name}": value for name, value in measured.items()}
        history.append(at)
        state.save(history)
        on_point(at)
    return Pretrained(learner.model.config, learner.model.read(), history, resumed)


def _averages(metrics: list[dict[str, "Mean"]]) -> Point:
    """Each metric of several batches, weighted by the count that it is the mean over."""
    found: Point = {}
    for name in metrics[0] if metrics else ():
        means = [of_batch[name] for of_batch in metrics]
        total = sum(mean.value * mean.count for mean in means)
        found[name] = total / max(1.0, sum(mean.count for mean in means))
    return found


def _stream(
    shards: Path, vocabulary: Vocabulary, settings: PretrainingSettings, epoch: int, done: int
) -> Iterator[tuple[int, int, Batch]]:
    """Endless batches, each with its epoch and the number of batches of that epoch up to it.

    All random choices in an epoch follow from the seed and the epoch's number, so the stream can start after
    any batch.

    Args:
        shards: folder of the corpus as token ids.
        vocabulary: of the corpus.
        settings: seed, examples and batches.
        epoch: the first epoch.
        done: batches of it to skip.
    """
    while True:
        random = np.random.default_rng([settings.seed, 1, epoch])
        number, paths = 0, shards_of(shards, "train")
        for index in random.permutation(len(paths)):
            examples = examples_of(read_shard(paths[index]), settings, random)
            for batch in batches(examples, vocabulary, settings, random):
                number += 1
                if number > done:
                    yield epoch, number, batch
        epoch, done = epoch + 1, 0


def _held_out(shards: Path, vocabulary: Vocabulary, settings: PretrainingSettings) -> list[Batch]:
    """Batches of the validation split, the same in every measurement."""
    random = np.random.default_rng([settings.seed, 2])
    chosen: list[Batch] = []
    for path in shards_of(shards, "validation")[:1]:
        for batch in batches(examples_of(read_shard(path), settings, random), vocabulary, settings, random):
            if sum(int(earlier.lengths.sum()) for earlier in chosen) < _VALIDATION_PIECES:
                chosen.append(batch)
    return chosen
