"""Statistics of a cross-validation: the corrected t test, Holm, ranks, the verdict; and simulations."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from jabert.evaluation import Failure, FoldScore, class_counts, make_leaderboard, weighted_f1
from jabert.evaluation.leaderboard import verdict_on
from jabert.evaluation.resampling import (
    corrected_interval,
    corrected_p_value,
    critical_difference,
    holm,
    mean_ranks,
)

DIFFERENCES = np.array([0.02, 0.05, 0.03, 0.06, 0.04])


def test_without_overlap_it_is_the_plain_t_test():
    assert corrected_p_value(DIFFERENCES, 0) == pytest.approx(stats.ttest_1samp(DIFFERENCES, 0).pvalue)
    low, high = corrected_interval(DIFFERENCES, 0)
    assert (low, high) == pytest.approx(stats.ttest_1samp(DIFFERENCES, 0).confidence_interval())


def test_the_overlap_widens_the_variance_as_nadeau_and_bengio_say():
    variance = (1 / 5 + 1 / 4) * DIFFERENCES.var(ddof=1)
    expected = 2 * stats.t.sf(DIFFERENCES.mean() / np.sqrt(variance), 4)
    assert corrected_p_value(DIFFERENCES, 1 / 4) == pytest.approx(expected)
    assert corrected_p_value(-DIFFERENCES, 1 / 4) == pytest.approx(expected), "two-sided"
    low, high = corrected_interval(DIFFERENCES, 1 / 4)
    assert (high - low) / 2 == pytest.approx(stats.t.ppf(0.975, 4) * np.sqrt(variance))


@pytest.mark.parametrize(("value", "expected"), [(0.0, 1.0), (0.125, 0.0)])
def test_differences_that_do_not_vary(value, expected):
    assert corrected_p_value(np.full(5, value), 1 / 4) == expected


def test_holm_steps_down_and_never_below_the_one_before():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.6, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_ranks_and_their_critical_difference():
    scores = np.array([[0.9, 0.8], [0.9, 0.7], [0.5, 0.9]])
    assert mean_ranks(scores).tolist() == [1.75, 2.25, 2.0]
    assert critical_difference(4, 10) == pytest.approx(
        2.569 * np.sqrt(4 * 5 / 60), abs=1e-3
    )  # Demšar, table 5


def board_of(serve_ms, failures=(), **scores):
    """A leaderboard of made up weighted F1s, five folds; the bootstrap has two units to draw from."""
    folds = {
        name: [
            FoldScore(9, f1, f1, f1, 1.0, serve_ms[name], 100, seed=0, fold=fold)
            for fold, f1 in enumerate(of, 1)
        ]
        for name, of in scores.items()
    }
    counts = dict.fromkeys(scores, np.array([[[1, 1], [2, 2], [2, 2]], [[2, 1], [2, 2], [3, 1]]]))
    return make_leaderboard(folds, counts, failures, folds=5, protocol="made up")


HIGH, LOW = [0.90, 0.91, 0.92, 0.90, 0.91], [0.84, 0.86, 0.87, 0.84, 0.86]
NEAR = [0.91, 0.90, 0.91, 0.90, 0.91]


def test_a_method_that_is_surely_better_is_to_be_used():
    board = board_of({"slow": 4.0, "quick": 2.0}, quick=LOW, slow=HIGH)
    assert [each.method for each in board.standings] == ["slow", "quick"]
    best, other = board.standings
    assert (best.difference_to_best, best.p_value, best.rank) == (0, None, 1)
    assert other.difference_to_best == pytest.approx(np.mean(LOW) - np.mean(HIGH))
    assert other.p_value < 0.05
    low, high = other.difference_interval
    assert board.verdict == (
        f"use slow: +5.4 points over quick (interval {-100 * high:.1f} to {-100 * low:.1f}), "
        "2.0 times as slow to serve"
    )
    assert board.winner == "slow"


def test_among_methods_that_chance_may_have_ordered_the_quickest_is_to_be_used():
    serve = {"slow": 4.0, "quick": 2.0, "bad": 1.0}
    board = board_of(serve, slow=HIGH, quick=NEAR, bad=LOW)
    assert (
        board.verdict == "no method is better than quick beyond chance, 2.0 times as quick to serve as slow"
    )
    assert board.winner == "quick"
    board = board_of({**serve, "slow": 1.5}, slow=HIGH, quick=NEAR, bad=LOW)
    assert board.verdict.startswith("use slow: the highest weighted F1, and the quickest to serve")
    assert board.verdict.endswith("(quick)")


def test_where_the_folds_are_too_few_the_verdict_says_what_would_tell():
    best, other = board_of({"slow": 4.0, "quick": 2.0}, quick=NEAR, slow=HIGH).standings
    behind = replace(other, difference_to_best=-0.097, p_value=0.0503, bootstrap_interval=(-0.12, -0.07))
    assert verdict_on([best, behind], []).endswith(
        f"; but {best.method} is 9.7 points ahead (p = 0.050), and more folds would tell: "
        "leaderboard.seeds = [0, 1, 2]"
    )


def test_what_failed_is_named_and_known_in_part():
    failure = Failure("broken", "seed 0, fold 2: no", ())
    board = board_of({"one": 1.0}, [failure], one=HIGH)
    assert board.verdict == "one is the only method that was measured; broken failed"
    found = board.to_dict()["methods"][-1]
    assert (found["method"], found["error"], found["weighted_f1"]) == ("broken", failure.error, None)
    assert board_of({}, [failure]).verdict == "no method could be measured; broken failed"


SHARES = (0.37, 0.37, 0.13, 0.13)
"""Of the classes, about as in the KNB corpus, which has 4,186 rows in 249 articles."""


def corpus(random, size):
    """Class, article and fold of each row, so many times as many as in the KNB corpus."""
    of_article = np.repeat(np.arange(4), np.round(np.array(SHARES) * 249 * size).astype(int))
    folds = np.concatenate([random.permutation(np.arange((of_article == c).sum()) % 5) for c in range(4)])
    article = np.sort(random.integers(len(of_article), size=4186 * size))
    return of_article[article], article, folds[article]


def simulated(random, gain, seeds, size):
    """A leaderboard of two methods whose true accuracies are 0.75 and `gain` more.

    What is hard is mostly hard for both, and more so in some articles: the errors of two methods correlate by
    0.54, and the difference of two accuracies varies as if only every second row counted, as it does with
    tfidf and mean-pooling on the KNB corpus (0.56, and every second row).
    """
    true, article, folds = corpus(random, size)
    rows, articles = len(true), int(article.max()) + 1

    def hardness(of_articles):
        own, common = random.normal(size=rows), random.normal(size=articles)[article]
        return np.sqrt(of_articles) * common + np.sqrt(1 - of_articles) * own

    shared, own = hardness(0.3), [hardness(0.3), hardness(0.3)]
    scores, counts = {"first": [], "second": []}, {}
    for seed in range(seeds):
        folds = folds if seed == 0 else (random.permutation(articles) % 5)[article]
        for name, accuracy, part in zip(scores, (0.75 + gain, 0.75), own, strict=True):
            luck = 0.3 * random.normal(size=rows)  # of one training
            hard = (np.sqrt(0.85) * shared + np.sqrt(0.15) * part + luck) / np.sqrt(1.09)
            wrong = (true + random.integers(1, 4, size=rows)) % 4
            predicted = np.where(hard < stats.norm.ppf(accuracy), true, wrong)
            for fold in range(5):
                tested = folds == fold
                f1 = weighted_f1(true[tested], predicted[tested], 4)
                scores[name].append(
                    FoldScore(int(tested.sum()), f1, f1, f1, 1.0, 1.0, 1, seed=seed, fold=fold + 1)
                )
            counts[name] = class_counts(true, predicted, 4, article)
    return make_leaderboard(scores, counts, [], folds=5)


def shares(simulations, gain, seeds, size=1):
    """How often one of the two was found better, and how often that was the first."""
    random = np.random.default_rng(0)
    boards = [simulated(random, gain, seeds, size) for _ in range(simulations)]
    found = [board.standings[0].method for board in boards if board.standings[1].is_surely_worse]
    return len(found) / simulations, found.count("first") / simulations


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [1, 5])
def test_of_two_equal_methods_one_is_rarely_found_better(seeds):
    assert shares(200, 0.0, seeds)[0] <= 0.08


@pytest.mark.slow
@pytest.mark.parametrize(("seeds", "size"), [(5, 1), (1, 4)])
def test_three_points_are_found_by_repeated_folds_or_on_four_times_the_rows(seeds, size):
    found, right = shares(100, 0.03, seeds, size)
    assert found == right >= 0.8
