"""The command line."""

import sys
from collections.abc import Sequence

from jabert.process import handle_signals, received_signal

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit: 0, 1 after a `JabertError`, 2 for wrong usage, 128+N after signal N."""
    handle_signals()  # before imports that take half a second
    try:
        from jabert.cli.entry import main as run

        run(arguments)
    except (KeyboardInterrupt, Exception):  # a library may have made an error of it
        if number := received_signal():
            sys.exit(128 + number)
        raise
