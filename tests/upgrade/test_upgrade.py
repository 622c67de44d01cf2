"""What jabert 0.1 left goes on working: its store, models, vectors, verdicts and unfinished work.

`make_fixture.py` and `make_digests.py` say how the files were made; they need the code of jabert 0.1.
"""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from upgrade.unpack import PLACEHOLDER, unpack

from jabert.cli import main
from jabert.config import load_settings
from jabert.encoder import open_folder
from jabert.experiments import steps
from jabert.experiments.keys import attempt_key_0_1
from jabert.registry import classify, open_registry
from jabert.scoring import open_job, score
from jabert.tracking import connect

HERE = Path(__file__).parent
EXPECTED = json.loads((HERE / "expected.json").read_text(encoding="utf-8"))
FIRST, SECOND = EXPECTED["versions"]
KILLED = EXPECTED["killed"]
TEXTS = EXPECTED["texts"]
DEFAULTS = ["classifier.dropout=0", "training.averaging=0", "data.split_version=1"]
"""Of jabert 0.1, where they are others today."""


def unpacked(root):
    unpack(HERE / "jabert-0.1.tar.xz", root)
    return root


@pytest.fixture(scope="module")
def left(tmp_path_factory):
    """The folder of somebody who used jabert 0.1, for tests that change nothing in it."""
    return unpacked(tmp_path_factory.mktemp("upgrade") / "left by 0.1")


@pytest.fixture
def own(tmp_path):
    """The same for one test alone."""
    return unpacked(tmp_path / "left by 0.1")


def overrides_at(root, entry):
    return [override.replace(PLACEHOLDER, str(root)) for override in [*DEFAULTS, *entry["overrides"]]]


def settings_at(root, entry=SECOND, *more):
    return load_settings("", [*overrides_at(root, entry), *more])


def jabert(capsys, root, *words):
    """What a command says as JSON."""
    options = [word for override in overrides_at(root, SECOND) for word in ("--set", override)]
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main([*words, *options, "--json"])
    assert not ended.value.code
    return json.loads(capsys.readouterr().out)


def assert_close(probabilities, expected):
    np.testing.assert_allclose(
        pd.DataFrame(probabilities)[list(expected[0])], pd.DataFrame(expected), atol=1e-5, rtol=0
    )


# Models


def test_its_versions_are_listed(left, capsys):
    assert jabert(capsys, left, "models") == EXPECTED["listing"]


@pytest.mark.parametrize("entry", [FIRST, SECOND], ids=["version 1", "version 2"])
def test_its_models_load_and_answer_as_they_did(left, entry):
    registry = open_registry(settings_at(left))
    assert registry.champion() == EXPECTED["champion"]
    assert_close(
        classify(registry.load(entry["version"]), pd.DataFrame({"text": TEXTS})), entry["probabilities"]
    )


def test_its_champion_predicts(left, capsys):
    rows = jabert(capsys, left, "predict", *TEXTS)
    assert_close([row["probabilities"] for row in rows], SECOND["probabilities"])
    assert [row["label"] for row in rows] == [max(of, key=of.get) for of in SECOND["probabilities"]]


def test_its_champion_scores_a_table_with_the_vectors_of_its_feature_store(left, tmp_path):
    settings = settings_at(left, SECOND, f"training.work_path={tmp_path}/work")
    result = score(open_job(settings, str(left / "toy.csv"), str(tmp_path / "scored.jsonl")))
    assert (result.scored, result.computed, result.reused) == (160, 0, 160)
    assert result.model_version == "2"
    rows = pd.read_json(tmp_path / "scored.jsonl", lines=True)
    champion = open_registry(settings).load("2")
    expected = classify(champion, rows)
    assert_close(rows["probabilities"].tolist(), expected.to_dict("records"))


def test_its_champion_is_served(left):
    from jabert.serving.models import address_of, find_version, load

    settings = settings_at(left)
    client = connect(settings.tracking)
    version = find_version(client, address_of("models:/jabert@champion"))
    assert version.label == "2"
    rows = load(version, 8).predict(TEXTS, {"top_k": 4})
    assert_close([row["probabilities"] for row in rows], SECOND["probabilities"])


def test_its_versions_are_compared_by_the_present_names_of_settings(left, capsys):
    found = jabert(capsys, left, "models", "diff", "1", "2")
    assert found["settings"] == {
        "method.units": [1, 24],
        "training.batch_size": [16, 8],
        "training.epochs": [1, 12],
    }
    of_both = [entry["result"]["weighted_f1"] for entry in (FIRST, SECOND)]
    assert found["metrics"]["weighted F1"] == of_both


