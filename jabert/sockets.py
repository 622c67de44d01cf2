"""Listening on a port of this machine, and the error where that is impossible."""

import socket

from jabert.errors import JabertError, reason_of

_BACKLOG = 2048


def listen(host: str, port: int | str, remedy: str) -> socket.socket:
    """Open a TCP socket that listens; close it again where the question was only whether the port is free.

    Args:
        host: name or address of this machine, IPv4 or IPv6.
        port: 0 to 65535; 0 lets the system choose a free one.
        remedy: the end of the error message: what the user can do if the port cannot be used.

    Raises:
        JabertError: the address is not one of this machine, or the port is taken or not a port number.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, kind, protocol)
        try:
            # Without this option a port that a server has just left counts as taken.
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind((address[0], int(port), *address[2:]))
            listening.listen(_BACKLOG)
        except BaseException:
            listening.close()
            raise
    except (OSError, OverflowError, ValueError) as error:
        reason = (isinstance(error, OSError) and error.strerror) or reason_of(error)
        raise JabertError(f"{host} port {port} cannot be used ({reason}); {remedy}") from None
    return listening
