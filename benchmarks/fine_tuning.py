"""Why fine-tuning may not converge: one factor after another varied, the same batches for all.

    python benchmarks/fine_tuning.py DATA ENCODER [--rows 1600] [--steps 150] [--batch 16]
        [--validation-rows 200] [--seed 0] [--only NAME …] [--all-positions] [--recipe knbc]
        [--out FOLDER] [--picture PNG]

`DATA` is the corpus, split by sentence; `ENCODER` an encoder folder. Every variant trains the whole encoder,
embeddings included, and a softmax layer on the vector of `[CLS]`, without dropout. The last step counts, not
the best. To train with all positions of the encoder takes longer than all else together, so it must be asked
for. Prints two tables and writes `fine-tuning.json`; with `--picture` the losses are drawn.
"""

import argparse
import itertools
import math
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from machine import machine
from workers import RESULTS, say

from jabert import markdown
from jabert.config import Settings, load_settings
from jabert.encoder import EncoderFolder, TokenIds, Tokenizer, open_folder
from jabert.encoder.batching import real_tokens
from jabert.encoder.bert import Bert
from jabert.encoder.folder import read_variables
from jabert.experiments import steps
from jabert.files import write_json
from jabert.legacy_keras import import_tensorflow
from jabert.methods._linear import fit_standardized
from jabert.methods.finetune.network import new_head
from jabert.methods.finetune.training import precision_of
from jabert.report import plots
from jabert.training.batches import in_order, shuffled_buckets
from jabert.training.epochs import measure
from jabert.training.optimizer import AdamW, learning_rate

if TYPE_CHECKING:
    from matplotlib.axes import Axes

tf = import_tensorflow()
BATCH = [  # ids, attended, classes
    tf.TensorSpec([None, None], tf.int32),
    tf.TensorSpec([None, None], tf.bool),
    tf.TensorSpec([None], tf.int32),
]
NO_CLIPPING = 1e9  # longer than any gradient
NADAM_RATE = 1e-3  # Keras's default, which the article left as it is
BOUNDS = (0.97, 1.05)  # of a final loss, times that of the class shares; 3 % are about two standard errors
COLOURS = ("#dd7a26", "#22303c", "#a23b72")
BASE = "#2b6cb0"


@dataclass(frozen=True)
class Variant:
    """One way to fine-tune; the defaults are the base that the others differ from in one thing.

    Attributes:
        panel: of the figure.
        name: in table and legend.
        rate: highest learning rate.
        warmup: share of the steps in which it rises; None keeps it the same in all steps.
        optimizer: `adamw` (decay 0.01, gradients clipped at 1), `adam` (neither) or Keras's `nadam`.
        positions: of each batch: those of its longest text, of the data's `longest`, or `all` of the encoder.
        masked: whether no token attends to padding.
        other_case: lower-case for a cased encoder, and the reverse.
        fitted_head: whether the softmax layer is fitted before the encoder is trained, else it is 0.
    """

    panel: str
    name: str
    rate: float = 1e-4
    warmup: float | None = 0.1
    optimizer: str = "adamw"
    positions: str = "batch"
    masked: bool = True
    other_case: bool = False
    fitted_head: bool = False


RATES = (1e-5, 5e-5, 4e-4)
PANELS = {
    "warm": "learning rate, with warm-up",
    "cold": "learning rate, without warm-up",
    "optimizer": "optimizer",
    "padding": "padding attended to",
    "case": "case",
    "head": "softmax layer",
}
VARIANTS = [
    Variant("", "base"),
    *(Variant("warm", f"{rate:.0e}", rate) for rate in RATES),
    *(Variant("cold", f"{rate:.0e}, no warm-up", rate, warmup=0) for rate in (1e-4, 4e-4)),
    Variant("optimizer", "Adam", optimizer="adam"),
    Variant("optimizer", "the article's Nadam", NADAM_RATE, warmup=None, optimizer="nadam"),
    Variant("padding", "padding not masked, the data's longest", positions="longest", masked=False),
    Variant("case", "the other case", other_case=True),
    Variant("head", "softmax layer fitted first", fitted_head=True),
]
ALL_POSITIONS = Variant("padding", "padding not masked, all positions", positions="all", masked=False)


