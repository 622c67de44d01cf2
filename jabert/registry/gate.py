"""The gate: a new version becomes the champion only if it is strictly better on the same rows, now.

Both are pulled from the registry and classify the test rows from text. The decision names the champion that
it was made against; if that is another one by then, it is made again.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, cast

import numpy as np
import pandas as pd

from jabert.config import PromotionSettings
from jabert.errors import JabertError
from jabert.evaluation import weighted_f1
from jabert.evaluation.comparison import Comparison, compare
from jabert.registry.leaks import has_seen, is_enough
from jabert.registry.smoke import smoke_check
from jabert.registry.versions import Registry, classify

__all__ = ["Gate", "Outcome", "Verdict"]

Outcome = Literal["promoted", "kept", "refused"]
SmokeCheck = Callable[[str, str, list[str], pd.DataFrame], str | None]

_CANARY_ROWS = 32
_NAMED_LABELS = 5
_NUMBERS = {  # of a verdict, as they stand in a version's tags
    "weighted_f1": float,
    "compared_rows": int,
    "champion_weighted_f1": float,
    "gain": float,
    "gain_low": float,
    "gain_high": float,
    "became_right": int,
    "became_wrong": int,
}


@dataclass(frozen=True)
class Verdict:
    """What became of a new version.

    Attributes:
        version: of the registered model.
        outcome: `promoted`; `kept`: the champion stays, because the version is not better, or not by as much
            as the settings ask; `refused`: it could not be compared fairly, or failed its smoke check.
        reason: one sentence without a full stop.
        weighted_f1: of the version, on the compared rows.
        compared_rows: the test rows that neither model learned from.
        champion: the version that it was held against; None without one.
        gain: in weighted F1 over that one, on the same rows; None if there was none, or too few rows.
        gain_low, gain_high: ends of its 95 % interval.
        became_right, became_wrong: texts that changed sides.
        comparison: all of this in detail.
        below_best: the version that was champion once and is still better, if there is one.
        warnings: sentences that did not decide.
    """

    version: str
    outcome: Outcome
    reason: str
    weighted_f1: float
    compared_rows: int
    champion: str | None = None
    champion_weighted_f1: float | None = None
    gain: float | None = None
    gain_low: float | None = None
    gain_high: float | None = None
    became_right: int | None = None
    became_wrong: int | None = None
    comparison: Comparison | None = field(default=None, repr=False)
    below_best: str | None = None
    warnings: tuple[str, ...] = ()

    @property
    def promoted(self) -> bool:
        """Whether the alias points to the version."""
        return self.outcome == "promoted"

    def facts(self) -> dict[str, Any]:
        """The verdict without the comparison, JSON-ready; what is None is left out."""
        facts = {name: value for name, value in vars(self).items() if name not in ("comparison", "warnings")}
        facts["warnings"] = list(self.warnings) or None
        return {name: value for name, value in facts.items() if value is not None}

    def tags(self) -> dict[str, Any]:
        """For the version; outcome and reason are not among them: writing those is the decision."""
        decision = ("version", "outcome", "reason", "champion")
        facts = {name: value for name, value in self.facts().items() if name not in decision}
        return facts | {"compared_with": self.champion, "warnings": "\n".join(self.warnings) or None}

    @classmethod
    def from_tags(cls, version: str, tags: Mapping[str, str]) -> "Verdict | None":
        """The verdict that stands in a version's tags, without the comparison; None if it is not judged."""
        if tags.get("promotion") not in ("promoted", "kept", "refused"):
            return None
        numbers: dict[str, Any] = {name: kind(tags[name]) for name, kind in _NUMBERS.items() if name in tags}
        return cls(
            version=version,
            outcome=cast(Outcome, tags["promotion"]),
            reason=tags["reason"],
            champion=tags.get("compared_with"),
            below_best=tags.get("below_best"),
            warnings=tuple(tags.get("warnings", "").splitlines()),
            **numbers,
        )


