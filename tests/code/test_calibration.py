"""Calibration: temperature, calibration error, coverage, and the threshold for a wished precision."""

import numpy as np
import pandas as pd
import pytest
import toy_package
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from jabert.evaluation import Calibration, calibrate, evaluate, scaled
from jabert.evaluation.calibration import answered, coverage, expected_error, reliability
from jabert.evaluation.metrics import log_loss
from jabert.experiments.packaging import open_package
from jabert.report.metrics import evaluation_metrics
from jabert.report.pages import evaluation_page

LABELS = ["グルメ", "京都", "携帯電話"]


def softmax(scores):
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def drawn(rows, sureness, seed=0):
    """True classes that were drawn with some probabilities, and these made `sureness` times as sure."""
    random = np.random.default_rng(seed)
    scores = random.normal(0, 2, (rows, 3))
    true = (softmax(scores).cumsum(axis=1) > random.random((rows, 1))).argmax(axis=1)
    return true, softmax(scores * sureness)


def sure_of(confidences, right):
    """Rows with two classes and these highest probabilities; all true classes are 0."""
    first = np.where(right, confidences, 1 - np.asarray(confidences))
    return np.zeros(len(first), dtype=int), np.stack([first, 1 - first], axis=1)


probabilities = st.integers(2, 5).flatmap(
    lambda classes: st.lists(
        st.lists(st.floats(0.001, 1), min_size=classes, max_size=classes), min_size=1, max_size=30
    ).map(lambda rows: np.array(rows) / np.sum(rows, axis=1, keepdims=True))
)


@given(probabilities, st.floats(0.2, 5))
def test_probabilities_are_scaled_as_their_logarithms_and_keep_their_order(given_ones, temperature):
    found = scaled(given_ones, temperature)
    np.testing.assert_allclose(found, softmax(np.log(given_ones) / temperature), atol=1e-12)
    assert (found.max(axis=1) == found[np.arange(len(found)), given_ones.argmax(axis=1)]).all()


def test_a_temperature_of_1_changes_no_bit_and_a_probability_of_nothing_stays_nothing():
    given_ones = np.array([[0.1, 0.7, 0.2], [0.0, 1.0, 0.0]])
    np.testing.assert_array_equal(scaled(given_ones, 1.0), given_ones)
    np.testing.assert_array_equal(scaled(given_ones, 3.0)[1], given_ones[1])


def test_the_registered_model_scales_as_the_report_does(tmp_path):
    random = np.random.default_rng(1)
    toy_package.write_ngrams(
        tmp_path / "own" / "linear", ["京", "都"], random.normal(0, 3, (2, 3)), np.ones(3)
    )
    more = {"temperature": 1.7}
    model = open_package(toy_package.write_about(tmp_path / "own", LABELS, {"linear": "ngrams"}, **more))
    found = model.classify(["京都", "京", "何もない"])
    np.testing.assert_array_equal(model.calibrate(found), scaled(found, 1.7))


@pytest.mark.parametrize("sureness", [0.5, 1, 2.5])
def test_the_temperature_is_found_that_was_hidden(sureness):
    true, given_ones = drawn(4000, sureness)
    found = calibrate(true, given_ones)
    assert found.temperature == pytest.approx(sureness, rel=0.1)
    assert (found.rows, found.threshold, found.note) == (4000, None, "")
    after = scaled(given_ones, found.temperature)
    assert log_loss(true, after) <= log_loss(true, given_ones)
    assert expected_error(reliability(true, after)) < 0.03


def test_it_stays_within_bounds_and_wants_some_rows():
    always, never = sure_of([0.6] * 40, [True] * 40), sure_of([0.999] * 40, [False] * 40)
    assert calibrate(*always).temperature == pytest.approx(0.2, rel=0.01)
    assert calibrate(*never).temperature == pytest.approx(5, rel=0.01)
    true, given_ones = drawn(19, 3)
    few = calibrate(true, given_ones, 0.5)
    assert few == Calibration(19, note="19 rows are too few to calibrate with; 20 are needed.")
    assert calibrate(true[:0], given_ones[:0]).temperature == 1