@dataclass(frozen=True)
class Texts:
    """Rows as a variant reads them: token ids in the encoder's own case and in the other, and classes."""

    ids: TokenIds
    other: TokenIds
    classes: npt.NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.classes)

    def take(self, numbers: npt.NDArray[np.int64]) -> "Texts":
        """The rows of these numbers."""
        return Texts(self.ids.take(numbers), self.other.take(numbers), self.classes[numbers])


@dataclass(frozen=True)
class Study:
    """What all variants share.

    Attributes:
        encoder: that is trained.
        precision: of matrix products.
        labels: number of classes.
        train, validation: the rows.
        batches: row numbers of each step.
    """

    encoder: EncoderFolder
    precision: str
    labels: int
    train: Texts
    validation: Texts
    batches: list[npt.NDArray[np.int64]]

    def inputs(
        self, texts: Texts, numbers: npt.NDArray[np.int64], variant: Variant
    ) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.bool_]]:
        """Ids int32 and the positions attended to, bool, both (texts, positions)."""
        ids = (texts.other if variant.other_case else texts.ids).take(numbers)
        width = {
            "batch": int(ids.lengths.max()),
            "longest": max(int(each.lengths.max()) for each in (self.train.ids, self.validation.ids)),
            "all": self.encoder.config.max_position_embeddings,
        }[variant.positions]
        beyond = ((0, 0), (0, width - int(ids.lengths.max())))
        attended = np.pad(real_tokens(ids.lengths), beyond)
        return np.pad(ids.padded(), beyond), attended | (not variant.masked)

    @property
    def chance(self) -> float:
        """Loss of one who answers the shares of the classes, on the training rows."""
        shares = np.bincount(self.train.classes, minlength=self.labels) / len(self.train)
        return float(-(shares * np.log(np.maximum(shares, 1e-12))).sum())


