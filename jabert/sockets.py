"""Listening on a port of this machine, the error where that is impossible, and no proxy in between."""

import os
import socket

from jabert.errors import JabertError, reason_of

_BACKLOG = 2048
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_PROXIES = ("http_proxy", "https_proxy", "all_proxy")


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


def reach_directly(*hosts: str) -> None:
    """Let no proxy of the environment stand between this process, or those that it starts, and this machine.

    A proxy is told by variables that requests, httpx and urllib read, each in its own way where only one case
    is set; so both cases of `no_proxy` name this machine then. Where there is no proxy nothing is changed: a
    Mac takes its own only while no such variable is set.

    Args:
        hosts: further names and addresses of servers here.
    """
    if not proxies():
        return
    named = [os.environ.get(name, "") for name in ("no_proxy", "NO_PROXY")]
    found = [host.strip() for value in named for host in value.split(",") if host.strip()]
    if "*" not in found:  # which means all, and only if it stands alone
        value = ",".join(dict.fromkeys([*found, *_LOOPBACK, *hosts]))
        os.environ.update(dict.fromkeys(("no_proxy", "NO_PROXY"), value))


def proxies() -> dict[str, str]:
    """The variables of the environment that name a proxy, as they are written there."""
    both = [case for name in _PROXIES for case in (name, name.upper())]
    return {name: os.environ[name] for name in both if os.environ.get(name)}
