"""The gate: a new version becomes the champion only if it is strictly better on the same test rows.

The new version and the champion are both loaded from the registry and classify the test rows from text. A
decision holds only against the champion that it names: if another process has changed the champion in the
meantime, the gate decides again.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal, cast

import numpy as np
import numpy.typing as npt
import pandas as pd

from jabert.config import PromotionSettings
from jabert.dataset import class_shares
from jabert.errors import JabertError
from jabert.evaluation import measure_chance, weighted_f1
from jabert.evaluation.comparison import Comparison, compare
from jabert.evaluation.intervals import resampling_units
from jabert.registry.leaks import is_comparable, seen_rows
from jabert.registry.smoke import smoke_check
from jabert.registry.versions import Registry, classify
from jabert.report.pages import evidence_of
from jabert.tracking import anchor_of

Outcome = Literal["promoted", "kept", "refused"]

_CANARY_ROWS = 32
_FLOOR_REMEDY = (
    "more labelled texts, a larger share of test rows or another method may help; "
    "promotion.floor = 0 asks nothing of a first champion"
)
_NAMED_LABELS = 5
_SCORES = ("weighted_f1", "champion_weighted_f1", "gain", "gain_low", "gain_high")
_COUNTS = ("compared_rows", "became_right", "became_wrong", "judged_before")


@dataclass(frozen=True)
class Verdict:
    """The gate's decision on a version; what compares it with a champion is None if there was no comparison.

    Attributes:
        version: number of the version in the registered model.
        outcome: `promoted`: it is the new champion; `kept`: the champion stays, because the version is not
            better, or not by as much as the settings ask, or there is none yet and the version does not beat
            `promotion.floor`; `refused`: it could not be compared fairly, or
            failed its smoke check.
        reason: one sentence without a full stop.
        weighted_f1: of the version, on the compared rows.
        compared_rows: number of test rows that neither model was trained on.
        champion: the version that it was compared with.
        champion_weighted_f1: of the champion, on the compared rows.
        gain: `weighted_f1` less `champion_weighted_f1`.
        gain_low, gain_high: ends of the 95 % interval of the gain.
        became_right, became_wrong: number of texts that only the version, only the champion classifies
            rightly.
        judged_before: number of other versions that were judged on the same test rows before.
        comparison: both models in detail.
        below_best: a former champion that is better than the version, if there is one.
        warnings: sentences that did not influence the outcome.
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
    judged_before: int | None = None
    comparison: Comparison | None = field(default=None, repr=False)
    below_best: str | None = None
    warnings: tuple[str, ...] = ()

    @property
    def evidence(self) -> list[str]:
        """Sentences without a full stop: whether the gain is more than chance, and what else was judged."""
        return evidence_of(self.facts())

    @property
    def promoted(self) -> bool:
        """Whether the version became the champion."""
        return self.outcome == "promoted"

    def facts(self) -> dict[str, Any]:
        """The verdict without the comparison, JSON-ready; a field that is None is left out."""
        facts = {**vars(self), "comparison": None, "warnings": list(self.warnings) or None}
        return {name: value for name, value in facts.items() if value is not None}

    def tags(self) -> dict[str, Any]:
        """Tags of the version, without outcome and reason: writing those is what makes the verdict final."""
        decision = ("version", "outcome", "reason", "champion")
        facts = {name: value for name, value in self.facts().items() if name not in decision}
        return facts | {"compared_with": self.champion, "warnings": "\n".join(self.warnings) or None}

    @classmethod
    def from_tags(cls, version: str, tags: Mapping[str, str]) -> "Verdict | None":
        """Read the verdict, without the comparison, from a version's tags; None if there is none yet."""
        if tags.get("promotion") not in ("promoted", "kept", "refused"):
            return None
        numbers: dict[str, Any] = {name: float(tags[name]) for name in _SCORES if name in tags}
        numbers |= {name: int(tags[name]) for name in _COUNTS if name in tags}
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
        rows: the test rows, a table as for `jabert.evaluation.evaluate`.
        rules: how large and how certain a gain must be, and what a first champion must beat.
        record: called with each verdict before it takes effect.
        shares: of the classes among the training rows, by label; without it those of the test rows.
        seed: of the bootstrap.
        judged_before: number of other versions that were judged on these rows before, None if not known.
        smoke_check: a function with the signature of `jabert.registry.smoke.smoke_check`.
    """

    registry: Registry
    rows: pd.DataFrame
    rules: PromotionSettings
    record: Callable[[Verdict], None]
    shares: Mapping[str, float] | None = None
    seed: int = 0
    judged_before: int | None = None
    smoke_check: Callable[[str, str, list[str], pd.DataFrame, Mapping[str, str] | None], str | None] = (
        smoke_check
    )
    _known_probabilities: dict[str, pd.DataFrame] = field(default_factory=dict, init=False, repr=False)
    _known_failures: dict[str, str | None] = field(default_factory=dict, init=False, repr=False)

    def judge_once(self, version: str) -> Verdict:
        """Return the verdict on a version that a killed run still reached, or judge the version."""
        self.registry.recover()
        found = Verdict.from_tags(version, self.registry.get(version).tags)
        return found or self.judge(version)

    def judge(self, version: str, *, force: bool = False) -> Verdict:
        """Decide on a version, and make it the champion if it is better than the present one.

        Args:
            version: number of the version.
            force: promote it whatever the comparison says; the smoke check must pass all the same.

        Raises:
            JabertError: the version cannot be loaded, or it is the champion already.
        """
        self.registry.recover()
        while True:
            champion = self.registry.champion()
            if champion == version:
                raise JabertError(f"version {version} of {self.registry.name!r} is the champion already")
            verdict = self._decide(version, champion)
            if force and not verdict.promoted:
                reason = f"forced; by the rules it was {verdict.outcome}: {verdict.reason}"
                verdict = replace(verdict, outcome="promoted", reason=reason)
            if verdict.promoted and (failure := self._smoke_failure(version)):
                verdict = replace(verdict, outcome="refused", reason=f"the smoke check failed: {failure}")
            self.record(verdict)
            self.registry.tag(version, verdict.tags())
            if self.registry.apply_verdict(version, champion, verdict.outcome, verdict.reason):
                return verdict

    def _decide(self, version: str, champion: str | None) -> Verdict:
        """Apply the rules, but neither force nor the smoke check."""
        unseen = self._unseen_rows(*filter(None, (version, champion)))
        own_f1, count = self._weighted_f1(version, unseen), int(unseen.sum())
        verdict = partial(
            Verdict,
            version,
            champion=champion,
            weighted_f1=own_f1,
            compared_rows=count,
            judged_before=self.judged_before,
        )
        if not is_comparable(count, len(self.rows)):
            reason = (
                f"of {len(self.rows):,} test rows only {count:,} are new to both versions; "
                "a fair comparison needs more: change tracking.model_name with the protocol"
            )
            return verdict(outcome="refused", reason=reason)
        if champion is None:
            if fault := self._below_floor(version, own_f1, unseen):
                return verdict(outcome="kept", reason=f"{fault}; {_FLOOR_REMEDY}")
            return verdict(outcome="promoted", reason=f"there was no champion; weighted F1 {own_f1:.4f}")
        return self._compare_with_champion(verdict, version, champion, unseen)

    def _below_floor(self, version: str, own_f1: float, unseen: npt.NDArray[np.bool_]) -> str | None:
        """Why a version is not good enough to be the first champion, None if it is."""
        floor = self.rules.floor
        if floor != "chance":
            scores = f"weighted F1 {own_f1:.4f} is below promotion.floor {floor}"
            return scores if own_f1 < floor else None
        rows, probabilities = self.rows[unseen], self._probabilities(version)[unseen]
        shares = self.shares or class_shares(rows.assign(split="train"))
        labels = sorted({*rows["label"], *probabilities.columns, *shares})
        own = probabilities.reindex(columns=labels, fill_value=0.0).to_numpy()
        for chance in measure_chance(rows, labels, shares, own, seed=self.seed):
            if not (chance.gain_low > 0 and resampling_units(rows)[0].max() > 0):
                return (
                    f"there is no champion, and it is not surely better than {chance.kind} (weighted F1 "
                    f"{own_f1:.4f} against {chance.weighted_f1:.4f} on {len(rows):,} test rows, 95 % "
                    f"interval of the gain {chance.gain_low:+.4f} to {chance.gain_high:+.4f})"
                )
        return None

    def _compare_with_champion(
        self, verdict: "partial[Verdict]", version: str, champion: str, unseen: npt.NDArray[np.bool_]
    ) -> Verdict:
        try:
            champion_probabilities = self._probabilities(champion)
        except JabertError as error:
            return verdict(outcome="refused", reason=f"{error}; or go back: `jabert models rollback`")
        probabilities = self._probabilities(version)
        both = champion_probabilities[unseen], probabilities[unseen]
        comparison = compare(self.rows[unseen], *both, seed=self.seed)
        outcome, reason = _apply_rules(comparison, champion, self.rules)
        lost_labels = champion_probabilities.columns.difference(probabilities.columns).tolist()
        if outcome == "promoted" and lost_labels:
            outcome, reason = "refused", _lost_labels_reason(lost_labels, champion)
        below_best, warnings = self._compare_with_best(version, champion, unseen)
        if left_out := int((~unseen).sum()):
            warnings += (f"{left_out:,} test rows were left out: a version learned from them",)
        became = Counter(flip.became for flip in comparison.flips)
        return verdict(
            outcome=outcome,
            reason=reason,
            champion_weighted_f1=comparison.champion.weighted_f1,
            gain=comparison.gain,
            gain_low=comparison.gain_interval[0],
            gain_high=comparison.gain_interval[1],
            became_right=became["right"],
            became_wrong=became["wrong"],
            comparison=comparison,
            below_best=below_best,
            warnings=warnings,
        )

    def _compare_with_best(
        self, version: str, champion: str, unseen: npt.NDArray[np.bool_]
    ) -> tuple[str | None, tuple[str, ...]]:
        """The best former champion, if it is better than the version, and the warning about it."""
        for best in self.registry.best_promoted():
            if best in (version, champion):
                break
            try:
                rows = unseen & self._unseen_rows(best)
                if not is_comparable(int(rows.sum()), len(self.rows)):
                    continue
                best_f1, own_f1 = self._weighted_f1(best, rows), self._weighted_f1(version, rows)
            except JabertError as error:
                return None, (f"the best version ever promoted could not be compared: {error}",)
            if best_f1 <= own_f1:
                break
            return best, (
                f"version {best}, the best ever promoted, has weighted F1 {best_f1:.4f} on {rows.sum():,} "
                f"of these rows, version {version} {own_f1:.4f}",
            )
        return None, ()

    def _probabilities(self, version: str) -> pd.DataFrame:
        """Probabilities of a version for all test rows, `(rows, labels)`; computed once."""
        if version not in self._known_probabilities:
            probabilities = classify(self.registry.load(version), self.rows)
            self._known_probabilities[version] = probabilities.set_index(self.rows.index)
        return self._known_probabilities[version]

    def _weighted_f1(self, version: str, chosen: npt.NDArray[np.bool_]) -> float:
        if not chosen.any():
            return 0.0
        predicted, true = self._probabilities(version)[chosen].idxmax(axis=1), self.rows.loc[chosen, "label"]
        labels = pd.Index(sorted({*predicted, *true}))
        return weighted_f1(labels.get_indexer(true), labels.get_indexer(predicted), len(labels))

    def _unseen_rows(self, *versions: str) -> npt.NDArray[np.bool_]:
        """Mark the test rows that none of the versions was trained on: `(rows,)`."""
        seen = [seen_rows(self.registry.training_digests(version), self.rows) for version in versions]
        unseen: npt.NDArray[np.bool_] = ~np.logical_or.reduce(seen)
        return unseen

    def _smoke_failure(self, version: str) -> str | None:
        """What is wrong with a version by its smoke check, None if nothing is; checked once."""
        if version not in self._known_failures:
            canary = self.rows[["text"]].iloc[:_CANARY_ROWS]
            expected = classify(self.registry.load(version), canary)
            uri, store, texts = self.registry.uri(version), self.registry.store, canary["text"].tolist()
            files = anchor_of(self.registry.client, uri)
            self._known_failures[version] = self.smoke_check(uri, store, texts, expected, files)
        return self._known_failures[version]


def _lost_labels_reason(lost: list[str], champion: str) -> str:
    noun = "label" if len(lost) == 1 else "labels"
    named = ", ".join(map(repr, lost[:_NAMED_LABELS])) + (" and others" if lost[_NAMED_LABELS:] else "")
    return (
        f"it does not know the {noun} {named} of champion {champion}, which clients rely on: change "
        "tracking.model_name with the labels, or promote it by force"
    )


def _apply_rules(comparison: Comparison, champion: str, rules: PromotionSettings) -> tuple[Outcome, str]:
    """Promote only a strictly better version; the rules can only ask for more."""
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
