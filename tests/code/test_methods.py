"""What holds of every method: fitted, exported, measured, described, by nothing but its kind."""

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import toy
from toy_fits import results_of, settings_of

from jabert.config import decisive, load_settings, method_kinds
from jabert.errors import JabertError
from jabert.experiments import steps
from jabert.experiments.packaging import build_package, open_package
from jabert.methods import list_methods, method_of

TEXTS = ["京都のお寺を歩いた。", "電話の電池が切れた。", "カレーを食べた。"]
UNEVEN = "data.split_version=1"  # in 2 all classes have as many rows, and balanced weights are equal


WAYS = {
    "mean-pooling": [["method.class_weights=balanced"]],
    "bi-lstm": [
        ["method.pooling=attention"],
        ["method.mix=true", "features.layers=2"],
        ["method.label_smoothing=0.1", "method.class_weights=balanced"],
    ],
    "stack": [["features.layers=2"]],
}
"""Settings of a method that change what is fitted, to be held to what every fit is."""


@pytest.fixture(params=method_kinds())
def kind(request):
    return request.param


@pytest.fixture
def settings(kind, toy_table, toy_encoder):
    return settings_of(kind, toy_table, toy_encoder)


def test_a_fit_is_packaged_and_answers(kind, settings, tmp_path):
    data, tokens, fit = results_of(settings)

    package = build_package(fit.job, tmp_path / "package")
    classifier = open_package(package)
    probabilities = classifier.classify(TEXTS)

    assert probabilities.shape == (3, 4) and probabilities.dtype == np.float64
    assert probabilities.sum(axis=1) == pytest.approx(1, abs=1e-6)
    assert classifier.classify([]).shape == (0, 4)
    assert classifier.classify(TEXTS[:1])[0] == pytest.approx(probabilities[0], abs=1e-5)
    assert classifier.about["labels"] == toy.LABELS
    evaluated = steps.evaluate(settings, data, tokens, fit, "test", package=lambda: package)
    predicted = classifier.classify(evaluated.rows["text"].tolist())
    assert np.array_equal(evaluated.probabilities, predicted), "measured as it is served"
    assert evaluated.report.rows == data.counts["test"]


def test_what_is_predicted_of_rows_is_what_is_served(kind, settings, tmp_path):
    data, tokens, fit = results_of(settings)
    rows = steps.rows_of(settings, data, tokens, ["test"])

    predicted = method_of(settings).predict(fit.job, rows)

    served = open_package(build_package(fit.job, tmp_path / "package")).classify(list(rows.texts))
    assert predicted.dtype == np.float64
    assert predicted == pytest.approx(served, abs=2e-3), "float16 vectors are stored"


@pytest.mark.parametrize(("kind", "way"), [(kind, way) for kind, ways in WAYS.items() for way in ways])
def test_every_way_of_a_method_is_another_fit_and_is_served_as_it_predicts(
    kind, way, toy_table, toy_encoder, tmp_path
):
    fits, predicted = [], []
    for settings in (settings_of(kind, toy_table, toy_encoder, UNEVEN, *more) for more in (way, [])):
        data, tokens, fit = results_of(settings)
        rows = steps.rows_of(settings, data, tokens, ["test"])
        predicted.append(method_of(settings).predict(fit.job, rows))
        fits.append(fit)

    served = open_package(build_package(fits[0].job, tmp_path / "package")).classify(list(rows.texts))
    assert predicted[0] == pytest.approx(served, abs=2e-3)
    assert fits[0].key != fits[1].key
    assert np.abs(predicted[0] - predicted[1]).max() > 1e-4
    one, other = (method_of(fit.job.settings).describe(fit.job, fit.fitted) for fit in fits)
    assert (one.layers, one.protocol) != (other.layers, other.protocol)


def test_a_mix_of_one_layer_is_refused(toy_table, toy_encoder):
    with pytest.raises(JabertError, match=r"method\.mix is true, but features\.layers is 1"):
        results_of(settings_of("bi-lstm", toy_table, toy_encoder, "method.mix=true"))


@pytest.mark.parametrize("kind", ["bi-lstm", "mean-pooling"])
def test_vectors_of_two_layers_are_learned_from_served_and_drawn(kind, toy_table, toy_encoder, tmp_path):
    one, two = (
        settings_of(kind, toy_table, toy_encoder, f"features.layers={count}", "encoder.device=cpu")
        for count in (1, 2)
    )
    data, tokens, fit = results_of(two)
    rows = steps.rows_of(two, data, tokens, ["test"])

    predicted = method_of(two).predict(fit.job, rows)

    package = build_package(fit.job, tmp_path / "package")
    classifier = open_package(package)
    assert predicted == pytest.approx(classifier.classify(list(rows.texts)), abs=2e-3)
    vectors = classifier.members[0].vectors
    assert (vectors.layers, vectors.hidden_size) == (2, 32)
    assert results_of(one)[2].key != fit.key
    layers = method_of(two).describe(fit.job, fit.fitted).layers
    drawn = {layer.name: layer.shape for layer in layers}
    assert drawn["last 2 blocks"] == "(tokens, 32)" and drawn["transformer block"] == "(tokens, 16)"
    landmarks = int(fit.fitted.metrics.get("landmarks", 0))
    learned = {
        "mean-pooling": landmarks * 32 + (landmarks + 1) * 4,
        "bi-lstm": 8 * 8 * (32 + 8 + 1) + (16 + 1) * 4,
    }
    assert sum(layer.parameters for layer in layers[-2:]) == learned[kind]