def test_its_champion_can_be_taken_back_and_promoted_again(own, capsys):
    assert jabert(capsys, own, "models", "rollback")["version"] == "1"
    registry = open_registry(settings_at(own))
    assert registry.champion() == "1"
    assert_close(classify(registry.load_champion(), pd.DataFrame({"text": TEXTS})), FIRST["probabilities"])
    verdict = jabert(capsys, own, "models", "promote", "2")
    assert verdict["promoted"]
    assert verdict["champion_weighted_f1"] == pytest.approx(FIRST["result"]["weighted_f1"], abs=1e-9)
    assert verdict["weighted_f1"] == pytest.approx(SECOND["result"]["weighted_f1"], abs=1e-9)


# Vectors, verdicts and unfinished work


def test_its_vectors_are_found(left, tmp_path):
    settings = settings_at(left, SECOND, f"training.work_path={tmp_path}/work")
    featurized = steps.featurize(settings, steps.tokenize(settings, steps.read(settings)))
    assert (featurized.computed, featurized.reused) == (0, 160)


def test_the_table_is_divided_as_it_was(left, tmp_path):
    data = steps.read(settings_at(left, SECOND, f"training.work_path={tmp_path}/work"))
    assert data.digest == SECOND["result"]["data_digest"]
    assert {split: data.counts[split] for split in SECOND["result"]["rows"]} == SECOND["result"]["rows"]


@pytest.mark.usefixtures("prefect_server")
def test_what_it_judged_is_unchanged(left):
    from flows.retrain import retrain

    for entry in (FIRST, SECOND):
        result = retrain("", overrides_at(left, entry), skip_unchanged=True)
        assert (result["outcome"], result["model_version"]) == ("unchanged", entry["version"])
        assert result["run_id"] == entry["result"]["run_id"]
        assert result["weighted_f1"] == entry["result"]["weighted_f1"]


@pytest.mark.usefixtures("prefect_server")
def test_a_training_that_was_killed_goes_on_and_is_judged_against_its_champion(own):
    from flows.retrain import retrain

    settings, whole = settings_at(own), KILLED["uninterrupted"]
    client = connect(settings.tracking)
    assert client.get_run(KILLED["run_id"]).info.status == "RUNNING"
    left = own / "work" / KILLED["attempt"] / "package"  # as it is there when the kill came a little later
    left.mkdir()
    for name, text in {"package.json": '{"labels": []}', "SHA256SUMS": ""}.items():
        (left / name).write_text(text, encoding="utf-8")

    result = retrain("", overrides_at(own, KILLED), skip_unchanged=True)

    same = ("model_version", "promoted", "outcome", "reason", "rows", "features", "data_digest")
    assert {name: result[name] for name in same} == {name: whole["result"][name] for name in same}
    for name in ("weighted_f1", "champion_weighted_f1"):
        assert result[name] == pytest.approx(whole["result"][name], rel=1e-9)
    run = client.get_run(result["run_id"])
    assert (run.data.tags["resumed_epochs"], run.data.tags["resumes"]) == ("2", KILLED["run_id"])
    assert client.get_run(KILLED["run_id"]).info.status == "KILLED"
    table = client.download_artifacts(result["run_id"], "training/history.csv")
    history = pd.read_csv(table).drop(columns="seconds")
    expected = pd.DataFrame(whole["history"])
    np.testing.assert_allclose(history[list(expected)], expected, rtol=1e-5)
    model = open_registry(settings).load("3").unwrap_python_model()
    answers = pd.DataFrame(model.classify(TEXTS), columns=model.about["labels"])  # 0.1 calibrated nothing
    assert_close(answers, whole["probabilities"])
    assert not (own / "work" / KILLED["attempt"]).exists()


DIGESTS = [
    entry for entry in json.loads((HERE / "digests.json").read_text(encoding="utf-8")) if "attempt" in entry
]


@pytest.mark.parametrize("entry", DIGESTS, ids=lambda entry: " ".join([entry["recipe"], *entry["overrides"]]))
def test_a_retraining_has_the_key_that_it_gave(entry):
    defaults = [] if entry["recipe"] else DEFAULTS  # a recipe names them itself
    settings = load_settings(entry["recipe"], [*defaults, *entry["overrides"]])
    folder = open_folder(settings.encoder.path)
    assert folder.fingerprint == entry["encoder_fingerprint"]
    assert attempt_key_0_1(settings, entry["data_digest"], folder) == entry["attempt"]


def test_what_it_could_not_do_has_no_key_of_it(monkeypatch, toy_encoder):
    import toy_method

    toy_method.install(monkeypatch)
    other = load_settings(None, ["method.kind=toy"])
    assert attempt_key_0_1(other, "digest", open_folder(toy_encoder)) is None
    assert attempt_key_0_1(load_settings(), "digest", None) is None
