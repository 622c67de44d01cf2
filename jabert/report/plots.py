"""Pictures of a run: confusion matrix, scores by class, learning curves, structure of the model.

They are drawn with matplotlib's objects, without pyplot and its global state. Japanese is drawn in
IPAexGothic, which comes with matplotlib-fontja. A character that is neither in it nor in DejaVu Sans, such as
most emoji, becomes the geta mark 〓, which stands for a missing letter in Japanese print.
"""

import functools
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from jabert.evaluation import EvaluationReport, Leaderboard, Sweep
from jabert.evaluation.resampling import critical_difference
from jabert.files import atomic_path
from jabert.methods import Layer

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_FONTS = ("IPAexGothic", "DejaVu Sans")
_INK, _GREY, _PALE = "#22303c", "#7b8794", "#d9dfe5"
_BLUE, _ORANGE, _LIGHT_BLUE = "#2b6cb0", "#dd7a26", "#9cc3e6"
_STYLE: dict[Any, Any] = {
    **dict.fromkeys(("text.color", "axes.labelcolor", "xtick.labelcolor", "ytick.labelcolor"), _INK),
    **dict.fromkeys(("axes.edgecolor", "xtick.color", "ytick.color"), _GREY),
    **dict.fromkeys(("axes.spines.top", "axes.spines.right", "axes.unicode_minus", "axes.grid"), False),
    "font.family": list(_FONTS),
    "font.size": 11,
    "text.parse_math": False,  # a class name may hold a dollar sign
    "axes.titlesize": 12,
    "axes.titlelocation": "left",
    "axes.titlepad": 10,
    "grid.color": _PALE,
    "grid.linewidth": 0.8,
    "legend.frameon": False,
    "savefig.dpi": 144,
}
_LEFT, _MIDDLE = 0.3, 3.0  # of the boxes in `model_structure`, inches


@contextmanager
def _style() -> Iterator[None]:
    """Use the fonts and colours of this module while drawing; restore matplotlib's settings afterwards."""
    import matplotlib

    with matplotlib.rc_context():
        import matplotlib_fontja  # noqa: F401  registers the font, and makes it the default

        matplotlib.rcParams.update(_STYLE)
        yield


def save(figure: "Figure", path: Path) -> Path:
    """Write a figure as PNG, atomically, and return `path`."""
    with _style(), atomic_path(path) as temporary:  # ticks are made on saving
        figure.savefig(temporary, format="png")
    return path


@_style()
def confusion_matrix(report: EvaluationReport) -> "Figure":
    """Test rows by true and predicted class: the number of rows, coloured by its share of the true class.

    Example:
        >>> rows = pd.DataFrame({"text": ["電話", "お寺"], "label": ["携帯電話", "京都"]})
        >>> report = jabert.evaluate(rows, np.array([[0.2, 0.8], [0.9, 0.1]]), ["京都", "携帯電話"])
        >>> jabert.plot_confusion_matrix(report).savefig("confusion_matrix.png")
    """
    counts = np.array(report.confusion)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    names = [_printable(label) for label in report.labels]
    classes, longest = len(names), 0.085 * max(map(_columns, names))  # inches
    cell = min(max(0.45, 0.95 - 0.05 * classes, 2 / classes), 30 / classes)
    width, crowded = cell * classes, longest > cell
    figure = _figure(longest + width + 1.8, width + (longest if crowded else 0.2) + 0.9)
    axes = figure.add_subplot(xlabel="predicted", ylabel="true", title=f"{report.rows:,} test rows")
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(classes), names, rotation=90 if crowded else 0)
    axes.set_yticks(range(classes), names)
    axes.tick_params(length=0, labelsize=min(11, 60 * cell))
    axes.spines[:].set_visible(False)
    roomy = cell > 0.45  # for the share below the count
    place: dict[str, Any] = {"ha": "center", "va": "center", "in_layout": False}
    for (true, predicted), count in np.ndenumerate(counts):
        share = shares[true, predicted]
        if count or roomy:
            text = f"{count:,}\n{share:.0%}" if roomy else f"{count:,}"
            colour = "white" if share > 0.5 else _INK
            axes.text(predicted, true, text, color=colour, size=11 if roomy else 20 * cell, **place)
    beside = axes.inset_axes((1 + 0.15 / width, 0, 0.18 / width, 1))
    bar = figure.colorbar(image, beside, format="{x:.0%}", label="share of the true class")
    bar.outline.set_visible(False)
    return figure


