"""The check of the data: doubted labels, copies, outliers, the learning curve, corrections, rows to keep."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import toy

from jabert.cli import main
from jabert.config import load_settings
from jabert.errors import JabertError
from jabert.evaluation.labels import doubted, gain_of_more, most_teaching, with_groups
from jabert.experiments.data_check import check, quick_check
from jabert.experiments.labelling import most_worth

RNG = np.random.default_rng(0)


def test_a_row_is_doubted_where_another_class_is_as_probable_as_for_its_own_rows():
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.6, 0.4], [0.7, 0.3], [0.55, 0.45], [0.8, 0.2]])
    found = doubted(np.array([0, 0, 1, 1, 0, 0]), probabilities)
    # the thresholds are the means 0.7875 and 0.35: 0.45 is more than the second, so that row is doubted too
    assert [(doubt.row, doubt.label, doubt.likely) for doubt in found] == [(3, 1, 0), (2, 1, 0), (4, 0, 1)]
    assert [doubt.score for doubt in found] == pytest.approx([0.7, 0.6, 0.55 - 0.1])


def test_the_most_suspicious_come_first_and_rows_without_probabilities_are_left():
    probabilities = np.array(
        [[0.9, 0.1]] * 4 + [[0.1, 0.9]] * 4 + [[0.06, 0.94], [0.01, 0.99], [np.nan, np.nan]]
    )
    labels = np.array([0] * 4 + [1] * 4 + [0, 0, 0])
    assert [doubt.row for doubt in doubted(labels, probabilities)] == [9, 8]


def test_pure_groups_speak_for_the_labels_of_their_rows_and_mixed_ones_say_nothing():
    groups = np.repeat(np.arange(40), 5)
    pure = np.repeat(np.arange(40) % 2, 5)
    pure[0] = 1 - pure[0]
    unsure = np.full((200, 2), 0.5)
    joined = with_groups(pure, unsure, groups)
    assert joined[0, pure[0]] < 0.1 and joined[6, pure[6]] > 0.9
    mixed = RNG.integers(2, size=200)
    assert np.abs(with_groups(mixed, unsure, groups) - 0.5).max() < 0.1
    alone = with_groups(mixed, unsure, np.arange(200))
    assert alone == pytest.approx(unsure)


def test_what_more_labels_bring_follows_the_curve():
    sizes = [100, 200, 400, 700, 1000]
    curve = 0.9 - 3 * np.array(sizes, dtype=float) ** -0.5
    scores = curve + RNG.normal(0, 0.001, size=(5, 5))
    gain = gain_of_more(sizes, scores, 500, now=1000)
    assert gain.gain == pytest.approx(3 * (1000**-0.5 - 1500**-0.5), rel=0.25)
    assert gain.low <= gain.gain <= gain.high
    flat = gain_of_more(sizes, np.full((5, 5), 0.8), 500, now=1000)
    assert (flat.gain, flat.low, flat.high) == (0, 0, 0)


@pytest.fixture
def flipped():
    """Twelve wrong labels of 160, by line; without groups, so that only texts can tell."""
    rows = toy.toy_rows().drop(columns="group")
    wrong = np.sort(RNG.permutation(len(rows))[:12])
    rows.loc[wrong, "label"] = [
        toy.LABELS[(toy.LABELS.index(label) + 1) % 4] for label in rows["label"][wrong]
    ]
    rows.to_csv("flipped.csv", index=False)
    return {int(row) + 2 for row in wrong}


def settings_of(encoder, table="flipped.csv", *more):
    return load_settings(None, [f"data.path={table}", f"encoder.path={encoder}", "encoder.device=cpu", *more])


def test_flipped_labels_are_found(toy_encoder, flipped):
    found = check(settings_of(toy_encoder)).to_dict()
    assert found["rows"] == 160
    first = [suspect["line"] for suspect in found["suspects"][:12]]
    assert len(flipped.intersection(first)) >= 7, "chance finds one"
    scores = [suspect["score"] for suspect in found["suspects"]]
    assert all(0 <= score <= 1 for score in scores)
    lines = Path("flipped.csv").read_text(encoding="utf-8").splitlines()
    for suspect in found["suspects"]:
        assert lines[suspect["line"] - 1] == f"{suspect['text']},{suspect['label']}"
        assert suspect["likely"] in set(toy.LABELS) - {suspect["label"]}
        assert suspect["file"].endswith("flipped.csv")
    sizes = [point["rows"] for point in found["learning_curve"]]
    assert sizes == sorted(sizes) and sizes[-1] == 128
    json.dumps(found)


def test_with_pure_groups_they_are_found_though_their_texts_say_nothing(toy_encoder):
    rows = toy.toy_rows()
    rows["text"] = [f"{number}番" for number in range(len(rows))]
    wrong = [5, 50, 77, 101]
    rows.loc[wrong, "label"] = [
        toy.LABELS[(toy.LABELS.index(label) + 1) % 4] for label in rows["label"][wrong]
    ]
    rows.to_csv("groups.csv", index=False)
    found = check(settings_of(toy_encoder, "groups.csv")).to_dict()
    assert {suspect["line"] - 2 for suspect in found["suspects"][:4]} == set(wrong)
    assert sorted(each["group"] for each in found["groups"]) == sorted(rows["group"][wrong])


def test_copies_stay_and_those_under_two_labels_are_shown(toy_encoder):
    rows = toy.toy_rows().drop(columns="group").to_dict("records")
    rows += [{**rows[0], "label": "スポーツ"}, {**rows[1], "text": f"{rows[1]['text']}！"}]
    pd.DataFrame(rows).to_csv("copies.csv", index=False)
    found = check(settings_of(toy_encoder, "copies.csv")).to_dict()
    assert found["rows"] == 162
    under_two = [each for each in found["duplicates"] if len(each["labels"]) > 1]
    lines = [[row["line"] for row in each["rows"]] for each in under_two]
    assert [2, 162] in lines
    row = next(each for each in under_two if [row["line"] for row in each["rows"]] == [2, 162])["rows"][0]
    assert row["split"] is None, "a retraining drops it"


def test_corrected_labels_hold_and_the_rest_is_kept(toy_encoder, flipped):
    before = check(settings_of(toy_encoder))
    assert len(before.kept) == 160 - len(before.suspects)
    line, right = min(flipped), before.suspects[0]
    true = toy.toy_rows()["label"]
    fixes = [{"file": "flipped.csv", "line": n, "label": true[n - 2]} for n in sorted(flipped)]
    fixes.append({"file": right["file"], "line": right["line"], "label": right["label"]})
    pd.DataFrame(fixes).drop_duplicates("line").to_csv("fixes.csv", index=False)
    after = check(settings_of(toy_encoder), Path("fixes.csv"))
    assert len(after.suspects) < len(before.suspects)
    assert not flipped & {suspect["line"] for suspect in after.suspects}
    told = after.write_kept(Path("kept.csv"))
    kept = pd.read_csv("kept.csv")
    assert (told["kept"], told["left_out"]) == (len(kept), 160 - len(kept))
    assert kept.set_index("line")["label"][line] == true[line - 2]
    assert load_settings(None, ["data.path=kept.csv"]), "it is data"


@pytest.mark.parametrize(
    ("fixes", "sentence"),
    [
        ("file,line\nflipped.csv,2\n", r"fixes.csv lacks the column 'label'"),
        (
            "file,line,label\nflipped.csv,900,京都\n",
            r"fixes.csv, line 2: the data have no row of 'flipped.csv'",
        ),
        ("file,line,label\nflipped.csv,2,\n", r"fixes.csv, line 2: there is no label"),
    ],
)
def test_corrections_that_do_not_fit_are_one_sentence(toy_encoder, flipped, fixes, sentence, tmp_path):
    path = tmp_path / "fixes.csv"
    path.write_text(fixes, encoding="utf-8")
    with pytest.raises(JabertError, match=sentence):
        check(settings_of(toy_encoder), path)


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ({"text": " ", "label": "京都"}, r"bad.csv, line 162: the text is blank"),
        ({"text": "お寺", "label": None}, r"bad.csv, line 162: the row has no label"),
    ],
)
def test_a_row_that_is_none_is_one_sentence(toy_encoder, row, sentence):
    rows = toy.toy_rows().drop(columns="group").to_dict("records")
    pd.DataFrame([*rows, row]).to_csv("bad.csv", index=False)
    with pytest.raises(JabertError, match=sentence):
        check(settings_of(toy_encoder, "bad.csv"))


def test_the_command_tells_writes_and_refuses_to_overwrite_the_data(toy_encoder, flipped, capsys):
    words = ["--set", "data.path=flipped.csv", "--set", f"encoder.path={toy_encoder}"]

    def said(*more, code=0):
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(["data", "check", *words, *more])
        assert ended.value.code == code
        return capsys.readouterr()

    options = ["--write-kept", "kept.jsonl", "--page", "page.html", "--suspects", "suspects.csv"]
    found = json.loads(said("--json", *options).out)
    assert set(found) >= {"rows", "seconds", "suspects", "duplicates", "outliers", "learning_curve"}
    kept = pd.read_json("kept.jsonl", lines=True)
    assert found["written"]["left_out"] == len(found["suspects"]) == 160 - len(kept)
    table = pd.read_csv("suspects.csv")
    assert table["line"].tolist() == [suspect["line"] for suspect in found["suspects"]]
    page = Path("page.html").read_text(encoding="utf-8")
    assert page.count("flipped.csv, line ") >= len(found["suspects"])
    out = said().out
    assert f"{len(found['suspects'])}" in out and found["suspects"][0]["text"] in out
    refused = said("--write-kept", "flipped.csv", code=1)
    assert "is a file of the data" in refused.err


def test_characters_alone_find_flipped_labels_copies_and_mixed_groups(flipped):
    rows = pd.read_csv("flipped.csv").to_dict("records")
    rows += [{**rows[0], "label": "スポーツ"}, {"text": " ", "label": "京都"}, {"text": "お寺の門"}]
    pd.DataFrame(rows).to_csv("quick.csv", index=False)
    found = quick_check(load_settings(None, ["data.path=quick.csv"]))
    first = [suspect["line"] for suspect in found["suspects"][:12]]
    assert len(flipped.intersection(first)) >= 7, "chance finds one"
    assert {row["line"] for row in found["duplicates"][0]["rows"]} >= {2, 162}
    assert found["groups"] == [] and found["seconds"] > 0
    grouped = toy.toy_rows()
    grouped.loc[5, "label"] = toy.LABELS[2]
    grouped.to_csv("mixed.csv", index=False)
    mixed = quick_check(load_settings(None, ["data.path=mixed.csv"]))
    assert [each["group"] for each in mixed["groups"]] == [grouped["group"][5]]
    assert mixed["suspects"][0]["line"] == 7


def test_validate_checks_the_labels_on_demand_without_an_encoder(flipped, capsys):
    def said(*more):
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(["validate", "--set", "data.path=flipped.csv", *more])
        assert ended.value.code == 0
        return capsys.readouterr().out

    plain, checked = json.loads(said("--json")), json.loads(said("--json", "--check"))
    assert plain["check"] is None and set(plain) == set(checked)
    suspects = checked["check"]["suspects"]
    assert suspects and suspects[0]["text"] in said("--check")


def test_the_least_certain_rows_are_taken_and_of_similar_ones_one():
    probabilities = np.array([[0.9, 0.1], [0.51, 0.49], [0.52, 0.48], [0.6, 0.4], [0.99, 0.01]])
    vectors = np.array([[9.0, 9.0], [0.0, 0.0], [0.01, 0.0], [5.0, 5.0], [9.0, 0.0]])
    assert most_teaching(probabilities, vectors, 1).tolist() == [1]
    assert most_teaching(probabilities, vectors, 3).tolist()[:2] == [1, 3], "the third is like the second"
    assert most_teaching(probabilities, vectors, 9).tolist() == [1, 2, 3, 0, 4]


def test_the_texts_to_label_first_are_neither_labelled_nor_copies(toy_encoder, capsys):
    rows = toy.toy_rows(rows=200)
    rows[:100].to_csv("labelled.csv", index=False)
    pool = [*rows["text"][90:], rows["text"][199], " "]
    pd.DataFrame({"text": pool}).to_csv("pool.csv", index=False)
    words = ["--set", "data.path=labelled.csv", "--set", f"encoder.path={toy_encoder}"]
    options = ["--unlabelled", "pool.csv", "--to-label", "label.csv", "--most", "12", "--json"]
    with pytest.raises(SystemExit) as ended:
        main(["data", "check", *words, *options])
    assert ended.value.code == 0
    told = json.loads(capsys.readouterr().out)["to_label"]
    table = pd.read_csv("label.csv")
    assert list(table) == ["text", "label", "likely", "score", "file", "line"] and table["label"].isna().all()
    assert table["text"].tolist() == [each["text"] for each in told]
    assert len(set(table["text"])) == 12 and not set(table["text"]) & set(rows["text"][:100])
    lines = Path("pool.csv").read_text(encoding="utf-8").splitlines()
    assert all(lines[each["line"] - 1] == each["text"] for each in told)
    with pytest.raises(SystemExit):
        main(["data", "check", *words, "--to-label", "label.csv"])
    assert "--unlabelled FILE and --to-label FILE go together" in capsys.readouterr().err
    rows[:50].drop(columns="label").to_csv("known.csv", index=False)
    with pytest.raises(JabertError, match=r"known.csv has no text that is not labelled already"):
        most_worth(settings_of(toy_encoder, "labelled.csv"), Path("known.csv"), 5)
    Path("other.csv").write_text("body\na\n", encoding="utf-8")
    with pytest.raises(JabertError, match=r"other.csv has no column 'text'"):
        most_worth(settings_of(toy_encoder, "labelled.csv"), Path("other.csv"), 5)
