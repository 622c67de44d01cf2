"""Signals at random moments of every flow: each ends it, none is lost, and the next run goes on."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest
import toy
import toy_champion
from ports import free_port

import flows  # noqa: F401  the settings come before Prefect
from jabert.config import load_settings
from jabert.tracking import connect

SECONDS_TO_END = 5.0
SECONDS_OF_PYTHON = 0.3  # until jabert's first line, before which Python or the kernel ends the process
JABERT = str(Path(sys.executable).with_name("jabert"))


class Flow:
    """The command of a flow in a folder of its own."""

    def __init__(self, name, folder, words, server=""):
        folder.mkdir()
        self.name, self.folder = name, folder
        self.words = [JABERT, name, *words]
        self.environment = {**os.environ, "PREFECT_HOME": str(folder / "prefect")}
        self.environment |= {"PREFECT_API_URL": server} if server else {}
        self.stored = load_settings("", [f"tracking.uri=sqlite:///{folder}/mlruns/mlflow.db"]).tracking

    def start(self):
        made = self.folder / ".jabert"
        if not any(made.glob("work/pretrain-*/")):  # a finished encoder would be in the way
            shutil.rmtree(made / "encoder", ignore_errors=True)
        with (self.folder / "out").open("wb") as out, (self.folder / "err").open("wb") as err:
            return subprocess.Popen(
                self.words,
                stdout=out,
                stderr=err,
                cwd=self.folder,
                env=self.environment,
                start_new_session=True,
            )

    def complete(self):
        """Run it to its end; returns the seconds that takes."""
        begun = time.monotonic()
        with self.start() as process:
            assert process.wait(300) == 0, self.said()
        return time.monotonic() - begun

    def said(self):
        return (self.folder / "err").read_text(encoding="utf-8", errors="replace")

    def has_result(self):
        return (self.folder / "out").stat().st_size > 0

    def strike(self, number, after):
        """Send a signal; returns the seconds until the end of the process, None if it had ended before."""
        with self.start() as process:
            try:
                process.wait(after)
                return None
            except subprocess.TimeoutExpired:
                pass
            told, had_result = time.monotonic(), self.has_result()
            if number == signal.SIGINT:
                os.killpg(process.pid, number)  # as a terminal does
            else:
                process.send_signal(number)
            try:
                process.wait(3 * SECONDS_TO_END)
                seconds = time.monotonic() - told
            finally:
                for left in in_session(process.pid) if process.poll() is None else []:
                    left.kill()
        case = f"{self.name}, signal {number} after {after:.2f} s: {process.returncode}\n{self.said()}"
        ends = {128 + number} | ({-number} if after < SECONDS_OF_PYTHON or had_result else set())
        assert process.returncode in ends | ({0} if had_result else set()), case
        assert seconds < SECONDS_TO_END, case
        if after > SECONDS_OF_PYTHON:
            assert "Traceback" not in self.said(), case
            assert "Crash detected" not in self.said(), case
        gone = time.monotonic() + SECONDS_TO_END
        while in_session(process.pid) and time.monotonic() < gone:
            time.sleep(0.05)
        assert not in_session(process.pid), case
        if not had_result:
            assert self.statuses() <= {"KILLED", "FINISHED"}, (case, self.statuses())
        return seconds

    def statuses(self):
        """Of all MLflow runs."""
        if not (self.folder / "mlruns" / "mlflow.db").exists():
            return set()
        client = connect(self.stored)
        experiments = [experiment.experiment_id for experiment in client.search_experiments()]
        return {run.info.status for run in client.search_runs(experiments)}


def in_session(session):
    """The processes that a command has left behind, its server and the shell that watches it aside."""
    found = []
    for process in psutil.process_iter():
        try:
            if os.getsid(process.pid) == session and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.NoSuchProcess, ProcessLookupError):
            continue
    return found


@pytest.fixture(scope="module")
def inputs(toy_encoder, toy_table, tmp_path_factory):
    """By flow, the words of its command."""
    root = tmp_path_factory.mktemp("inputs")
    settings = toy_champion.settings_in(root, toy_encoder)
    toy_champion.make_champion(root / "made", settings)
    text = root / "text.txt"
    sentences = [*toy.SENTENCES, *toy.toy_rows()["text"]]
    text.write_text("\n\n".join("\n".join(sentences[i : i + 4]) for i in range(0, len(sentences), 4)))
    retrain = [word for setting in toy.quick_settings(toy_table, toy_encoder) for word in ("--set", setting)]
    sizes = {"hidden_size": 16, "layers": 2, "heads": 2, "intermediate_size": 32, "positions": 64}
    pretrain = [
        f"corpus.paths={text}",
        "corpus.validation_share=0.2",
        "vocabulary.size=320",
        "vocabulary.character_coverage=0.98",
        "pretraining.token_budget=256",
        "pretraining.warmup_steps=2",
        "pretraining.report_steps=2",
        *(f"pretraining.{name}={size}" for name, size in sizes.items()),
        "pretraining.max_tokens=32",
        "pretraining.steps=30",
    ]
    return {
        "retrain": retrain,
        "featurize": retrain,
        "score": [str(toy_table), "scored.csv", "--set", f"tracking.uri={settings.tracking.uri}"],
        "pretrain": [word for setting in pretrain for word in ("--set", setting)],
    }


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """The URL of a Prefect server."""
    from prefect.server.api.server import SubprocessASGIServer

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PREFECT_HOME", str(tmp_path_factory.mktemp("prefect")))
        server = SubprocessASGIServer(free_port())  # without a port it is that of the process
        server.start()
    yield server.api_url
    server.stop()


def strikes(flow, rng, wanted, *, fresh):
    """Strike a flow at random moments until so many signals were sent; it goes on in between, or anew."""
    seconds, sent, slowest = flow.complete(), Counter(), 0.0
    while sent.total() < wanted:
        if fresh:
            for made in (".jabert", "mlruns", "encoder", "scored.csv"):
                shutil.rmtree(flow.folder / made, ignore_errors=True)
                (flow.folder / made).unlink(missing_ok=True)
        number = rng.choice([signal.SIGTERM, signal.SIGINT])
        took = flow.strike(number, after=rng.uniform(0, seconds))
        if took is None:
            seconds *= 0.9  # less to do, or the machine is quicker now
        else:
            sent[number.name] += 1
            slowest = max(slowest, took)
    flow.complete()
    print(f"{flow.name}: {dict(sent)}, none lost, at most {slowest:.1f} s to the end")


@pytest.mark.attack
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("fresh", [True, False], ids=["cold", "warm"])
@pytest.mark.parametrize("name", ["retrain", "featurize", "score", "pretrain"])
def test_no_signal_at_a_random_moment_is_lost(inputs, server, tmp_path, name, fresh):
    """Two hundred in all; cold is without anything made before, and with a server of one's own."""
    flow = Flow(name, tmp_path / name, inputs[name], "" if fresh else server)
    strikes(flow, random.Random(f"{name} {fresh}"), 25, fresh=fresh)


def test_a_few_signals_at_random_moments(inputs, server, tmp_path):
    strikes(Flow("score", tmp_path / "score", inputs["score"], server), random.Random(0), 3, fresh=False)


def test_after_a_kill_at_any_moment_no_temporary_server_lives_on(inputs, tmp_path):
    flow = Flow("score", tmp_path / "score", inputs["score"])
    rng = random.Random(1)
    for _ in range(3):
        with flow.start() as process:
            while not (servers := [each for each in in_session(process.pid) if each.pid != process.pid]):
                assert process.poll() is None, flow.said()
                time.sleep(0.002)
            time.sleep(rng.uniform(0.05, 4))
            process.kill()
        psutil.wait_procs(servers, timeout=10)
        left = in_session(process.pid)  # what was started since, too, which ends a moment later
        _, alive = psutil.wait_procs(left, timeout=10)
        assert not alive
