"""The gate's rules without a store: what it compares, what it decides, and what it writes in which order."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from jabert.config import PromotionSettings
from jabert.dataset import row_digests
from jabert.errors import JabertError
from jabert.registry import gate as module
from jabert.registry.gate import Gate, Verdict
from jabert.registry.leaks import TrainingDigests

LABELS = ["京都", "電話"]
ROWS = pd.DataFrame(
    [
        {"text": f"{number:03}", "label": LABELS[number % 2], "group": f"article-{number // 5}"}
        for number in range(100)
    ],
    index=range(1000, 1100),
)


class Memory:
    """A registry whose versions are numbers of rows that a model is right about, by version."""

    name, store, client = "jabert", "the store", "the client"

    def __init__(self, *right, champion=None, learned=None, labels=None):
        self.right = {str(number): count for number, count in enumerate(right, 1)}
        self.now, self.learned, self.labels = champion, learned or {}, labels or {}
        self.best, self.steps, self.races, self.tags_of = [], [], [], {}

    def recover(self):
        self.steps.append("recover")

    def champion(self):
        return self.now

    def uri(self, version):
        return f"models:/jabert/{version}"

    def get(self, version):
        return SimpleNamespace(tags=self.tags_of.get(version, {}))

    def load(self, version):
        if self.right[version] is None:
            raise JabertError(f"version {version} cannot be loaded")
        return version

    def training_digests(self, version):
        return self.learned.get(version)

    def best_promoted(self):
        return self.best

    def tag(self, version, tags):
        self.steps.append(("tag", version, tags))

    def apply_verdict(self, version, champion, outcome, reason):
        self.steps.append(("apply", version, champion, outcome, reason))
        if self.races:
            self.now = self.races.pop()
            return False
        if outcome == "promoted":
            self.now = version
        return True


@pytest.fixture
def judge(monkeypatch):
    """Judge a version of a memory by rules."""
    monkeypatch.setattr(module, "anchor_of", lambda client, uri: {client: uri})

    def judge(
        memory,
        version,
        *,
        rows=ROWS,
        once=False,
        force=None,
        smoke=lambda *_: None,
        seed=0,
        judged_before=None,
        **rules,
    ):
        def classify(model, given):
            labels = memory.labels.get(model, LABELS)
            numbers = given["text"].astype(int).to_numpy()
            places = np.where(numbers < memory.right[model], numbers % 2, 1 - numbers % 2)
            return pd.DataFrame(np.eye(len(labels))[places], columns=labels)

        monkeypatch.setattr(module, "classify", classify)
        shares = rules.pop("shares", None)
        gate = Gate(
            memory,
            rows,
            PromotionSettings(**{"floor": 0, **rules}),
            record=lambda verdict: memory.steps.append(("record", verdict)),
            shares=shares,
            seed=seed,
            judged_before=judged_before,
            smoke_check=smoke,
        )
        if once:
            return gate.judge_once(version)
        return gate.judge(version) if force is None else gate.judge(version, force=force)

    return judge


def learned(count):
    return TrainingDigests(frozenset(row_digests(ROWS["text"][:count])), frozenset())


def test_a_verdict_is_recorded_then_noted_then_put_into_effect(judge):
    memory = Memory(60, 80, champion="1")
    verdict = judge(memory, "2")
    recover, record, tag, apply = memory.steps
    assert (recover, record) == ("recover", ("record", verdict))
    assert tag == ("tag", "2", verdict.tags())
    assert apply == ("apply", "2", "1", "promoted", verdict.reason)
    assert (memory.now, verdict.promoted, verdict.champion, verdict.compared_rows) == ("2", True, "1", 100)
    assert verdict.gain == pytest.approx(verdict.weighted_f1 - verdict.champion_weighted_f1)
    assert verdict.gain_low < verdict.gain < verdict.gain_high
    assert verdict.comparison.gain == verdict.gain
    assert (verdict.became_right, verdict.became_wrong, verdict.warnings) == (20, 0, ())
    expected = (
        f"weighted F1 {verdict.weighted_f1:.4f} against {verdict.champion_weighted_f1:.4f} of champion 1"
    )
    assert verdict.reason == f"better: {expected} on the same rows"


@pytest.mark.parametrize(
    ("right", "outcome", "beginning"),
    [(70, "kept", "a tie keeps the champion: "), (69, "kept", "not better: "), (71, "promoted", "better: ")],
)
def test_only_a_strictly_better_version_is_promoted(judge, right, outcome, beginning):
    verdict = judge(Memory(70, right, champion="1"), "2")
    assert verdict.outcome == outcome
    assert verdict.reason.startswith(beginning + "weighted F1 ")


def test_the_interval_is_that_of_the_seed(judge):
    one, same, other = (judge(Memory(60, 80, champion="1"), "2", seed=seed) for seed in (1, 1, 2))
    assert (
        (one.gain_low, one.gain_high) == (same.gain_low, same.gain_high) != (other.gain_low, other.gain_high)
    )


def test_how_many_were_judged_before_stands_in_each_verdict(judge):
    first, later = (
        judge(Memory(70), "1", judged_before=3),
        judge(Memory(60, 70, champion="1"), "2", judged_before=4),
    )
    assert (first.judged_before, later.judged_before) == (3, 4)


def test_what_became_wrong_counts_too(judge):
    verdict = judge(Memory(70, 60, champion="1"), "2")
    assert (verdict.became_right, verdict.became_wrong) == (0, 10)


def test_a_gain_of_just_what_is_asked_for_is_enough(judge):
    gain = judge(Memory(60, 70, champion="1"), "2").gain
    assert judge(Memory(60, 70, champion="1"), "2", min_gain=gain).outcome == "promoted"
    kept = judge(Memory(60, 70, champion="1"), "2", min_gain=np.nextafter(gain, 1))
    assert kept.outcome == "kept"
    assert kept.reason.startswith("better by less than promotion.min_gain 0.")


def test_a_gain_that_is_not_sure_is_not_enough_where_that_is_asked(judge):
    assert judge(Memory(60, 90, champion="1"), "2", require_significance=True).promoted
    kept = judge(Memory(60, 61, champion="1"), "2", require_significance=True)
    assert kept.outcome == "kept"
    assert kept.reason.startswith("better, but not surely (95 % interval +0.0")


def test_the_first_champion_needs_just_the_floor(judge):
    f1 = judge(Memory(70), "1", floor=0.999).weighted_f1
    assert judge(Memory(70), "1", floor=f1).reason == f"there was no champion; weighted F1 {f1:.4f}"
    kept = judge(Memory(70), "1", floor=np.nextafter(f1, 1))
    assert kept.outcome == "kept"
    assert kept.reason.startswith(f"weighted F1 {f1:.4f} is below promotion.floor 0.")
    assert kept.reason.endswith("promotion.floor = 0 asks nothing of a first champion")


def test_the_first_champion_is_surely_better_than_chance(judge):
    assert judge(Memory(90), "1", floor="chance").promoted
    kept = judge(Memory(52), "1", floor="chance")
    assert kept.outcome == "kept"
    assert "it is not surely better than " in kept.reason
    assert judge(Memory(90), "1", floor="chance", rows=ROWS.assign(group="one")).outcome == "kept"
    assert judge(Memory(90), "1", floor="chance", shares={"京都": 0.9, "電話": 0.1}).promoted


@pytest.fixture
def chance(monkeypatch):
    """What the first champion is compared with: calls, and the lower end of the gain's interval."""
    chance = SimpleNamespace(calls=[], gain_low=0.1)

    def measure(*given, **options):
        chance.calls.append((*given, options))
        return [SimpleNamespace(kind="a guess", weighted_f1=0.3, gain_low=chance.gain_low, gain_high=0.2)]

    monkeypatch.setattr(module, "measure_chance", measure)
    return chance


