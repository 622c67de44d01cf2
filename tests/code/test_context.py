"""Neighbours of a text: who they are, what they change, and that a text without any is judged alone."""

import numpy as np
import pandas as pd
import pytest
from mlflow.models import ModelSignature
from toy_fits import results_of, settings_of

from jabert.dataset.context import neighbours, with_neighbours
from jabert.errors import JabertError
from jabert.evaluation import Calibration, Context
from jabert.evaluation.calibration import calibrate
from jabert.evaluation.context import fit_context, sums_of
from jabert.experiments import steps
from jabert.experiments.packaging import _signature, build_package, open_package
from jabert.runtime.text_classifier import BadInput


def table_of(groups, lines, **more):
    columns = {"group": groups, "file": "x.csv", "line": lines, **more}
    return pd.DataFrame({"text": [f"text {line}" for line in lines], **columns})


def test_neighbours_are_of_the_same_group_in_the_order_of_the_file():
    before, after = neighbours(table_of(list("aabaa"), [9, 2, 3, 4, 7]), 2)
    assert before == [[3, 4], [], [], [1], [1, 3]]
    assert after == [[], [3, 4], [], [4, 0], [0]]


def test_neighbours_are_never_of_another_split():
    before, after = neighbours(
        table_of(list("aaaa"), [1, 2, 3, 4], split=["train", "test", "train", "test"]), 5
    )
    assert before == [[], [], [0], [1]] and after == [[2], [3], [], []]


def test_a_text_without_a_group_has_no_neighbours():
    assert neighbours(table_of([None, None, "a"], [1, 2, 3]), 1) == ([[], [], []], [[], [], []])


@pytest.mark.parametrize("order", [["10", "9", "100"], ["b", "a", "c"]])
def test_a_column_can_say_the_order(order):
    before, _ = neighbours(table_of(list("aaa"), [1, 2, 3], order=order), 1)
    assert before == [[1], [], [0]]


def test_the_columns_are_as_the_model_takes_them():
    rows = with_neighbours(table_of(list("aaa"), [3, 1, 2]), 2)
    assert rows["before"].tolist() == [["text 1", "text 2"], [], ["text 1"]]
    assert rows["after"].tolist() == [[], ["text 2", "text 3"], ["text 3"]]


def test_evidence_of_neighbours_is_weighed_by_what_it_is_worth():
    random = np.random.default_rng(0)
    true = np.repeat(random.integers(3, size=400), 5)  # all texts of a group have one label
    scores = random.normal(size=(2000, 3)) + np.eye(3)[true]
    own = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    around = [[i for i in range(row - row % 5, row - row % 5 + 5) if i != row] for row in range(2000)]

    context = fit_context(true, own, sums_of(own, around), 4)

    right = (context(own, sums_of(own, around)).argmax(axis=1) == true).mean()
    assert right > (own.argmax(axis=1) == true).mean() + 0.15
    strangers = [[int(i) for i in random.integers(2000, size=4)] for _ in range(2000)]
    assert fit_context(true, own, sums_of(own, strangers), 4).neighbours < 0.3 < context.neighbours


def test_one_neighbour_that_is_sure_says_more_than_two_in_doubt():
    of = np.array([[0.4, 0.6], [0.95, 0.05], [0.35, 0.65], [0.35, 0.65]])
    context = Context(2, 0.0, 1.0, (0.0, 0.0))
    assert context(of, sums_of(of, [[1, 2, 3], [], [], []]))[0].argmax() == 0


def test_a_text_alone_keeps_its_probabilities():
    own = np.array([[0.7, 0.3], [0.4, 0.6]])
    context = Context(1, 0.5, 2.0, (0.3, -0.3))
    found = context(own, sums_of(own, [[], [0]]))
    assert found[0].tolist() == [0.7, 0.3] and found[1].argmax() == 0
    assert Calibration(context=context).answers(own).tolist() == own.tolist()


def test_few_rows_leave_the_weights_where_they_start():
    fitted = calibrate(np.array([], dtype=int), np.empty((0, 2)), context=3, neighbours=[])
    assert fitted.context == Context(3, 1.0, 1.0, (0.0, 0.0))


@pytest.fixture
def in_context(toy_table, toy_encoder):
    return settings_of("mean-pooling", toy_table, toy_encoder, "data.context=2")


@pytest.fixture
def fitted(in_context, tmp_path):
    data, tokens, fit = results_of(in_context)
    calibration = steps.calibrate(in_context, data, tokens, fit)
    package = build_package(fit.job, tmp_path / "package", calibration)
    return data, tokens, fit, calibration, package


