"""Processes that promote concurrently: each judges a version of its own in every round."""

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
        name: name of the registered model.
        overrides: settings of store and lock.
        models: URIs, from the worst model to the best; each is right about one more row than the one before.
        rounds: number of rounds; in one of them the smoke check is real.
        processes: number of processes that judge concurrently.
    """

    name: str
    overrides: list[str]
    models: list[str]
    rounds: int
    processes: int = 8

    def run(self):
        """For each verdict: round, version, rank of its model, outcome, champion after the round."""
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
            rank = rng.randrange(max(0, best - 4), max(1, best))
            version = toy_registry.new_version(registry, self.models[rank])
            check = {"smoke_check": smoke_check} if round_number == self.rounds // 2 else {}
            barrier.wait(timeout=600)
            verdict = toy_registry.gate(registry, ROWS, **check).judge(version)
            barrier.wait(timeout=600)
            champion = registry.champion()  # no process is judging now
            yield round_number, version, rank, verdict.outcome, champion


def check(contest, found, registry):
    """After each round the champion is the best of all judged versions; the history is one chain."""
    rank_of = {version: rank for _, version, rank, _, _ in found}
    for round_number in range(contest.rounds):
        best = max(rank for number, _, rank, _, _ in found if number <= round_number)
        champions = {champion for number, *_, champion in found if number == round_number}
        assert len(champions) == 1
        assert rank_of[champions.pop()] == best
    moves = registry.history()
    assert [move.number for move in moves] == list(range(1, len(moves) + 1))
    assert [move.over for move in moves] == [None, *(move.version for move in moves[:-1])]
    assert sorted(move.version for move in moves) == sorted(of[1] for of in found if of[3] == "promoted")
    assert len(moves) > contest.rounds // 4
    ranks = [rank_of[move.version] for move in moves]
    assert ranks == sorted(set(ranks)), "each is strictly better than the one before"
    aliases = {alias: line["version"] for line in registry.listing() for alias in line["aliases"]}
    assert aliases == {"champion": moves[-1].version, "previous": moves[-2].version}
