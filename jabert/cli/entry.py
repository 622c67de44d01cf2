"""Running the command line: what is said of an error, and the exit code."""

import atexit
import io
import os
import sys
from collections.abc import Sequence
from itertools import chain
from traceback import format_exception

import typer

from jabert.cli.commands import app
from jabert.cli.output import say
from jabert.errors import JabertError, reason_of
from jabert.logs import choose_loudness, make_logs_safe, shown
from jabert.process import collect_garbage_rarely, let_signals_kill, received_signal
from jabert.redaction import keep_out
from jabert.sockets import reach_directly

_ANYWHERE = {"debug": ("--debug",), "verbose": ("-v", "--verbose"), "quiet": ("-q", "--quiet")}
_SIGNS_OF_A_LOST_STORE = (  # of its database, its server or its files
    "API request to",
    "DatabaseError",
    "OperationalError",
    "Could not find an",
    "No such artifact",
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit: 0, 1 after an error, 2 for wrong usage, 130 after Ctrl-C.

    A `JabertError` is printed as its sentence, another error with its traceback, all without secrets;
    `--debug` gives the traceback of both. Like `--verbose` and `--quiet`, it may stand anywhere.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    texts = given.index("--") if "--" in given else len(given)  # behind it everything is meant literally
    asked = {name: bool(set(words) & set(given[:texts])) for name, words in _ANYWHERE.items()}
    choose_loudness(verbose=asked["verbose"], quiet=asked["quiet"])
    collect_garbage_rarely()
    reach_directly()
    make_logs_safe()
    for word in given:
        keep_out(word)
    for stream in (sys.stdout, sys.stderr):  # Japanese is shown in any locale
        if isinstance(stream, io.TextIOWrapper) and "PYTHONIOENCODING" not in os.environ:
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    try:
        try:
            code = app(
                [word for word in given[:texts] if word not in chain(*_ANYWHERE.values())] + given[texts:],
                standalone_mode=False,
            )
            sys.exit(code if isinstance(code, int) else 0)
        except typer.TyperException as error:  # wrong usage
            error.show(told := io.StringIO())  # type: ignore[attr-defined]  # as those have it that are raised
            say(shown(told.getvalue().rstrip("\n")), error=True)
            sys.exit(error.exit_code)
        finally:
            atexit.register(let_signals_kill)
            print(end="", flush=True)
    except BrokenPipeError:  # the reader has seen enough, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:
        sentence = str(error) if isinstance(error, JabertError) else _trouble_with_a_server(error)
        if received_signal():
            raise
        if asked["debug"] or not sentence:
            say(shown("".join(format_exception(error)).rstrip("\n")), error=True)
        else:
            say(f"jabert: {shown(sentence)}", error=True)
        sys.exit(1)


def _trouble_with_a_server(error: Exception) -> str | None:
    """A sentence if Prefect's server is away, or MLflow's store went away or lost files, else None."""
    if isinstance(error, RuntimeError) and str(error).startswith("Failed to reach API at "):
        url = str(error).removeprefix("Failed to reach API at ")
        return f"PREFECT_API_URL {url}: the server cannot be reached; start it, or unset the variable"
    if type(error).__module__ == "httpx":  # Prefect's client, later on
        return f"Prefect's server went away ({type(error).__name__}: {reason_of(error)})"
    of_a_store = type(error).__module__ in ("mlflow.exceptions", "sqlalchemy.exc")  # without loading either
    if not of_a_store or not any(sign in str(error) for sign in _SIGNS_OF_A_LOST_STORE):
        return None
    return f"tracking.uri: the MLflow store fails ({reason_of(error)}); see `jabert doctor`"
