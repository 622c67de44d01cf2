"""No damaged file gets through: no traceback, no hang, no memory, and nothing damaged that is believed."""

import json
import os
import selectors
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import damage
import pytest

GOOD = ("read", "changed", "refused")
FEW = 8  # cases of each format in `make test`
AT_ONCE = 2  # processes
_SLOW = ("MLflow's SQLite", "model folders", "Hugging Face", "safetensors", "ONNX")
_LONGEST = 300  # seconds without a word: a library that does not heed signals hangs
_ENOUGH = 50  # failures of a format
_PROGRAM = [sys.executable, str(Path(damage.__file__))]


@pytest.mark.parametrize("name", [name for name in damage.FORMATS if name not in _SLOW])
def test_a_few_damaged_files_of_each_format_are_refused_or_read(name):
    told = []
    damage.attempt_cases(name, iter(range(FEW)), told.append)
    bad = {of["done"]: of["result"] for of in told if "done" in of and of["result"] not in GOOD}
    assert not bad


class Attack:
    """A process that tries the cases of a format, and is begun again behind one that it does not survive."""

    def __init__(self, name):
        self.name, self.cases, self.next = name, damage.FORMATS[name].cases, 0
        self.results, self.bad, self.began = Counter(), [], time.monotonic()
        self.start()

    def start(self):
        command = [*_PROGRAM, self.name, str(self.next), str(self.cases)]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "TF_CPP_MIN_LOG_LEVEL": "3"}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        self.process = subprocess.Popen(command, bufsize=0, env=environment, **pipes)
        self.heard, self._begun_line = time.monotonic(), b""

    def hear(self):
        """What the process says; false at its end."""
        said = os.read(self.process.stdout.fileno(), 1 << 16)
        *lines, self._begun_line = (self._begun_line + said).split(b"\n")
        for line in lines:
            told, self.heard = json.loads(line), time.monotonic()
            if "done" in told:
                self.next = told["done"] + 1
                self.note(told["done"], told["result"], told["file"])
        return bool(said)

    def note(self, seed, result, file=""):
        self.results[result if result in GOOD else result.partition(":")[0]] += 1
        if result not in GOOD:
            self.bad.append((seed, file, result))

    def end(self, why):
        """The process is over, or made to be; begin it again if it has left cases, and return whether."""
        self.process.kill()
        code = self.process.wait()
        self.process.stdout.close()
        if self.next < self.cases:
            self.note(self.next, why or f"crash: exit code {code}")
            self.next += 1
        if self.next < self.cases and len(self.bad) < _ENOUGH:
            self.start()
            return True
        seconds, tried = time.monotonic() - self.began, sum(self.results.values())
        print(f"{self.name:18} {tried:6,} cases in {seconds:5.0f} s: {dict(self.results)}", flush=True)
        return False


def run(names):
    """Attack formats, two at a time; returns what came of each."""
    waiting, over = list(names), []
    with selectors.DefaultSelector() as ready:

        def watch(attack):
            ready.register(attack.process.stdout, selectors.EVENT_READ, attack)

        def end(attack, why=""):
            ready.unregister(attack.process.stdout)
            watch(attack) if attack.end(why) else over.append(attack)

        while waiting or ready.get_map():
            while waiting and len(ready.get_map()) < AT_ONCE:
                watch(Attack(waiting.pop(0)))
            for key, _ in ready.select(timeout=1):
                if not key.data.hear():
                    end(key.data)
            for key in list(ready.get_map().values()):
                if time.monotonic() - key.data.heard > _LONGEST:
                    end(key.data, "hang: no word")
    return over


@pytest.mark.attack
@pytest.mark.timeout(3600)
def test_no_damaged_file_gets_through():
    over = run(damage.FORMATS)
    tried = sum(sum(attack.results.values()) for attack in over)
    bad = {attack.name: attack.bad[:5] for attack in over if attack.bad}
    print(f"{tried:,} damaged files tried, {sum(len(attack.bad) for attack in over)} got through")
    assert not bad, json.dumps(bad, indent=1)
    assert tried >= 20_000
