"""A leaderboard as a Markdown page, as one self-contained HTML page, and as pictures."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from jabert import markdown
from jabert.evaluation import Leaderboard, Standing
from jabert.report import plots
from jabert.report.card.webpage import webpage

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLUMNS = (
    *("", "weighted F1", "its 95 % interval", "deviation", "rank"),
    *("to the best", "its 95 % interval", "by bootstrap", "p"),
    *("macro F1", "accuracy", "seconds to fit", "ms a text", "MB"),
)
_NOTES = """\
Intervals and p values are those of Nadeau and Bengio's corrected resampled t test, the p values corrected \
by Holm; by bootstrap: drawing groups (rows, where there are none) of the pooled out-of-fold predictions. \
Rank, seconds and ms are means over the folds; the seconds are without the token vectors of a frozen \
encoder, which methods share."""
_PICTURES = {
    "folds": "Weighted F1 on each fold",
    "critical_difference": "Mean ranks",
    "cost": "Weighted F1 against the time to serve a text",
}


def leaderboard_page(board: Leaderboard, pictures: Mapping[str, Path] | None = None) -> str:
    """The verdict, the table, failures and how to read it; with pictures where there are files of them."""
    rows = [_cells(standing) for standing in board.standings]
    failed = [(each.method, each.error, len(each.folds)) for each in board.failures]
    parts = [
        "# Leaderboard",
        f"**{markdown.escaped(markdown.as_sentence(board.verdict))}**",
        f"Protocol: {markdown.escaped(board.protocol)}.",
        *([markdown.table(_COLUMNS, rows), _NOTES] if rows else []),
    ]
    if failed:
        parts += ["## Failed", markdown.table(["", "why", "folds measured"], failed, longest=None)]
    for name, title in _PICTURES.items():
        if pictures and f"{name}.png" in pictures:
            parts += [f"## {title}", f"![{title}]({name}.png)"]
    return "\n\n".join(parts) + "\n"


def leaderboard_html(board: Leaderboard, pictures: Mapping[str, Path]) -> str:
    """The same as one file; `pictures` by their file names."""
    return webpage(leaderboard_page(board, pictures), "Leaderboard", pictures)


def _cells(of: Standing) -> list[object]:
    return [
        of.method,
        of.weighted_f1,
        _interval(of.interval),
        of.deviation,
        f"{of.rank:.1f}",
        *(("the best", "", "", "") if of.p_value is None else _compared(of)),
        of.macro_f1,
        of.accuracy,
        f"{of.fit_seconds:.1f}",
        f"{of.serve_ms:.2f}",
        f"{of.bytes / 1e6:.1f}",
    ]


def _compared(of: Standing) -> tuple[str, ...]:
    intervals = (of.difference_interval, of.bootstrap_interval)
    shown = [_interval(ends, signed=True) if ends else "" for ends in intervals]
    return (f"{of.difference_to_best:+.3f}", *shown, f"{of.p_value:.3f}")


def _interval(ends: tuple[float, float], *, signed: bool = False) -> str:
    return " to ".join(f"{end:+.3f}" if signed else f"{end:.3f}" for end in ends)


def leaderboard_plots(board: Leaderboard) -> "dict[str, Figure]":
    """The pictures by name; none where there is no method to draw, no ranks of a single one."""
    if not board.standings:
        return {}
    ranks = {"critical_difference": plots.mean_ranks(board)} if len(board.standings) > 1 else {}
    return {"folds": plots.fold_scores(board), **ranks, "cost": plots.scores_and_costs(board)}
