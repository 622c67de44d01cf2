"""The main job: labelled Japanese texts to a registered model, and a new champion if it is better.

Run it as `jabert retrain --recipe knbc --set data.path=… --set encoder.path=…`, as
`python flows/retrain.py` with the same options, or as a Prefect deployment with the parameters
`recipe` and `overrides`. No server is needed; with PREFECT_API_URL set the run appears there, each
stage with its page, and in MLflow as one run with parameters, metrics, report and model.
"""

from typing import Any

from prefect.runtime import flow_run
from prefect.states import Completed
from prefect.transactions import transaction

import flows  # noqa: F401  the settings come before Prefect
from flows import stages
from flows.flow import flow
from jabert.experiments import retraining
from jabert.experiments.retraining import Results, Retrained
from jabert.methods import method_of
from jabert.tracking import tracked_run, with_local_encoder


@flow("retrain")
def retrain(
    recipe: str = "", overrides: list[str] | None = None, skip_unchanged: bool = False
) -> dict[str, Any]:
    """Retrain and, where the new model is better, promote.

    Args:
        recipe: name of a bundled recipe (`sample`, `knbc`, `seed`) or path of a TOML file; empty for none.
        overrides: settings as `group.key=value`.
        skip_unchanged: end at once, as Unchanged, if the same data, encoder and settings were judged before.

    Returns:
        As `Retrained.to_dict`, in a state named Promoted, Kept, Refused or Unchanged, of the type COMPLETED.
    """
    settings = retraining.load(recipe, overrides or [])
    if skip_unchanged and (judged := retraining.find_judged(settings)):
        return ended(judged)
    method = method_of(settings)
    with tracked_run(settings, prefect_tags()) as run:
        settings = with_local_encoder(settings)
        tokens = pieces = features = None
        with run.stage("read"):
            data = stages.read(settings, run)
        attempt = retraining.begin(settings, data, run)
        with attempt.exclusive():
            retraining.resume(attempt, run)
            with run.stage("validate"):
                validated = stages.validate(settings, data, run)
            with run.stage("tokenize"):
                if method.needs_tokens:
                    tokens = stages.tokenize(settings, data, run)
                    pieces = stages.validate_pieces(settings, data, tokens, run)
            with run.stage("featurize"):
                if tokens and "vectors" in method.needs:
                    features = stages.featurize(settings, tokens, run)
            with run.stage("train"):
                fit = stages.train(settings, data, tokens, attempt, run)
            with run.stage("calibrate"):
                calibration = stages.calibrate(settings, data, tokens, fit)
            with run.stage("evaluate"):
                evaluated = stages.evaluate(
                    settings, data, tokens, fit, calibration, attempt=attempt, run=run
                )
            with run.stage("baselines"):
                baselines = stages.baselines(settings, data, evaluated, run)
            with run.stage("register"):
                with transaction():
                    version = stages.register(settings, data, fit, calibration, attempt=attempt, run=run)
                    verdict = stages.promote(settings, data, run, version)
                results = Results(validated, tokens, pieces, features, fit, evaluated, baselines, verdict)
                stages.describe(settings, data, run, results, attempt)
            retraining.finish(settings, attempt)
        return ended(retraining.summary(settings, data, run, results))


def ended(result: Retrained) -> dict[str, Any]:
    """The state to end in: Prefect's lists show its name, the verdict, and its data are the flow's result."""
    name, message, data = result.outcome.capitalize(), result.reason, result.to_dict()
    return Completed(name=name, message=message, data=data)  # type: ignore[return-value]


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