def test_a_fit_is_reproducible(kind, settings, toy_table, toy_encoder, tmp_path):
    first = results_of(settings)[2]
    again = results_of(settings_of(kind, toy_table, toy_encoder, f"training.work_path={tmp_path}/again"))[2]

    assert first.key == again.key
    assert [{**epoch, "seconds": 0} for epoch in first.fitted.history] == [
        {**epoch, "seconds": 0} for epoch in again.fitted.history
    ]
    assert first.fitted.metrics == again.fitted.metrics


def test_a_method_is_described(kind, settings):
    *_, fit = results_of(settings)
    method = method_of(settings)

    described = method.describe(fit.job, fit.fitted)

    assert described.summary[0].isupper() and not described.summary.endswith(".")
    assert described.layers[0].name == "text"
    assert described.layers[-1].shape == "(4)"
    assert all(sentence.endswith(".") for sentence in (*described.protocol, *described.limits))
    listed = next(entry for entry in list_methods() if entry["kind"] == kind)
    assert listed["summary"] and listed["cost"] and set(listed["needs"]) <= set(method.needs)


def test_only_a_method_that_chooses_spares_the_validation_rows(kind, settings):
    data, tokens, _ = results_of(settings)
    method = method_of(settings)
    seen, truly = {}, type(method).fit

    def fit(self, job, train, validation, on_epoch):
        seen.update(train=len(train), validation=len(validation))
        return truly(self, job, train, validation, on_epoch)

    for measured_on, learned in (("test", "train validation"), ("validation", "train")):
        expected = sum(data.counts[split] for split in learned.split())
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(type(method), "fit", fit)
            patch.setattr("jabert.experiments.steps._FIT", "another")
            steps.fit(settings, data, tokens, measured_on, on_epoch=lambda epoch: None)
        if method.chooses:
            assert seen == {"train": data.counts["train"], "validation": data.counts["validation"]}
        else:
            assert seen == {"train": expected, "validation": 0}


def test_the_rows_of_a_method_come_with_what_it_asked_for(settings, kind):
    data, tokens, _ = results_of(settings)
    rows = steps.rows_of(settings, data, tokens, ["train"])

    train = data.table[data.table["split"] == "train"]
    assert rows.texts == train["text"].tolist()
    assert [data.labels[index] for index in rows.classes] == train["label"].tolist()
    assert rows.groups == train["group"].tolist()
    assert (rows.ids is not None) == bool({"tokens", "vectors"} & set(method_of(settings).needs))
    assert (rows.vectors is not None) == ("vectors" in method_of(settings).needs)
    some = rows.take(np.array([3, 1]))
    assert some.texts == [rows.texts[3], rows.texts[1]]
    if rows.vectors is not None:
        assert np.array_equal(some.vectors.read(1), rows.vectors.read(1))


def test_every_kind_has_a_digest_of_its_own(toy_table, toy_encoder):
    digests = {settings_of(kind, toy_table, toy_encoder).digest() for kind in method_kinds()}
    assert len(digests) == len(method_kinds())
    for kind in method_kinds():
        found = decisive(load_settings(None, [f"method.kind={kind}"]), ["method"])
        assert found.get("method.kind", "bi-lstm") == kind


def test_one_label_only_is_refused_in_one_sentence(toy_table, toy_encoder, kind):
    rows = pd.read_csv(toy_table).assign(label="京都")
    rows.to_csv("one.csv", index=False)
    with pytest.raises(JabertError, match="one label only"):
        results_of(settings_of(kind, "one.csv", toy_encoder))


def test_two_labels_are_as_good_as_more(kind, toy_table, toy_encoder, tmp_path):
    rows = pd.read_csv(toy_table)
    rows[rows["label"].isin(["京都", "グルメ"])].to_csv("two.csv", index=False)
    settings = settings_of(kind, "two.csv", toy_encoder)
    data, _, fit = results_of(settings)

    package = build_package(fit.job, tmp_path / "package")

    assert data.labels == ["グルメ", "京都"]
    assert open_package(package).classify(TEXTS).sum(axis=1) == pytest.approx(1, abs=1e-6)


def test_a_kind_that_there_is_not_is_named_with_the_nearest():
    with pytest.raises(
        JabertError, match=r"method\.kind cannot be 'mean_pooling'; the nearest is 'mean-pooling'"
    ):
        load_settings(None, ["method.kind=mean_pooling"])


def test_no_module_of_a_method_loads_anything_heavy():
    program = """
import json, sys
from jabert.methods import list_methods
list_methods()
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    heavy = {"tensorflow", "openvino", "mlflow", "sklearn", "pandas", "pyarrow", "prefect", "keras_bert"}
    assert not heavy & set(json.loads(done.stdout))
