"""Two versions side by side, from what runs recorded in a real store."""

import json
from pathlib import Path

import pandas as pd
import pytest

from jabert.cli.output import print_diff
from jabert.config import load_settings
from jabert.errors import JabertError
from jabert.evaluation import weighted_f1
from jabert.registry import open_registry
from jabert.registry.diff import diff
from jabert.tracking import tracked_run

OLD = {"京都の寺": "京都", "駅の食堂": "グルメ", "寺の食堂": "京都", "店": "京都", "昔の行": "京都"}
NEW = {"京都の寺": "京都", "駅の食堂": "京都", "寺の食堂": "グルメ", "店": "京都", "今の行": "京都"}
LABELS = {
    "京都の寺": "京都",
    "駅の食堂": "グルメ",
    "寺の食堂": "グルメ",
    "店": "グルメ",
    "昔の行": "京都",
    "今の行": "京都",
}


def predictions(said, copies=1):
    rows = [(text, LABELS[text], predicted, 0.9) for text, predicted in said.items()] * copies
    return pd.DataFrame(rows, columns=["text", "label", "predicted", "score"])


def register(overrides, predicted, accuracy=0.5, judged=True):
    """A version whose run recorded what a retraining does."""
    settings = load_settings(
        None, ["data.path=https://me:secret@host/x.csv", "method.kind=bi-lstm", *overrides]
    )
    registry = open_registry(settings)
    with tracked_run(settings) as run:
        report = {"per_class": [{"label": "京都", "f1": accuracy}], "rows": 5, "accuracy": accuracy}
        scores = {"weighted_f1": accuracy, "macro_f1": accuracy, "log_loss": 1.0}
        run.json("report/report.json", {**report, **scores})
        run.metrics({"rows/train": 10, "rows/validation": 3, "rows/test": 5})
        run.tags({"data_digest": f"digest {accuracy}"})
        run.dataset(pd.DataFrame({"text": ["x"]}), "https://host/x.csv", "d", "train")
        if predicted is not None:
            run.text("report/predictions.csv", predicted.to_csv(index=False))
    if not registry.all():
        registry.client.create_registered_model(registry.name)
    created = registry.client.create_model_version(registry.name, f"runs:/{run.id}/model", run.id)
    if judged:
        registry.tag(str(created.version), {"judged_in": run.id})
    return registry


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    """Three versions, of which the third has no predictions."""
    store = f"tracking.uri=sqlite:///{tmp_path_factory.mktemp('store')}/mlflow.db"
    register([store], predictions(OLD), 0.5, judged=False)
    register([store, "classifier.units=8", "data.labels=['京都', 'グルメ']"], predictions(NEW, 2), 0.75)
    return register([store], None)


def test_settings_data_and_metrics_side_by_side(registry):
    found = diff(registry, "1", "2")

    assert found.settings == {
        "method.units": (356, 8),
        "data.labels": ([], ["京都", "グルメ"]),
    }
    assert found.data == {
        "source": ("https://host/x.csv",) * 2,
        "digest": ("digest 0.5", "digest 0.75"),
        "train rows": (10, 10),
        "validation rows": (3, 3),
        "test rows": (5, 5),
    }
    assert found.metrics["weighted F1"] == (0.5, 0.75)
    assert found.metrics["F1 of 京都"] == (0.5, 0.75)
    assert "secret" not in json.dumps(found.to_dict())


def test_flips_are_on_the_rows_that_both_have_each_counted_once(registry):
    common = diff(registry, "1", "2").common

    assert common.rows == 4
    assert [(of.text, of.label, of.a, of.b) for of in common.only_a_right] == [
        ("駅の食堂", "グルメ", "グルメ", "京都")
    ]
    assert [(of.text, of.label, of.a, of.b) for of in common.only_b_right] == [
        ("寺の食堂", "グルメ", "京都", "グルメ")
    ]
    codes = [0, 1, 1, 1], [0, 1, 0, 0]
    expected = weighted_f1(*map(pd.Series.to_numpy, map(pd.Series, codes)), 2)
    assert common.weighted_f1 == (expected, expected)
    back = diff(registry, "2", "1").common
    assert [of.text for of in back.only_a_right] == ["寺の食堂"]


