import json
import re
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jabert.errors import JabertError
from jabert.evaluation import EvaluationReport, evaluate, weighted_f1
from jabert.report.metrics import evaluation_metrics
from jabert.report.pages import evaluation_page

LABELS = ("グルメ", "携帯電話", "京都", "スポーツ")


def one_hot(predicted, classes, confidence=0.9):
    """Probabilities whose largest is `confidence` (one, or one for each row) at `predicted`."""
    predicted = np.asarray(predicted)
    confidence = np.broadcast_to(np.asarray(confidence, dtype=float), predicted.shape)
    rest = (1 - confidence) / max(classes - 1, 1)
    probabilities = np.repeat(rest[:, None], classes, axis=1)
    probabilities[np.arange(len(predicted)), predicted] = confidence
    return probabilities


def report_of(true, predicted, *, labels=LABELS, confidence=0.9, resamples=1000, seed=0, **columns):
    columns = {"text": [f"文{i}" for i in range(len(true))], **columns}
    rows = pd.DataFrame({**columns, "label": [labels[i] for i in true]})
    probabilities = one_hot(predicted, len(labels), confidence)
    return evaluate(rows, probabilities, labels, seed=seed, resamples=resamples)


def noisy(rows, seed=0, accuracy=0.7):
    random = np.random.default_rng(seed)
    true = random.integers(0, len(LABELS), rows)
    return true, np.where(random.random(rows) < accuracy, true, random.integers(0, len(LABELS), rows))


indices = st.integers(1, 6).flatmap(
    lambda classes: st.tuples(
        st.just(classes),
        st.lists(st.tuples(*[st.integers(0, classes - 1)] * 2), min_size=1, max_size=40),
    )
)


@settings(max_examples=150, deadline=None)
@given(indices)
def test_weighted_f1_is_that_of_scikit_learn(case):
    from sklearn.metrics import f1_score

    classes, pairs = case
    true, predicted = np.array(pairs).T
    expected = f1_score(true, predicted, labels=range(classes), average="weighted", zero_division=0)
    assert weighted_f1(true, predicted, classes) == pytest.approx(expected, abs=1e-12)


@settings(max_examples=40, deadline=None)
@given(indices)
def test_every_figure_is_that_of_scikit_learn(case):
    from sklearn import metrics

    classes, pairs = case
    true, predicted = np.array(pairs).T
    report = report_of(true, predicted, labels=[f"組{i}" for i in range(classes)], resamples=10)
    known = {"labels": range(classes), "zero_division": 0}
    expected = np.array(metrics.precision_recall_fscore_support(true, predicted, **known)).T
    found = [(s.precision, s.recall, s.f1, s.support) for s in report.per_class]
    np.testing.assert_allclose(found, expected, atol=1e-12)
    assert report.macro_f1 == pytest.approx(metrics.f1_score(true, predicted, average="macro", **known))
    assert report.accuracy == pytest.approx(metrics.accuracy_score(true, predicted))
    counts = np.zeros((classes, classes), dtype=int)
    np.add.at(counts, (true, predicted), 1)
    assert np.array_equal(report.confusion, counts)


def test_a_small_case_by_hand():
    report = report_of([0, 0, 0, 1], [0, 0, 1, 1], labels=["a", "b"], confidence=0.8)
    assert report.confusion == ((2, 1), (0, 1))
    assert report.per_class[0].precision == 1
    assert report.per_class[0].recall == pytest.approx(2 / 3)
    assert report.weighted_f1 == pytest.approx((0.8 * 3 + 2 / 3) / 4)
    assert report.log_loss == pytest.approx(-(3 * np.log(0.8) + np.log(0.2)) / 4)
    assert report.rows == 4


def test_names_follow_the_label_encoder_not_the_order_of_appearance():
    report = report_of([3, 3, 1, 0], [3, 3, 1, 1])
    assert [(s.label, s.support) for s in report.per_class] == list(zip(LABELS, (1, 1, 0, 2), strict=True))
    assert report.report_data["スポーツ"]["f1-score"] == 1
    assert report.report_data["グルメ"]["support"] == 1
    assert re.search(r"グルメ +0\.000 +0\.000 +0\.000 +1\n", report.report_text)
    assert report.report_data["weighted avg"]["f1-score"] == pytest.approx(report.weighted_f1)


