"""One host as it runs unattended: PostgreSQL, both servers, two workers, schedules, failures, restarts."""

import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
import toy
from hosts import CHECKOUT, Host, nothing_left, wait_until

from jabert.config import load_settings
from jabert.registry import open_registry
from jabert.tracking import connect

pytestmark = [pytest.mark.servers, pytest.mark.timeout(1800)]
LONG = ["training.epochs=60", "training.patience=60"]


@pytest.fixture
def model(host, request):
    """Settings that give a test a registered model and an experiment of its own."""
    name = request.node.name.replace("[", "-").replace("]", "")
    return [f"tracking.model_name={name}", f"tracking.experiment={name}"]


@pytest.fixture
def overrides(host, toy_table, toy_encoder, model):
    return host.settings(toy_table, toy_encoder, *model)


def registry(host, model):
    return open_registry(load_settings("", [f"tracking.uri={host.mlflow}", *model]))


def mlflow_runs(host, model):
    """The runs of the test's experiment, newest first."""
    settings = load_settings("", [f"tracking.uri={host.mlflow}", *model]).tracking
    client = connect(settings)
    experiment = client.get_experiment_by_name(settings.experiment)
    return client.search_runs([experiment.experiment_id], order_by=["attributes.start_time DESC"])


def pid_of(host, run):
    """The process of a flow run, which knows its id."""

    def search():
        (found,) = [each.pid for each in host.processes() if run in each.environ().values()]
        return found

    return wait_until(search, "the process of the flow run")


def wait_for_training(host, model):
    def trains():
        run = mlflow_runs(host, model)[0]
        assert "train/loss" in run.data.metrics

    wait_until(trains, "the training")


def test_a_schedule_fires_by_itself_and_only_changed_data_lead_to_a_new_version(
    host, model, toy_table, toy_encoder, webhook
):
    table = host.folder / "grown.csv"
    shutil.copy(toy_table, table)
    overrides = host.settings(table, toy_encoder, *model)
    first = host.wait(host.schedule(overrides, "first", skip_unchanged=True))
    assert first["name"] == "Promoted", first["message"]
    assert registry(host, model).champion() == "1"

    again = [*overrides, model[0]]  # told apart from the first, and means the same
    second = host.wait(host.schedule(again, "second", skip_unchanged=True))
    assert second["name"] == "Unchanged"
    assert "nothing new" in second["message"]
    assert len(mlflow_runs(host, model)) == 1

    toy.toy_rows(200, 50).to_csv(table, index=False)
    third = host.wait(host.schedule([*again, model[0]], "third", skip_unchanged=True))
    assert third["name"] in ("Promoted", "Kept"), third["message"]
    assert [version["version"] for version in registry(host, model).listing()] == ["2", "1"]
    assert {run.info.status for run in mlflow_runs(host, model)} == {"FINISHED"}

    def told():
        return next(each for each in webhook[1] if "is the new champion" in each["subject"])

    news = wait_until(told, "the notification of the promotion")
    for part in ("there was no champion", host.prefect, f"{host.mlflow}/#/experiments/", "/#/models/"):
        assert part in news["text"]


def test_deploying_again_adds_no_schedule_and_no_run(host):
    before = schedules_of(host)
    assert host.make("up").returncode == 0
    assert schedules_of(host) == before
    assert before["weekly"]
    runs = wait_until(lambda: scheduled_runs(host), "the runs of the schedules")
    assert len(runs) == len(set(runs))
    assert len(host.api("automations/filter", limit=100)) == 4


def schedules_of(host):
    return {each["slug"]: each["id"] for each in host.deployment()["schedules"]}


def scheduled_runs(host):
    runs = [run["expected_start_time"] for run in host.runs() if run["state_type"] == "SCHEDULED"]
    assert len(runs) >= 3
    return runs


def test_without_a_work_pool_deploying_fails(host):
    name = host.api("work_pools/", name="elsewhere", type="process")["name"]
    environment = host.environment | {"PREFECT_API_URL": f"{host.prefect}/api"}
    program = f"from deploy.deployments import check_pools; check_pools({{{name!r}, 'missing'}})"
    command, options = [sys.executable, "-c", program], {"cwd": CHECKOUT, "env": environment}
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    assert done.returncode == 1
    assert "there is no work pool 'missing'" in done.stderr


def test_a_failure_is_told_with_its_reason(host, overrides, webhook):
    run = host.queue([*overrides, "data.path=/nowhere.csv"])
    assert host.wait(run)["name"] == "Failed"

    def told():
        return next(each for each in webhook[1] if "Failed" in each["subject"] and run in each["text"])

    news = wait_until(told, "the notification of the failure")
    assert "/nowhere.csv" in news["text"] and host.prefect in news["text"]


