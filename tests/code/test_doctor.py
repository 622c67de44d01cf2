"""What the doctor finds, and that it leaves nothing behind."""

import json
import shutil
import subprocess
from dataclasses import asdict
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pytest

from jabert.cli import main
from jabert.config import EncoderSettings, load_settings
from jabert.doctor import Check, examine, machine, stores
from jabert.encoder import TokenIds
from jabert.features import FeatureStore, row_keys
from jabert.tracking import connect, tracked_run


def by_name(checks) -> dict[str, Check]:
    return {check.what: check for check in checks}


@pytest.fixture(autouse=True)
def own_store(monkeypatch):
    """MLflow puts the store that it was given into the environment, where the next test would find it."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.fixture
def project():
    """A folder with a store of one finished run and one failed one."""
    folder = Path("project").resolve()
    settings = load_settings(None, [f"tracking.uri=sqlite:///{folder}/mlruns/mlflow.db"])
    with tracked_run(settings) as run:
        run.text("report.md", "京都")
    with pytest.raises(ZeroDivisionError), tracked_run(settings):
        print(1 / 0)
    return folder


def look_at_store(folder) -> dict[str, Check]:
    settings = load_settings(None, [f"tracking.uri=sqlite:///{folder}/mlruns/mlflow.db"])
    return by_name(stores.tracking(settings.tracking))


def test_an_empty_folder_is_in_order_and_stays_empty():
    checks = examine(load_settings("knbc"))

    assert [check for check in checks if not check.ok] == []
    assert {check.what for check in checks} == {
        "Python",
        "libraries",
        "device",
        "font",
        "disk",
        "Prefect",
        "encoder",
        "engine",
        "features",
        "work folder",
        "MLflow store",
    }
    assert list(Path().iterdir()) == []


def test_what_is_not_in_order_has_a_remedy_and_ends_with_1(capsys):
    words = ["doctor", "--set", "encoder.path=nowhere", "--set", "encoder.device=gpu"]
    with pytest.raises(SystemExit) as ended:
        main([*words, "--json"])
    checks = {check["what"]: check for check in json.loads(capsys.readouterr().out)}
    assert ended.value.code == 1
    assert all(set(check) == {"what", "ok", "found", "remedy", "absent"} for check in checks.values())
    assert all(check["ok"] == (check["remedy"] == "") for check in checks.values())
    assert not checks["encoder"]["ok"]
    assert "nowhere is not a folder" in checks["encoder"]["found"]

    with pytest.raises(SystemExit) as ended:
        main(words)
    lines = capsys.readouterr().out.splitlines()
    (line_number,) = [i for i, line in enumerate(lines) if "nowhere is not a folder" in line]
    assert lines[line_number].startswith("✗  encoder")
    assert lines[line_number + 1].strip() == f"→ {checks['encoder']['remedy']}"


def test_a_library_outside_the_bounds_is_named(tmp_path, monkeypatch):
    """fastapi 0.151 breaks Prefect without a word, and `pip check` is content with it."""
    for name, version in (("fastapi", "0.151.0"), ("sqlalchemy", "2.1.0")):
        installed = tmp_path / f"{name}-{version}.dist-info"
        installed.mkdir()
        (installed / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    assert [check.ok for check in machine.libraries()] == [True]

    monkeypatch.syspath_prepend(tmp_path)

    checks = by_name(machine.libraries())
    assert {name for name, check in checks.items() if not check.ok} == {"fastapi", "sqlalchemy"}
    assert checks["fastapi"].found == "0.151.0"
    assert "fastapi<0.151,>=0.139" in checks["fastapi"].remedy
    assert "sqlalchemy 2.1.0" in checks["libraries"].found


def test_a_gpu_that_is_asked_for_must_be_there():
    from jabert.legacy_keras import gpu_names

    if gpu_names():
        pytest.skip("this machine has a GPU")
    (asked,) = machine.device("gpu")
    assert not asked.ok and asked.found.startswith("no GPU")
    assert [check.ok for setting in ("auto", "cpu") for check in machine.device(setting)] == [True, True]


@pytest.mark.parametrize(
    ("version", "wrong"),
    [(8005, False), (8100, True), (8901, True), (8902, False), (90300, False)],
)
def test_versions_of_cudnn_that_compute_wrongly(version, wrong):
    assert bool(machine.cudnn_remedy(version)) == wrong


def test_the_encoder_is_opened_and_its_variables_are_compared(toy_encoder, tmp_path):
    assert "2 layers of 16, 320 pieces" in stores.encoder(_with_encoder(toy_encoder)).found
    folder = shutil.copytree(toy_encoder, tmp_path / "encoder")
    config = folder / "bert_config.json"
    config.write_text(config.read_text().replace('"num_hidden_layers": 2', '"num_hidden_layers": 3'))

    check = stores.encoder(_with_encoder(folder))

    assert not check.ok
    assert "has 2 layers" in check.found


def _with_encoder(path):
    return load_settings(None, [f"encoder.path={path}"])


def test_an_encoder_among_a_run_s_artifacts_is_opened(toy_encoder):
    missing = stores.encoder(_with_encoder("runs:/0/encoder"))
    assert not missing.ok and "there are no runs" in missing.found
    assert not Path("mlruns").exists()  # a look makes no store

    with tracked_run(load_settings()) as run:
        run.folder(toy_encoder, "encoder")
    assert "2 layers of 16, 320 pieces" in stores.encoder(_with_encoder(f"runs:/{run.id}/encoder")).found
    assert "cannot be fetched" in stores.encoder(_with_encoder(f"runs:/{run.id}/nothing")).found


def test_the_feature_store_is_measured():
    store = FeatureStore(Path("features"), {"encoder": "x"}, 4, "float16")
    ids = TokenIds.of([[4, 7, 5], [4, 5]])
    with store.writer() as writer:
        writer.append(row_keys(ids), ids, np.zeros((5, 4)))

    check = stores.features("features")

    assert check.ok
    assert "encoders: 1, rows: 2" in check.found


def test_unfinished_runs_are_counted():
    for name in ("0123456789abcdef", "fedcba9876543210"):
        Path("work", name).mkdir(parents=True)
        Path("work", name, "table.parquet").touch()
    Path("work", "pretrain-0123456789abcdef").mkdir()
    Path("work", "pretrain-0123456789abcdef.lock").touch()
    Path("work", "promotion.lock").touch()
    assert "unfinished runs: 3, the oldest of 20" in stores.work("work").found


def test_a_folder_that_cannot_be_made_is_told():
    Path("file").touch()
    for check in (stores.features("file/features"), stores.work("file/work")):
        assert not check.ok
        assert "file cannot be written to" in check.remedy


def test_a_store_in_order(project):
    checks = look_at_store(project)

    assert [check.ok for check in checks.values()] == [True, True, True]
    assert "runs in experiment 'jabert': 2" in checks["MLflow store"].found
    assert "finished runs that have lost them: 0 of 1" in checks["artifacts"].found
    assert "model 'jabert' has none yet" in checks["champion"].found
    assert [name for name, check in checks.items() if check.absent] == ["champion"]


def test_a_moved_store_has_lost_its_artifacts_and_the_remedy_helps(project):
    moved = project.rename(project.with_name("moved project"))

    check = look_at_store(moved)["artifacts"]

    assert not check.ok
    assert "finished runs that have lost them: 1 of 1" in check.found
    assert str(project / "mlruns" / "artifacts") in check.found
    _, _, commands = check.remedy.partition("the new one: ")
    subprocess.run(commands, shell=True, check=True)
    assert look_at_store(moved)["artifacts"].ok


def test_artifacts_that_were_deleted_are_missed(project):
    shutil.rmtree(project / "mlruns" / "artifacts")
    check = look_at_store(project)["artifacts"]
    assert not check.ok
    assert check.remedy.startswith("restore them from a backup")


def test_a_setting_that_an_existing_experiment_ignores_is_told(project):
    overrides = [f"tracking.uri=sqlite:///{project}/mlruns/mlflow.db", "tracking.artifacts=elsewhere"]
    check = by_name(stores.tracking(load_settings(None, overrides).tracking))["artifacts"]
    assert not check.ok
    assert f"--set tracking.artifacts={project}/mlruns/artifacts" in check.remedy


def test_a_champion_without_its_files(project):
    settings = load_settings(None, [f"tracking.uri=sqlite:///{project}/mlruns/mlflow.db"])
    client = connect(settings.tracking)
    model = project / "model"
    model.mkdir()
    client.create_registered_model("jabert")
    client.create_model_version("jabert", model.as_uri())
    client.set_registered_model_alias("jabert", "champion", "1")
    assert look_at_store(project)["champion"] == Check("champion", True, "version 1 of model 'jabert'", "")

    model.rmdir()

    check = look_at_store(project)["champion"]
    assert not check.ok
    assert "is gone" in check.found


def test_a_store_out_of_reach(monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    settings = load_settings(None, ["tracking.uri=http://127.0.0.1:9"])
    (check,) = stores.tracking(settings.tracking)
    assert not check.ok
    assert "tracking.uri http://127.0.0.1:9" in check.found


class Answer(BaseHTTPRequestHandler):
    """Answers every request with one status."""

    def __init__(self, status, *arguments):
        self.status = status
        super().__init__(*arguments)

    def do_GET(self):
        self.send_response(self.status)
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.mark.parametrize(("status", "ok"), [(200, True), (401, True), (404, False), (503, False)])
def test_the_prefect_server_is_asked(monkeypatch, status, ok):
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Answer, status)) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("PREFECT_API_URL", f"http://127.0.0.1:{server.server_port}/api")
        check = machine.prefect_api()
        server.shutdown()
    assert check.ok == ok
    assert check.found.endswith(f"/api answers {status}")
    gone = machine.prefect_api()
    assert (gone.ok, gone.found.endswith("ConnectionError")) == (False, True)


def test_a_full_disk_is_told(monkeypatch):
    (check,) = machine.disk(["features", "work"])
    assert check.ok
    monkeypatch.setattr(machine, "_ENOUGH_GIGABYTES", 1e9)
    (check,) = machine.disk(["features", "work"])
    assert not check.ok
    assert asdict(check)["remedy"].startswith("free some space")


def test_the_engine_is_said_and_one_that_cannot_be_is_explained():
    check = machine.engine(EncoderSettings(device="cpu", precision="float32"))
    assert check == Check("engine", True, "openvino, float32, on /CPU:0", "")
    check = machine.engine(EncoderSettings(device="cpu", engine="reference", precision="bfloat16"))
    assert not check.ok
    assert check.remedy == "set encoder.engine, .precision and .device to auto"


def test_a_proxy_is_told_without_its_password(monkeypatch):
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "")
    assert list(machine.proxy()) == []
    monkeypatch.setenv("https_proxy", "http://me:secret@proxy.example:8080")
    (check,) = machine.proxy()
    assert check.ok
    assert check.found.startswith("https_proxy=http://proxy.example:8080; servers on this machine are")
