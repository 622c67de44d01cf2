"""A sweep: what may be chosen, on which rows, what a killed run left, and what is told of it all."""

import json
import os
import time
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import optuna
import pandas as pd
import pytest
import toy
import toy_method
from optuna.trial import TrialState
from toy import settings_of

from jabert.cli import main
from jabert.config import load_settings
from jabert.errors import JabertError
from jabert.evaluation import OnTestRows, Sweep, Tried
from jabert.experiments import measuring, steps
from jabert.experiments import sweep as sweeps
from jabert.experiments.folds import fold_tables
from jabert.experiments.parallel import Pending, first_finished, local_processes
from jabert.experiments.recording import record_sweep
from jabert.experiments.space import space_of
from jabert.methods import Fitted
from jabert.report.sweep import sweep_page
from jabert.tracking import connect, tracked_run

EPOCHS = 4


@pytest.fixture
def toy_kind(monkeypatch):
    """Epochs as good as `method.smoothing` says, while the answer is always the most frequent class."""

    def fit(self, job, train, validation, on_epoch):
        toy_method.Toy.fits.append(len(train))
        counts = np.bincount(train.classes, minlength=len(job.labels)) + 1.0
        np.save(job.folder / "counts.npy", counts)
        history = []
        for number in range(1, EPOCHS + 1):
            score = min(1.0, job.settings.method.smoothing * number / 100)
            history.append({"epoch": number, "loss": 1.0, "val_weighted_f1": score, "seconds": 0.01})
            on_epoch(history[-1])
        return Fitted(history, EPOCHS, metrics={"rows": len(train)})

    toy_method.install(monkeypatch)
    monkeypatch.setattr(toy_method.Toy, "chooses", True)
    monkeypatch.setattr(toy_method.Toy, "fit", fit)
    return toy_method.Toy


SMOOTHING = "sweep.method.smoothing=[1.0, 20.0]"


def recipe(text):
    Path("mine.toml").write_text(text, encoding="utf-8")
    return load_settings("mine.toml")


def test_a_recipe_gives_ranges_whole_numbers_and_choices():
    settings = recipe("""
        [method]
        kind = "bi-lstm"
        [sweep]
        trials = 3
        "method.units" = [16, 256, "log"]
        "method.dropout" = [0.0, 0.6]
        "training.monitor" = ["val_loss", "val_weighted_f1"]
        "training.batch_size" = [16, 64, "choose"]
        "training.shuffle" = [true, false]
        "training.patience" = [3, 5, 9]
        "encoder.max_tokens" = [16, 64]
    """)
    space = space_of(settings)
    units, dropout = space["method.units"], space["method.dropout"]
    assert isinstance(units, optuna.distributions.IntDistribution) and units.log
    assert isinstance(dropout, optuna.distributions.FloatDistribution) and not dropout.log
    choices = {name: of.choices for name, of in space.items() if hasattr(of, "choices")}
    assert choices == {
        "training.monitor": ("val_loss", "val_weighted_f1"),
        "training.batch_size": (16, 64),
        "training.shuffle": (True, False),
        "training.patience": (3, 5, 9),
    }
    Path("again.toml").write_text(settings.to_toml(), encoding="utf-8")
    assert load_settings("again.toml").sweep == settings.sweep, "a run can be repeated from its config.toml"
    more = load_settings("mine.toml", ["sweep.method.units=[8, 9]", "sweep.trials=4"]).sweep
    assert (more.space["method.units"], more.trials) == ((8, 9), 4) and len(more.space) == 7


