"""The process behind `jabert serve`: a socket, a model, uvicorn."""

import gc
import math
import signal
from socket import socket

from jabert.config import Settings
from jabert.serving.models import Address, address_of
from jabert.sockets import listen

__all__ = ["serve"]


def serve(settings: Settings, uri: str, host: str, port: int) -> None:
    """Serve a model over HTTP until SIGTERM or Ctrl-C; what was accepted is answered first.

    Args:
        settings: the store and the limits.
        uri: `models:/NAME@ALIAS`, which is followed, or one of the forms that mean one version.
        host: a name or address of this machine.
        port: to listen on.

    Raises:
        JabertError: the URI has no such form, the address cannot be used, the registry cannot be reached,
            there is no such version, or it cannot be loaded.
    """
    address = address_of(uri)
    with listen(host, port, "give others with --host and --port") as listening:  # before anything heavy
        _run(settings, address, listening)


def _run(settings: Settings, address: Address, listening: socket) -> None:
    from jabert.tracking import connect

    client = connect(settings.tracking)
    import uvicorn

    from jabert.serving.app import build_app
    from jabert.serving.follower import Follower
    from jabert.serving.metrics import Metrics
    from jabert.serving.protocol import BoundedProtocol

    metrics = Metrics()
    follower = Follower(client, address, settings.serving, metrics)
    seconds = settings.serving.timeout_seconds
    config = uvicorn.Config(
        build_app(follower, settings.serving, metrics),
        http=BoundedProtocol,
        ws="none",
        loop="uvloop",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=math.ceil(seconds),
        timeout_graceful_shutdown=math.ceil(seconds) + 5,
    )
    server = uvicorn.Server(config)
    for number in (signal.SIGINT, signal.SIGTERM):
        # uvicorn does so itself only when it has begun, and raises them again when it has ended.
        signal.signal(number, server.handle_exit)
    gc.collect()
    gc.freeze()  # else each full collection walks through all imported libraries, which takes 0.15 s
    url = "http://{}:{}".format(*listening.getsockname())
    print(
        f"{url} serves version {follower.served.version.label} of {address.uri}; Ctrl-C ends it", flush=True
    )
    server.run(sockets=[listening])
