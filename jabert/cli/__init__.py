"""The command line."""

from jabert.cli.commands import main

__all__ = ["main"]
