"""A disk that fills at any step of a flow: a sentence names it, nothing is registered, the next run goes on.

Needs the right to mount a small file system; what needs no such right is in tests/code/test_full.py.
"""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
import toy

from jabert.config import load_settings
from jabert.errors import JabertError
from jabert.registry import open_registry
from jabert.tracking import connect

ROOM = 200_000_000  # bytes
STEPS = 16  # sizes of disks between nothing and what a run takes


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


@pytest.fixture
def disk(tmp_path, monkeypatch):
    with Disk(tmp_path / "small") as disk:
        monkeypatch.chdir(disk.path)
        yield disk
        monkeypatch.chdir(tmp_path)


def states():
    client = connect(load_settings().tracking)
    found = client.get_experiment_by_name("jabert")
    return [run.info.status for run in client.search_runs([found.experiment_id])] if found else []


def attack(disk, run, size):
    """Run on a disk of this size, then with room again; returns the sentence of the first, if it failed."""
    for path in Path.cwd().iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    disk.hold(size)
    sentence = None
    try:
        run()
    except JabertError as error:
        sentence = str(error)
    disk.hold(ROOM)
    if sentence is not None:
        assert "disk is full" in sentence and str(disk.path) in sentence and "\n" not in sentence, sentence
        run()
        assert "RUNNING" not in states()
    return sentence


@pytest.mark.attack
@pytest.mark.timeout(3600)
def test_retrain_on_a_disk_that_fills(disk, toy_encoder, toy_table, prefect_server):
    from flows.retrain import retrain

    overrides = [*toy.quick_settings(toy_table, toy_encoder)[:4], "method.kind=tfidf", "promotion.floor=0"]

    def run():
        retrain("", overrides)

    disk.hold(ROOM)
    run()
    full, said = disk.used, []
    for step in range(1, STEPS + 1):
        said.append(attack(disk, run, full * step // STEPS))
        versions = open_registry(load_settings()).listing()
        assert [version["version"] for version in versions] == ["1"], (step, said[-1], versions)
        print(f"{full * step // STEPS:,} bytes: {said[-1]}")
    assert len({sentence for sentence in said if sentence}) > 3


@pytest.mark.attack
@pytest.mark.timeout(3600)
def test_featurize_on_a_disk_that_fills(disk, toy_encoder, toy_table, prefect_server):
    from flows.featurize import featurize

    overrides = [*toy.quick_settings(toy_table, toy_encoder)[:4], "encoder.device=cpu"]
    disk.hold(ROOM)
    featurize("", overrides)
    full = disk.used
    for step in range(1, STEPS + 1):
        print(attack(disk, lambda: featurize("", overrides), full * step // STEPS))
