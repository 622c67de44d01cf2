"""Thirty times a flow, its worker or both are killed at a random moment; each time the next run goes on."""

import random
import time
from collections import Counter

import psutil
import pytest
import toy
from hosts import running_host, wait_until

from jabert.config import load_settings
from jabert.encoder import open_folder
from jabert.features import open_store
from jabert.registry import open_registry
from jabert.tracking import connect

pytestmark = [pytest.mark.kills, pytest.mark.timeout(3600)]
KILLS = 30
KILLS_OF_A_ROUND = 3
VICTIMS = ("flow", "worker", "both")


@pytest.fixture
def host(tmp_path):
    """A host on SQLite with one worker."""
    with running_host(tmp_path) as host:
        yield host


def test_whatever_is_killed_every_rerun_completes_and_nothing_is_done_by_halves(host, toy_encoder):
    rng = random.Random(0)
    seconds = Round(host, toy_encoder, 0).complete()  # how long one takes that nobody kills
    killed, rounds = [], 1
    while len(killed) < KILLS:
        this = Round(host, toy_encoder, rounds)
        for _ in range(KILLS_OF_A_ROUND):
            victim = rng.choice(VICTIMS)
            if this.kill(victim, after=rng.uniform(0, seconds)):
                killed.append(victim)
                print(f"kill {len(killed)}: {victim}, round {rounds}", flush=True)
            else:
                seconds *= 0.8  # too late: the machine is quicker now, or there was less to do
            this.check_what_stands()
        this.complete()
        rounds += 1
        this.check_the_end(rounds)
    print(f"killed {Counter(killed)} in {rounds} rounds; one alone takes {seconds:.0f} s")
    wait_until(lambda: all_have_ended(host), "the end of all flow runs", 600)


def all_have_ended(host):
    begun = [run for run in host.runs() if run["state_type"] != "SCHEDULED"]
    assert not [run["name"] for run in begun if run["state_type"] in ("PENDING", "RUNNING")]


class Round:
    """Retrainings on one table, which has more texts than that of the round before."""

    def __init__(self, host, encoder, number):
        self.host = host
        table = host.folder / f"round-{number}.csv"
        toy.toy_rows(120 + 10 * number).to_csv(table, index=False)
        self.overrides = host.settings(table, encoder, "encoder.token_budget=64", f"training.seed={number}")
        self.settings = load_settings("", [*self.overrides, f"tracking.uri={host.mlflow}"])
        self.registry = open_registry(self.settings)

    def queue(self):
        return self.host.queue(self.overrides, skip_unchanged=True)

    def complete(self):
        """Run it to its end; returns the seconds that takes."""
        begun, self.stored = time.monotonic(), len(self.store())
        state = self.host.wait(self.queue(), 600)
        assert state["type"] == "COMPLETED", state["message"]
        self.was_done = state["name"] == "Unchanged"  # by a flow that outlived its worker
        return time.monotonic() - begun

    def kill(self, victim, after):
        """Kill some time after the flow's process began; says whether there still was something to kill."""
        run = self.queue()
        flow = wait_until(lambda: self.process_of(run), "the flow's process")
        if flow is None:
            return False
        time.sleep(after)
        lived = flow.is_running()
        flows = [flow] if lived and victim != "worker" else []
        workers = self.host.workers() if victim != "flow" else []
        for process in flows + workers:
            process.kill()
        psutil.wait_procs([flow], timeout=300)  # one without a worker goes on to its end
        return lived

    def process_of(self, run):
        """The process of a flow run; None if it was quicker than this look."""
        if self.host.state(run)["type"] == "COMPLETED":
            return None
        (found,) = [each for each in self.host.processes() if run in each.environ().values()]
        return found

    def check_what_stands(self):
        """The champion can be loaded; no version is there twice or by halves; no vector is there twice."""
        if self.registry.champion():
            self.registry.load_champion()
        versions = self.registry.all()
        assert len({version.source for version in versions}) == len(versions)
        assert {version.status for version in versions} <= {"READY"}
        store = self.store()
        assert len({store.key(place) for place in range(len(store))}) == len(store)

    def store(self):
        return open_store(open_folder(self.settings.encoder.path), self.settings)

    def check_the_end(self, rounds):
        """One version a round, each judged; the status of each run is true, and killed ones are linked.

        The last run computed only what the killed ones had not stored.
        """
        self.check_what_stands()
        versions = self.registry.all()
        assert len(versions) == rounds
        assert {version.tags["promotion"] for version in versions} <= {"promoted", "kept"}
        moves = self.registry.history()
        assert [move.over for move in moves] == [None, *(move.version for move in moves[:-1])]
        client = connect(self.settings.tracking)
        experiment = client.get_experiment_by_name(self.settings.tracking.experiment)
        runs = client.search_runs([experiment.experiment_id])
        assert {run.info.status for run in runs} <= {"FINISHED", "KILLED"}
        computed = 0 if self.was_done else runs[0].data.metrics["features/computed"]
        assert self.stored + computed == len(self.store())
        known = {run.info.run_id for run in runs}
        assert {run.data.tags["resumes"] for run in runs if "resumes" in run.data.tags} <= known