@_style()
def per_class(report: EvaluationReport) -> "Figure":
    """Precision, recall and F1 of each class as bars, with the number of its test rows."""
    figure = _figure(7.2, 1.6 + 0.62 * len(report.labels))
    axes = figure.add_subplot()
    middle = np.arange(len(report.labels))
    colours = {"precision": _LIGHT_BLUE, "recall": _BLUE, "F1": _ORANGE}
    for (name, colour), offset in zip(colours.items(), (-0.25, 0, 0.25), strict=True):
        values = [getattr(score, name.lower()) for score in report.per_class]
        bars = axes.barh(middle + offset, values, 0.23, color=colour, label=name)
        axes.bar_label(bars, fmt="{:.2f}", padding=3, size=8)
    names = [f"{_printable(score.label)} ({score.support:,})" for score in report.per_class]
    axes.set_yticks(middle, names)
    axes.set(xlim=(0, 1.05), ylim=(len(names) - 0.5, -0.5), title="Scores by class (test rows)")
    axes.tick_params(axis="y", length=0)
    figure.legend(loc="outside lower center", ncols=3)
    return figure


@_style()
def reliability(report: EvaluationReport) -> "Figure":
    """How often the model is right when it is how sure: test rows by their highest probability.

    A dot's area is its share of the rows; on the dashed line probabilities are what they say.
    """
    figure = _figure(4.8, 4.8)
    title = f"Calibration error {report.ece:.3f} (test rows)"
    axes = figure.add_subplot(xlabel="highest probability", ylabel="share that is right", title=title)
    axes.plot([0, 1], [0, 1], "--", color=_GREY, linewidth=1)
    bins = report.reliability
    confidence, accuracy = [each.confidence for each in bins], [each.accuracy for each in bins]
    axes.plot(confidence, accuracy, color=_LIGHT_BLUE, zorder=2)
    areas = [20 + 600 * each.rows / report.rows for each in bins]
    axes.scatter(confidence, accuracy, areas, color=_BLUE, zorder=3, clip_on=False)
    axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
    axes.grid()
    return figure


@_style()
def coverage(report: EvaluationReport) -> "Figure":
    """How much is right of what is answered, by the share of test rows that a threshold leaves answered."""
    figure = _figure(5.6, 4.2)
    axes = figure.add_subplot(
        xlabel="share of texts answered", ylabel="accuracy of the answers", title="Answering only when sure"
    )
    shares = [each.share for each in report.coverage]
    accuracies = [each.accuracy for each in report.coverage]
    axes.plot(shares, accuracies, ".-", color=_BLUE)
    lowest = min(accuracies)
    if answered := report.answered:
        name = f"threshold {answered.threshold:.2f}: {answered.accuracy:.3f} of {answered.share:.0%}"
        axes.plot([answered.share], [answered.accuracy], "o", color=_ORANGE, label=name, clip_on=False)
        axes.legend(loc="lower left")
        lowest = min(lowest, answered.accuracy)
    axes.set(xlim=(0, 1.02), ylim=(max(0, lowest - 0.1), 1.01))
    axes.grid()
    return figure


@_style()
def learning_curves(history: pd.DataFrame, watched: str = "validation") -> "Figure":
    """Loss, accuracy and weighted F1 by epoch, the kept epoch marked.

    Args:
        history: one row for each epoch with the columns `epoch`, `loss`, `val_loss`, `acc`, `val_acc`
            and `val_weighted_f1`, and the bool `best`: the last row where it is true is the kept epoch.
            Any metric may be missing, those on watched rows where none were watched, and `weighted_f1` may be
            there.
        watched: name of the rows that the `val_…` metrics are measured on, for the legend.
    """
    figure = _figure(11.4, 3.9)
    panels = figure.subplots(1, 3)
    epochs, kept = history["epoch"], history[history["best"].astype(bool)].tail(1)
    names = {"Loss": "loss", "Accuracy": "acc", "Weighted F1": "weighted_f1"}
    for axes, (title, column) in zip(panels, names.items(), strict=True):
        _draw_curves(axes, history.set_index("epoch"), column, watched)
        at_kept: Any = kept.get(f"val_{column}", [])
        for epoch, value in zip(kept["epoch"], at_kept, strict=False):
            axes.axvline(epoch, color=_ORANGE, linewidth=1, linestyle=":", zorder=1)
            axes.plot([epoch], [value], "o", color=_ORANGE, label=f"kept: epoch {epoch}", zorder=3)
            axes.set_title(f"{value:.3f}", loc="right", color=_ORANGE)
        axes.set(title=title, xlim=(epochs.min() - 0.5, epochs.max() + 0.5))
        axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