@pytest.mark.parametrize(
    ("named", "sentence"),
    [
        ([], r"^there is nothing to choose: name a setting and its values, as \[sweep\] "),
        (["method.unit=[1, 2]"], r"^sweep, 'method.unit': there is no setting .* nearest is method.units$"),
        (["method.units=[0, 5]"], r"^sweep, 'method.units': setting method.units cannot be 0: .*equal to 1"),
        (["method.units=[5, 1]"], r"'method.units': the lower end 5 is not below the upper end 1$"),
        (["method.units=[1.0, 9.0]"], r"setting method.units cannot be 3.9430.*: .* integer"),
        (["method.dropout=[0.0, 0.5, 'log']"], r"the lower end 0.0 has no logarithm"),
        (["method.dropout=[0.0, 0.5, 'lgo']"], r"'lgo' does not say how .* the nearest is 'log'$"),
        (["method.dropout=[0.0, 1.5]"], r"setting method.dropout cannot be 1.5"),
        (["method.dropout=[0.0, inf]"], r"setting method.dropout cannot be inf"),
        (["training.shuffle=[true]"], r"\[True\] leaves nothing to choose"),
        (["training.monitor=[]"], r"\[\] leaves nothing to choose"),
        (["training.monitor=['val_los', 'val_acc']"], r"cannot be 'val_los'.* nearest is 'val_loss'"),
        (["training.batch_size=[[1, 2], [3, 4]]"], r"\[1, 2\] is neither a number, nor a text"),
        (["method.kind=['tfidf', 'stack']"], r"not for a sweep to choose: `jabert leaderboard` compares"),
        (["training.seed=[0, 9]"], r"not for a sweep to choose: a seed that was chosen"),
        (["data.seed=[0, 9]"], r"not for a sweep to choose, which takes settings of method and training"),
        (["encoder.path=['a', 'b']"], r"not for a sweep to choose, which takes"),
    ],
)
def test_a_wrong_space_is_one_sentence(toy_table, named, sentence):
    settings = settings_of(toy_table, "method.kind=bi-lstm", *(f"sweep.{each}" for each in named))
    with pytest.raises(JabertError, match=sentence) as caught:
        space_of(settings)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "override", ["sweep.trails=3", "sweep.folds=1", "sweep.pruner=mean", "sweeps.a.b=[1]"]
)
def test_a_wrong_setting_of_the_sweep_is_one_sentence(toy_table, override):
    with pytest.raises(JabertError, match=r"there is no setting|cannot be"):
        settings_of(toy_table, override)


def test_without_rows_to_choose_on_the_ways_out_are_named(toy_table, toy_kind):
    settings = settings_of(toy_table, "method.kind=toy", SMOOTHING, "data.validation_share=0")
    with pytest.raises(JabertError, match=r"^there are no validation rows to choose on; .* sweep.folds = 5"):
        sweeps.make_plan(settings, steps.read(settings))
    settings = settings_of(toy_table, "method.kind=toy", SMOOTHING, "sweep.folds=90")
    with pytest.raises(JabertError, match=r"^sweep.folds is 90, but .* set sweep.folds = "):
        sweeps.make_plan(settings, steps.read(settings))


def test_test_rows_are_never_among_those_that_choose(toy_table, toy_kind, monkeypatch, store):
    for number, folds in enumerate((0, 3)):
        overrides = [store, f"tracking.experiment=rows-{number}", "method.kind=toy", SMOOTHING]
        settings = settings_of(toy_table, *overrides, f"sweep.folds={folds}", "training.watch=test")
        data = steps.read(settings)
        held_back = set(data.table.loc[data.table["split"] == "test", "text"])
        seen, rows_of = [], steps.rows_of

        def spy(*given, seen=seen, rows_of=rows_of):
            rows = rows_of(*given)
            seen.extend(rows.texts)
            return rows

        monkeypatch.setattr(steps, "rows_of", spy)
        plan = sweeps.make_plan(settings, data)
        with sweeps.open_study(plan) as study, tracked_run(settings) as run:
            trial = next(sweeps.trials_of(plan, study))
            sweeps.tell(study, trial, sweeps.measure_trial(trial, run.id))
        assert seen and not held_back & set(seen)
        monkeypatch.setattr(steps, "rows_of", rows_of)


def run(settings, *, stop_after=None, error=None):
    """What the flow does, without Prefect."""
    data = steps.read(settings)
    plan = sweeps.make_plan(settings, data)
    with tracked_run(settings) as parent, sweeps.open_study(plan) as study:
        sweeps.adopt(study, parent)
        for number, trial in enumerate(sweeps.trials_of(plan, study)):
            if number == stop_after:
                return plan, None, parent
            result = error if error and trial.number == 1 else sweeps.measure_trial(trial, parent.id)
            sweeps.tell(study, trial, result)
        found = sweeps.collect(plan, study)
        found = replace(found, tested=sweeps.test_once(plan, found.best.values, parent.id))
        record_sweep(found, found.to_dict(), plan.recipe(found.best.values).to_toml(), parent)
    return plan, found, parent