class Classifier:
    """A BERT with a softmax layer on `[CLS]`, and an optimizer; traced once, used for many variants.

    Args:
        study: encoder and rows.
        optimizer: as in `Variant`.
    """

    def __init__(self, study: Study, optimizer: str = "adamw") -> None:
        config = study.encoder.config
        self.bert = Bert(read_variables(study.encoder), config, precision=study.precision)
        head = new_head("cls", config.hidden_size, study.labels, 0, 0)
        self.kernel, self.bias = (tf.Variable(head[f"head/{name}"]) for name in ("kernel", "bias"))
        self.variables = [*self.bert.variables.values(), self.kernel, self.bias]
        if optimizer == "nadam":
            self._optimizer = tf.keras.optimizers.Nadam()
            self._optimizer.build(self.variables)
        else:
            decays = optimizer == "adamw"
            self._optimizer = AdamW(
                self.variables,
                weight_decay=0.01 if decays else 0.0,
                clip_norm=1.0 if decays else NO_CLIPPING,
            )
        changing = [*self.variables, *self._optimizer.variables]
        self._start = [(variable, variable.numpy()) for variable in changing]
        ids, attended, classes = BATCH
        self.pool = tf.function(self._pool, input_signature=[ids, attended])
        self.gradients = tf.function(self._gradients, input_signature=[ids, attended, classes])
        self.step = tf.function(self._step, input_signature=[*BATCH, tf.TensorSpec([], tf.float32)])

    def reset(self) -> None:
        """Begin again: the encoder's own weights, a softmax layer of zeros, no steps taken."""
        for variable, value in self._start:
            variable.assign(value)

    def _pool(self, ids: Any, attended: Any) -> Any:
        """Vectors of `[CLS]`, float32 (texts, hidden)."""
        return self.bert(ids, attended)[:, 0]

    def _gradients(self, ids: Any, attended: Any, classes: Any) -> tuple[Any, list[Any]]:
        """The loss of a batch, and the gradient of each variable."""
        with tf.GradientTape() as tape:
            logits = self._pool(ids, attended) @ self.kernel + self.bias
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=classes, logits=logits)
            loss = tf.reduce_mean(losses)
        return loss, [tf.convert_to_tensor(each) for each in tape.gradient(loss, self.variables)]

    def _step(self, ids: Any, attended: Any, classes: Any, rate: Any) -> Any:
        """Take a step on a batch; its loss before is returned."""
        loss, gradients = self._gradients(ids, attended, classes)
        if isinstance(self._optimizer, AdamW):
            self._optimizer.apply(gradients, rate)
        else:
            self._optimizer.learning_rate.assign(rate)
            self._optimizer.apply_gradients(zip(gradients, self.variables, strict=True))
        return loss


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("encoder", type=Path)
    parser.add_argument("--rows", type=int, default=1600, help="training rows")
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--batch", type=int, default=16, help="texts of a step")
    parser.add_argument("--validation-rows", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0, help="of the rows and their order")
    parser.add_argument("--only", nargs="+", default=[], help="names of variants beside the base")
    parser.add_argument("--all-positions", action="store_true", help="train with those, unmasked, too")
    parser.add_argument("--recipe", default="knbc")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the results")
    parser.add_argument("--picture", type=Path, help="PNG of the losses")
    given = parser.parse_args()
    study = prepare(given)
    variants = [*VARIANTS, *([ALL_POSITIONS] if given.all_positions else [])]
    asked = [each for each in variants if not given.only or each.name in ("base", *given.only)]
    runs: list[dict[str, Any]] = []
    result = {
        "machine": machine(),
        "encoder": vars(study.encoder.config),
        "precision": study.precision,
        "rows": len(study.train),
        "validation_rows": len(study.validation),
        "batch": given.batch,
        "seed": given.seed,
        "chance": study.chance,
        **before_training(study),
        "runs": runs,
    }
    classifiers = {name: Classifier(study, name) for name in {each.optimizer for each in asked}}
    for variant in asked:
        runs.append(run(study, variant, classifiers[variant.optimizer]))
        write_json(given.out / "fine-tuning.json", result)  # what is there if the next is killed
    if given.picture:
        draw(result, given.picture)
    print(table(result))


def prepare(given: argparse.Namespace) -> Study:
    """Rows, token ids and batches."""
    with tempfile.TemporaryDirectory() as work:
        chosen = {
            "data.path": given.data,
            "data.split": "sentence",
            "encoder.path": given.encoder,
            "training.work_path": work,
        }
        settings = load_settings(given.recipe, [f"{name}={value}" for name, value in chosen.items()])
        data = steps.read(settings)
        table, labels = data.table, data.labels
    random, folder = np.random.default_rng(given.seed), open_folder(settings.encoder.path)
    train, validation = (
        read_texts(table[table["split"] == split], rows, labels, settings, random)
        for split, rows in (("train", given.rows), ("validation", given.validation_rows))
    )
    endless = itertools.chain.from_iterable(
        shuffled_buckets(train.ids.lengths, given.batch, [given.seed, epoch]) for epoch in itertools.count()
    )
    batches = list(itertools.islice(endless, given.steps))
    return Study(folder, precision_of(settings.training), len(labels), train, validation, batches)


def read_texts(
    table: pd.DataFrame, rows: int, labels: list[str], settings: Settings, random: np.random.Generator
) -> Texts:
    """Rows drawn from a table."""
    table = table.iloc[random.permutation(len(table))[:rows]]
    texts, folder = table["text"].tolist(), open_folder(settings.encoder.path)
    own = Tokenizer(folder, settings.encoder)
    other = Tokenizer(folder, settings.encoder.model_copy(update={"lower_case": not own.lower_case}))
    classes = pd.Index(labels).get_indexer(pd.Index(table["label"])).astype(np.int32)
    return Texts(own(texts).ids, other(texts).ids, classes)