@_style()
def pretraining_curves(history: pd.DataFrame) -> "Figure":
    """Losses and accuracies of a pretraining by step, on training and held-out texts.

    Args:
        history: one row for each measurement with the column `step` and any of `masked_lm_loss`,
            `masked_lm_accuracy`, `next_sentence_accuracy` and `teacher_error`; the values on held-out texts
            under the same names with `val_` in front.
    """
    titles = {
        "masked_lm_loss": "Masked LM, loss",
        "masked_lm_accuracy": "Masked LM, accuracy",
        "next_sentence_accuracy": "Next sentence, accuracy",
        "teacher_error": "Squared error to the teacher",
    }
    present = [name for name in titles if name in history]
    figure = _figure(3.8 * max(2, len(present)), 3.9)
    panels = np.atleast_1d(figure.subplots(1, len(present)))
    for axes, name in zip(panels, present, strict=True):
        _draw_curves(axes, history.set_index("step"), name, "held out")
        axes.set_title(titles[name])
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


def _draw_curves(axes: "Axes", history: pd.DataFrame, column: str, held_out: str) -> None:
    """Draw a metric on training rows, and on the rows that `held_out` names, where it was measured."""
    for name, colour, label in ((column, _LIGHT_BLUE, "training"), (f"val_{column}", _BLUE, held_out)):
        if name in history:
            axes.plot(history.index, history[name], ".-", color=colour, label=label)
    axes.set_xlabel(str(history.index.name))
    axes.grid(axis="y")


@_style()
def model_structure(layers: Sequence[Layer]) -> "Figure":
    """The layers as boxes with arrows between them, from the input at the top to the output.

    A box shows a layer's name, its kind, the shape of its output and its number of parameters; a repeated
    layer is drawn as a pile with the number of repetitions.
    """
    from matplotlib.patches import FancyBboxPatch

    width, step = 6.7, 1.15  # one unit of the axes is an inch
    height = step * len(layers) + 0.45
    figure = _figure(width, height)
    figure.set_layout_engine("none")
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(height, 0))
    axes.axis("off")
    left, right = _LEFT + 0.17, _LEFT + 5.4 - 0.17
    for index, layer in enumerate(layers):
        top = 0.2 + step * index
        for shift in (0.1, 0.05, 0.0) if layer.repeated > 1 else (0.0,):
            corner, rounded = (_LEFT + shift, top + shift), "round,pad=0,rounding_size=0.08"
            box = FancyBboxPatch(corner, 5.4, 0.8, boxstyle=rounded, facecolor="#f3f7fb", edgecolor=_BLUE)
            axes.add_patch(box)
        axes.text(left, top + 0.3, _printable(layer.name, 28), va="center")
        axes.text(left, top + 0.58, _printable(layer.kind, 36), va="center", color=_GREY, size=9.5)
        axes.text(right, top + 0.3, _printable(layer.shape, 28), va="center", ha="right")
        if layer.parameters:
            count = f"{layer.parameters:,} parameters"
            axes.text(right, top + 0.58, count, va="center", ha="right", color=_GREY, size=9.5)
        if layer.repeated > 1:
            axes.text(5.95, top + 0.45, f"× {layer.repeated}", va="center", color=_ORANGE, size=15)
        if index:
            arrow = {"arrowstyle": "-|>", "color": _GREY, "shrinkA": 0, "shrinkB": 0}
            axes.annotate("", (_MIDDLE, top - 0.02), (_MIDDLE, top - 0.3), arrowprops=arrow)
    total = sum(layer.parameters * layer.repeated for layer in layers)
    axes.text(_LEFT, height - 0.25, f"{total:,} parameters in all", color=_GREY, size=10)
    return figure