def test_a_killed_sweep_comes_to_what_it_would_have_come_to(toy_table, toy_kind, store):
    own = ["method.kind=toy", SMOOTHING, "sweep.trials=12", store]
    whole = settings_of(toy_table, *own, "training.work_path=whole", "tracking.experiment=whole")
    killed = settings_of(toy_table, *own, "training.work_path=killed", "tracking.experiment=killed")
    _, expected, _ = run(whole)
    run(killed, stop_after=7)  # the eighth trial is proposed, and left
    toy_kind.fits.clear()
    _, found, parent = run(killed)
    assert len(toy_kind.fits) <= 5 + 1, "trials that had ended are not measured again"
    named = [(each.number, each.state, dict(each.values), each.weighted_f1) for each in found.trials]
    assert named == [
        (each.number, each.state, dict(each.values), each.weighted_f1) for each in expected.trials
    ]
    assert {each.state for each in found.trials} == {"complete", "pruned"}
    client = connect(killed.tracking)
    children = client.search_runs([parent.experiment_id], f"tags.`mlflow.parentRunId` = '{parent.id}'")
    names = {child.info.run_name for child in children}
    assert names == {*(f"trial {number}" for number in range(12)), "best recipe on test rows"}
    toy_kind.fits.clear()
    _, again, _ = run(killed)
    assert not toy_kind.fits and again.to_dict().keys() == found.to_dict().keys()
    _, more, _ = run(killed.model_copy(update={"sweep": killed.sweep.model_copy(update={"trials": 14})}))
    assert [each.number for each in more.trials] == list(range(14)), "more trials go on with the same study"


def test_another_space_or_other_rows_are_another_study(toy_table, toy_kind):
    settings = settings_of(toy_table, "method.kind=toy", SMOOTHING)
    data = steps.read(settings)
    studies = [sweeps.make_plan(settings, data).study]
    for override in ("sweep.method.smoothing=[1.0, 9.0]", "sweep.folds=3", "sweep.seed=1", "training.seed=1"):
        other = settings_of(toy_table, "method.kind=toy", SMOOTHING, override)
        studies.append(sweeps.make_plan(other, data).study)
    assert len(set(studies)) in (4, 5)  # this method does not read training.seed, others may
    same = settings_of(toy_table, "method.kind=toy", SMOOTHING, "sweep.trials=99", "promotion.min_gain=0.1")
    assert sweeps.make_plan(same, data).study == studies[0]


def test_trials_are_children_with_epochs_pruned_and_the_best_is_measured_on_test_rows_once(
    toy_table, toy_kind, store, monkeypatch
):
    tests, measure = [], measuring.measure
    monkeypatch.setattr(sweeps, "measure", lambda *given: tests.append(1) or measure(*given))
    settings = settings_of(
        toy_table, store, "tracking.experiment=children", "method.kind=toy", SMOOTHING, "sweep.trials=12"
    )
    plan, found, parent = run(settings)
    assert tests == [1]
    pruned = [each for each in found.trials if each.state == "pruned"]
    assert pruned and all(each.weighted_f1 is None for each in pruned)
    client = connect(settings.tracking)
    of_a_pruned = client.get_run(pruned[0].run_id)
    assert of_a_pruned.info.status == "FINISHED" and of_a_pruned.data.tags["sweep.state"] == "pruned"
    assert len(client.get_metric_history(found.best.run_id, "validation/weighted_f1")) == EPOCHS + 1
    assert found.tested.rows == plan.data.counts["test"]
    low, high = found.tested.interval
    assert low <= found.tested.weighted_f1 <= high
    names = {file.path.partition("/")[2] for file in client.list_artifacts(parent.id, "sweep")}
    pages = {"sweep.json", "sweep.md", "sweep.html", "best.toml"}
    assert pages <= names <= {*pages, "importance.png", "slice.png", "parallel_coordinate.png"}
    assert {"slice.png", "parallel_coordinate.png"} <= names
    text = Path(client.download_artifacts(parent.id, "sweep/best.toml")).read_text(encoding="utf-8")
    best = tomllib.loads(text)
    assert best["method"]["smoothing"] == found.best.values["method.smoothing"]
    assert best["sweep"]["space"] == {}