def test_what_is_measured_is_what_is_served(in_context, fitted):
    data, tokens, fit, calibration, package = fitted
    measured = steps.evaluate(
        in_context, data, tokens, fit, "test", package=lambda: package, calibration=calibration
    )

    rows = with_neighbours(measured.rows, 2)
    served = open_package(package).predict(None, rows[["text", "before", "after"]])

    right = (served["label"] == rows["label"]).mean()
    assert measured.report.accuracy == pytest.approx(right)
    assert measured.report.weighted_f1_alone is not None
    alone = open_package(package).predict(None, rows[["text"]])
    assert alone["score"].tolist() != served["score"].tolist()
    classifier = open_package(package)
    assert list(alone["score"]) == classifier.calibrate(measured.probabilities).max(axis=1).tolist()


def test_a_text_is_classified_once_wherever_it_stands(fitted, monkeypatch):
    classifier = open_package(fitted[-1])
    seen, truly = [], type(classifier).classify
    monkeypatch.setattr(
        type(classifier), "classify", lambda self, texts: seen.append(texts) or truly(self, texts)
    )
    texts = ["一", "二", "三", "四"]

    classifier.answer(texts, [["二"], ["一", "三"], ["二", "四"], ["三"]])

    assert seen == [texts]


def test_a_package_that_names_no_power_answers_as_it_did_when_it_was_made(fitted):
    classifier = open_package(fitted[-1])
    assert classifier.about["context"].pop("power") == 2
    found = classifier.answer(["一"], [["二", "三"]])
    own, *around = classifier.calibrate(classifier.classify(["一", "二", "三"]))
    weights = classifier.about["context"]
    scores = weights["own"] * np.log(own) + weights["neighbours"] * sum(around) + np.array(weights["bias"])
    assert found[0] == pytest.approx(np.exp(scores) / np.exp(scores).sum())


def test_only_the_nearest_are_looked_at(fitted):
    classifier = open_package(fitted[-1])
    rows = [{"text": "京都", "before": ["遠い", "一", "二"], "after": ["三", "四", "遠い"]}]
    same = [{"text": "京都", "before": ["一", "二"], "after": ["三", "四"]}]
    found = [classifier.predict(None, pd.DataFrame(each))["score"][0] for each in (rows, same)]
    assert found[0] == found[1]


@pytest.mark.parametrize("missing", [None, np.nan, [], np.array([], dtype=object)])
def test_what_is_not_known_is_left_out(fitted, missing):
    classifier = open_package(fitted[-1])
    given = pd.DataFrame({"text": ["京都"], "before": pd.Series([missing], dtype=object)})
    alone = classifier.predict(None, given[["text"]])
    assert classifier.predict(None, given)["score"][0] == alone["score"][0]


@pytest.mark.parametrize("wrong", ["一つの文", 3, ["一", None], [1]])
def test_what_is_no_list_of_texts_is_refused_with_its_row(fitted, wrong):
    given = pd.DataFrame({"text": ["京都"], "after": pd.Series([wrong], dtype=object)}).set_axis([7])
    with pytest.raises(BadInput, match=r"row 7: after is .*, not a list of texts"):
        open_package(fitted[-1]).predict(None, given)


def test_a_model_without_context_has_the_signature_of_before():
    signature: ModelSignature = _signature(takes_neighbours=False)
    assert signature.inputs.input_names() == ["text"]
    taking = _signature(takes_neighbours=True).inputs
    assert taking.input_names() == ["text", "before", "after"]
    assert taking.required_input_names() == ["text"]


def test_another_context_fits_nothing_again(in_context, toy_table, toy_encoder):
    data, _, fit = results_of(in_context)
    other_data, _, other = results_of(settings_of("mean-pooling", toy_table, toy_encoder))
    assert (data.key, fit.key) == (other_data.key, other.key)


def test_context_without_groups_is_refused(toy_table, toy_encoder):
    pd.read_csv(toy_table).drop(columns="group").to_csv("plain.csv", index=False)
    with pytest.raises(JabertError, match=r"data\.context = 2 needs groups of texts.*data\.group_column"):
        results_of(settings_of("mean-pooling", "plain.csv", toy_encoder, "data.context=2"))


def test_the_order_is_read_from_its_column(toy_table, toy_encoder):
    rows = pd.read_csv(toy_table)
    rows.assign(place=range(len(rows), 0, -1)).to_csv("ordered.csv", index=False)
    settings = settings_of("tfidf", "ordered.csv", toy_encoder, "data.context=1", "data.order_column=place")
    table = steps.read(settings).table
    assert table["order"].astype(int).tolist() == [len(rows) + 2 - line for line in table["line"]]