@dataclass(frozen=True)
class Gate:
    """Judges versions of a registered model on test rows.

    Attributes:
        registry: the registered model.
        rows: the test rows, as for `evaluate`.
        rules: how large and how sure a gain must be.
        record: called with each verdict before it takes effect.
        seed: of the bootstrap.
        smoke_check: as `jabert.registry.smoke.smoke_check`.
    """

    registry: Registry
    rows: pd.DataFrame
    rules: PromotionSettings
    record: Callable[[Verdict], None]
    seed: int = 0
    smoke_check: SmokeCheck = smoke_check
    _probabilities: dict[str, pd.DataFrame] = field(default_factory=dict)
    _checked: dict[str, str | None] = field(default_factory=dict)

    def judge_once(self, version: str) -> Verdict:
        """The verdict on a version: one that a killed run still came to, or a new one."""
        self.registry.settle()
        found = Verdict.from_tags(version, self.registry.get(version).tags)
        return found or self.judge(version)

    def judge(self, version: str, *, force: bool = False) -> Verdict:
        """Decide on a version, and move the aliases if it is better than the champion of that moment.

        Args:
            version: of the registered model.
            force: promote it whatever the comparison says; the smoke check holds all the same.

        Raises:
            JabertError: the version or the champion cannot be loaded, or it is the champion already.
        """
        self.registry.settle()
        while True:
            champion = self.registry.champion()
            if champion == version:
                raise JabertError(f"version {version} of {self.registry.name!r} is the champion already")
            verdict = self._decide(version, champion)
            if force and not verdict.promoted:
                reason = f"forced; by the rules it was {verdict.outcome}: {verdict.reason}"
                verdict = replace(verdict, outcome="promoted", reason=reason)
            if verdict.promoted and (trouble := self._trouble_of(version)):
                verdict = replace(verdict, outcome="refused", reason=f"the smoke check failed: {trouble}")
            self.record(verdict)
            self.registry.tag(version, verdict.tags())
            if self.registry.conclude(version, over=champion, outcome=verdict.outcome, reason=verdict.reason):
                return verdict

    def _decide(self, version: str, champion: str | None) -> Verdict:
        fresh = self._unseen_by(version) if champion is None else self._unseen_by(version, champion)
        own_f1 = self._weighted_f1(version, fresh)
        verdict = Verdict(version, "kept", "", own_f1, int(fresh.sum()), champion)
        if not is_enough(verdict.compared_rows, len(self.rows)):
            reason = (
                f"of {len(self.rows):,} test rows only {verdict.compared_rows:,} are new to both versions; "
                "a fair comparison needs more: change tracking.model_name with the protocol"
            )
            return replace(verdict, outcome="refused", reason=reason)
        if champion is None:
            return replace(
                verdict, outcome="promoted", reason=f"there was no champion; weighted F1 {own_f1:.4f}"
            )
        try:
            before = self._of(champion)
        except JabertError as error:
            reason = f"{error}; or go back: `jabert models rollback`"
            return replace(verdict, outcome="refused", reason=reason)
        after = self._of(version)
        comparison = compare(self.rows[fresh], before[fresh], after[fresh], seed=self.seed)
        outcome, reason = _weigh(comparison, champion, self.rules)
        if outcome == "promoted" and (gone := [*before.columns.difference(after.columns)]):
            outcome, reason = "refused", _of_lost_labels(gone, champion)
        below_best, warnings = self._hold_against_best(version, champion, fresh)
        if left_out := int((~fresh).sum()):
            warnings += (f"{left_out:,} test rows were left out: a version learned from them",)
        return replace(
            verdict,
            outcome=outcome,
            reason=reason,
            **_numbers(comparison),
            comparison=comparison,
            below_best=below_best,
            warnings=warnings,
        )

    def _hold_against_best(
        self, version: str, champion: str, fresh: np.ndarray
    ) -> tuple[str | None, tuple[str, ...]]:
        """The best version that was ever champion, if it is better still, and the warning about it."""
        for best in self.registry.best_promoted():
            if best in (version, champion):
                return None, ()
            try:
                rows = fresh & self._unseen_by(best)
                if not is_enough(int(rows.sum()), len(self.rows)):
                    continue
                best_f1, own_f1 = self._weighted_f1(best, rows), self._weighted_f1(version, rows)
            except JabertError as error:
                return None, (f"the best version ever promoted could not be compared: {error}",)
            if best_f1 <= own_f1:
                return None, ()
            return best, (
                f"version {best}, the best ever promoted, has weighted F1 {best_f1:.4f} on {rows.sum():,} "
                f"of these rows, version {version} {own_f1:.4f}",
            )
        return None, ()

    def _of(self, version: str) -> pd.DataFrame:
        """Probabilities of a version for all rows; computed once."""
        if version not in self._probabilities:
            model = self.registry.load(version)
            self._probabilities[version] = classify(model, self.rows["text"]).set_index(self.rows.index)
        return self._probabilities[version]

    def _weighted_f1(self, version: str, chosen: np.ndarray) -> float:
        if not chosen.any():
            return 0.0
        predicted, true = self._of(version)[chosen].idxmax(axis=1), self.rows.loc[chosen, "label"]
        labels = pd.Index(sorted({*predicted, *true}))
        return weighted_f1(labels.get_indexer(true), labels.get_indexer(predicted), len(labels))

    def _unseen_by(self, *versions: str) -> np.ndarray:
        seen = [has_seen(self.registry.learned(version), self.rows) for version in versions]
        unseen: np.ndarray = ~np.logical_or.reduce(seen)
        return unseen

    def _trouble_of(self, version: str) -> str | None:
        if version not in self._checked:
            canary = self.rows["text"].iloc[:_CANARY_ROWS]
            expected = classify(self.registry.load(version), canary)
            self._checked[version] = self.smoke_check(
                self.registry.uri(version), self.registry.store, canary.tolist(), expected
            )
        return self._checked[version]


