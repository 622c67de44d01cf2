"""What a newcomer sees first: the main job on what comes with jabert, and nothing else."""

from importlib.resources import files
from pathlib import Path

import pytest

from flows.retrain import retrain
from jabert.config import load_settings
from jabert.encoder import open_folder
from jabert.encoder.inspection import describe
from jabert.tracking import connect

MINI = Path(str(files("jabert") / "encoders" / "jabert-mini"))


def test_the_packaged_encoder_is_small_complete_and_says_what_it_is():
    assert sum(path.stat().st_size for path in MINI.iterdir()) <= 8_000_000
    facts = describe(MINI)
    assert facts["path"] == str(MINI.resolve())
    assert facts["special_ids"]["[MASK]"] == 6
    assert open_folder("jabert-mini").fingerprint == facts["fingerprint"]
    card = (MINI / "README.md").read_text(encoding="utf-8")
    for name in ("jabert pretrain", "CC BY-SA 4.0", "3-clause BSD", "MIT", "twin"):
        assert name in card


@pytest.mark.filterwarnings("ignore:The initializer GlorotNormal is unseeded:UserWarning")
def test_keras_bert_itself_loads_the_packaged_encoder():
    from keras_bert import load_trained_model_from_checkpoint

    prefix = str(open_folder("jabert-mini").checkpoint)
    for training in (False, True):
        model = load_trained_model_from_checkpoint(
            str(MINI / "bert_config.json"), prefix, training=training, seq_len=16
        )
        assert model.get_layer("Embedding-Token").get_weights()[0].shape[1] == 96


def test_a_first_and_a_second_retraining_need_nothing_but_the_package():
    first = retrain("sample", [])
    second = retrain("sample", ["training.seed=1"])

    assert first["promoted"]
    assert first["weighted_f1"] > 0.4  # chance is 0.25; no figure of quality
    assert first["features"]["computed"] > 400
    assert second["features"] == {"computed": 0, "reused": sum(first["features"].values())}
    assert second["promoted"] == (second["weighted_f1"] > first["weighted_f1"])
    run = connect(load_settings().tracking).get_run(second["run_id"])
    assert "say nothing of quality" in run.data.tags["mlflow.note.content"].replace("\n", " ")
    assert run.data.params["data.path"] == "sample"
    assert run.data.params["encoder.path"] == "jabert-mini"
