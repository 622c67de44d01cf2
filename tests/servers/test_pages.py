"""What MLflow's and Prefect's own pages show of real runs, in a real browser, which finds no other host."""

from types import SimpleNamespace
from urllib.parse import quote

import pytest
from browsing import chromium, drawn, view

from jabert.config import load_settings
from jabert.tracking import connect

pytestmark = [pytest.mark.servers, pytest.mark.timeout(1800)]
MODEL = ["tracking.model_name=目で見る", "tracking.experiment=pages"]
KNOWN = (
    "404 (Not Found) {}/ajax-api/2.0/mlflow/users/current",  # MLflow 3.17 has no logins and asks who is
    "404 (Not Found) {}/favicon.ico",  # Prefect 3.8: an icon that its wheel lacks,
    "404 (Not Found) {}/ico/undefined.svg",  # and one for a state that it has not read yet
)
"""Errors that the pages say by themselves, whatever they show."""


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with chromium(tmp_path_factory.mktemp("browser")) as running:
        yield running


@pytest.fixture(scope="module")
def made(host, toy_table, toy_encoder):
    """Two runs of a host: their flow runs, MLflow runs and experiment, the older first."""
    settings = host.settings(toy_table, toy_encoder, *MODEL)
    settings = [each for each in settings if not each.startswith("method.")]
    flows = []
    for kind in ("mean-pooling", "tfidf"):
        flows.append(host.queue([*settings, f"method.kind={kind}"]))
        assert host.wait(flows[-1])["type"] == "COMPLETED"
    tracking = load_settings("", [f"tracking.uri={host.mlflow}", *MODEL]).tracking
    client = connect(tracking)
    experiment = client.get_experiment_by_name(tracking.experiment).experiment_id
    runs = client.search_runs([experiment], order_by=["attributes.start_time ASC"])
    return SimpleNamespace(flows=flows, runs=[run.info.run_id for run in runs], experiment=experiment)


def seen(browser, url):
    """The page as it is looked at."""
    server = "/".join(url.split("/")[:3])
    return view(browser, url, known=[each.format(server) for each in KNOWN])


def shown(browser, url, *texts):
    """Each text comes to be seen on the page, and Japanese is drawn."""
    with seen(browser, url) as page:
        for text in texts:
            page.get_by_text(text).first.wait_for()
        characters, missing = drawn(page)
        assert missing == "", url
        return characters


def test_mlflow_shows_a_run_its_artifacts_and_the_model(browser, host, made):
    run = f"{host.mlflow}/#/experiments/{made.experiment}/runs/{made.runs[0]}"
    shown(browser, run, "own mean-pooling", "Verdict: there was no champion", "rows/rows_read")
    shown(browser, f"{host.mlflow}/#/models/目で見る", "目で見る", "Version 1", "champion")
    both = quote(f'["{made.runs[0]}","{made.runs[1]}"]')
    compared = f"{host.mlflow}/#/compare-runs?runs={both}&experiments={quote(f'[{made.experiment!r}]')}"
    shown(browser, compared.replace("%27", "%22"), "Comparing 2 Runs", "own tfidf")


def test_mlflow_shows_the_report_and_the_card_in_a_frame(browser, host, made):
    run = f"{host.mlflow}/#/experiments/{made.experiment}/runs/{made.runs[0]}"
    for path, heading in (("report.html", "Confusion matrix"), ("card/card.html", "Gate")):
        with seen(browser, f"{run}/artifacts/{path}") as page:
            page.frame_locator("iframe").get_by_role("heading", name=heading).wait_for()


def test_prefect_shows_a_run_and_its_page_leads_to_the_expectations(browser, host, made):
    flow = f"{host.prefect}/runs/flow-run/{made.flows[0]}"
    shown(browser, flow, "Promoted", "Validate pieces")
    (artifact,) = host.api(
        "artifacts/filter",
        artifacts={"flow_run_id": {"any_": [made.flows[0]]}, "key": {"any_": ["retrain-validation"]}},
    )
    with seen(browser, f"{host.prefect}/artifacts/artifact/{artifact['id']}") as page:
        link = page.get_by_role("link", name="Each expectation").get_attribute("href")
    with seen(browser, link) as page:
        found = page.frame_locator("iframe")
        found.get_by_role("heading", name="Validation result").wait_for()
        assert found.get_by_text("labelled_texts").first.is_visible()
