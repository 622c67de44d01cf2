"""Which settings suit a method best on these labels, and how good the recipe that comes of it really is.

Run it as `jabert sweep --recipe … --set …`, as `python flows/sweep.py` with the same options, or as a Prefect
deployment. Each trial is a task here and a child run in MLflow. A trial that fails does not end the others;
what a killed run has tried is known to the next.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

from flows import stages
from flows.flow import flow
from flows.pages import show_markdown
from flows.retrain import prefect_tags
from flows.stage import stage
from jabert.evaluation import Failure, OnTestRows, Sweep
from jabert.experiments import sweep as sweeps
from jabert.experiments.leaderboard import ChildrenFailedError
from jabert.experiments.parallel import Pending, first_finished, local_processes
from jabert.experiments.recording import record_sweep
from jabert.experiments.sweep import Plan, Trial
from jabert.files import write_text
from jabert.methods import method_of
from jabert.report.sweep import sweep_page
from jabert.tracking import Run, tracked_run, with_local_encoder

_FLOW = "sweep"


@flow(name=_FLOW)
def sweep(
    recipe: str = "", overrides: list[str] | None = None, *, out: str = sweeps.BEST, jobs: int = 1
) -> dict[str, Any]:
    """Try settings of a method, and write the recipe of the best.

    Args:
        recipe: name of a bundled recipe or path of a TOML file; empty for none.
        overrides: settings as `group.key=value`; `sweep.method.units=[64, 512, "log"]` is one to choose.
        out: file to write the recipe to.
        jobs: local processes.

    Raises:
        ChildrenFailedError: a trial failed; the others were measured all the same.
    """
    settings = sweeps.load(recipe, overrides or [])
    with tracked_run(settings, prefect_tags()) as run:
        settings = with_local_encoder(settings)
        data = stages.read(settings, run)
        plan = sweeps.make_plan(settings, data)
        stages.validate(settings, data, run)
        needed = method_of(plan.settings)
        if needed.needs_tokens:
            tokens = stages.tokenize(plan.settings, data, run)
            if "vectors" in needed.needs:
                stages.featurize(plan.settings, tokens, run)
        found, failures = _tried(plan, run, jobs)
        found = replace(found, tested=test(plan, found, run))
        result = report(plan, found, run, Path(out))
        if failures:
            raise ChildrenFailedError(failures, result)
    return result


def _tried(plan: Plan, run: Run, jobs: int) -> tuple[Sweep, list[Failure]]:
    """All trials, those of earlier runs too, and which failed now."""
    waiting: dict[Pending, Trial] = {}
    failures: list[Failure] = []
    with sweeps.open_study(plan) as study, local_processes(jobs) as submit:
        sweeps.adopt(study, run)

        def end_one() -> None:
            ended = first_finished(list(waiting))
            trial = waiting.pop(ended)
            result = _result(trial, ended)
            sweeps.tell(study, trial, result)
            if isinstance(result, Exception):
                failures.append(Failure(trial.name, str(result)))

        for trial in sweeps.trials_of(plan, study):
            waiting[submit(sweeps.measure_trial, trial, run.id)] = trial
            if len(waiting) == jobs:
                end_one()
        while waiting:
            end_one()
        return sweeps.collect(plan, study), failures


def _result(trial: Trial, wait: Pending) -> float | Exception | None:
    """What a trial came to: its figure, None if it was pruned, its error if it failed."""
    state = measure.with_options(task_run_name=trial.name)(trial, wait, return_state=True)
    found = state.result(raise_on_failure=False)
    assert found is None or isinstance(found, float | Exception)
    return found


@stage("Measure")
def measure(_: Trial, wait: Pending) -> float | None:
    """A trial, in this process or another."""
    found: float | None = wait()
    return found


@stage("Test")
def test(plan: Plan, found: Sweep, run: Run) -> OnTestRows | None:
    """The recipe of the best trial on the test rows."""
    return sweeps.test_once(plan, found.best.values, run.id)


@stage("Report")
def report(plan: Plan, found: Sweep, run: Run, out: Path) -> dict[str, Any]:
    """The recipe of the best trial, the table, the verdict and the pictures."""
    recipe = plan.recipe(found.best.values).to_toml()
    result = {"run_id": run.id, "study": plan.study, "recipe": str(out), **found.to_dict()}
    record_sweep(found, result, recipe, run)
    write_text(out, recipe)
    show_markdown("report", sweep_page(found), flow=_FLOW)
    return result


if __name__ == "__main__":
    import sys

    from jabert.cli import main

    main([_FLOW, *sys.argv[1:]])