def test_the_interval_holds_the_estimate_and_repeats_with_its_seed():
    true, predicted = noisy(300)
    first, again, other = (report_of(true, predicted, seed=seed) for seed in (1, 1, 2))
    low, high = first.weighted_f1_interval
    assert low < first.weighted_f1 < high
    assert first.weighted_f1_interval == again.weighted_f1_interval != other.weighted_f1_interval
    assert first.resampled == "300 rows"


def test_the_interval_is_that_of_drawing_whole_groups_one_by_one():
    true, predicted = noisy(240)
    random = np.random.default_rng(5)
    group = random.integers(0, 24, 240)
    members = [np.flatnonzero(group == g) for g in np.unique(group)]
    values = []
    for _ in range(4000):
        drawn = np.concatenate([members[g] for g in random.integers(0, len(members), len(members))])
        values.append(weighted_f1(true[drawn], predicted[drawn], len(LABELS)))
    report = report_of(true, predicted, group=group.astype(str), resamples=4000)
    assert report.weighted_f1_interval == pytest.approx(np.quantile(values, [0.025, 0.975]), abs=0.006)


def test_groups_whose_rows_stand_or_fall_together_widen_the_interval():
    true = np.repeat(np.arange(40) % 4, 10)
    predicted = np.where(np.repeat(np.arange(40) % 10 < 7, 10), true, (true + 1) % 4)
    group = np.repeat([f"記事{i}" for i in range(40)], 10)
    by_row = report_of(true, predicted)
    by_group = report_of(true, predicted, group=group)
    assert by_group.weighted_f1 == by_row.weighted_f1
    assert np.ptp(by_group.weighted_f1_interval) > 2 * np.ptp(by_row.weighted_f1_interval)
    assert by_group.resampled == "40 groups"


def test_a_row_without_a_group_is_a_group_of_its_own():
    true, predicted = noisy(60)
    nobody = report_of(true, predicted, group=[None] * 60)
    assert nobody.resampled == "60 rows"
    assert nobody.weighted_f1_interval == report_of(true, predicted).weighted_f1_interval
    some = report_of(true, predicted, group=["a"] * 20 + ["b"] * 20 + [None] * 20)
    assert some.resampled == "22 groups"


def test_slices_are_the_hard_texts():
    texts = ["十文字ちょうどの文章", "これは十文字をこえる文章", "短い", "これも十文字をこえる文章"]
    report = report_of(
        [0, 1, 2, 3],
        [0, 0, 1, 3],
        text=texts,
        unknown=[0, 2, 0, 0],
        truncated=[False, False, False, False],
    )
    assert list(report.slices) == ["short", "unknown"]  # nothing was truncated
    assert report.slices["short"].rows == 2
    assert report.slices["short"].accuracy == report.slices["short"].weighted_f1 == 0.5
    assert report.slices["unknown"].accuracy == 0
    assert evaluation_metrics(report, "test")["test/slice/short_weighted_f1"] == 0.5


def test_mistakes_are_the_most_confident_wrong_rows():
    confidence = [0.99, 0.6, 0.9, 0.7]
    report = report_of([0, 1, 2, 3], [0, 0, 1, 1], confidence=confidence, group=["g", "g", None, "h"])
    assert [m.text for m in report.mistakes] == ["文2", "文3", "文1"]
    assert [m.group for m in report.mistakes] == [None, "h", "g"]
    first = report.mistakes[0]
    assert (first.label, first.predicted) == ("京都", "携帯電話")
    assert first.probability == pytest.approx(0.9)
    assert len(report_of([0] * 50, [1] * 50).mistakes) == 20
    assert report_of([0, 1], [0, 1]).mistakes == ()


