"""A sweep as a Markdown page, as one self-contained HTML page, and as pictures."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from jabert import markdown
from jabert.evaluation import Sweep, Tried
from jabert.report import plots
from jabert.report.card.webpage import webpage

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_NOTES = """\
The weighted F1 of a trial is that on the rows by which the best is chosen: the best of many is partly the \
luckiest, so its figure there flatters it. On the test rows only the best recipe was measured, once; its \
interval is by drawing groups (rows, where there are none)."""
_PICTURES = {
    "importance": "What mattered",
    "slice": "Each setting",
    "parallel_coordinate": "Each trial",
}


def sweep_page(sweep: Sweep, pictures: Mapping[str, Path] | None = None) -> str:
    """The verdict, the trials, the best first, and how to read them; with pictures where there are files."""
    names = list(sweep.scales)
    ranked = sorted(sweep.trials, key=lambda trial: -(trial.weighted_f1 or 0.0))
    rows = [_cells(trial, names) for trial in ranked]
    parts = [
        "# Sweep",
        f"**{markdown.escaped(markdown.as_sentence(sweep.verdict))}**",
        f"Protocol: {markdown.escaped(sweep.protocol)}.",
        markdown.table(["trial", "weighted F1", "state", *names], rows, longest=None),
        _NOTES,
    ]
    for name, title in _PICTURES.items():
        if pictures and f"{name}.png" in pictures:
            parts += [f"## {title}", f"![{title}]({name}.png)"]
    return "\n\n".join(parts) + "\n"


def _cells(trial: Tried, names: list[str]) -> list[object]:
    score = "" if trial.weighted_f1 is None else trial.weighted_f1
    state = f"failed: {trial.error}" if trial.error else trial.state
    values = [trial.values.get(name, "") for name in names]
    shown = [f"{value:.4g}" if isinstance(value, float) else str(value) for value in values]
    return [trial.number, score, state, *shown]


def sweep_html(sweep: Sweep, pictures: Mapping[str, Path]) -> str:
    """The same as one file; `pictures` by their file names."""
    return webpage(sweep_page(sweep, pictures), "Sweep", pictures)


def sweep_plots(sweep: Sweep) -> "dict[str, Figure]":
    """The pictures by name; none of importances where too few trials tell them."""
    told = {"importance": plots.importances(sweep)} if sweep.importance else {}
    return {**told, "slice": plots.slices(sweep), "parallel_coordinate": plots.parallel_coordinates(sweep)}
