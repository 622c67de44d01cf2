"""Methods on the same folds: how good each is, how sure that is, what it costs, and which one to use."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from jabert.evaluation.comparison import gain_interval_of_counts
from jabert.evaluation.resampling import corrected_interval, corrected_p_value, holm, mean_ranks

_SURE = 0.05


@dataclass(frozen=True)
class Score:
    """A method on the test rows of a split: how good it is, and what it costs.

    Attributes:
        rows: test rows.
        weighted_f1, macro_f1, accuracy: on them.
        fit_seconds: of the fit, without the token vectors of a frozen encoder, which methods share.
        serve_ms: to classify one text from its characters, the median of several.
        bytes: of the registered model's files.
    """

    rows: int
    weighted_f1: float
    macro_f1: float
    accuracy: float
    fit_seconds: float
    serve_ms: float
    bytes: int


@dataclass(frozen=True, kw_only=True)
class FoldScore(Score):
    """A method on the test rows of one fold.

    Attributes:
        seed, fold: which fold, numbered from 1.
    """

    seed: int
    fold: int


@dataclass(frozen=True)
class Standing:
    """A method on all folds: means of its figures, and how it compares with the best.

    Attributes:
        method: its name.
        weighted_f1, macro_f1, accuracy, fit_seconds, serve_ms, bytes: means over the folds.
        deviation: standard deviation of the weighted F1 over the folds.
        interval: ends of the 95 % interval of the mean weighted F1, corrected for overlapping training sets.
        rank: mean of its ranks on the folds.
        difference_to_best: its mean weighted F1 less that of the best; 0 for the best itself.
        difference_interval: ends of the 95 % interval of that, corrected likewise; None for the best.
        bootstrap_interval: the same by drawing groups, or rows, of the pooled out-of-fold predictions.
        p_value: Nadeau and Bengio's, corrected by Holm for the number of methods; None for the best.
        folds: its figures on each.
    """

    method: str
    weighted_f1: float
    deviation: float
    interval: tuple[float, float]
    rank: float
    difference_to_best: float
    difference_interval: tuple[float, float] | None
    bootstrap_interval: tuple[float, float] | None
    p_value: float | None
    macro_f1: float
    accuracy: float
    fit_seconds: float
    serve_ms: float
    bytes: int
    folds: tuple[FoldScore, ...]

    @property
    def is_surely_worse(self) -> bool:
        """Whether chance hardly put it behind the best."""
        return self.p_value is not None and self.p_value < _SURE


@dataclass(frozen=True)
class Failure:
    """A method that could not be measured on all folds, the sentence that says why, and what was measured."""

    method: str
    error: str
    folds: tuple[FoldScore, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """As a standing, with null for what is not known."""
        known = {"method": self.method, "error": self.error, "folds": [asdict(fold) for fold in self.folds]}
        return {**dict.fromkeys(Standing.__annotations__), **known}


@dataclass(frozen=True)
class Leaderboard:
    """All methods, the best first, and what to do.

    Attributes:
        verdict: one sentence.
        standings: of the methods that were measured, the best first.
        failures: of the others.
        protocol: a sentence on the folds.
    """

    verdict: str
    standings: tuple[Standing, ...]
    failures: tuple[Failure, ...]
    protocol: str

    @property
    def winner(self) -> str | None:
        """The method that the verdict names; None if no method was measured."""
        return choice(self.standings).method if self.standings else None

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        methods = [*(asdict(each) for each in self.standings), *(each.to_dict() for each in self.failures)]
        return {"verdict": self.verdict, "winner": self.winner, "protocol": self.protocol, "methods": methods}


def make_leaderboard(
    scores: Mapping[str, Sequence[FoldScore]],
    counts: Mapping[str, npt.NDArray[np.int64]],
    failures: Sequence[Failure],
    *,
    folds: int,
    protocol: str = "",
) -> Leaderboard:
    """Rank methods.

    Args:
        scores: of each method, on the same folds in the same order.
        counts: of each method, by `class_counts` of its out-of-fold predictions: (units, 3, classes).
        failures: methods that have no scores.
        folds: of one cross-validation.
        protocol: a sentence.
    """
    by_method = {name: np.array([fold.weighted_f1 for fold in of]) for name, of in scores.items()}
    order = sorted(by_method, key=lambda name: -by_method[name].mean())  # stable, so ties stay as given
    standings: tuple[Standing, ...] = ()
    if order:
        matrix, overlap = np.stack([by_method[name] for name in order]), 1 / (folds - 1)
        p_values = holm([corrected_p_value(each - matrix[0], overlap) for each in matrix[1:]])
        ranks = mean_ranks(matrix)
        standings = tuple(
            _standing(
                name,
                scores[name],
                matrix[at] - matrix[0],
                rank=float(ranks[at]),
                overlap=overlap,
                compared=(p_values[at - 1], gain_interval_of_counts(counts[order[0]], counts[name]))
                if at
                else None,
            )
            for at, name in enumerate(order)
        )
    return Leaderboard(verdict_on(standings, failures), standings, tuple(failures), protocol)


def _standing(
    name: str,
    folds: Sequence[FoldScore],
    differences: npt.NDArray[np.float64],
    *,
    rank: float,
    overlap: float,
    compared: tuple[float, tuple[float, float]] | None,
) -> Standing:
    means = {
        figure: float(np.mean([getattr(fold, figure) for fold in folds]))
        for figure in ("weighted_f1", "macro_f1", "accuracy", "fit_seconds", "serve_ms")
    }
    values = np.array([fold.weighted_f1 for fold in folds])
    low, high = corrected_interval(values, overlap)
    return Standing(
        method=name,
        **means,
        bytes=round(np.mean([fold.bytes for fold in folds])),
        deviation=float(values.std(ddof=1)),
        interval=(max(0.0, low), min(1.0, high)),
        rank=rank,
        difference_to_best=float(differences.mean()),
        difference_interval=corrected_interval(differences, overlap) if compared else None,
        bootstrap_interval=compared[1] if compared else None,
        p_value=compared[0] if compared else None,
        folds=tuple(folds),
    )


def choice(standings: Sequence[Standing]) -> Standing:
    """The method to use: of the best and those that chance may have put behind it, the quickest to serve."""
    return min((each for each in standings if not each.is_surely_worse), key=lambda each: each.serve_ms)


def verdict_on(standings: Sequence[Standing], failures: Sequence[Failure]) -> str:
    """What to do, in one sentence.

    Args:
        standings: the best first; may be empty.
        failures: methods that have none.
    """
    failed = f"; {', '.join(each.method for each in failures)} failed" if failures else ""
    if not standings:
        return f"no method could be measured{failed}"
    best, chosen = standings[0], choice(standings)
    tied = [each for each in standings[1:] if not each.is_surely_worse]
    if len(standings) == 1:
        said = f"{best.method} is the only method that was measured"
    elif not tied:
        said = _better(best, standings[1])
    elif chosen is best:
        said = (
            f"use {best.method}: the highest weighted F1, and the quickest to serve of those that chance may "
            f"have put behind it ({', '.join(each.method for each in tied)})"
        )
    else:
        said = (
            f"no method is better than {chosen.method} beyond chance, {_pace(chosen, best)} as {best.method}"
            f"{_open_question(best, chosen)}"
        )
    return said + failed


def _better(best: Standing, second: Standing) -> str:
    most, least = (-100 * end for end in second.difference_interval or (0.0, 0.0))
    gain = -100 * second.difference_to_best
    interval = f"interval {least:.1f} to {most:.1f}"
    return f"use {best.method}: {gain:+.1f} points over {second.method} ({interval}), {_pace(best, second)}"


def _open_question(best: Standing, chosen: Standing) -> str:
    """What would decide where the pooled predictions speak for the best, but too few folds were measured."""
    if not chosen.bootstrap_interval or chosen.bootstrap_interval[1] >= 0:
        return ""
    gain, seeds = -100 * chosen.difference_to_best, len({fold.seed for fold in best.folds})
    return (
        f"; but {best.method} is {gain:.1f} points ahead (p = {chosen.p_value:.3f}), and more folds would "
        f"tell: leaderboard.seeds = {list(range(seeds + 2))}"
    )


def _pace(one: Standing, other: Standing) -> str:
    quicker = other.serve_ms / one.serve_ms
    if 0.95 < quicker < 1.05:
        return "as quick to serve"
    return (
        f"{quicker:.1f} times as quick to serve"
        if quicker > 1
        else f"{1 / quicker:.1f} times as slow to serve"
    )