def test_a_trial_that_fails_is_told_and_another_call_tries_another(toy_table, toy_kind, store):
    settings = settings_of(
        toy_table, store, "tracking.experiment=fails", "method.kind=toy", SMOOTHING, "sweep.trials=3"
    )
    _, found, _ = run(settings, error=RuntimeError("out of luck"))
    assert [each.state for each in found.trials] == ["complete", "failed", "complete"]
    assert "failed: out of luck" in sweep_page(found)
    _, found, _ = run(settings)
    assert [each.state for each in found.trials] == ["complete", "failed", "complete", "complete"]


def test_where_no_trial_ends_well_a_sentence_says_why(toy_table, toy_kind, store):
    settings = settings_of(toy_table, store, "method.kind=toy", SMOOTHING)
    plan = sweeps.make_plan(settings, steps.read(settings))
    with sweeps.open_study(plan) as study:
        trial = next(sweeps.trials_of(plan, study))
        sweeps.tell(study, trial, RuntimeError("out of luck"))
        with pytest.raises(JabertError, match=r"^no trial was completed; trial 0 failed: out of luck$"):
            sweeps.collect(plan, study)


def test_where_all_trials_were_pruned_a_sentence_says_how_none_is(toy_table, toy_kind, store):
    settings = settings_of(toy_table, store, "method.kind=toy", SMOOTHING)
    plan = sweeps.make_plan(settings, steps.read(settings))
    with sweeps.open_study(plan) as study:
        sweeps.tell(study, next(sweeps.trials_of(plan, study)), None)
        with pytest.raises(
            JabertError, match=r"^no trial was completed; all were pruned; .*sweep\.pruner = 'off'"
        ):
            sweeps.collect(plan, study)


def test_a_trial_that_was_killed_while_it_was_proposed_is_no_trial(toy_table, toy_kind):
    settings = settings_of(toy_table, "method.kind=toy", SMOOTHING, "sweep.trials=1")
    plan = sweeps.make_plan(settings, steps.read(settings))
    with sweeps.open_study(plan) as study:
        study.ask({})
        (trial,) = sweeps.trials_of(plan, study)
        assert trial.number == 1
        assert study.trials[0].state == TrialState.FAIL


@pytest.mark.parametrize("pruner", ["median", "hyperband", "off"])
def test_pruners_and_folds(toy_table, toy_kind, store, pruner):
    overrides = [store, "tracking.experiment=pruners", "method.kind=toy", SMOOTHING, "sweep.trials=2"]
    settings = settings_of(toy_table, *overrides, f"sweep.pruner={pruner}", "sweep.folds=2")
    plan, found, _ = run(settings)
    assert found.protocol == "chosen on 2 inner folds of all but the test rows"
    assert len(toy_kind.fits) >= 2 * 2
    tables = fold_tables(settings, plan.data, 0, without_test=True, of="sweep")
    assert [table.key for table in tables] == [table.key for table in plan.tables]


def test_a_database_that_cannot_be_opened_is_one_sentence(toy_table, toy_kind):
    for place in ("postgresql://127.0.0.1:1/none", "toy.txt"):
        Path("toy.txt").write_text("no database", encoding="utf-8")
        settings = settings_of(toy_table, "method.kind=toy", SMOOTHING, f"sweep.storage={place}")
        plan = sweeps.make_plan(settings, steps.read(settings))
        sentence = r"^sweep.storage .* cannot be opened \("
        with pytest.raises(JabertError, match=sentence) as caught, sweeps.open_study(plan):
            pass
        assert "\n" not in str(caught.value)


