"""Programs in processes of their own that answer a line of JSON with a line of JSON."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

__all__ = ["OWN", "PEERS", "RESULTS", "Worker", "WorkerError", "run_program"]

HERE = Path(__file__).parent
RESULTS = HERE / "results"
OWN = Path(sys.executable)
PEERS = HERE.parent / ".venv-peers" / "bin" / "python"


class WorkerError(Exception):
    """A program ended without an answer; the message is the last line that it wrote."""


class Worker:
    """A running program of `benchmarks/ways`; its first line is read at once into `facts`.

    Raises:
        WorkerError: it ended before.
    """

    def __init__(self, python: Path, program: str, arguments: Iterable[Any] = ()) -> None:
        if not python.exists():
            raise WorkerError(f"there is no {python.parent.parent.name}: make peers")
        # Closed with the object, since its words are wanted after the end of the program.
        self._errors = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115
        self._process = subprocess.Popen(
            [python, HERE / "ways" / program, *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            encoding="utf-8",
        )
        self.facts = self._answer()

    def ask(self, **request: Any) -> dict[str, Any]:
        """Send a request and wait for the answer."""
        assert self._process.stdin
        with suppress(BrokenPipeError):  # it has ended, and left its reason
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
            raise WorkerError(self._last_words())
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _last_words(self) -> str:
        self._errors.seek(0)
        lines = self._errors.read().split("\n")
        said = next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")
        return f"exit code {self._process.returncode}: {said}"


def run_program(python: Path, program: str, arguments: Iterable[Any] = ()) -> dict[str, Any]:
    """The only answer of a program that asks nothing.

    Raises:
        WorkerError: it ended without.
    """
    worker = Worker(python, program, arguments)
    worker.close()
    return worker.facts
