"""Methods: the only place that knows how a classifier is made.

Each module of this folder is one method, named by its kind (`bi-lstm` is `jabert.methods.bi_lstm`), and has
an instance of its subclass of `Method` as `METHOD`. Nothing else lists the methods: settings, command line,
steps and reports find one by the kind in `method.kind`. Modules here import heavy libraries only inside
functions.

A new method is a module, a recipe and tests. It says what it needs of a text, learns from rows, and exports
what a registered model runs (`jabert.runtime`).
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

from jabert import markdown
from jabert.config import (
    EnsembleSettings,
    MethodSettings,
    Settings,
    decisive,
    method_kinds,
)

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from jabert.encoder import EncoderFolder
    from jabert.training.rows import Rows

Need = Literal["texts", "tokens", "vectors"]
Epoch = dict[str, float]
"""Metrics of one epoch: `epoch` (from 1), `seconds`, those on training rows, and as `val_…` those on the rows
that choose the epoch."""


_SHOWN = ("epoch", "loss", "acc", "val_loss", "val_acc", "val_weighted_f1", "seconds")


@dataclass(frozen=True)
class Layer:
    """A part of a classifier, for the drawing of its structure.

    Attributes:
        name: of the part.
        kind: what it is.
        shape: of its output, as it is shown, e.g. `(tokens, 384)`.
        parameters: of one part.
        repeated: how many equal parts follow each other.
    """

    name: str
    kind: str
    shape: str
    parameters: int
    repeated: int = 1


@dataclass(frozen=True)
class Fitted:
    """What a fit did, JSON-ready; its files lie in a folder.

    Attributes:
        history: metrics of each epoch; empty for a method without epochs.
        best_epoch: number of the epoch that was kept, None for a method without epochs.
        resumed: epochs that an earlier, killed process had finished.
        resolved: what was decided on this machine (device, precision), by name; recorded as parameters.
        metrics: numbers about the fit (features, iterations), by name.
    """

    history: list[Epoch] = field(default_factory=list)
    best_epoch: int | None = None
    resumed: int = 0
    resolved: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)

    def to_markdown(self) -> str:
        """The history as a table, or the metrics where there are no epochs."""
        if not self.history:
            return markdown.table(["", ""], list(self.metrics.items()))
        columns = [name for name in _SHOWN if name in self.history[0]]
        table = markdown.table(columns, [[epoch[name] for name in columns] for epoch in self.history])
        return f"{table}\n\nKept: epoch {self.best_epoch}. From an earlier run: {self.resumed} epochs.\n"


@dataclass(frozen=True)
class Description:
    """What people should know of a classifier, for its card.

    Attributes:
        summary: a noun phrase that begins a sentence, e.g. "A Bi-LSTM on the token vectors of a frozen BERT".
        layers: its parts, from one that is called `text` to the probabilities, of shape `(classes)`.
        protocol: whole sentences on how it was fitted.
        limits: whole sentences on what it cannot do.
        environment: facts on precision and device, by name.
    """

    summary: str
    layers: Sequence[Layer]
    protocol: Sequence[str] = ()
    limits: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Member:
    """A part of the registered model that gives probabilities of its own.

    Attributes:
        runtime: the class in `jabert.runtime.text_classifier` that reads its folder, `network` or `ngrams`.
        requires: names of the packages that this class imports.
        folder: below the folder of the export.
        heads: below the folder of the export, graphs that each make probabilities of the network's vectors;
            without them `head.xml` in its own folder.
    """

    runtime: str
    requires: tuple[str, ...]
    folder: str = ""
    heads: tuple[str, ...] = ()


@dataclass(frozen=True)
class Join:
    """A softmax layer on the logarithms of the members' probabilities, those of all heads side by side.

    Attributes:
        kernel: (heads * classes, classes).
        bias: (classes,).
    """

    kernel: Sequence[Sequence[float]]
    bias: Sequence[float]


@dataclass(frozen=True)
class Export:
    """What a registered model needs to run a classifier.

    Attributes:
        members: its parts; most methods make one.
        join: of their probabilities; None for a single one.
    """

    members: tuple[Member, ...]
    join: Join | None = None


@dataclass(frozen=True)
class Job:
    """What all parts of a method are given.

    Attributes:
        settings: of the run; those in the group `method` are of the method's kind.
        labels: class names in the order of the class indices.
        encoder: that makes token ids and vectors, None if the method needs neither.
        folder: of the fitted classifier: `fit` writes to it, `export` reads it.
        refit: whether validation rows may be learned from once they have chosen.
    """

    settings: Settings
    labels: Sequence[str]
    encoder: "EncoderFolder | None"
    folder: Path
    refit: bool = False


class Method(ABC):
    """One way to make a classifier of labelled texts.

    Attributes:
        settings_type: model of the group `method` for this kind; its defaults are good ones.
        summary: one line for `jabert methods`.
        cost: what training and serving cost, one line.
        needs: what it looks at of a text: the text, token ids, or token vectors of the frozen encoder. Only
            what is needed is computed.
        reads: settings outside of the group `method` that decide what is fitted.
        revision: raised when the same settings and rows give another result than before.
        chooses: whether it uses validation rows to choose, e.g. an epoch. If not, it learns from them too
            when it is measured on test rows.
        refits: whether, of a method that chooses, a part learns from the validation rows afterwards.
    """

    settings_type: ClassVar[type[MethodSettings]]
    summary: ClassVar[str]
    cost: ClassVar[str]
    needs: tuple[Need, ...]
    reads: tuple[str, ...] = ()
    revision: int = 1
    chooses: bool = False
    refits: bool = False

    @property
    def needs_tokens(self) -> bool:
        """Whether texts are tokenized for it: vectors are made of token ids."""
        return "tokens" in self.needs or "vectors" in self.needs

    def bound_to(self, settings: Settings) -> "Method":
        """The method as these settings have it: another where they decide what it needs, reads or chooses."""
        own = settings.method
        if not isinstance(own, EnsembleSettings) or (own.ensemble == 1 and not own.teacher):
            return self
        from jabert.methods._ensemble import Ensemble, Taught

        return Taught(settings) if own.teacher else Ensemble(settings)

    def decides(self, settings: Settings) -> dict[str, Any]:
        """The settings that decide what is fitted, where they are not neutral, by dotted name; JSON-ready."""
        return decisive(settings, ["method", *self.reads])

    @abstractmethod
    def fit(self, job: Job, train: "Rows", validation: "Rows", on_epoch: Callable[[Epoch], None]) -> Fitted:
        """Learn from rows, and leave all that `export` needs in `job.folder`.

        It is reproducible: the same settings and rows give the same files on the same machine. After a kill
        it is called again with the same folder, and goes on from what it wrote there.

        Args:
            job: settings, labels, encoder and folder.
            train: rows to learn from, with what `needs` names.
            validation: rows to choose on; none unless the method `chooses`.
            on_epoch: called with each epoch, also with those of an earlier process.
        """

    @abstractmethod
    def predict(self, job: Job, rows: "Rows") -> "npt.NDArray[np.float64]":
        """Probabilities (rows, classes), as the registered model gives them but for rounding.

        Args:
            job: of a finished fit.
            rows: with what `needs` names; their classes are not looked at.
        """

    def out_of_fold(self, job: Job) -> "npt.NDArray[np.float64] | None":
        """Probabilities (rows, classes) of given rows, by what did not learn from them.

        The rows are those that were learned from; of a method that chooses, those that it chose on. None if
        the fit made no such; NaN where it made none of a row. What is served is calibrated with them.
        """
        return None

    @abstractmethod
    def export(self, job: Job, target: Path) -> Export:
        """Write what a registered model needs to run the classifier to an empty folder."""

    @abstractmethod
    def describe(self, job: Job, fitted: Fitted) -> Description:
        """What people should know of a fitted classifier."""


def method_of(settings: Settings) -> Method:
    """The method that the settings name, as they have it.

    Example:
        >>> method_of(jabert.load_settings("tfidf")).needs
        ('texts',)
    """
    return _method(settings.method.kind).bound_to(settings)


def needs_of(methods: Iterable[Method]) -> tuple[Need, ...]:
    """What several methods need together."""
    needed = {need for method in methods for need in method.needs}
    return tuple(need for need in get_args(Need) if need in needed)


def _method(kind: str) -> Method:
    found: Method = import_module(f"{__name__}.{kind.replace('-', '_')}").METHOD
    return found


def encoder_of(settings: Settings) -> "EncoderFolder | None":
    """The encoder that the settings name, None for a method that needs neither tokens nor vectors.

    Raises:
        JabertError: it is not set, its files are not there, or it has fewer layers than `features.layers`.
    """
    method = method_of(settings)
    if not method.needs_tokens:
        return None
    from jabert.encoder import check_layers, folder_of

    folder = folder_of(settings.encoder)
    if "vectors" in method.needs:
        check_layers(folder, settings.features.layers)
    return folder


def list_methods() -> list[dict[str, Any]]:
    """What there is to say of each method before it is used, JSON-ready, by kind."""
    methods = {kind: _method(kind) for kind in method_kinds()}
    return [
        {
            "kind": kind,
            "summary": method.summary,
            "needs": list(method.needs),
            "cost": method.cost,
            "settings": method.settings_type().model_dump(exclude={"kind"}),
        }
        for kind, method in methods.items()
    ]