def _numbers(comparison: Comparison) -> dict[str, Any]:
    low, high = comparison.gain_interval
    became = [flip.became for flip in comparison.flips]
    return {
        "champion_weighted_f1": comparison.champion.weighted_f1,
        "gain": comparison.gain,
        "gain_low": low,
        "gain_high": high,
        "became_right": became.count("right"),
        "became_wrong": became.count("wrong"),
    }


def _of_lost_labels(gone: list[str], champion: str) -> str:
    noun = "label" if len(gone) == 1 else "labels"
    named = ", ".join(map(repr, gone[:_NAMED_LABELS])) + (" and others" if gone[_NAMED_LABELS:] else "")
    return (
        f"it does not know the {noun} {named} of champion {champion}, which clients rely on: change "
        "tracking.model_name with the labels, or promote it by force"
    )


def _weigh(comparison: Comparison, champion: str, rules: PromotionSettings) -> tuple[Outcome, str]:
    """Promote only what is strictly better; a tie keeps the champion. The rules can only ask for more."""
    new, old, gain = comparison.challenger.weighted_f1, comparison.champion.weighted_f1, comparison.gain
    low, high = comparison.gain_interval
    scores = f"weighted F1 {new:.4f} against {old:.4f} of champion {champion} on the same rows"
    if new == old:
        return "kept", f"a tie keeps the champion: {scores}"
    if new < old:
        return "kept", f"not better: {scores}"
    if gain < rules.min_gain:
        return "kept", f"better by less than promotion.min_gain {rules.min_gain}: {scores}"
    if rules.require_significance and not comparison.is_significant:
        return "kept", f"better, but not surely (95 % interval {low:+.4f} to {high:+.4f}): {scores}"
    return "promoted", f"better: {scores}"
