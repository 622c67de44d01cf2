"""Baselines: simple methods on the same rows as a model, and what is said of a model that is not better."""

import numpy as np
import pandas as pd
import pytest
import toy
import toy_method

from jabert.evaluation import (
    Baseline,
    advice,
    baseline_metrics,
    baselines_of,
    compare,
    evaluate,
    measure_baseline,
    measure_chance,
)
from jabert.evaluation import weighted_f1 as f1_of
from jabert.experiments import retraining, steps
from jabert.experiments.steps import Evaluated
from jabert.report.pages import evaluation_page


def one_hot(predicted):
    return np.eye(4)[predicted]


@pytest.fixture
def answers():
    """Rows in groups, and the answers of a baseline and of a better model."""
    random = np.random.default_rng(0)
    true = random.integers(0, 4, 200)
    rows = pd.DataFrame(
        {
            "text": "文",
            "label": [toy.LABELS[each] for each in true],
            "group": [f"g{i // 5}" for i in range(200)],
        }
    )
    some, more = (np.where(random.random(200) < share, true, 0) for share in (0.3, 0.8))
    return rows, one_hot(some), one_hot(more)


def test_a_baseline_and_its_gain_are_those_of_a_paired_comparison(answers):
    rows, before, after = answers
    found = measure_baseline("tfidf", rows, toy.LABELS, before, after, seed=3)
    tables = (pd.DataFrame(of, columns=toy.LABELS) for of in (before, after))
    expected = compare(rows, *tables, seed=3)
    assert found.weighted_f1 == expected.champion.weighted_f1
    assert found.gain == pytest.approx(expected.gain)
    assert (found.gain_low, found.gain_high) == expected.gain_interval


def test_only_a_model_that_is_not_surely_better_than_tfidf_is_told_so(answers):
    rows, before, after = answers
    better, worse, equal = (
        measure_baseline("tfidf", rows, toy.LABELS, *pair)
        for pair in ((before, after), (after, before), (after, after))
    )
    majority = Baseline("majority", 0.3, -0.1, -0.2, 0.0)
    assert advice([better, majority], 0.9) is None
    assert advice([majority], 0.9) is None, "a run of tfidf itself has no other to be held against"
    for found in (worse, equal):
        sentence = advice([found], 0.5)
        assert sentence.startswith(
            "the model is not better than tfidf beyond chance (weighted F1 0.5000 against"
        )
        assert "method.kind=tfidf" in sentence


def test_they_stand_in_metrics_and_are_read_from_them():
    found = [Baseline("tfidf", 0.7, 0.1, 0.05, 0.15), Baseline("majority", 0.3, 0.5, 0.4, 0.6)]
    metrics = baseline_metrics(found)
    assert metrics["baseline/tfidf_weighted_f1"] == 0.7 and metrics["baseline/majority_gain_low"] == 0.4
    assert baselines_of({**metrics, "test/weighted_f1": 0.8}, ["tfidf", "majority"]) == found
    assert baselines_of({"test/weighted_f1": 0.8}, ["tfidf", "majority"]) == [], "an earlier release had none"


def test_the_report_shows_them_beside_the_model(answers):
    rows, before, after = answers
    report = evaluate(rows, after, toy.LABELS, resamples=10)
    found = measure_baseline("tfidf", rows, toy.LABELS, before, after)
    page = evaluation_page(report, [found])
    assert f"| this model | {report.weighted_f1:.3f} |" in page
    assert f"| tfidf | {found.weighted_f1:.3f} | {found.gain:.3f} |" in page
    assert "beyond chance" not in page
    same = measure_baseline("tfidf", rows, toy.LABELS, after, after)
    assert "**The model is not better than tfidf beyond chance" in evaluation_page(report, [same])
    assert "tfidf" not in evaluation_page(report)


@pytest.fixture
def evaluated(toy_table):
    """What a perfect model made of the test rows, as a function of settings."""

    def make(settings):
        data = steps.read(settings)
        rows = data.table[data.table["split"] == "test"]
        probabilities = one_hot([data.labels.index(label) for label in rows["label"]])
        wrong = np.roll(probabilities, 1, axis=1)  # before the neighbours of a text put it right
        report = evaluate(rows, probabilities, data.labels)
        return data, Evaluated("test", rows, wrong, probabilities, report)

    return make


def test_they_learn_from_the_same_rows_as_a_run_of_their_own(monkeypatch, toy_table, evaluated):
    toy_method.install(monkeypatch)
    settings = toy_method.settings_of(toy_table)
    data, of_model = evaluated(settings)
    tfidf, majority = retraining.measure_baselines(settings, data, of_model)
    assert (tfidf.kind, majority.kind) == ("tfidf", "majority")
    table = data.table
    learned, test = (
        table.loc[chosen, "label"] for chosen in (table["split"].ne("test"), table["split"].eq("test"))
    )
    true, most = pd.Categorical(test, toy.LABELS).codes, toy.LABELS.index(learned.value_counts().idxmax())
    assert majority.weighted_f1 == f1_of(true, np.full(len(true), most), 4)
    assert 1 == tfidf.weighted_f1 + tfidf.gain == pytest.approx(majority.weighted_f1 + majority.gain)

    def refuse(*_):
        raise AssertionError("it was fitted before")

    monkeypatch.setattr("jabert.methods.tfidf.Tfidf.fit", refuse)
    own = toy_method.settings_of(toy_table, "method.kind=tfidf")
    fit = steps.fit(own, data, None, "test", on_epoch=lambda _: None)
    assert fit.learned_from == ["train", "validation"]


@pytest.mark.parametrize(
    ("overrides", "kinds"),
    [
        (["method.kind=tfidf", "method.longest=2"], ["majority"]),
        (["method.kind=majority"], ["tfidf"]),
        (["experiment.baselines=false"], []),
    ],
)
def test_which_there_are(monkeypatch, toy_table, evaluated, overrides, kinds):
    toy_method.install(monkeypatch)
    settings = toy_method.settings_of(toy_table, *overrides)
    found = retraining.measure_baselines(settings, *evaluated(settings))
    assert [each.kind for each in found] == kinds


def test_the_setting_changes_no_key(toy_table):
    from jabert.experiments.keys import attempt_key

    plain, without = (
        toy_method.settings_of(toy_table, "method.kind=tfidf", *more)
        for more in ([], ["experiment.baselines=false"])
    )
    assert attempt_key(plain, "1" * 64, None) == attempt_key(without, "1" * 64, None)


def test_chance_is_always_the_largest_class_and_guessing_by_shares(answers):
    rows, _, model = answers
    shares = {"グルメ": 0.4, "スポーツ": 0.3, "京都": 0.2, "携帯電話": 0.1}
    largest, guessing = measure_chance(rows, toy.LABELS, shares, model)
    always = one_hot(np.zeros(200, dtype=int))
    expected = measure_baseline("", rows, toy.LABELS, always, model)
    assert "'グルメ'" in largest.kind
    assert largest.to_dict() == pytest.approx(expected.to_dict())
    random = np.random.default_rng(1)
    draws = [random.choice(4, 200, p=list(shares.values())) for _ in range(300)]
    true = pd.Index(toy.LABELS).get_indexer(pd.Index(rows["label"]))
    assert guessing.weighted_f1 == pytest.approx(np.mean([f1_of(true, each, 4) for each in draws]), abs=0.01)
    assert 0 < guessing.gain_low < guessing.gain < guessing.gain_high