def test_the_report_survives_json():
    true, predicted = noisy(50)
    report = report_of(true, predicted, unknown=np.arange(50) % 3, group=["a", "b"] * 25)
    as_dict = report.to_dict()
    assert json.loads(json.dumps(as_dict, ensure_ascii=False)) == as_dict
    assert as_dict["labels"] == list(LABELS)
    assert as_dict["slices"]["unknown"]["rows"] == report.slices["unknown"].rows
    assert set(as_dict) == set(EvaluationReport.__dataclass_fields__)


def test_metric_names_are_what_mlflow_takes():
    labels = ["京都", "food", "a/b", "..", "class_0", "f1 (new)"]
    report = report_of([0, 1, 2, 3, 4, 5], [0, 1, 2, 3, 4, 4], labels=labels)
    metrics = evaluation_metrics(report, "test")
    assert all(re.fullmatch(r"test(/[A-Za-z0-9][A-Za-z0-9_. -]*)+", name) for name in metrics)
    by_class = {name.removeprefix("test/f1/") for name in metrics if name.startswith("test/f1/")}
    assert by_class == {"class_0", "food", "class_2", "class_3", "class_4", "class_5"}
    assert metrics["test/f1/class_5"] == 0
    assert metrics["test/weighted_f1_low"] <= metrics["test/weighted_f1"] <= metrics["test/weighted_f1_high"]
    assert {type(value) for value in metrics.values()} == {float}


def test_markdown_keeps_hostile_texts_inside_their_cells():
    texts = ["縦|棒\n改行\x00<b>*強調*</b> `code`", "長い" * 100_000]
    report = report_of([0, 1], [1, 0], text=texts, group=["g|h", "i"], unknown=[1, 0])
    markdown = evaluation_page(report)
    lines = markdown.splitlines()
    hostile = next(line for line in lines if "縦" in line)
    assert r"縦\|棒 改行\\x00\<b\>\*強調\*\</b\> \`code\`" in hostile
    assert len(re.findall(r"(?<!\\)\|", hostile)) == 6  # five cells
    assert max(map(len, lines)) < 200
    for heading in ("## Classes", "## Slices", "## Confusion matrix", "## Most confident mistakes"):
        assert heading in lines
    assert "| グルメ | 0 | 1 | 0 | 0 |" in lines


def test_a_label_that_the_model_does_not_know_is_named():
    rows = pd.DataFrame({"text": ["a", "b"], "label": ["京都", "映画"]})
    with pytest.raises(JabertError, match=r"test row 2 has the label '映画'.*グルメ, 携帯電話"):
        evaluate(rows, one_hot([2, 0], 4), LABELS)


def test_unusable_input_is_refused():
    rows = pd.DataFrame({"text": ["a", "b"], "label": ["京都", "京都"]})
    with pytest.raises(JabertError, match="no test rows"):
        evaluate(rows.head(0), np.empty((0, 4)), LABELS)
    with pytest.raises(JabertError, match="row 2 a probability that is not finite"):
        evaluate(rows, np.array([[1, 0, 0, 0], [np.nan] * 4]), LABELS)
    with pytest.raises(ValueError, match=r"\(2, 3\), not \(2, 4\)"):
        evaluate(rows, one_hot([0, 0], 3), LABELS)


def test_one_class_and_one_row_are_enough():
    report = report_of([0], [0], labels=["京都"], confidence=1.0)
    assert (report.weighted_f1, report.weighted_f1_interval, report.log_loss) == (1, (1, 1), 0)


def test_a_thousand_resamples_of_800_rows_take_no_time():
    true, predicted = noisy(800)
    columns = {"group": np.arange(800) // 16, "unknown": np.zeros(800, dtype=int)}
    report_of(true, predicted, **columns)  # loads scikit-learn
    started = time.perf_counter()
    report_of(true, predicted, **columns)
    assert time.perf_counter() - started < 0.5


def test_weighted_f1_loads_no_scikit_learn():
    code = (
        "import sys, numpy as np; from jabert.evaluation import weighted_f1; "
        "weighted_f1(np.zeros(2, int), np.zeros(2, int), 1); sys.exit('sklearn' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