@pytest.mark.parametrize(("low", "outcome"), [(1e-9, "promoted"), (0.0, "kept"), (float("nan"), "kept")])
def test_better_than_chance_is_above_it_with_the_whole_interval(judge, chance, low, outcome):
    chance.gain_low = low
    verdict = judge(Memory(70), "1", floor="chance")
    assert verdict.outcome == outcome
    if outcome == "kept":
        assert "than a guess (weighted F1 0.7" in verdict.reason
        assert f"against 0.3000 on 100 test rows, 95 % interval of the gain {low:+.4f} to +0.2000)" in (
            verdict.reason
        )


@pytest.mark.parametrize(("groups", "outcome"), [(1, "kept"), (2, "promoted")])
def test_better_than_chance_takes_two_groups(judge, chance, groups, outcome):
    rows = ROWS.assign(group=[str(number % groups) for number in range(100)])
    assert judge(Memory(70), "1", floor="chance", rows=rows).outcome == outcome


def test_chance_knows_all_labels_and_the_shares_of_the_new_rows(judge, chance):
    shares = {"other": 0.5, "京都": 0.5}
    judge(Memory(100, learned={"1": learned(10)}), "1", floor="chance", shares=shares)
    rows, labels, given, own, options = chance.calls.pop()
    assert (len(rows), labels, given, options) == (90, ["other", *LABELS], shares, {"seed": 0})
    assert own[:2].tolist() == [[0, 1, 0], [0, 0, 1]]
    judge(Memory(100, learned={"1": learned(11)}), "1", floor="chance")
    _, labels, given, _, _ = chance.calls.pop()
    assert labels == LABELS
    assert given == {"京都": pytest.approx(44 / 89), "電話": pytest.approx(45 / 89)}