def test_texts_of_any_kind_survive_the_table_of_predictions(tmp_path):
    odd = ["NA", "null", "", '"引用", コンマ', "二\n行", " 空白 ", "=1+1", "🍣"]
    table = pd.DataFrame({"text": odd, "label": "NA", "predicted": ["NA", "x"] * 4, "score": 0.5})
    store = f"tracking.uri=sqlite:///{tmp_path}/mlflow.db"
    register([store], table)
    registry = register([store], table.assign(predicted="NA"))

    common = diff(registry, "1", "2").common

    assert common.rows == len(odd)
    assert [of.text for of in common.only_b_right] == odd[1::2]


def test_a_version_without_predictions_is_named(registry):
    found = diff(registry, "2", "3")
    assert found.common is None
    assert "the run of version 3 has no report/predictions.csv" in found.unknown


def test_no_row_in_common_is_no_error(tmp_path, capsys):
    store = f"tracking.uri=sqlite:///{tmp_path}/mlflow.db"
    register([store], predictions({"昔の行": "京都"}))
    registry = register([store], predictions({"今の行": "京都"}))

    found = diff(registry, "1", "2")

    assert (found.common.rows, found.common.weighted_f1) == (0, None)
    print_diff(found)
    assert "test rows in common: 0" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("a", "b", "sentence"),
    [
        ("1", "1", "1 and 1 are one version"),
        ("1", "01", "1 and 01 are one version"),
        ("1", "9", "there is no version '9'"),
        ("champion", "1", "there is no version 'champion'"),
    ],
)
def test_versions_that_cannot_be_compared_are_named(registry, a, b, sentence):
    with pytest.raises(JabertError, match=sentence):
        diff(registry, a, b)


def test_a_run_that_is_gone_is_named(tmp_path):
    store = f"tracking.uri=sqlite:///{tmp_path}/mlflow.db"
    registry = register([store], None)
    register([store], None)
    artifacts = Path(load_settings(None, [store]).tracking.artifacts)
    (artifacts / registry.run("1").info.run_id / "artifacts" / "config.toml").unlink()
    with pytest.raises(JabertError, match=r"the run of version 1 of 'jabert' has no config\.toml"):
        diff(registry, "1", "2")


def test_a_version_of_jabert_0_1_is_compared_by_the_present_names_of_its_settings(tmp_path):
    store = f"tracking.uri=sqlite:///{tmp_path}/mlflow.db"
    registry = register([store], None)
    of_0_1 = "[data]\nlabels = []\n\n[classifier]\nunits = 8\ndropout = 0.0\n"
    register([store, "method.units=8", "method.dropout=0"], None)
    run_id = registry.get("1").tags["judged_in"]
    registry.client.log_text(run_id, of_0_1, "config.toml")
    found = diff(registry, "1", "2").settings
    assert not [name for name in found if name.startswith(("classifier.", "method."))]


def test_people_see_both_columns_and_the_first_texts(registry, capsys):
    print_diff(diff(registry, "1", "2"))

    out = capsys.readouterr().out
    lines = [line.split() for line in out.splitlines()]
    assert ["method.units", "356", "8"] in lines
    assert ["train", "rows", "10", "10"] in lines
    assert "each on its own test rows" in out
    assert "test rows in common: 4" in out
    assert "only version 1 is right: 1\n" in out
    assert ["グルメ", "グルメ", "京都", "駅の食堂"] in lines
    print_diff(diff(registry, "2", "3"))
    assert "has no report/predictions.csv" in capsys.readouterr().out


def test_a_deleted_run_is_named(tmp_path):
    store = f"tracking.uri=sqlite:///{tmp_path}/mlflow.db"
    register([store], None)
    registry = register([store], None)
    registry.tag("1", {"judged_in": "0" * 32})
    with pytest.raises(JabertError, match="the run of version 1 of 'jabert' is gone"):
        diff(registry, "1", "2")
