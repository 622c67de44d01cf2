"""Runs the programs of `benchmarks/programs`, processes of their own that answer in lines of JSON."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

__all__ = ["HERE", "OWN", "PEERS", "RESULTS", "Worker", "WorkerError", "run_program", "say"]

HERE = Path(__file__).parent
RESULTS = HERE / "results"
OWN = Path(sys.executable)
"""The Python of jabert's environment."""
PEERS = HERE.parent / ".venv-peers" / "bin" / "python"
"""The Python of the environment with the peers, which `make peers` installs."""


class WorkerError(Exception):
    """A program ended without an answer; the message is the last line that it wrote to stderr."""


class Worker:
    """A running program of `benchmarks/programs`; `facts` is its first answer.

    Args:
        python: the interpreter, `OWN` or `PEERS`.
        program: name of the file.
        arguments: its command line.

    Raises:
        WorkerError: the program ended before its first answer.
    """

    def __init__(self, python: Path, program: str, arguments: Iterable[Any] = ()) -> None:
        if not python.exists():
            raise WorkerError(f"there is no {python.parent.parent.name}: make peers")
        # Closed with this object, since it is read after the program has ended.
        self._errors = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115
        self._process = subprocess.Popen(
            [python, HERE / "programs" / program, *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            encoding="utf-8",
        )
        self.facts = self._answer()

    def ask(self, **request: Any) -> dict[str, Any]:
        """Send a request and wait for the answer.

        Raises:
            WorkerError: the program ended without an answer.
        """
        assert self._process.stdin
        with suppress(BrokenPipeError):  # the program has ended; _answer reports why
            print(json.dumps(request), file=self._process.stdin, flush=True)
        return self._answer()

    def close(self) -> None:
        """End the program."""
        self._process.communicate()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            self.close()
            raise WorkerError(self._last_error())
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _last_error(self) -> str:
        self._errors.seek(0)
        lines = self._errors.read().split("\n")
        said = next((line.strip() for line in reversed(lines) if line.strip()), "no message")
        return f"exit code {self._process.returncode}: {said}"


def run_program(python: Path, program: str, arguments: Iterable[Any] = ()) -> dict[str, Any]:
    """Run a program that answers once and takes no requests; returns the answer.

    Raises:
        WorkerError: the program ended without an answer.
    """
    worker = Worker(python, program, arguments)
    worker.close()
    return worker.facts


def say(what: str) -> None:
    """Print progress to stderr, at once."""
    print(what, file=sys.stderr, flush=True)
