"""A leaderboard: its methods, its folds, its children, what is found again and what fails."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import toy
import toy_method
from toy import settings_of

from jabert.cli import main
from jabert.config import load_settings
from jabert.errors import JabertError
from jabert.evaluation import Failure, FoldScore, make_leaderboard
from jabert.experiments import leaderboard as boards
from jabert.experiments import steps
from jabert.experiments.folds import fold_tables
from jabert.experiments.recording import record_leaderboard
from jabert.tracking import connect, tracked_run


@pytest.fixture
def toy_kind(monkeypatch):
    toy_method.install(monkeypatch)
    return toy_method.Toy


def methods(*names):
    return f"leaderboard.methods={json.dumps(names)}"


def written(rows, name="rows.csv"):
    pd.DataFrame(rows).to_csv(name, index=False)
    return name


def test_a_kind_a_recipe_and_a_table_name_a_method(toy_table):
    inline = '{name = "wide", kind = "bi-lstm", units = 9, training = {epochs = 2}}'
    named = f'leaderboard.methods=["tfidf", "bi-lstm", "seed", {inline}, {{kind = "tfidf", c = 2}}]'
    settings = settings_of(toy_table, "method.kind=bi-lstm", "method.units=7", "training.epochs=5", named)
    assert settings.to_toml(), "it can be written"
    settings = settings.model_copy(update={"encoder": load_settings("sample").encoder})
    found = boards.methods_of(settings)
    assert list(found) == ["tfidf", "bi-lstm", "seed", "wide", "tfidf (c 2)"]
    assert found["bi-lstm"].method.units == 7, "the kind of the recipe keeps its settings"
    assert (found["seed"].method.dropout, found["seed"].training.epochs) == (0.0, 100)
    assert found["seed"].data == settings.data, "of a recipe only method and training count"
    assert {own.training.watch for own in found.values()} == {"validation"}
    assert (found["wide"].method.units, found["wide"].training.epochs) == (9, 2)
    assert found["tfidf (c 2)"].method.c == 2


def test_without_names_all_usual_methods_are_measured_and_the_article_s_on_demand(toy_table):
    settings = load_settings("sample", [f"data.path={toy_table}"])
    assert tuple(boards.methods_of(settings)) == boards.DEFAULT
    assert tuple(boards.methods_of(settings, article=True)) == (*boards.DEFAULT, "seed", "word2vec")


@pytest.mark.parametrize(
    ("named", "sentence"),
    [
        (["tfidff"], r"leaderboard.methods, 'tfidff': it is neither .* the nearest is 'tfidf'$"),
        (["tfidf", "tfidf"], r"names 'tfidf' twice"),
        (["adapt"], r"'adapt': the recipe names no method"),
        ([{"kind": "tfidf", "sea": 2}], r"there is no setting method.sea"),
        ([{"kind": "tfdif"}], r"method.kind cannot be 'tfdif'; the nearest is 'tfidf'"),
        ([{"kind": "tfidf", "training": 3}], r"setting training cannot be 3"),
        (["mean-pooling"], r"encoder.path"),
    ],
)
def test_a_wrong_method_is_one_sentence(toy_table, named, sentence):
    settings = settings_of(toy_table)
    board = settings.leaderboard.model_copy(update={"methods": tuple(named)})
    with pytest.raises(JabertError, match=sentence) as caught:
        boards.methods_of(settings.model_copy(update={"leaderboard": board}))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("split", ["group", "sentence"])
def test_each_row_is_a_test_row_once_and_nothing_is_torn(toy_table, split):
    settings = settings_of(toy_table, f"data.split={split}", "leaderboard.folds=4")
    data = steps.read(settings)
    tables = [fold.table for fold in fold_tables(settings, data, seed=3)]
    tests = np.stack([table["split"] == "test" for table in tables])
    assert len(tables) == 4 and (tests.sum(axis=0) == 1).all()
    for table in tables:
        assert table["text"].tolist() == data.table["text"].tolist()
        assert set(table["split"]) == {"train", "validation", "test"}
        for _, own in table.groupby("split"):
            assert set(own["label"]) == set(toy.LABELS)
        if split == "group":
            assert (table.groupby("group")["split"].nunique() == 1).all()
    again = fold_tables(settings, data, seed=3)
    assert [fold.key for fold in again] == [fold.key for fold in fold_tables(settings, data, seed=3)]
    assert [fold.key for fold in again] != [fold.key for fold in fold_tables(settings, data, seed=4)]


def test_for_a_winner_that_is_judged_on_them_no_fold_holds_test_rows(toy_table):
    settings = settings_of(toy_table, "leaderboard.folds=3")
    data = steps.read(settings)
    held_back = data.table["split"] == "test"
    for fold in fold_tables(settings, data, seed=0, without_test=True):
        assert (fold.table["split"][held_back] == "held back").all()
        assert not (fold.table["split"][~held_back] == "held back").any()
        assert fold.texts_digest == data.texts_digest, "so they are tokenized once"


def test_copies_of_a_text_are_in_one_fold():
    rows = toy.toy_rows().drop(columns="group").to_dict("records")
    twins = [{**row, "text": f"{row['text']}\u200b"} for row in rows]
    settings = settings_of(written(rows + twins), "data.drop_duplicates=false", "data.split_version=2")
    for fold in fold_tables(settings, steps.read(settings), seed=0):
        table = fold.table.assign(form=fold.table["text"].str.rstrip("\u200b"))
        assert (table.groupby("form")["split"].nunique() == 1).all()


def few(label, count):
    """Rows of which only so many articles have a label."""
    rows = toy.toy_rows()
    articles = sorted(rows.loc[rows["label"] == label, "group"].unique())
    return rows[~rows["group"].isin(articles[count:])]


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        (lambda: few("京都", 3), r"^the label '京都' is in 3 groups only, .* set leaderboard.folds = 3$"),
        (lambda: few("京都", 1), r"^the label '京都' is in 1 group only, .* label more of it"),
        (lambda: toy.toy_rows().assign(group="same"), r"^all rows are of one group, 'same', .* data.split"),
        (lambda: toy.toy_rows(8, 4), r"^leaderboard.folds is 5, but there are only 4 groups: set"),
        (lambda: toy.toy_rows(4, 4).drop(columns="group"), r"^leaderboard.folds is 5, .* only 4 rows"),
        (lambda: toy.toy_rows().assign(label="京都"), r"^the rows have one label only"),
    ],
)
def test_rows_that_cannot_be_divided_are_one_sentence(rows, sentence):
    settings = settings_of(written(rows()), "data.test_share=0", "data.validation_share=0")
    with pytest.raises(JabertError, match=sentence):
        fold_tables(settings, steps.read(settings), seed=0)


def test_rows_without_text_or_label_are_left_for_validation_to_refuse():
    rows = toy.toy_rows()
    rows.loc[3, "text"], rows.loc[9, "label"] = None, None
    rows.to_json("null.jsonl", orient="records", lines=True, force_ascii=False)
    settings = settings_of("null.jsonl", "leaderboard.folds=2")
    assert len(fold_tables(settings, steps.read(settings), seed=0)) == 2


def run(settings, *, stop_after=None):
    """What the flow does, without Prefect: the leaderboard, and what its run holds."""
    data = steps.read(settings)
    plan = boards.make_plan(settings, data, boards.methods_of(settings))
    with tracked_run(settings) as parent:
        results = []
        for child in plan.children[:stop_after]:
            try:
                results.append(boards.measure_child(child, parent.id))
            except RuntimeError as error:
                results.append(error)
        if stop_after:
            return None
        board = boards.collect(plan, results)
        record_leaderboard(board, {"run_id": parent.id, **board.to_dict()}, parent)
    return board, parent


def test_children_are_runs_and_the_same_again_is_found_with_its_times(toy_kind, store, toy_table):
    overrides = [store, "tracking.experiment=again", "method.kind=toy", "leaderboard.folds=3"]
    first, run_of = run(settings_of(toy_table, *overrides, methods("toy", "majority")))
    assert len(toy_kind.fits) == 3
    more = settings_of(toy_table, *overrides, methods("toy", "majority", "tfidf"))
    second, _ = run(more)
    assert len(toy_kind.fits) == 3, "what was measured is not measured again"
    old = {each["method"]: each["folds"] for each in first.to_dict()["methods"]}
    new = {each["method"]: each["folds"] for each in second.to_dict()["methods"]}
    assert {name: new[name] for name in old} == old, "times included"
    assert second.standings[0].method == "tfidf" and second.winner == "tfidf"
    assert run(more)[0].to_dict() == second.to_dict()

    client = connect(more.tracking)
    children = client.search_runs(
        [run_of.experiment_id], f"tags.`mlflow.parentRunId` = '{run_of.id}'", order_by=["start_time ASC"]
    )
    assert [child.info.run_name for child in children] == [
        f"{name}, seed 0, fold {fold}" for name in ("toy", "majority") for fold in (1, 2, 3)
    ]
    assert {child.info.status for child in children} == {"FINISHED"}
    of_majority = [child.data.metrics["test/weighted_f1"] for child in children[3:]]
    assert of_majority == [fold["weighted_f1"] for fold in old["majority"]]
    names = {file.path.partition("/")[2] for file in client.list_artifacts(run_of.id, "leaderboard")}
    assert names == {
        *("leaderboard.json", "leaderboard.md", "leaderboard.html"),
        *("folds.png", "critical_difference.png", "cost.png"),
    }
    page = client.download_artifacts(run_of.id, "leaderboard/leaderboard.html")
    html = Path(page).read_text(encoding="utf-8")
    assert html.count("data:image/png;base64,") == 3 and 'src="http' not in html


def test_a_run_that_was_killed_goes_on_at_the_fold(toy_kind, store, toy_table):
    settings = settings_of(
        toy_table, store, "tracking.experiment=killed", "method.kind=toy", "leaderboard.seeds=[0, 1]",
        "leaderboard.folds=2", methods("toy", "majority"),
    )  # fmt: skip
    run(settings, stop_after=3)
    assert len(toy_kind.fits) == 3
    board, _ = run(settings)
    assert len(toy_kind.fits) == 4
    assert [(fold.seed, fold.fold) for fold in board.standings[0].folds] == [(0, 1), (0, 2), (1, 1), (1, 2)]


def test_a_child_that_fails_does_not_end_the_others(toy_kind, store, toy_table, monkeypatch):
    fit = toy_kind.fit

    def fails_once(self, job, train, validation, on_epoch):
        if len(self.fits) == 1:
            self.fits.append(0)
            raise RuntimeError("out of luck")
        return fit(self, job, train, validation, on_epoch)

    monkeypatch.setattr(toy_kind, "fit", fails_once)
    settings = settings_of(
        toy_table, store, "tracking.experiment=fails", "method.kind=toy", methods("toy", "majority"),
        "leaderboard.folds=3",
    )  # fmt: skip
    board, run_of = run(settings)
    assert [each.method for each in board.standings] == ["majority"]
    (failure,) = board.failures
    assert (failure.method, failure.error) == ("toy", "seed 0, fold 2: out of luck")
    assert [fold.fold for fold in failure.folds] == [1, 3]
    page = connect(settings.tracking).download_artifacts(run_of.id, "leaderboard/leaderboard.md")
    assert "out of luck" in Path(page).read_text(encoding="utf-8")


def test_overrides_give_a_retraining_the_method_of_the_winner(toy_table):
    named = '{kind = "bi-lstm", units = 9, training = {epochs = 2}}'
    settings = load_settings("sample", [f"leaderboard.methods=[{named}]"])
    (own,) = boards.methods_of(settings).values()
    again = load_settings("sample", boards.overrides_for(own))
    assert again.method == own.method
    assert again.training == own.training


def said(capsys, *words, code):
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main(["leaderboard", *words])
    assert ended.value.code == code
    return capsys.readouterr()


def test_the_command_shows_what_was_measured_and_ends_with_1_if_a_child_failed(
    capsys, monkeypatch, toy_table
):
    fold = FoldScore(40, 0.8, 0.8, 0.8, 1.0, 2.0, 100, seed=0, fold=1)
    folds = [fold, replace(fold, fold=2, weighted_f1=0.9)]
    failure = Failure("broken", "seed 0, fold 2: out of luck", (fold,))
    board = make_leaderboard({"tfidf": folds}, {"tfidf": None}, [failure], folds=2, protocol="40 rows")
    result = {"run_id": "abc", **board.to_dict()}
    given = []

    def flow(name, recipe, overrides, **options):
        given.append(options)
        raise boards.ChildrenFailedError([failure], result)

    monkeypatch.setattr("jabert.cli.commands.training.run_flow", flow)
    words = ["--set", f"data.path={toy_table}", "--set", 'leaderboard.methods=["tfidf"]', "--jobs", "2"]
    as_json = said(capsys, *words, "--json", code=1)
    assert json.loads(as_json.out) == json.loads(json.dumps(result))
    assert as_json.err.endswith("jabert: broken failed: seed 0, fold 2: out of luck\n")
    shown = said(capsys, *words, code=1).out
    assert "Tfidf is the only method" in shown and "0.8500" in shown and "out of luck" in shown
    assert given[0] == {"article": False, "promote": False, "jobs": 2}


def test_a_wrong_method_is_said_before_prefect_is_loaded(capsys, monkeypatch, toy_table):
    monkeypatch.setattr("jabert.cli.commands.training.run_flow", None)
    words = ["--set", f"data.path={toy_table}", "--set", 'leaderboard.methods=["tfidff"]']
    assert "the nearest is 'tfidf'" in said(capsys, *words, code=1).err