def test_a_champion_is_not_judged_against_itself(judge):
    with pytest.raises(JabertError, match="version 1 of 'jabert' is the champion already"):
        judge(Memory(60, champion="1"), "1")


def test_force_promotes_and_says_what_the_rules_said(judge):
    memory = Memory(70, 60, champion="1")
    verdict = judge(memory, "2", force=True)
    assert memory.now == "2"
    assert verdict.reason.startswith("forced; by the rules it was kept: not better: ")
    better = judge(Memory(60, 70, champion="1"), "2", force=True)
    assert better.reason.startswith("better: ")


@pytest.mark.parametrize("force", [True, False])
def test_whatever_is_promoted_passes_the_smoke_check(judge, force):
    asked = []

    def smoke(uri, store, texts, expected, files):
        asked.append((uri, store, texts, len(expected), files))
        return "it does not start"

    memory = Memory(60, 70, champion="1")
    verdict = judge(memory, "2", force=force, smoke=smoke)
    assert (verdict.outcome, memory.now) == ("refused", "1")
    assert verdict.reason == "the smoke check failed: it does not start"
    uri = "models:/jabert/2"
    assert asked == [(uri, "the store", ROWS["text"][:32].tolist(), 32, {"the client": uri})]
    judge(Memory(70, 60, champion="1"), "2", smoke=smoke)
    assert len(asked) == 1, "what is not promoted is not tried"


def test_after_another_moved_the_champion_it_is_judged_again_against_that(judge):
    memory, tried = Memory(60, 70, 80, champion="1"), []
    memory.races = ["3"]
    verdict = judge(memory, "2", smoke=lambda *given: tried.append(given))
    assert (verdict.outcome, verdict.champion, memory.now) == ("kept", "3", "3")
    assert [step[2:4] for step in memory.steps if step[0] == "apply"] == [("1", "promoted"), ("3", "kept")]
    memory = Memory(60, 70, 65, champion="1")
    memory.races = ["3"]
    assert judge(memory, "2", smoke=lambda *given: tried.append(given)).promoted
    assert len(tried) == 2, "once a version"


def test_rows_that_either_learned_from_are_left_out(judge):
    memory = Memory(60, 70, champion="1", learned={"1": learned(20), "2": learned(30)})
    verdict = judge(memory, "2")
    assert (verdict.compared_rows, verdict.became_right) == (70, 10)
    assert verdict.warnings == ("30 test rows were left out: a version learned from them",)


@pytest.mark.parametrize(("count", "outcome"), [(50, "promoted"), (51, "refused"), (100, "refused")])
def test_too_few_new_rows_are_no_fair_comparison(judge, count, outcome):
    verdict = judge(Memory(60, 70, champion="1", learned={"1": learned(count)}), "2")
    assert (verdict.outcome, verdict.compared_rows) == (outcome, 100 - count)
    if count == 100:
        assert verdict.weighted_f1 == 0
    if outcome == "refused":
        assert verdict.reason == (
            f"of 100 test rows only {100 - count} are new to both versions; a fair comparison needs more: "
            "change tracking.model_name with the protocol"
        )


