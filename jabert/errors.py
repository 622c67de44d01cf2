"""The one exception that a user is meant to read."""

__all__ = ["JabertError"]


class JabertError(Exception):
    """Something the user can put right.

    The message is one sentence that names the file, row, column or setting. The command
    line prints it without a traceback and exits with 1.
    """
