"""The main job as a process of its own: its output, its death, and from an installed wheel."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from jabert.config import load_settings
from jabert.registry import open_registry
from jabert.tracking import connect

CHECKOUT = Path(__file__).resolve().parents[2]
LONG = ["training.epochs=60", "training.patience=60"]


def command(overrides, *options):
    settings = [word for override in overrides for word in ("--set", override)]
    return [shutil.which("jabert", path=Path(sys.executable).parent), "retrain", *settings, *options]


def wait_for_epochs(process, epochs):
    for _ in range(1200):
        assert process.poll() is None, "the process ended before it trained"
        for history in Path(".jabert/work").glob("steps/fit-*/history.json"):
            if len(json.loads(history.read_text())) >= epochs:
                return
        time.sleep(0.1)
    pytest.fail("no epoch was finished in two minutes")


def temporary_servers(process):
    children = psutil.Process(process.pid).children()
    return [child for child in children if "prefect.server.api.server:create_app" in child.cmdline()]


def newest_run():
    client = connect(load_settings().tracking)
    return client.search_runs(["1"], order_by=["attributes.start_time DESC"])[0]


def test_a_killed_process_can_be_run_again_and_goes_on_from_its_last_epoch(overrides):
    with subprocess.Popen(
        command([*overrides, *LONG]), stderr=subprocess.DEVNULL, start_new_session=True
    ) as lost:
        wait_for_epochs(lost, 3)
        (server,) = temporary_servers(lost)
        lost.kill()
    server.wait(timeout=10)  # nobody was left to stop it but its watch
    before = newest_run()
    assert before.info.status == "RUNNING", "nobody was left to say otherwise"

    again = subprocess.run(command([*overrides, *LONG], "--json"), capture_output=True, text=True, check=True)

    result = json.loads(again.stdout)
    assert result["promoted"] and "evidence" not in result, "the fields of --json stay as they are"
    assert result["features"]["computed"] == 0
    run = newest_run()
    assert run.info.run_id == result["run_id"]
    assert run.data.tags["resumes"] == before.info.run_id
    assert 3 <= int(run.data.tags["resumed_epochs"]) < 60
    client = connect(load_settings().tracking)
    assert client.get_run(before.info.run_id).info.status == "KILLED"
    assert len(open_registry(load_settings()).listing()) == 1
    open_registry(load_settings()).load_champion()


def test_a_wrong_column_is_said_once_before_anything_runs(overrides):
    words = command([*overrides, "data.label_column=topic"])
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert len(re.findall(r"^jabert: .*toy\.csv has no column 'topic'", done.stderr, re.MULTILINE)) == 1
    assert "temporary server" not in done.stderr
    experiments = connect(load_settings().tracking).search_experiments()
    assert [experiment.name for experiment in experiments] == ["Default"]


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_process_that_is_told_to_stop_says_so_in_mlflow(overrides, number, status):
    words = command([*overrides, *LONG])
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        wait_for_epochs(process, 1)
        if number == signal.SIGINT:
            os.killpg(process.pid, number)  # as a terminal does: to the temporary server, too
        else:
            process.send_signal(number)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == status
    assert "Traceback" not in errors
    assert newest_run().info.status == "KILLED"


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        (
            "PREFECT_SERVER_EPHEMERAL_ENABLED=false",
            "PREFECT_API_URL names no server, and Prefect's settings forbid",
        ),
        (
            "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS=1",
            "Prefect's temporary server does not start: Timed",
        ),
    ],
)
def test_without_a_server_a_command_ends_with_a_sentence(overrides, setting, sentence, monkeypatch):
    monkeypatch.setenv(*setting.split("="))
    done = subprocess.run(command(overrides), capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"\njabert: {sentence}" in f"\n{done.stderr}"
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGKILL, -9)])
def test_the_end_of_a_command_while_its_server_starts_is_the_server_s_end(overrides, number, status):
    with subprocess.Popen(
        command(overrides), stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        while "Starting temporary server" not in process.stderr.readline():
            assert process.poll() is None
        time.sleep(1)
        (server,) = temporary_servers(process)
        process.send_signal(number)
        process.wait(timeout=10)
        server.wait(timeout=10)
    assert process.returncode == status


def test_a_flow_s_file_runs_as_a_script_with_the_options_of_its_command(overrides):
    settings = [word for override in overrides for word in ("--set", override)]
    script = [sys.executable, CHECKOUT / "flows" / "featurize.py", *settings, "--json"]
    done = subprocess.run(script, capture_output=True, text=True, check=True)
    result = json.loads(done.stdout)
    assert result["computed"] > 0
    assert [path.name for path in Path("mlruns").iterdir()] == ["mlflow.db"], "as it was before"
    made = {path.name.partition("-")[0] for path in Path(".jabert/work").rglob("*/") if path.name != "steps"}
    assert made == {"read", "tokenize"}, "featurizing leaves no unfinished run behind"


def test_a_wheel_carries_flows_expectations_and_recipes(toy_table, tmp_path):
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)]
    subprocess.run(build, cwd=CHECKOUT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    installed = tmp_path / "installed"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target"]
    subprocess.run([*pip, str(installed), str(wheel)], check=True, capture_output=True)
    program = (
        "import sys, jabert; from jabert.cli import main; from jabert.cli.shared import run_flow\n"
        "try: run_flow('nothing')\n"
        "except ModuleNotFoundError as error: assert error.name == 'flows.nothing', error\n"
        "import flows\n"
        f"assert all(m.__file__.startswith({str(installed)!r}) for m in (flows, jabert)), flows.__file__\n"
        "from jabert.config import bundled_recipes; assert {'knbc', 'seed'} <= set(bundled_recipes())\n"
        f"settings = ['--set', 'data.path={toy_table}', '--set', 'data.test_rows=40']\n"
        "main(['validate', '--recipe', 'seed', *settings])"
    )
    elsewhere = tmp_path / "別の フォルダ"
    for own in ("flows", "tests", "expectations"):
        (elsewhere / own).mkdir(parents=True)
        (elsewhere / own / "__init__.py").write_text("raise ImportError('of the user')")
    (elsewhere / "expectations" / "seed.json").write_text("{}")
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=elsewhere,
        env={**os.environ, "PYTHONPATH": str(installed), "PREFECT_API_URL": "http://127.0.0.1:9/api"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "passed" in done.stdout
