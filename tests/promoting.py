"""Processes that promote at once: each judges a version of its own in every round."""

import multiprocessing
import random
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

import toy_registry
from toy_registry import ROWS

from jabert.registry.smoke import smoke_check


@dataclass
class Contest:
    """Ready-made models and where their versions are judged.

    Attributes:
        name: of the registered model.
        overrides: settings of store and lock.
        models: URIs, the worst first; a model is right about as many more rows as its place says.
        rounds: how many; in one of them the smoke check is real.
        processes: how many judge at once.
    """

    name: str
    overrides: list[str]
    models: list[str]
    rounds: int
    processes: int = 8

    def run(self):
        """Of each judgement its round, the version, the model's place, the outcome, the champion after it."""
        spawn = multiprocessing.get_context("spawn")  # a fork would share connections
        with spawn.Manager() as manager, ProcessPoolExecutor(self.processes, spawn) as pool:
            barrier = manager.Barrier(self.processes)
            found = pool.map(self.work, range(self.processes), [barrier] * self.processes)
            return [line for lines in found for line in lines]

    def work(self, number, barrier):
        try:
            return list(self.judge(number, barrier))
        except BaseException:
            barrier.abort()
            raise

    def judge(self, number, barrier):
        registry = toy_registry.toy_registry(self.name, *self.overrides)
        rng = random.Random(number)
        for round_number in range(self.rounds):
            # Models get better from round to round, so that there is a promotion in most.
            best = (round_number + 1) * len(self.models) // self.rounds
            place = rng.randrange(max(0, best - 4), max(1, best))
            version = toy_registry.new_version(registry, self.models[place])
            check = {"smoke_check": smoke_check} if round_number == self.rounds // 2 else {}
            barrier.wait(timeout=600)
            verdict = toy_registry.gate(registry, ROWS, **check).judge(version)
            barrier.wait(timeout=600)
            champion = registry.champion()  # nobody judges now
            yield round_number, version, place, verdict.outcome, champion


def check(contest, found, registry):
    """After each round the champion is the best of all that were judged; the history is one chain."""
    place_of = {version: place for _, version, place, _, _ in found}
    for round_number in range(contest.rounds):
        best = max(place for number, _, place, _, _ in found if number <= round_number)
        champions = {champion for number, *_, champion in found if number == round_number}
        assert len(champions) == 1
        assert place_of[champions.pop()] == best
    moves = registry.history()
    assert [move.number for move in moves] == list(range(1, len(moves) + 1))
    assert [move.over for move in moves] == [None, *(move.version for move in moves[:-1])]
    assert sorted(move.version for move in moves) == sorted(of[1] for of in found if of[3] == "promoted")
    assert len(moves) > contest.rounds // 4
    places = [place_of[move.version] for move in moves]
    assert places == sorted(set(places)), "each is strictly better than the one before"
    aliases = {alias: line["version"] for line in registry.listing() for alias in line["aliases"]}
    assert aliases == {"champion": moves[-1].version, "previous": moves[-2].version}