@_style()
def fold_scores(board: Leaderboard) -> "Figure":
    """Weighted F1 of each method on each fold, with mean and interval."""
    figure = _figure(8, 1.2 + 0.5 * len(board.standings))
    axes = figure.add_subplot(xlabel="weighted F1", title="Each fold, mean and interval")
    for at, of in enumerate(board.standings):
        axes.plot(of.interval, (at, at), color=_LIGHT_BLUE, linewidth=6, solid_capstyle="round", zorder=1)
        axes.plot([fold.weighted_f1 for fold in of.folds], [at] * len(of.folds), ".", color=_GREY, zorder=2)
        axes.plot([of.weighted_f1], [at], "D", color=_BLUE, zorder=3)
    _name_rows(axes, board)
    axes.grid(axis="x")
    return figure


@_style()
def mean_ranks(board: Leaderboard) -> "Figure":
    """Mean ranks over the folds, and from the best one as far as chance may reach (Nemenyi)."""
    figure = _figure(8, 1.4 + 0.5 * len(board.standings))
    axes = figure.add_subplot(xlabel="mean rank, 1 is the best", title="Mean ranks over the folds")
    ranks = [of.rank for of in board.standings]
    reach = critical_difference(len(ranks), len(board.standings[0].folds))
    axes.axvspan(min(ranks), min(ranks) + reach, color=_ORANGE, alpha=0.15, linewidth=0)
    axes.plot(ranks, range(len(ranks)), "D", color=_BLUE)
    axes.text(min(ranks), len(ranks) - 0.35, f" critical difference {reach:.2f}", color=_ORANGE, va="bottom")
    axes.set_xlim(0.8, len(ranks) + 0.2)
    _name_rows(axes, board)
    axes.grid(axis="x")
    return figure


@_style()
def scores_and_costs(board: Leaderboard) -> "Figure":
    """Weighted F1 against milliseconds a text; the line joins those that no other beats in both."""
    figure = _figure(8, 4.6)
    axes = figure.add_subplot(
        xlabel="ms to serve a text", ylabel="weighted F1", title="Accuracy against cost"
    )
    by_cost = sorted(board.standings, key=lambda of: (of.serve_ms, -of.weighted_f1))
    best = np.maximum.accumulate([of.weighted_f1 for of in by_cost])
    front = [
        of
        for at, of in enumerate(by_cost)
        if of.weighted_f1 == best[at] and best[:at].max(initial=0) < best[at]
    ]
    axes.plot([of.serve_ms for of in front], [of.weighted_f1 for of in front], color=_ORANGE, zorder=1)
    for of in by_cost:
        axes.plot([of.serve_ms], [of.weighted_f1], "o", color=_BLUE, zorder=2)
        axes.annotate(
            _printable(of.method), (of.serve_ms, of.weighted_f1), (6, 4), textcoords="offset points", size=9
        )
    _make_logarithmic(axes)
    axes.margins(x=0.2, y=0.15)
    axes.grid()
    return figure


@_style()
def importances(sweep: Sweep) -> "Figure":
    """Share of each setting in what made trials good."""
    names = list(sweep.importance)
    figure = _figure(8, 1.2 + 0.45 * len(names))
    axes = figure.add_subplot(xlabel="importance (PED-ANOVA)", title="What mattered")
    bars = axes.barh(range(len(names)), list(sweep.importance.values()), 0.6, color=_BLUE)
    axes.bar_label(bars, fmt="{:.2f}", padding=3, size=9)
    axes.set_yticks(range(len(names)), [_printable(name, 32) for name in names])
    axes.set(xlim=(0, 1.1), ylim=(len(names) - 0.5, -0.5))
    axes.tick_params(axis="y", length=0)
    return figure


