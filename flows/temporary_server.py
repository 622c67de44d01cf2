"""Prefect's temporary server, made to end with the process that started it, however that ends."""

import subprocess
from typing import Any

from prefect.server.api.server import SubprocessASGIServer


class TemporaryServer(SubprocessASGIServer):
    """The server that Prefect starts for a flow where PREFECT_API_URL is not set.

    Prefect stops it at exit, which SIGKILL and the out-of-memory killer prevent. So a shell waits until a
    pipe is closed that only this process holds open, and then stops the server.
    """

    _watch: subprocess.Popen[bytes] | None = None

    def stop(self) -> None:
        """Stop the server, and only then its watch."""
        super().stop()
        self._end_watch()

    def _run_uvicorn_command(self) -> subprocess.Popen[Any]:
        self._end_watch()  # of a server that found its port taken
        server = super()._run_uvicorn_command()
        script = f"read nothing; kill {server.pid}"
        self._watch = subprocess.Popen(["sh", "-c", script], stdin=subprocess.PIPE, start_new_session=True)
        return server

    def _end_watch(self) -> None:
        if self._watch:
            self._watch.kill()
            self._watch.communicate()
