"""The runtime of a registered model where there is no network in it, or more than one classifier."""

import pickle
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import toy_package
from alone import classified_alone
from mlflow.exceptions import MlflowException

import jabert
from jabert.experiments.packaging import open_package

CODE = Path(jabert.__file__).with_name("runtime") / "text_classifier.py"
LABELS = ["グルメ", "スポーツ", "京都"]
NGRAMS = ["京", "都", "京都", "試", "合", "食", "べ", "a"]
TEXTS = ["京都を食べた", "試合", "京都の試合", "何もない"]


@pytest.fixture
def weights():
    random = np.random.default_rng(0)
    return lambda *shape: random.normal(0, 2, shape)


@pytest.fixture
def single(tmp_path, weights):
    """A package of one linear classifier."""
    toy_package.write_ngrams(tmp_path / "one" / "linear", NGRAMS, weights(8, 3), weights(3), longest=2)
    return toy_package.write_about(tmp_path / "one", LABELS, {"linear": "ngrams"})


@pytest.fixture
def pair(tmp_path, weights):
    """A package of two, and how they are joined."""
    for name in ("first", "second"):
        toy_package.write_ngrams(tmp_path / "two" / name, NGRAMS, weights(8, 3), weights(3), longest=2)
    join = {"kernel": weights(6, 3).tolist(), "bias": weights(3).tolist()}
    members = dict.fromkeys(("first", "second"), "ngrams")
    return toy_package.write_about(tmp_path / "two", LABELS, members, join=join), join


def softmax(scores):
    powers = np.exp(scores)
    return powers / powers.sum(axis=1, keepdims=True)


def test_a_linear_classifier_is_the_softmax_of_its_weighted_ngrams(single):
    """Sublinear counts, of a length of 1 in all, from the formulas."""
    arrays = np.load(single / "linear" / "ngrams.npz")
    counted = np.array(
        [[sum(text.startswith(ngram, at) for at in range(len(text))) for ngram in NGRAMS] for text in TEXTS],
        dtype=float,
    )
    weighted = np.where(counted > 0, 1 + np.log(np.maximum(counted, 1)), 0)
    length = np.maximum(np.linalg.norm(weighted, axis=1, keepdims=True), 1e-12)
    expected = softmax(weighted / length @ arrays["kernel"] + arrays["bias"])
    np.testing.assert_allclose(open_package(single).classify(TEXTS), expected, atol=1e-9)


def test_width_and_case_of_letters_make_no_difference(single):
    one, other = open_package(single).classify(["ａＡ京都", "aa京都"])
    np.testing.assert_array_equal(one, other)


def test_it_answers_as_a_network_does(single):
    predicted = open_package(single).predict(None, pd.DataFrame({"text": TEXTS}, index=[3, 4, 5, 6]))
    assert predicted.index.tolist() == [3, 4, 5, 6]
    for label, score, probabilities in predicted.itertuples(index=False):
        assert list(probabilities) == LABELS
        assert probabilities[label] == score == max(probabilities.values())
    assert open_package(single).classify([]).shape == (0, 3)


def test_a_package_may_have_a_temperature_and_a_threshold(single):
    plain = open_package(single)
    raw, rows = plain.classify(TEXTS), pd.DataFrame({"text": TEXTS})
    toy_package.write_about(single, LABELS, {"linear": "ngrams"}, temperature=2.0, threshold=0.5)
    model = open_package(single)
    np.testing.assert_array_equal(model.classify(TEXTS), raw)
    expected = softmax(np.log(raw) / 2)
    answers = model.predict(None, rows)
    found = [[of[label] for label in LABELS] for of in answers["probabilities"]]
    np.testing.assert_allclose(found, expected, atol=1e-12)
    assert answers["score"].tolist() == pytest.approx(expected.max(axis=1))
    best = [LABELS[at] for at in raw.argmax(axis=1)]
    sure = expected.max(axis=1) >= 0.5
    assert 0 < sure.sum() < len(TEXTS)
    assert answers["label"].tolist() == [of if so else None for of, so in zip(best, sure, strict=True)]
    for given in (None, {}, {"threshold": None}):
        assert model.predict(None, rows, given)["label"].tolist() == answers["label"].tolist()
    assert model.predict(None, rows, {"threshold": 0.0})["label"].tolist() == best
    assert model.predict(None, rows, {"threshold": 1.0})["label"].tolist() == [None] * len(TEXTS)
    assert plain.predict(None, rows)["label"].tolist() == best


def test_two_classifiers_are_joined_by_a_softmax_layer_on_their_logarithms(pair):
    package, join = pair
    joined = open_package(package)
    parts = [member.classify(TEXTS) for member in joined.members]
    assert np.abs(parts[0] - parts[1]).max() > 0.1
    expected = softmax(np.log(np.concatenate(parts, axis=1)) @ join["kernel"] + join["bias"])
    np.testing.assert_allclose(joined.classify(TEXTS), expected, atol=1e-9)
    np.testing.assert_array_equal(joined.join(parts), joined.classify(TEXTS))


def test_a_probability_of_nothing_is_joined_as_one_of_very_little(pair):
    package, join = pair
    part = np.array([[1.0, 0.0, 0.0]])
    least = np.log(np.maximum(np.concatenate([part, part], axis=1), 1e-7))
    expected = softmax(least @ join["kernel"] + join["bias"])
    np.testing.assert_allclose(open_package(package).join([part, part]), expected, atol=1e-9)


def test_a_model_without_a_network_imports_none(single, tmp_path):
    """The file stands alone, as where the model is loaded."""
    found, imported = classified_alone(single, TEXTS, cwd=tmp_path)
    np.testing.assert_allclose(found, open_package(single).classify(TEXTS), atol=1e-12)
    unwanted = {"openvino", "sentencepiece", "tensorflow", "keras_bert", "tf_keras", "jabert"}
    assert "sklearn" in imported
    assert not unwanted & set(imported)


class Bomb:
    """Unpickled, it leaves a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("whole", [False, True], ids=["an array of objects", "a pickle"])
def test_nothing_is_unpickled_even_if_the_digests_fit(single, tmp_path, whole):
    file, bomb = single / "linear" / "ngrams.npz", Bomb(tmp_path / "exploded")
    if whole:
        file.write_bytes(pickle.dumps(bomb))
    else:
        arrays = dict(np.load(file))
        np.savez(file, **{**arrays, "idf": np.array([bomb] * len(NGRAMS), dtype=object)})
        assert zipfile.is_zipfile(file)
    toy_package.sign(single)
    with pytest.raises((ValueError, pickle.UnpicklingError), match="allow_pickle"):
        open_package(single)
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("name", ["linear/ngrams.npz", "linear/ngrams.json", "package.json"])
def test_a_changed_file_is_refused_by_name(single, name):
    content = bytearray((single / name).read_bytes())
    content[len(content) // 2] ^= 1
    (single / name).write_bytes(content)
    with pytest.raises(MlflowException, match=rf"^the file {name} of the model package has changed since"):
        open_package(single)


def test_a_file_that_was_put_into_a_member_s_folder_is_refused_by_name(single):
    (single / "linear" / "more.npy").touch()
    with pytest.raises(
        MlflowException, match=r"^the file linear/more\.npy is not part of the model package$"
    ):
        open_package(single)


def test_weights_for_other_classes_are_refused(single):
    toy_package.write_about(single, LABELS[:2], {"linear": "ngrams"})
    with pytest.raises(MlflowException, match=r"^linear has weights for 3 classes, not 2$"):
        open_package(single)
