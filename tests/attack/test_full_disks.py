"""A disk that fills at any step of a flow: a sentence names it, nothing is registered, the next run goes on.

Needs the right to mount a small file system; what needs no such right is in tests/code/test_full.py.
"""

import json
import os
import shutil
import subprocess
import traceback
from pathlib import Path

import pytest

from jabert.config import load_settings
from jabert.errors import JabertError
from jabert.experiments import recording, retraining, steps
from jabert.registry import open_registry
from jabert.tracking import connect, told_if_full, tracked_run

ROOM = 200_000_000  # bytes
STEPS = 8  # sizes of disks between nothing and what a run takes


class Disk:
    """A file system in memory."""

    def __init__(self, path):
        self.path = path
        path.mkdir()

    def __enter__(self):
        made = subprocess.run(["mount", "-t", "tmpfs", "tmpfs", self.path], capture_output=True, check=False)
        if made.returncode:
            pytest.skip("mounting a file system is not allowed here")
        return self

    def __exit__(self, *_):
        os.chdir("/")
        subprocess.run(["umount", "-l", self.path], check=True)

    def hold(self, size):
        """Let it hold so many bytes."""
        subprocess.run(["mount", "-o", f"remount,size={size}", self.path], check=True)

    @property
    def used(self):
        return shutil.disk_usage(self.path).used


def states():
    if not Path("mlruns", "mlflow.db").exists():
        return []
    client = connect(load_settings().tracking)
    found = client.get_experiment_by_name("jabert")
    return [run.info.status for run in client.search_runs([found.experiment_id])] if found else []


def versions_there():
    return [version["version"] for version in open_registry(load_settings()).listing()]


def in_child(function):
    """What a function returns, or the sentence that it ends with, in a process of its own, as a command has.

    MLflow keeps connections to databases, also to one that was half made and set aside.
    """
    here, there = os.pipe()
    child = os.fork()
    if not child:
        try:
            result = function()
        except JabertError as error:
            result = str(error)
        except BaseException:
            result = traceback.format_exc()
        os.write(there, json.dumps(result).encode())
        os._exit(0)
    os.close(there)
    with os.fdopen(here, "rb") as pipe:
        result = json.loads(pipe.read())
    os.waitpid(child, 0)
    return result


def attack(path, run, size):
    """Run on a disk of this size, then with room again; returns the sentence of the first, if it failed."""
    with Disk(path / f"of-{size}") as disk:
        os.chdir(disk.path)
        disk.hold(size)
        sentence = in_child(run)
        disk.hold(ROOM)
        if sentence is not None:
            assert "disk is full" in sentence and str(disk.path) in sentence and "\n" not in sentence, (
                sentence
            )
            assert in_child(run) is None
            assert "RUNNING" not in in_child(states)
        versions = in_child(versions_there)
        print(f"{size:,} bytes: {sentence}", flush=True)
    return sentence, versions


def room_of(path, run):
    """Bytes that a run takes."""
    with Disk(path / "large") as disk:
        os.chdir(disk.path)
        disk.hold(ROOM)
        assert in_child(run) is None
        return disk.used


def retrain(settings):
    """What the flow of that name does, without Prefect, by a method that needs texts alone."""
    with tracked_run(settings) as run, told_if_full(settings):
        data = steps.read(settings)
        recording.record_data(data, settings, run)
        attempt = retraining.begin(settings, data, run)
        with attempt.exclusive():
            retraining.resume(attempt, run)
            validated = steps.validate(settings, data)
            recording.record_validation(validated, "texts", run)
            fit = steps.fit(settings, data, None, "test", on_epoch=lambda _: None)
            recording.record_fit(fit, run)
            calibration = steps.calibrate(settings, data, None, fit)
            evaluated = steps.evaluate(
                settings,
                data,
                None,
                fit,
                "test",
                package=lambda: retraining.package(fit, calibration, attempt),
                calibration=calibration,
            )
            recording.record_evaluation(evaluated, run)
            retraining.register(settings, data, fit, calibration, attempt=attempt, run=run)
            retraining.finish(settings, attempt)


@pytest.mark.attack
@pytest.mark.timeout(3600)
def test_retrain_on_a_disk_that_fills(toy_table, tmp_path):
    overrides = [f"data.path={toy_table}", "method.kind=tfidf", "data.test_share=0.25"]

    def run():
        retrain(load_settings(None, overrides))

    full, said = room_of(tmp_path, run), set()
    for step in range(1, STEPS + 1):
        sentence, versions = attack(tmp_path, run, full * step // STEPS)
        said.add(sentence)
        assert versions == ["1"], (step, sentence, versions)
    assert len(said) > 2


@pytest.mark.attack
@pytest.mark.timeout(3600)
def test_featurize_on_a_disk_that_fills(toy_encoder, toy_table, tmp_path):
    overrides = [f"data.path={toy_table}", f"encoder.path={toy_encoder}", "encoder.device=cpu"]

    def run():
        settings = load_settings(None, overrides)
        with told_if_full(settings):
            data = steps.read(settings)
            steps.featurize(settings, steps.tokenize(settings, data))

    full = room_of(tmp_path, run)
    for step in range(1, STEPS + 1):
        attack(tmp_path, run, full * step // STEPS)
