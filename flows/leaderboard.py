"""Which method is best on these labels: methods on the same folds, with honest statistics, and what to do.

Run it as `jabert leaderboard --recipe … --set …`, as `python flows/leaderboard.py` with the same options, or
as a Prefect deployment. Each method on each fold is a task here and a child run in MLflow. A child that fails
does not end the others; what a killed run has measured is found by the next.
"""

from collections.abc import Callable
from typing import Any

from flows import stages
from flows.flow import flow
from flows.pages import show_markdown
from flows.retrain import prefect_tags, retrain
from flows.stage import stage
from jabert.config import Settings, load_settings
from jabert.evaluation import Leaderboard
from jabert.experiments import leaderboard as boards
from jabert.experiments.leaderboard import Child, ChildrenFailedError
from jabert.experiments.measuring import Measured
from jabert.experiments.parallel import local_processes
from jabert.experiments.recording import record_leaderboard
from jabert.report.leaderboard import leaderboard_page
from jabert.tracking import Run, tracked_run, with_local_encoder

_FLOW = "leaderboard"


@flow(name=_FLOW)
def leaderboard(
    recipe: str = "",
    overrides: list[str] | None = None,
    *,
    article: bool = False,
    promote: bool = False,
    jobs: int = 1,
) -> dict[str, Any]:
    """Measure methods, and retrain the winner if that is wished.

    Args:
        recipe: name of a bundled recipe or path of a TOML file; empty for none.
        overrides: settings as `group.key=value`; `leaderboard.methods` names the methods.
        article: measure the article's procedure and word2vec too.
        promote: retrain the winner on all but the test rows, which no fold holds then, for the gate to judge.
        jobs: local processes.

    Raises:
        ChildrenFailedError: a method failed on a fold; the others were measured all the same.
    """
    given = boards.overrides_of(recipe, overrides or [], promote=promote)
    settings = load_settings(recipe, given)
    with tracked_run(settings, prefect_tags()) as run:
        settings = with_local_encoder(settings)
        methods = boards.methods_of(settings, article=article)  # a wrong one is said before anything is read
        data = stages.read(settings, run)
        plan = boards.make_plan(settings, data, methods, without_test=promote)
        stages.validate(settings, data, run)
        if plan.with_tokens:
            tokens = stages.tokenize(plan.with_tokens, data, run)
            if plan.with_vectors:
                stages.featurize(plan.with_vectors, tokens, run)
        with local_processes(jobs) as submit:
            waiting = [(child, submit(boards.measure_child, child, run.id)) for child in plan.children]
            results = [_result(child, wait) for child, wait in waiting]
        board = boards.collect(plan, results)
        result = report(settings, board, run)
        if promote and board.winner:
            winner = boards.overrides_for(methods[board.winner])
            result["promotion"] = retrain(recipe, [*given, *winner])
        if board.failures:
            raise ChildrenFailedError(board.failures, result)
    return result


def _result(child: Child, wait: Callable[[], Measured]) -> Measured | Exception:
    """What a child came to; its error if it failed."""
    state = measure.with_options(task_run_name=child.name)(child, wait, return_state=True)
    found = state.result(raise_on_failure=False)
    assert isinstance(found, Measured | Exception)
    return found


@stage("Measure")
def measure(_: Child, wait: Callable[[], Measured]) -> Measured:
    """A method on one fold, in this process or another."""
    return wait()


@stage("Report")
def report(_: Settings, board: Leaderboard, run: Run) -> dict[str, Any]:
    """The table, the verdict and the pictures."""
    result = {"run_id": run.id, **board.to_dict()}
    record_leaderboard(board, result, run)
    show_markdown("report", leaderboard_page(board), flow=_FLOW)
    return result


if __name__ == "__main__":
    import sys

    from jabert.cli import main

    main([_FLOW, *sys.argv[1:]])