@_style()
def slices(sweep: Sweep) -> "Figure":
    """Weighted F1 of each trial against each setting, later trials darker."""
    names, trials = list(sweep.scales), sweep.complete
    columns = min(3, len(names))
    rows = -(-len(names) // columns)
    figure = _figure(1 + 3.5 * columns, 0.6 + 3 * rows)
    panels = figure.subplots(rows, columns, squeeze=False, sharey=True).flat
    scores = [trial.weighted_f1 for trial in trials]
    for axes, name in zip(panels, names, strict=False):
        places, ticks = _places(sweep, name)
        axes.scatter(places, scores, c=range(len(trials)), cmap="Blues", vmin=-len(trials) / 2, zorder=3)
        axes.plot(places[trials.index(sweep.best)], sweep.best.weighted_f1, "o", color=_ORANGE, zorder=4)
        axes.set_xlabel(_printable(name, 32))
        if sweep.scales[name] == "log":
            _make_logarithmic(axes)
        if ticks:
            axes.set_xticks(range(len(ticks)), ticks)
            axes.margins(x=0.2)
        axes.grid()
    for axes in list(panels):  # that are left
        axes.axis("off")
    figure.supylabel("weighted F1", size=11)
    return figure


@_style()
def parallel_coordinates(sweep: Sweep) -> "Figure":
    """Each trial as a line over its settings to its weighted F1, the best in another colour."""
    names, trials = list(sweep.scales), sweep.complete
    scores = np.array([trial.weighted_f1 for trial in trials])
    heights = [_heights(*_places(sweep, name), log=sweep.scales[name] == "log") for name in names]
    lines = np.array([*heights, _heights(scores, [])]).T  # (trials, settings + 1)
    figure = _figure(2 + 2.2 * len(names), 4.4)
    axes = figure.add_subplot(title="Settings and weighted F1 of each trial")
    for line, trial in zip(lines, trials, strict=True):
        own = (
            {"color": _ORANGE, "zorder": 4, "linewidth": 2} if trial is sweep.best else {"color": _LIGHT_BLUE}
        )
        axes.plot(line, **own)
    for at, name in enumerate([*names, "weighted F1"]):
        axes.axvline(at, color=_GREY, linewidth=1, zorder=1)
        values = scores.tolist() if at == len(names) else [trial.values[name] for trial in trials]
        for height, value in {round(h, 2): v for h, v in zip(lines[:, at], values, strict=True)}.items():
            if sweep.scales.get(name) == "choose" or height in (0, 1):
                axes.text(at + 0.03, height, _value(value), size=9, va="center", color=_INK)
    axes.set_xticks(range(len(names) + 1), [_printable(name, 28) for name in [*names, "weighted F1"]])
    axes.set(yticks=[], ylim=(-0.06, 1.06), xlim=(-0.1, len(names) + 0.5))
    axes.spines[:].set_visible(False)
    return figure


def _places(sweep: Sweep, name: str) -> tuple[npt.NDArray[np.float64], list[str]]:
    """The place of each trial's value on its axis, and the names of the places where they are no numbers."""
    values = [trial.values[name] for trial in sweep.complete]
    if sweep.scales[name] != "choose":
        return np.array(values, dtype=np.float64), []
    shown = [_value(value) for value in values]
    names = list(dict.fromkeys(shown))
    return np.array([names.index(each) for each in shown], dtype=np.float64), names


def _heights(places: npt.NDArray[np.float64], _: list[str], *, log: bool = False) -> npt.NDArray[np.float64]:
    """Places between 0 and 1."""
    along = np.log(places) if log else places
    span = np.ptp(along)
    heights: npt.NDArray[np.float64] = (along - along.min()) / span if span else np.full(len(along), 0.5)
    return heights


def _value(value: Any) -> str:
    return _printable(f"{value:.3g}" if isinstance(value, float) else str(value), 16)


def _make_logarithmic(axes: "Axes") -> None:
    """Make the x axis one, with plain numbers: powers would be drawn as math, which is switched off."""
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter("")


def _name_rows(axes: "Axes", board: Leaderboard) -> None:
    axes.set_yticks(range(len(board.standings)), [_printable(of.method) for of in board.standings])
    axes.set_ylim(len(board.standings) - 0.3, -0.7)
    axes.tick_params(axis="y", length=0)


def _figure(width: float, height: float) -> "Figure":
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _printable(text: str, columns: int = 24) -> str:
    """The text on one line, in characters that can be drawn, cut to `columns` half-width characters."""
    known = _characters()
    line = "".join(
        character if ord(character) in known else "〓"
        for character in unicodedata.normalize("NFC", " ".join(text.split()))
        if unicodedata.category(character) not in ("Cc", "Cf", "Mn", "Me")  # control and combining characters
    )
    if _columns(line) <= columns:
        return line
    while _columns(line) > columns - 1:
        line = line[:-1]
    return line + "…"


def _columns(line: str) -> int:
    """Width in half-width characters."""
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in line)


@functools.cache
def _characters() -> frozenset[int]:
    """Code points of the characters in the fonts."""
    from matplotlib import font_manager

    fonts = [font_manager.get_font(font_manager.findfont(name, fallback_to_default=False)) for name in _FONTS]
    return frozenset(code for font in fonts for code in font.get_charmap())
