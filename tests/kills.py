"""A script: judge a version again and again, killed at a different call to the registry each time.

Arguments are two model URIs, of the champion and the challenger, a prefix for names of registered models, and
a number n, for a kill at each n-th call only.
It prints one line of JSON per kill: the state of the registry right after it and after a rerun. Each step
runs in a process forked from this one.
"""

import itertools
import json
import os
import signal
import sys
from dataclasses import dataclass, replace

import toy_registry


class Dying:
    """A client that kills its process before or after its n-th call."""

    def __init__(self, client, deadly_call, before):
        self._client, self._deadly_call, self._before, self._calls = client, deadly_call, before, 0

    def __getattr__(self, name):
        method = getattr(self._client, name)

        def call(*arguments, **named):
            self._calls += 1
            deadly = self._calls == self._deadly_call
            if deadly and self._before:
                os.kill(os.getpid(), signal.SIGKILL)
            result = method(*arguments, **named)
            if deadly:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        return call


def in_a_process(work):
    """The result of `work` in a forked process; None if the process was killed."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writer, json.dumps(work()).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as answer:
        text = answer.read()
    os.waitpid(child, 0)
    return json.loads(text) if text else None


@dataclass
class Case:
    """A registered model with a champion, and a challenger that is judged until the deadly call."""

    name: str
    champion: str
    challenger: str
    deadly_call: int
    before: bool

    @property
    def registry(self):
        return toy_registry.toy_registry(self.name)

    def prepare_and_judge(self):
        registry = self.registry
        registry.register(self.champion)
        toy_registry.gate(registry).judge("1")
        return self._judge(replace(registry, client=Dying(registry.client, self.deadly_call, self.before)))

    def look_and_judge_again(self):
        right_after = self.state()
        return {
            "case": self.name,
            "right_after": right_after,
            "outcome": self._judge(self.registry),
            "after_a_rerun": self.state(),
        }

    def _judge(self, registry):
        return toy_registry.gate(registry).judge_once(registry.register(self.challenger)).outcome

    def state(self):
        """The aliases and the history; checks that the champion can be loaded."""
        aliases = {alias: line["version"] for line in self.registry.listing() for alias in line["aliases"]}
        self.registry.load_champion()
        history = [[move.number, move.version, move.over] for move in self.registry.history()]
        return {"aliases": aliases, "history": history}


def main(champion, challenger, name, every):
    import mlflow.pyfunc  # noqa: F401  once here, not in every child
    import sklearn.metrics  # noqa: F401

    toy_registry.toy_registry("nothing", "tracking.uri=sqlite:///elsewhere.db").listing()
    for before in (True, False):
        for deadly_call in itertools.count(1, int(every)):
            case = Case(f"{name}-{deadly_call}-{before}", champion, challenger, deadly_call, before)
            if in_a_process(case.prepare_and_judge) is not None:  # it ended before the deadly call
                break
            print(json.dumps(in_a_process(case.look_and_judge_again)), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