def test_the_expected_calibration_error_is_the_mean_distance_of_the_bins():
    true, given_ones = sure_of([0.61, 0.62, 0.95, 0.96, 1.0, 1.0], [True, False, True, True, True, True])
    bins = reliability(true, given_ones)
    assert [each.rows for each in bins] == [2, 4]
    assert [each.accuracy for each in bins] == [0.5, 1]
    assert expected_error(bins) == pytest.approx((2 * (0.615 - 0.5) + 4 * (1 - 0.9775)) / 6)


@given(probabilities)
def test_every_row_is_in_one_bin_and_at_the_end_of_the_curve(given_ones):
    true = np.zeros(len(given_ones), dtype=int)
    right = given_ones.argmax(axis=1) == 0
    bins, curve = reliability(true, given_ones), coverage(true, given_ones)
    assert sum(each.rows for each in bins) == len(true)
    assert sum(each.rows * each.accuracy for each in bins) == pytest.approx(right.sum())
    assert (curve[-1].share, curve[-1].accuracy) == (1, pytest.approx(right.mean()))
    assert [each.share for each in curve] == sorted({each.share for each in curve})
    for each in curve:
        assert answered(true, given_ones, each.threshold) == each


def test_the_threshold_is_the_lowest_that_surely_has_the_wished_precision():
    confidences = np.linspace(0.99, 0.51, 200)
    true, given_ones = sure_of(confidences, np.arange(200) < 100)  # the less sure half is wrong
    found = calibrate(true, given_ones, 0.9)
    answers = scaled(given_ones, found.temperature)
    reached = answered(true, answers, found.threshold)

    def least(rows):
        return binomtest(100, rows).proportion_ci(0.90).low  # two-sided

    rows = round(reached.share * 200)
    assert least(rows) >= 0.9 > least(rows + 1)
    assert reached.accuracy == 100 / rows
    scores = np.sort(answers.max(axis=1))[::-1]
    assert found.threshold == pytest.approx((scores[rows - 1] + scores[rows]) / 2)


def test_a_precision_that_is_out_of_reach_is_told_and_one_that_all_have_withholds_nothing():
    true, given_ones = sure_of([0.9] * 100, np.arange(100) % 10 > 0)
    unreachable, easy = (calibrate(true, given_ones, wish) for wish in (0.9, 0.8))
    assert unreachable.threshold is None
    assert unreachable.note.startswith("No threshold has a precision of surely 0.9 on these 100 rows")
    assert (easy.threshold, easy.note) == (0.0, "")


def test_calibration_changes_probabilities_in_the_report_and_no_label():
    true, given_ones = drawn(300, 3)
    rows = pd.DataFrame({"text": "文", "label": [LABELS[each] for each in true]})
    plain = evaluate(rows, given_ones, LABELS)
    found = evaluate(rows, given_ones, LABELS, calibration=calibrate(true, given_ones, 0.8))
    assert found.calibration.temperature > 2
    for name in ("weighted_f1", "weighted_f1_interval", "accuracy", "confusion", "per_class", "report_data"):
        assert getattr(found, name) == getattr(plain, name)
    assert found.ece < found.ece_uncalibrated == plain.ece == plain.ece_uncalibrated
    assert found.log_loss < plain.log_loss
    assert found.answered.accuracy >= 0.8 and 0 < found.answered.share < 1
    assert plain.answered is None
    measured = evaluation_metrics(found, "test")
    assert measured["test/ece"] == found.ece and measured["test/answered"] == found.answered.share
    assert measured["test/temperature"] == found.calibration.temperature
    assert "test/answered" not in evaluation_metrics(plain, "test")
    page = evaluation_page(found)
    assert f"| temperature | {found.calibration.temperature:.3f} |" in page
    assert f"| share answered | {found.answered.share:.3f} |" in page
    assert "| answered if the probability is at least | every text |" in evaluation_page(plain)
    assert found.to_dict()["calibration"]["threshold"] == found.calibration.threshold