def test_a_flow_and_its_worker_that_are_killed_are_found_lost_and_the_next_run_goes_on(
    host, overrides, model, webhook
):
    lost = host.queue([*overrides, *LONG])
    flow = pid_of(host, lost)
    wait_for_training(host, model)
    os.kill(flow, signal.SIGKILL)
    for worker in host.workers():
        worker.kill()

    again = host.queue([*overrides, *LONG])
    wait_until(lambda: running(host, again), "the next run")
    state = host.wait(lost)
    assert (state["name"], "no sign of life" in state["message"]) == ("Crashed", True)
    assert host.wait(again)["type"] == "COMPLETED"
    after, before = mlflow_runs(host, model)
    assert (before.info.status, after.info.status) == ("KILLED", "FINISHED")
    assert after.data.tags["resumes"] == before.info.run_id
    assert int(after.data.tags["resumed_epochs"]) > 0
    wait_until(lambda: next(each for each in webhook[1] if lost in each["text"]), "the notification")


def test_what_runs_when_the_host_goes_down_is_gone_on_with_when_it_is_up_again(host, overrides, model):
    lost = host.queue([*overrides, *LONG])
    flow = pid_of(host, lost)
    wait_for_training(host, model)
    down = host.make("down")
    assert down.returncode == 0, down.stderr
    assert not [process for process in host.processes() if process.pid == flow]
    up = host.make("up")
    assert up.returncode == 0, up.stderr

    assert host.wait(host.queue([*overrides, *LONG]))["type"] == "COMPLETED"
    assert host.wait(lost)["name"] == "Crashed"
    after, before = mlflow_runs(host, model)
    assert (before.info.status, after.info.status) == ("KILLED", "FINISHED")
    assert after.data.tags["resumes"] == before.info.run_id


def running(host, run):
    assert host.state(run)["type"] == "RUNNING"


def test_a_store_that_is_away_and_a_database_that_restarts_are_waited_for(
    host, overrides, model, postgresql_server
):
    run = host.queue([*overrides, *LONG])
    wait_for_training(host, model)
    host.supervisorctl("stop", "mlflow")
    time.sleep(30)
    host.supervisorctl("start", "mlflow")
    time.sleep(5)
    postgresql_server.stop()
    time.sleep(15)
    postgresql_server.start()
    state = host.wait(run, 600)
    assert state["name"] == "Promoted", state["message"]
    assert registry(host, model).champion() == "1"
    ((only,),) = [mlflow_runs(host, model)]
    assert only.info.status == "FINISHED"


def test_ten_retrainings_at_once_on_two_workers_end_with_the_best_as_champion(host, overrides, model):
    runs = [host.queue([*overrides, f"training.seed={seed}", "training.epochs=2"]) for seed in range(10)]
    states = [host.wait(run, 900) for run in runs]
    assert {state["name"] for state in states} <= {"Promoted", "Kept"}, [state["message"] for state in states]
    versions = registry(host, model)
    moves = versions.history()
    assert [move.number for move in moves] == list(range(1, len(moves) + 1))
    assert [move.over for move in moves] == [None, *(move.version for move in moves[:-1])]
    listing = versions.listing()
    assert sorted(int(version["version"]) for version in listing) == list(range(1, 11))
    best = max(listing, key=lambda version: version["weighted_f1"])
    (champion,) = [version for version in listing if "champion" in version["aliases"]]
    assert champion["weighted_f1"] == best["weighted_f1"]
    assert "database is locked" not in host.logs()


def test_status_says_what_is_down(host):
    up = host.make("status")
    assert up.returncode == 0, up.stderr
    host.supervisorctl("stop", "mlflow")
    try:
        down = host.make("status")
    finally:
        host.supervisorctl("start", "mlflow")
    assert down.returncode == 1
    assert "mlflow is not running" in down.stderr and "the MLflow server does not answer" in down.stderr
    wait_until(lambda: host.make("status").check_returncode(), "MLflow")


def test_down_ends_also_what_a_killed_supervisor_left(tmp_path):
    host = Host(tmp_path)
    try:
        assert host.make("up").returncode == 0
        os.kill(int((tmp_path / "host/supervisord.pid").read_text()), signal.SIGKILL)
        assert host.make("status").returncode == 1
        assert "or `make down`" in host.make("up").stderr
        assert host.make("down").returncode == 0
        nothing_left(host)
    finally:
        for process in host.processes():
            process.kill()


def test_what_cannot_start_is_said_in_a_sentence(host, tmp_path):
    other = Host(tmp_path)
    taken = {"JABERT_PREFECT_PORT": str(host.ports[0])}
    for settings, sentence in [
        (taken, "cannot be used (Address already in use); set JABERT_PREFECT_PORT to"),
        ({"JABERT_MLFLOW_PORT": "many"}, "port many cannot be used (invalid literal"),
        ({"JABERT_DATABASE": "mysql://elsewhere"}, "is not of the form postgresql://"),
        ({"JABERT_DATABASE": "postgresql://nobody@127.0.0.1:1"}, "the databases cannot be created"),
    ]:
        done = other.make("up", **settings)
        assert done.returncode == 1
        assert sentence in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1
    assert other.make("status").returncode == 1
    assert "nothing runs" in other.make("down").stdout
