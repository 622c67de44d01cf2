"""What the report says of the surest mistakes."""

import numpy as np
import pytest
import toy

from jabert.config import load_settings
from jabert.evaluation.likeness import directions_of_texts, directions_of_vectors, nearest
from jabert.experiments import steps
from jabert.experiments.explaining import explain_mistakes
from jabert.experiments.packaging import build_package, open_package


@pytest.fixture
def evaluated(tmp_path, toy_encoder):
    """Evaluate a method on rows of which some have a wrong label; gives what `explain_mistakes` takes."""

    def make(kind, *more):
        table = toy.toy_rows()
        table.loc[::7, "label"] = table.loc[::7, "label"].map(
            dict(zip(toy.LABELS, reversed(toy.LABELS), strict=True))
        )
        table.assign(group=[f"g{row // 4}" for row in range(len(table))]).to_csv(
            tmp_path / "rows.csv", index=False
        )
        settings = load_settings(
            None,
            [
                f"data.path={tmp_path}/rows.csv",
                f"encoder.path={toy_encoder}",
                f"features.path={tmp_path}/features",
                f"training.work_path={tmp_path}/work",
                "encoder.device=cpu",
                f"method.kind={kind}",
                *more,
            ],
        )
        data, tokens = steps.read(settings), None
        if kind == "mean-pooling":
            tokens = steps.tokenize(settings, data)
            steps.featurize(settings, tokens)
        fit = steps.fit(settings, data, tokens, "test", on_epoch=lambda _: None)
        calibration = steps.calibrate(settings, data, tokens, fit)
        package = build_package(fit.job, tmp_path / "package", calibration)
        found = steps.evaluate(
            settings, data, tokens, fit, "test", package=lambda: package, calibration=calibration
        )
        return (settings, data, tokens, fit, found), package

    return make


@pytest.mark.parametrize(
    ("kind", "more"), [("tfidf", ()), ("mean-pooling", ()), ("tfidf", ("data.context=2",))]
)
def test_mistakes_are_explained_by_pieces_and_similar_texts(evaluated, kind, more):
    arguments, package = evaluated(kind, *more)
    _, data, _, _, found = arguments
    explained = explain_mistakes(*arguments, package=package)
    wrong = {(m.text, m.label, m.predicted): m.probability for m in found.report.mistakes}
    assert 0 < len(explained) <= 10
    scores = [mistake.score for mistake in explained]
    assert scores == sorted(scores, reverse=True)
    learned = data.table[data.table["split"] != "test"]
    for mistake in explained:
        assert wrong[mistake.text, mistake.label, mistake.predicted] == pytest.approx(mistake.score)
        assert "".join(piece.text for piece in mistake.pieces) == mistake.text
        assert len(mistake.similar) == 3
        likeness = [similar.likeness for similar in mistake.similar]
        assert likeness == sorted(likeness, reverse=True) and likeness[0] > 0.1
        for similar in mistake.similar:
            assert (learned["text"].eq(similar.text) & learned["label"].eq(similar.label)).any()
    if more:
        return
    classifier, first = open_package(package), explained[0]
    column = classifier.about["labels"].index(first.predicted)
    words = [piece.text for piece in first.pieces]
    without = classifier.answer(["".join(words), "".join(words[1:])])[:, column]
    assert first.pieces[0].effect == pytest.approx(without[0] - without[1], abs=1e-4)


def test_a_model_without_mistakes_has_nothing_to_explain(evaluated):
    arguments, package = evaluated("tfidf")
    *before, found = arguments
    right = found.rows.assign(label=np.array(found.report.labels)[found.answers.argmax(axis=1)])
    without = steps.Evaluated(found.measured_on, right, found.probabilities, found.answers, found.report)
    assert explain_mistakes(*before, without, package=package) == []


def test_the_nearest_rows_come_first():
    vectors = np.array([[1.0, 0.0], [0.0, 1.0], [0.9, 0.1], [-1.0, 0.0]])
    (found,) = nearest(vectors[:1], vectors[1:], 2)
    assert found == [(1, 0.9), (0, 0.0)]
    grams = directions_of_texts(["京都のお寺", "京都の寺", "電池"])
    ((row, likeness), (_, none)) = nearest(grams[:1], grams[1:], 2)[0]
    assert row == 0 and 0 < likeness < 1 and none == 0
    lengths = np.linalg.norm(directions_of_vectors(np.c_[vectors, [1.0] * 4]), axis=1)
    np.testing.assert_allclose(lengths, 1)
