"""The gate and the aliases, on ready-made versions of known quality in a real store."""

import json
import os
import re
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repo import ArtifactRepository
from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository
from toy_classifier import LABELS
from toy_registry import ROWS, gate, log_model, new_version, toy_registry

from jabert.config import PromotionSettings, load_settings
from jabert.errors import JabertError
from jabert.registry import Gate, classify
from jabert.registry.leaks import (
    TrainingDigests,
    is_comparable,
    read_training_digests,
    seen_rows,
    write_training_digests,
)
from jabert.registry.smoke import smoke_check
from jabert.report.pages import comparison_page
from jabert.tracking import connect


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A store, and logged models by how many rows they are right about."""
    root = tmp_path_factory.mktemp("registry")
    store = f"tracking.uri=sqlite:///{root}/mlflow.db"
    registry = toy_registry("models", store)
    uris = {right: log_model(registry, root / str(right), right) for right in (50, 60, 70, 80, 90)}
    return root, store, uris


@pytest.fixture
def registry(models, request):
    """A registered model of this test alone."""
    return toy_registry(re.sub(r"\W+", "-", request.node.name), models[1])


@pytest.fixture
def version(models, registry):
    """A new version that is right about so many rows."""
    return lambda right: new_version(registry, models[2][right])


def aliases(registry):
    return {name: version["version"] for version in registry.listing() for name in version["aliases"]}


def tags(registry, version):
    return registry.get(version).tags


def check_chain(registry):
    """The history has no gap and no branch."""
    moves = registry.history()
    assert [move.number for move in moves] == list(range(1, len(moves) + 1))
    assert [move.over for move in moves] == [None, *(move.version for move in moves[:-1])]
    assert moves[-1].version == registry.champion()


def test_the_first_version_becomes_champion(registry, version):
    verdict = gate(registry).judge(version(60))

    assert verdict.outcome == "promoted"
    assert verdict.reason == f"there was no champion; weighted F1 {verdict.weighted_f1:.4f}"
    assert aliases(registry) == {"champion": "1"}
    check_chain(registry)


def test_an_artifact_is_missing_only_where_the_store_says_so(registry, version, monkeypatch):
    made = version(60)
    run_id = registry.client.create_run("0").info.run_id
    registry.tag(made, {"judged_in": run_id})
    registry.client.log_text(run_id, "京都", "report/report.md")
    assert registry.artifact(made, "report/report.md").decode() == "京都"
    assert registry.artifact(made, "report/card.md") is None
    assert registry.artifact(made, "config.toml") is None

    def away(*_):
        raise OSError("the server is away")

    monkeypatch.setattr(registry.client, "download_artifacts", away)
    with pytest.raises(OSError, match="the server is away"):
        registry.artifact(made, "report/report.md")


def test_only_a_strictly_better_version_is_promoted(registry, version):
    outcomes = [gate(registry).judge(version(right)) for right in (60, 80, 70, 80, 90)]

    assert [of.outcome for of in outcomes] == ["promoted", "promoted", "kept", "kept", "promoted"]
    assert "not better" in outcomes[2].reason
    assert "tie" in outcomes[3].reason
    assert aliases(registry) == {"champion": "5", "previous": "2"}
    assert tags(registry, "3")["promotion"] == "kept"
    assert tags(registry, "5")["promoted_over"] == "2"
    assert float(tags(registry, "5")["gain"]) == pytest.approx(0.1, abs=0.01)
    assert [line["promotion"] for line in registry.listing()] == [
        "promoted",
        "kept",
        "kept",
        "promoted",
        "promoted",
    ]
    check_chain(registry)


def test_a_verdict_holds_the_whole_comparison(registry, version):
    gate(registry).judge(version(60))
    seen = []
    gate(registry, record=seen.append).judge(version(80))

    (verdict,) = seen
    comparison = verdict.comparison
    assert comparison.champion.weighted_f1 == verdict.champion_weighted_f1
    assert comparison.gain == pytest.approx(0.2, abs=0.01)
    low, high = comparison.gain_interval
    assert 0 < low < comparison.gain < high
    assert [flip.became for flip in comparison.flips] == ["right"] * 20
    assert "060 京都" in comparison.flips_csv()
    assert np.sum(comparison.to_dict()["champion"]["confusion"]) == 100
    assert "Became right: 20" in comparison_page(comparison)


@pytest.mark.parametrize(
    ("rules", "right", "expected"),
    [
        ({"min_gain": 0.15}, 70, "kept: better by less than promotion.min_gain 0.15"),
        ({"min_gain": 0.15}, 80, "promoted: better: "),
        ({"require_significance": True}, 70, "kept: better, but not surely (95 % interval +0.0000 to"),
        ({"require_significance": True}, 90, "promoted: better: "),
    ],
)
def test_rules_can_ask_for_more(registry, version, rules, right, expected):
    gate(registry).judge(version(60))
    verdict = gate(registry, **rules).judge(version(right))

    assert f"{verdict.outcome}: {verdict.reason}".startswith(expected)


def test_a_gain_on_a_single_article_is_not_sure(registry, version):
    rows = ROWS.assign(group="the only one")
    gate(registry, rows).judge(version(60))
    verdict = gate(registry, rows, require_significance=True).judge(version(90))

    assert verdict.outcome == "kept"
    assert "not surely" in verdict.reason


def test_a_version_below_the_best_ever_promoted_is_warned_of(registry, version):
    for right in (60, 90):
        gate(registry).judge(version(right))
    registry.rollback()
    verdict = gate(registry).judge(version(70))

    assert verdict.outcome == "promoted"
    assert verdict.below_best == "2"
    assert "version 2, the best ever promoted, has weighted F1 0.9" in verdict.warnings[0]
    assert tags(registry, "3")["below_best"] == "2"


def test_rows_that_a_champion_learned_from_are_left_out(models, registry, version):
    root, _, _ = models
    table = ROWS.assign(split=["train" if number < 30 else "test" for number in range(100)])
    learned = read_training_digests(write_training_digests(table, "sentence", root / "sentence.json"))
    uri = log_model(registry, root / "leaky", 80, {"rows": sorted(learned.rows), "groups": []})
    gate(registry).judge(version(50))
    first = gate(registry).judge(new_version(registry, uri))
    second = gate(registry).judge(version(90))

    assert first.compared_rows == 70
    assert "30 test rows were left out" in first.warnings[0]
    assert second.outcome == "promoted"
    assert second.compared_rows == 70
    assert second.champion_weighted_f1 == pytest.approx(50 / 70, abs=0.01)


def test_too_few_unseen_rows_are_refused_unless_forced(models, registry, version):
    root, _, _ = models
    table = ROWS.assign(split=["train" if number < 60 else "test" for number in range(100)])
    learned = read_training_digests(write_training_digests(table, "group", root / "group.json"))
    uri = log_model(registry, root / "too-leaky", 80, {"rows": [], "groups": sorted(learned.groups)})
    champion = new_version(registry, uri)
    assert gate(registry).judge(champion).outcome == "refused", "it learned from the test rows itself"
    assert gate(registry).judge(champion, force=True).outcome == "promoted"
    challenger = version(90)
    verdict = gate(registry).judge(challenger)

    assert verdict.outcome == "refused"
    assert "of 100 test rows only 40 are new to both versions" in verdict.reason
    assert tags(registry, challenger)["promotion"] == "refused"
    assert registry.champion() == champion
    forced = gate(registry).judge(challenger, force=True)
    assert forced.outcome == "promoted"
    assert forced.reason.startswith("forced; by the rules it was refused: of 100 test rows")
    check_chain(registry)


def test_seen_rows_are_known_by_text_or_by_group(tmp_path):
    table = ROWS.assign(split=["train"] * 10 + ["validation"] * 5 + ["test"] * 85)
    by_text = read_training_digests(write_training_digests(table, "sentence", tmp_path / "a.json"))
    by_group = read_training_digests(write_training_digests(table, "group", tmp_path / "b.json"))
    new_texts = ROWS.assign(text=[f"new {number}" for number in range(100)])

    assert seen_rows(by_text, ROWS).sum() == 15
    assert seen_rows(by_text, new_texts).sum() == 0
    assert seen_rows(by_group, new_texts).sum() == 15
    assert seen_rows(None, ROWS).sum() == 0
    assert [is_comparable(*of) for of in ((0, 0), (1, 2), (1, 3), (200, 10_000), (199, 10_000))] == [
        False,
        True,
        False,
        True,
        False,
    ]


def test_a_version_that_fails_its_smoke_check_is_refused_even_by_force(registry, version):
    gate(registry).judge(version(60))
    failing = gate(registry, smoke_check=lambda *_: "in a fresh process it fails: no such file")
    verdict = failing.judge(version(90), force=True)

    assert verdict.outcome == "refused"
    assert verdict.reason == "the smoke check failed: in a fresh process it fails: no such file"
    assert tags(registry, "2")["promotion"] == "refused"
    assert registry.champion() == "1"


def test_a_store_that_cannot_be_asked_is_no_version_that_learned_from_nothing(version, registry, monkeypatch):
    new = version(60)
    assert registry.training_digests(new) is None

    def away(*_, **__):
        raise MlflowException("API request failed")

    monkeypatch.setattr(LocalArtifactRepository, "list_artifacts", away)
    with pytest.raises(MlflowException, match="API request failed"):
        registry.training_digests(new)


def test_what_is_fetched_from_a_server_is_gone_when_it_is_loaded(models, registry, monkeypatch, tmp_path):
    root, _, _ = models
    uri = log_model(registry, root / "fetched", 60, {"rows": [], "groups": []})
    new = new_version(registry, uri)
    here = LocalArtifactRepository.download_artifacts

    def fetch(repository, artifact_path, dst_path=None):
        """As from another machine, what belongs to the store; all else is used where it lies."""
        is_far = Path(repository.artifact_dir).is_relative_to(root)
        return (ArtifactRepository.download_artifacts if is_far else here)(
            repository, artifact_path, dst_path
        )

    monkeypatch.setattr(LocalArtifactRepository, "download_artifacts", fetch)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    assert registry.training_digests(new) == TrainingDigests(frozenset(), frozenset())
    assert len(classify(registry.load(new), ROWS)) == len(ROWS)

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("about", "trouble"),
    [
        ({}, None),
        ({"only_process": True}, "it fails: RuntimeError: this model works nowhere else"),
        ({"true_process": True}, "its probabilities differ by 1.0e-03"),
    ],
)
def test_the_smoke_check_asks_a_fresh_process(models, registry, about, trouble):
    root, _, _ = models
    here = {name: os.getpid() for name in about}
    uri = log_model(registry, root / f"smoke-{len(here)}-{trouble}", 80, **here)
    verdict = gate(registry, smoke_check=smoke_check).judge(new_version(registry, uri))

    assert verdict.outcome == ("refused" if trouble else "promoted")
    assert trouble is None or trouble in verdict.reason


def test_a_decision_is_made_again_when_the_champion_has_changed(registry, version):
    gate(registry).judge(version(60))
    quicker, slower = version(90), version(80)
    seen = []

    def meanwhile(verdict):
        seen.append((verdict.champion, verdict.outcome))
        if len(seen) == 1:
            gate(registry).judge(quicker)

    verdict = gate(registry, record=meanwhile).judge(slower)

    assert seen == [("1", "promoted"), (quicker, "kept")]
    assert verdict.outcome == "kept"
    assert aliases(registry) == {"champion": quicker, "previous": "1"}
    check_chain(registry)


def test_a_rollback_goes_back_along_the_chain_and_no_further(registry, version):
    for right in (60, 70, 80):
        gate(registry).judge(version(right))

    assert registry.rollback().version == "2"
    assert aliases(registry) == {"champion": "2", "previous": "1"}
    assert tags(registry, "3")["promotion"] == "rolled back"
    assert registry.rollback().version == "1"
    assert aliases(registry) == {"champion": "1"}
    with pytest.raises(JabertError, match="nothing to go back to: version 1"):
        registry.rollback()
    gate(registry).judge(version(90))
    assert aliases(registry) == {"champion": "4", "previous": "1"}
    check_chain(registry)


def test_a_rollback_needs_a_champion(registry):
    with pytest.raises(JabertError, match="no champion"):
        registry.rollback()


def test_an_alias_set_by_hand_is_taken_as_it_is_and_noted(registry, version):
    for right in (60, 70, 80):
        gate(registry).judge(version(right))
    registry.client.set_registered_model_alias(registry.name, "champion", "1")
    verdict = gate(registry).judge(version(70))

    assert verdict.champion == "1"
    assert verdict.outcome == "promoted"
    assert [move.action for move in registry.history()][-2:] == ["set by hand", "promoted"]
    check_chain(registry)


def test_a_deleted_champion_is_no_champion(registry, version):
    for right in (60, 70):
        gate(registry).judge(version(right))
    registry.client.delete_model_version(registry.name, "2")

    assert registry.champion() is None
    assert gate(registry).judge(version(50)).outcome == "promoted"
    assert aliases(registry)["champion"] == "3"


def test_a_champion_that_cannot_be_loaded_keeps_its_place_until_somebody_decides(models, registry, version):
    root, _, _ = models
    uri = log_model(registry, root / "elsewhere", 60, only_process=0)
    gate(registry, smoke_check=lambda *_: None)
    broken = new_version(registry, uri)
    registry.client.set_registered_model_alias(registry.name, "champion", broken)
    verdict = gate(registry).judge(version(90))

    assert verdict.outcome == "refused"
    assert "version 1" in verdict.reason and "cannot be loaded" in verdict.reason
    assert gate(registry).judge(verdict.version, force=True).outcome == "promoted"


def test_the_champion_is_not_judged_again(registry, version):
    gate(registry).judge(version(60))
    with pytest.raises(JabertError, match="is the champion already"):
        gate(registry).judge("1")
    assert gate(registry).judge_once("1").outcome == "promoted"


def test_a_version_is_registered_once(models, registry):
    uri = models[2][60]
    assert [registry.register(uri), registry.register(uri)] == ["1", "1"]


def test_models_with_other_labels_are_compared_on_all_of_them(registry, version):
    gate(registry).judge(version(60))
    rows = pd.concat([ROWS, pd.DataFrame({"text": ["200 京都"], "label": ["グルメ"], "group": ["x"]})])
    rows = rows.reset_index(drop=True)
    seen = []
    gate(registry, rows, record=seen.append).judge(version(90))

    assert seen[0].comparison.champion.labels == ("グルメ", "京都", "携帯電話")
    assert seen[0].outcome == "promoted"


def test_a_version_without_a_label_of_the_champion_is_refused_unless_forced(models, registry, version):
    root, _, _ = models
    more = log_model(registry, root / "more", 60, more_labels=["グルメ"])
    gate(registry).judge(version(50))

    assert gate(registry).judge(new_version(registry, more)).outcome == "promoted", "more labels are welcome"
    fewer = version(90)
    verdict = gate(registry).judge(fewer)

    assert (verdict.outcome, verdict.gain > 0) == ("refused", True)
    assert verdict.reason.startswith("it does not know the label 'グルメ' of champion 2")
    assert gate(registry).judge(fewer, force=True).outcome == "promoted"


@pytest.mark.parametrize("lock", ["mysql://db/x", "https://db/x"])
def test_a_lock_is_a_file_or_postgresql(lock):
    with pytest.raises(JabertError, match="neither a path nor the URL of a PostgreSQL database"):
        load_settings(None, [f"promotion.lock={lock}"])


def test_a_lock_that_cannot_be_reached_is_named(models):
    registry = toy_registry("locked", models[1], "promotion.lock=postgresql://me:secret@127.0.0.1:1/x")
    with pytest.raises(
        JabertError, match=r"promotion\.lock postgresql://127\.0\.0\.1:1/x: the data"
    ) as error:
        registry.recover()
    assert "secret" not in str(error.value)


@pytest.mark.timeout(60)
def test_a_lock_that_does_not_answer_is_not_waited_for_for_ever(models, monkeypatch):
    monkeypatch.setenv("PGCONNECT_TIMEOUT", "2")  # seconds, in place of jabert's 10
    with socket.create_server(("127.0.0.1", 0)) as silent:
        lock = f"promotion.lock=postgresql://me@127.0.0.1:{silent.getsockname()[1]}/x"
        with pytest.raises(JabertError, match="the database cannot be reached"):
            toy_registry("locked", models[1], lock).recover()
    monkeypatch.delenv("PGCONNECT_TIMEOUT")
    connect(load_settings().tracking)
    assert int(os.environ["PGCONNECT_TIMEOUT"]) <= 10


@pytest.mark.parametrize(
    ("right", "outcome", "every"),
    [
        (90, "promoted", 9),
        pytest.param(90, "promoted", 1, marks=pytest.mark.slow),
        pytest.param(50, "kept", 1, marks=pytest.mark.slow),
    ],
)
def test_a_kill_at_any_call_leaves_one_outcome_after_a_rerun(models, right, outcome, every):
    root, store, uris = models
    script = Path(__file__).parents[1] / "kills.py"
    environment = {**os.environ, "MLFLOW_TRACKING_URI": store.partition("=")[2]}
    command = [sys.executable, str(script), uris[60], uris[right], f"{outcome}-{every}", str(every)]
    done = subprocess.run(
        command, env=environment, cwd=root, capture_output=True, text=True, check=False, timeout=500
    )
    lines = [json.loads(line) for line in done.stdout.splitlines()]

    assert done.returncode == 0, done.stderr
    assert len(lines) >= 20 // every
    before, after = {"champion": "1"}, {"champion": "2", "previous": "1"}
    on_the_way = [before, {"champion": "1", "previous": "1"}, after]
    for line in lines:
        assert line["right_after"]["aliases"] in (on_the_way if right > 60 else [before]), line
        assert line["outcome"] == outcome, line
        history = [[1, "1", None], [2, "2", "1"]] if right > 60 else [[1, "1", None]]
        assert line["after_a_rerun"] == {"aliases": after if right > 60 else before, "history": history}, line


# The first champion


def floor_verdict(registry, version, right, **rules):
    """The verdict on a model that is right about so many of 100 rows, 50 of each class."""
    return gate(registry, **{"floor": "chance", **rules}).judge(version(right))


def test_a_first_version_that_chance_could_be_is_kept_with_the_remedy(registry, version):
    verdict = floor_verdict(registry, version, 50)
    assert (verdict.outcome, registry.champion()) == ("kept", None)
    assert verdict.reason.startswith("there is no champion, and it is not surely better than")
    assert "95 % interval of the gain" in verdict.reason
    assert "promotion.floor = 0" in verdict.reason


def test_a_first_version_that_beats_chance_is_promoted(registry, version):
    assert floor_verdict(registry, version, 90).promoted


def test_the_floor_is_for_the_first_champion_only(registry, version):
    assert floor_verdict(registry, version, 50, floor=0).promoted
    assert floor_verdict(registry, version, 60).promoted


def test_a_number_is_the_weighted_f1_that_a_first_champion_needs(registry, version):
    verdict = floor_verdict(registry, version, 70, floor=0.8)
    assert verdict.outcome == "kept"
    assert "is below promotion.floor 0.8" in verdict.reason
    assert floor_verdict(registry, version, 90, floor=0.8).promoted


def test_always_the_largest_class_is_no_champion_by_its_shares_in_training(registry, version):
    """Test rows have other shares than training rows; what counts is what was to be learned."""
    judged = Gate(
        registry,
        ROWS,
        PromotionSettings(),
        record=lambda verdict: None,
        shares={LABELS[0]: 0.95, LABELS[1]: 0.05},
        smoke_check=lambda *_: None,
    ).judge(version(50))
    assert judged.outcome == "kept"
    assert f"always the largest class, {LABELS[0]!r}" in judged.reason
