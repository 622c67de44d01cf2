"""The process of `jabert serve`."""

import gc
import math
import os
import signal
from functools import partial

from jabert.config import Settings, local_database
from jabert.serving.models import address_of
from jabert.sockets import listen
from jabert.tracking import connect, trusted_keys


def serve(settings: Settings, uri: str, host: str, port: int) -> None:
    """Serve a model over HTTP until SIGTERM or Ctrl-C; accepted requests are answered first.

    Args:
        settings: the settings of `tracking`, `registry` and `serving`.
        uri: `models:/NAME@ALIAS`, which is followed, or `models:/NAME/VERSION`, `models:/m-…`, `runs:/…/…`.
        host: name or address of this machine.
        port: port to listen on.

    Raises:
        JabertError: the URI is malformed, the port cannot be used, the registry cannot be reached, or the
            version does not exist or cannot be loaded.
    """
    address = address_of(uri)
    # Before heavy imports, so that a taken port is reported at once.
    with listen(host, port, "give others with --host and --port") as listening:
        if local_database(settings.tracking.uri):
            # Else a connection that is kept open goes on reading a database that was replaced.
            os.environ.setdefault("MLFLOW_SQLALCHEMYSTORE_POOLCLASS", "NullPool")
        client, trusted = connect(settings.tracking), trusted_keys(settings.registry)
        import uvicorn

        from jabert.serving.app import build_app
        from jabert.serving.follower import Follower
        from jabert.serving.log import take_over_logging
        from jabert.serving.metrics import Metrics
        from jabert.serving.protocol import BoundedProtocol

        metrics = Metrics()
        follower = Follower(client, address, settings.serving, metrics, trusted)
        seconds = math.ceil(settings.serving.timeout_seconds)
        app = build_app(follower, settings.serving, metrics)
        config = uvicorn.Config(
            app,
            # uvicorn calls it, class or not
            http=partial(BoundedProtocol, app.note_malformed, settings.serving.max_body_bytes),  # type: ignore[arg-type]
            ws="none",
            loop="uvloop",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=seconds,
            timeout_graceful_shutdown=seconds + 5,
        )
        server = uvicorn.Server(config)
        for number in (signal.SIGINT, signal.SIGTERM):
            # uvicorn installs its handlers only once it runs, and raises the signals again when it has ended.
            signal.signal(number, server.handle_exit)
        gc.collect()
        gc.freeze()  # otherwise each full collection scans all imported libraries, which takes 0.15 s
        url, label = "http://{}:{}".format(*listening.getsockname()), follower.served.version.label
        print(f"{url} serves version {label} of {address.uri}; Ctrl-C ends it", flush=True)
        take_over_logging()
        server.run(sockets=[listening])