def test_the_first_call_that_ends_is_found():
    calls = [Pending(lambda: 1), Pending(lambda: 2)]
    assert first_finished(calls) is calls[0], "in this process one is made when it is asked for"
    with local_processes(2) as submit:
        slow, quick = submit(time.sleep, 2), submit(max, 1, 2)
        assert first_finished([slow, quick]) is quick
        assert (quick(), slow()) == (2, None)


def test_a_process_that_dies_again_is_one_sentence_with_what_to_lower():
    with (
        local_processes(2) as submit,
        pytest.raises(JabertError, match=r"^its process died, maybe for want of memory; a lower --jobs"),
    ):
        submit(os._exit, 1)()


SCALES = {"method.c": "log", "method.classifier": "choose", "method.longest": "linear"}
TRIALS = (
    Tried(0, "complete", {"method.c": 0.1, "method.classifier": "svm", "method.longest": 2}, 0.7, "a"),
    Tried(1, "complete", {"method.c": 9.0, "method.classifier": "logistic", "method.longest": 2}, 0.8, "b"),
    Tried(2, "pruned", {"method.c": 1.0, "method.classifier": "svm", "method.longest": 3}, None, "c"),
    Tried(3, "failed", {"method.c": 2.0, "method.classifier": "svm", "method.longest": 3}, error="no | luck"),
)


def test_the_verdict_names_both_figures_and_what_there_is_not():
    tested = OnTestRows(40, 0.71, 0.7, 0.72, (0.6, 0.8))
    found = Sweep(TRIALS, SCALES, {}, "chosen on 9 validation rows", tested)
    assert found.verdict == (
        "trial 1 is the best of 4: weighted F1 0.800 on the rows that chose it, which flatters it; 0.710 "
        "(0.600 to 0.800) on 40 test rows, which chose nothing"
    )
    assert replace(found, tested=None).verdict.endswith(
        "there are no test rows that would say how good it is"
    )
    as_json = json.loads(json.dumps(found.to_dict()))
    assert as_json["best"]["number"] == 1 and as_json["test"]["interval"] == [0.6, 0.8]
    page = sweep_page(found)
    assert page.index("| 1 |") < page.index("| 0 |") < page.index("no \\| luck")


def said(capsys, *words, code):
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main(["sweep", *words])
    assert ended.value.code == code
    return capsys.readouterr()


def test_the_command_shows_trials_and_wrong_input_before_prefect_is_loaded(capsys, monkeypatch, toy_table):
    found = Sweep(TRIALS, SCALES, {}, "chosen on 9 validation rows", None)
    result = {"run_id": "abc", "study": "s", "recipe": "best one.toml", **found.to_dict()}
    given = []

    def flow(name, recipe, overrides, **options):
        given.append((name, options))
        return result

    monkeypatch.setattr("jabert.cli.commands.training.run_flow", flow)
    kind = ["--set", f"data.path={toy_table}", "--set", "method.kind=tfidf"]
    words = [*kind, "--set", 'sweep.method.c=[0.1, 10.0, "log"]', "--jobs", "2"]
    assert json.loads(said(capsys, *words, "--json", code=0).out) == json.loads(json.dumps(result))
    shown = said(capsys, *words, "--out", "x.toml", code=0).out
    assert "0.8000" in shown and "trial 3 failed: no | luck" in shown
    assert "retrain --recipe 'best one.toml'" in shown
    assert given[1] == ("sweep", {"out": "x.toml", "jobs": 2})
    assert "there is nothing to choose" in said(capsys, *kind, code=1).err
    Path("mine.toml").write_text('[sweep]\n"method.c" = [0.1, 10.0]\n', encoding="utf-8")
    same = said(capsys, "--recipe", "mine.toml", *kind, "--out", "mine.toml", code=1).err
    assert "--out mine.toml is the recipe itself" in same
    assert len(given) == 2


def test_labels_of_the_toy_are_in_each_fold(toy_table, toy_kind):
    settings = settings_of(toy_table, "method.kind=toy", SMOOTHING, "sweep.folds=3")
    plan = sweeps.make_plan(settings, steps.read(settings))
    for table in plan.tables:
        frame = pd.read_parquet(table.folder / "table.parquet")
        assert set(frame.loc[frame["split"] == "test", "label"]) == set(toy.LABELS)
