"""The main job: labelled Japanese texts to a registered model, and a new champion if it is better.

Run it as `jabert retrain --recipe knbc --set data.path=… --set encoder.path=…`, as
`python flows/retrain.py` with the same options, or as a Prefect deployment with the parameters
`recipe` and `overrides`. No server is needed; with PREFECT_API_URL set the run appears there, each
stage with its page, and in MLflow as one run with parameters, metrics, report and model.
"""

from typing import Any

import flows  # noqa: F401  the settings come before Prefect

from prefect import flow  # isort: skip
from prefect.runtime import flow_run
from prefect.states import Completed
from prefect.transactions import transaction

from flows.judging import describe, promote, register
from flows.pages import progress, show_markdown
from flows.stage import stage
from flows.stages import featurize, read, tokenize, validate
from jabert.config import Settings, load_settings
from jabert.experiments import retraining
from jabert.experiments.retraining import Data, Evaluated, Results
from jabert.methods.bi_lstm import Trained
from jabert.tracking import Run, tracked_run, with_local_encoder

__all__ = ["prefect_tags", "retrain"]


@flow(name="retrain")
def retrain(
    recipe: str = "", overrides: list[str] | None = None, skip_unchanged: bool = False
) -> dict[str, Any]:
    """Retrain and, where the new model is better, promote.

    Args:
        recipe: name of a packaged recipe (`sample`, `knbc`, `seed`) or path of a TOML file; empty for none.
        overrides: settings as `group.key=value`.
        skip_unchanged: end at once, as Unchanged, if the same data, encoder and settings were judged before.
    """
    settings = load_settings(recipe, overrides or [])
    if skip_unchanged and (judged := retraining.find_judged(settings)):
        # Prefect makes a state that is returned that of the flow, and its data the result.
        return Completed(name="Unchanged", message=judged.reason, data=judged.to_dict())  # type: ignore[return-value]
    with tracked_run(settings, prefect_tags()) as run:
        settings = with_local_encoder(settings)
        with run.stage("read"):
            data = read(settings, run)
        with data.work.exclusive(data.staged):
            retraining.take_over(data, run)
            with run.stage("validate"):
                validated = validate(settings, data, run)
            with run.stage("tokenize"):
                tokenized = tokenize(settings, data, run)
            with run.stage("featurize"):
                features = featurize(settings, data, run)
            with run.stage("train"):
                trained = train(settings, data, run)
            with run.stage("evaluate"):
                evaluated = evaluate(settings, data, run)
            with run.stage("register"):
                with transaction():
                    version = register(settings, run, evaluated)
                    verdict = promote(settings, data, run, version)
                results = Results(validated, tokenized, features, trained, evaluated, verdict)
                describe(settings, data, run, results)
            data.work.remove()
        return retraining.summary(settings, data, run, results).to_dict()


@stage("Train")
def train(settings: Settings, data: Data, run: Run) -> Trained:
    """The Bi-LSTM, an epoch at a time; a killed training goes on from its last one."""
    update = progress("train-progress")
    trained = retraining.train(
        settings, data, run, on_epoch=lambda epoch: update(int(epoch["epoch"]), settings.training.epochs)
    )
    update(1, 1)  # also when it ended early
    show_markdown("training", trained.to_markdown())
    return trained


@stage("Evaluate")
def evaluate(settings: Settings, data: Data, run: Run) -> Evaluated:
    """The packaged model on the test rows, from text."""
    evaluated = retraining.evaluate(settings, data, run)
    show_markdown("report", evaluated.report.to_markdown())
    return evaluated


def prefect_tags() -> dict[str, str]:
    """The flow run by name, id and, on a server, page: tags for the MLflow run."""
    tags = {"prefect.flow_run": flow_run.name, "prefect.flow_run_id": flow_run.id}
    url = str(flow_run.ui_url)
    if url.startswith("http"):  # a temporary server has no page
        tags["prefect.url"] = url
    return {key: str(value) for key, value in tags.items() if value}


if __name__ == "__main__":
    import sys

    from jabert.cli import main

    main(["retrain", *sys.argv[1:]])