def run(study: Study, variant: Variant, classifier: Classifier) -> dict[str, Any]:
    """Train one variant, and measure it on the validation rows."""
    train = study.train
    classifier.reset()
    if variant.fitted_head:
        fit_head(classifier, study, variant)
    losses, seconds = [], []
    for numbers, rate in zip(study.batches, rates_of(variant, len(study.batches)), strict=True):
        inputs = study.inputs(train, numbers, variant)
        started = time.perf_counter()
        losses.append(float(classifier.step(*inputs, train.classes[numbers], np.float32(rate))))
        seconds.append(time.perf_counter() - started)
    found = {"val_loss": math.nan, "val_weighted_f1": math.nan}
    if math.isfinite(losses[-1]):
        measured = measure(predict(classifier, study, variant), study.validation.classes)
        found = {f"val_{name}": measured[name] for name in ("loss", "weighted_f1")}
    final = float(np.mean(losses[-max(1, len(losses) // 5) :]))
    found |= {"loss": final, "seconds_a_step": float(np.median(seconds))}
    answer = {**vars(variant), **found}
    say(str(answer))
    return {**answer, "losses": [round(loss, 4) for loss in losses]}


def verdict(final: float, chance: float) -> str:
    """What the mean training loss of the last fifth of the steps says."""
    least, most = (bound * chance for bound in BOUNDS)
    if final < least:
        return "learns"
    return "learns nothing" if final <= most else "diverges"  # NaN is not below either


def rates_of(variant: Variant, planned: int) -> list[float]:
    """The learning rate of each step."""
    if variant.warmup is None:
        return [variant.rate] * planned
    rising = variant.warmup * planned
    return [float(learning_rate(float(done), variant.rate, rising, planned)) for done in range(planned)]


def fit_head(classifier: Classifier, study: Study, variant: Variant) -> None:
    """Fit the softmax layer on the encoder as it is, as the method `finetune` begins."""
    pooled = by_batch(classifier.pool, study, study.train, variant).astype(np.float64)
    layer = fit_standardized(pooled, study.train.classes, 0.02)
    classifier.kernel.assign(layer.kernel.astype(np.float32))
    classifier.bias.assign(layer.bias.astype(np.float32))


def predict(classifier: Classifier, study: Study, variant: Variant) -> npt.NDArray[np.float64]:
    """Probabilities (rows, classes) of the validation rows."""
    pooled = by_batch(classifier.pool, study, study.validation, variant)
    logits = pooled @ classifier.kernel.numpy() + classifier.bias.numpy()
    return tf.nn.softmax(logits).numpy().astype(np.float64)


def by_batch(
    compute: Callable[..., Any], study: Study, texts: Texts, variant: Variant
) -> npt.NDArray[np.float32]:
    """What is computed of all texts, in their order."""
    order = np.argsort(texts.ids.lengths, kind="stable")
    parts = (order[numbers] for numbers in in_order(len(texts), 16))
    found = [compute(*study.inputs(texts, part, variant)).numpy() for part in parts]
    values = np.concatenate(found)
    values[order] = values.copy()
    return values


def before_training(study: Study) -> dict[str, dict[str, float]]:
    """What positions and masking change at the first step, in float32, for their difference is small."""
    classifier = Classifier(replace(study, precision="float32"))
    found = likeness(study, classifier)
    return {"likeness": found, "masked_positions": masked_positions(study, classifier)}


def likeness(study: Study, classifier: Classifier) -> dict[str, float]:
    """Mean cosine between the `[CLS]` vectors of different texts before training, by what is attended to."""
    count = min(64, len(study.validation))
    first = study.validation.take(np.arange(count))
    longest = next(each for each in VARIANTS if not each.masked)
    asked = {"no padding": VARIANTS[0], "to the longest": longest, "to all positions": ALL_POSITIONS}
    found = {}
    for name, variant in asked.items():
        vectors = by_batch(classifier.pool, study, first, variant)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        found[name] = float(((vectors @ vectors.T).sum() - count) / (count * (count - 1)))
    return found


def masked_positions(study: Study, classifier: Classifier) -> dict[str, float]:
    """What all positions change where padding is masked: the gradient of the first batch, and its time.

    Returns:
        Length of the difference of the two gradients, as share of the gradient's; positions and seconds.
    """
    numbers, found = study.batches[0], {}
    fit_head(classifier, study, VARIANTS[0])  # a head that is 0 hands no gradient on
    for positions in ("batch", "all"):
        inputs = study.inputs(study.train, numbers, replace(VARIANTS[0], positions=positions))
        arrays = (*inputs, study.train.classes[numbers])
        classifier.gradients(*arrays)  # traced
        found[f"positions_{positions}"] = inputs[0].shape[1]
        started = time.perf_counter()
        found[positions] = [each.numpy() for each in classifier.gradients(*arrays)[1]]
        found[f"seconds_{positions}"] = time.perf_counter() - started
    pairs = zip(found.pop("batch"), found.pop("all"), strict=True)
    squares = np.array([[np.square(one - other).sum(), np.square(one).sum()] for one, other in pairs])
    return {"gradient_difference": float(math.sqrt(np.divide(*squares.sum(axis=0)))), **found}


def table(result: dict[str, Any]) -> str:
    """A row for each variant, and what was measured beside them."""
    rows = [
        [
            run["name"],
            f"{run['loss']:.3f}",
            f"{run['val_loss']:.3f}",
            f"{run['val_weighted_f1']:.3f}",
            f"{run['seconds_a_step']:.2f}",
            verdict(run["loss"], result["chance"]),
        ]
        for run in result["runs"]
    ]
    header = ["", "final training loss", "validation loss", "weighted F1", "seconds a step", ""]
    positions, alike = result["masked_positions"], result["likeness"]
    facts = [
        ["loss of the class shares", f"{result['chance']:.3f}"],
        ["masked: change of the gradient by all positions", f"{positions['gradient_difference']:.1e}"],
        *(
            [f"masked: its time with {positions[f'positions_{of}']}", f"{positions[f'seconds_{of}']:.2f} s"]
            for of in ("batch", "all")
        ),
        *(
            [f"mean cosine of `[CLS]`, padding attended to: {name}", f"{of:.4f}"]
            for name, of in alike.items()
        ),
    ]
    return markdown.table(header, rows) + "\n\n" + markdown.table(["", ""], facts)


def draw(result: dict[str, Any], path: Path) -> None:
    """Training losses by step, a panel for each factor, the base in each; as running means of a sixth."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11.4, 6.6), layout="constrained")
    axes = figure.subplots(2, 3, sharex=True, sharey=True).ravel()
    base, *others = result["runs"]
    for panel, (key, title) in zip(axes, PANELS.items(), strict=True):
        _curve(panel, base, BASE)
        shown = [run for run in others if run["panel"] == key]
        for run, colour in zip(shown, COLOURS, strict=False):
            _curve(panel, run, colour)
        panel.axhline(result["chance"], color="#7b8794", linestyle=":", linewidth=1)
        panel.set_title(title, loc="left")
        panel.spines[["top", "right"]].set_visible(False)
        panel.legend(frameon=False, fontsize=8, loc="upper right")
    axes[0].set_ylim(0, 2)
    for panel in axes[3:]:
        panel.set_xlabel("step")
    for panel in axes[::3]:
        panel.set_ylabel("training loss")
    plots.save(figure, path)


def _curve(axes: "Axes", run: dict[str, Any], colour: str) -> None:
    losses = pd.Series(run["losses"])
    smooth = losses.rolling(max(1, len(losses) // 6), min_periods=1).mean()
    axes.plot(smooth.index + 1, smooth, color=colour, label=run["name"], linewidth=1.6)


if __name__ == "__main__":
    main()