def test_a_label_that_the_champion_knows_is_not_lost_silently(judge):
    labels = {"1": [*LABELS, *(f"class {number}" for number in range(6))]}
    verdict = judge(Memory(60, 70, champion="1", labels=labels), "2")
    assert verdict.outcome == "refused"
    names = ", ".join(f"'class {number}'" for number in range(5))
    assert verdict.reason.startswith(f"it does not know the labels {names} and others of champion 1, which")
    one = judge(Memory(60, 70, champion="1", labels={"1": [*LABELS, "x"]}), "2")
    assert one.reason == (
        "it does not know the label 'x' of champion 1, which clients rely on: change "
        "tracking.model_name with the labels, or promote it by force"
    )
    kept = judge(Memory(70, 60, champion="1", labels={"1": [*LABELS, "x"]}), "2")
    assert kept.outcome == "kept"
    assert judge(Memory(60, 70, champion="1", labels={"2": [*LABELS, "x"]}), "2").promoted


def test_a_champion_that_cannot_be_loaded_is_no_reason_to_promote(judge):
    verdict = judge(Memory(None, 70, champion="1"), "2")
    assert verdict.outcome == "refused"
    assert verdict.reason == "version 1 cannot be loaded; or go back: `jabert models rollback`"


def test_the_best_ever_promoted_is_compared_with(judge):
    def warned(best, *right, **more):
        memory = Memory(*right, champion="1", **more)
        memory.best = best
        verdict = judge(memory, "2")
        assert verdict.promoted
        return verdict.below_best, verdict.warnings

    best, (warning,) = warned(["3", "1"], 60, 70, 80)
    assert best == "3"
    assert warning.startswith("version 3, the best ever promoted, has weighted F1 0.8")
    assert " on 100 of these rows, version 2 0.7" in warning
    assert warned(["3", "1"], 60, 70, 70) == (None, ())
    assert warned(["1", "3"], 60, 70, 80) == (None, ())
    assert warned(["2", "3"], 60, 70, 80) == (None, ())
    assert warned(["3", "4"], 60, 70, 80, 90, learned={"3": learned(60)})[0] == "4"
    assert warned(["3", "4"], 60, 70, None, 90) == (
        None,
        ("the best version ever promoted could not be compared: version 3 cannot be loaded",),
    )


def test_a_version_below_the_champion_is_not_told_so_twice(judge):
    memory = Memory(80, 70, champion="1")
    memory.best = ["1"]
    verdict = judge(memory, "2")
    assert (verdict.outcome, verdict.below_best, verdict.warnings) == ("kept", None, ())


def test_a_verdict_is_read_back_from_its_tags(judge):
    memory = Memory(60, 70, 80, champion="1", learned={"1": learned(20)})
    memory.best = ["3"]
    verdict = judge(memory, "2")
    tags = {name: str(value) for name, value in verdict.tags().items()}
    assert not tags.keys() & {"version", "outcome", "reason", "champion"}, "they come when it takes effect"
    assert tags["warnings"].splitlines() == list(verdict.warnings) and len(verdict.warnings) == 2
    tags |= {"promotion": verdict.outcome, "reason": verdict.reason}
    memory.tags_of["2"] = tags
    found = judge(memory, "2", once=True)
    assert found == Verdict(**{**vars(verdict), "comparison": None})
    assert found.facts() == verdict.facts()
    assert verdict.facts()["warnings"] == list(verdict.warnings)
    assert "comparison" not in verdict.facts()
    memory.tags_of["2"] = {**tags, "promotion": "pending"}
    assert judge(Memory(60, 70, champion="1"), "2", once=True).promoted, "there is no verdict yet"


def test_a_first_verdict_is_read_back_without_what_compares():
    tags = {"promotion": "refused", "reason": "why", "weighted_f1": "0.5", "compared_rows": "7"}
    verdict = Verdict.from_tags("9", tags)
    assert (verdict.version, verdict.outcome, verdict.reason) == ("9", "refused", "why")
    assert (verdict.weighted_f1, verdict.compared_rows, verdict.champion, verdict.gain) == (
        0.5,
        7,
        None,
        None,
    )
    assert verdict.warnings == ()
    assert not verdict.promoted
    for outcome in ("promoted", "kept", "refused"):
        assert Verdict.from_tags("9", {**tags, "promotion": outcome}).outcome == outcome
    assert Verdict.from_tags("9", {**tags, "promotion": "withdrawn"}) is None
