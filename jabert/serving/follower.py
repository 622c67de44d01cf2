"""Following the alias: the version that is served is the one that the alias points to."""

import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from jabert.config import ServingSettings
from jabert.errors import JabertError, reason_of
from jabert.serving.log import write_event
from jabert.serving.metrics import Metrics
from jabert.serving.models import Address, Version, find_version, load, require_database
from jabert.tracking import TrustedKey

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

_SECONDS_BEFORE_RETRY = 30.0
_SECONDS_TO_ANSWER = 5.0  # of the registry; MLflow's client tries for minutes
_SECONDS_TO_END = 5.0


class Follower:
    """Polls the registry, and replaces the served version once the new one is loaded.

    Attributes:
        address: what is served.
        served: the version that is served. It is replaced as a whole, so a caller reads the attribute once
            and uses the same version for its whole prediction.
    """

    def __init__(
        self,
        client: "MlflowClient",
        address: Address,
        settings: ServingSettings,
        metrics: Metrics,
        trusted: Sequence[TrustedKey] = (),
    ) -> None:
        self._trusted = trusted
        self._client = client
        self._settings = settings
        self._metrics = metrics
        self._failed: Version | None = None
        self._retry_at = 0.0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="follower", daemon=True)
        self.address = address
        self._trouble: str | None = None
        self._asks_since: float | None = None
        version = find_version(client, address)
        if version is None:
            raise JabertError(
                f"the registered model {address.name!r} has no {address.alias} yet; `jabert retrain` makes "
                "one, `jabert models` lists what there is"
            )
        try:
            self.served = load(version, settings.batch_texts, trusted)
        except Exception as error:  # of any type: the model's own code ran
            reason = f"version {version.label} cannot be loaded ({reason_of(error)})"
            raise JabertError(f"{address.uri}: {reason}") from error
        metrics.set_version(version.label)

    def start(self) -> None:
        """Follow the alias, if the address has one."""
        if self.address.alias:
            self._thread.start()

    def stop(self) -> None:
        """Stop following; waits at most 5 s for a version that is being loaded."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join(_SECONDS_TO_END)

    def poll(self) -> None:
        """Ask the registry once, and switch to another version if the alias has moved."""
        serving = self._serving()
        self._asks_since = time.monotonic()
        try:
            require_database(self._client)
            found = find_version(self._client, self.address)
        except Exception as error:  # of any type: the present version is served all the same
            self._failed = None
            self._report(f"the registry cannot be asked, {serving}", error)
            return
        finally:
            self._asks_since = None
        if found is not None and found == self._failed and time.monotonic() < self._retry_at:
            return
        self._failed = None
        if found is None:
            self._report(f"alias {self.address.alias!r} of {self.address.name!r} is gone, {serving}")
        elif found == self.served.version:
            self._report(None)
        else:
            started = time.perf_counter()
            try:
                self.served = load(found, self._settings.batch_texts, self._trusted)
            except Exception as error:  # of any type: the model's own code ran
                self._failed, self._retry_at = found, time.monotonic() + _SECONDS_BEFORE_RETRY
                self._metrics.load_failures.inc()
                self._report(f"version {found.label} cannot be loaded, {serving}", error)
                return
            self._metrics.set_version(found.label)
            write_event("version", version=found.label, seconds=round(time.perf_counter() - started, 3))
            self._report(None)

    @property
    def trouble(self) -> str | None:
        """A sentence for `/health` while the alias cannot be followed, else None."""
        since = self._asks_since
        seconds = 0.0 if since is None else time.monotonic() - since
        if seconds < _SECONDS_TO_ANSWER:
            return self._trouble
        return f"the registry has not answered for {seconds:.0f} s, {self._serving()}"

    def _serving(self) -> str:
        return f"version {self.served.version.label} goes on serving"

    def _follow(self) -> None:
        while not self._ended.wait(self._settings.poll_seconds):
            self.poll()

    def _report(self, trouble: str | None, error: Exception | None = None) -> None:
        """Set the sentence for `/health`, which names no path, and log it once with the reason."""
        sentence = f"{trouble} ({type(error).__name__})" if error else trouble
        if sentence and sentence != self._trouble:
            reason = {"reason": reason_of(error, 500)} if error else {}
            write_event("trouble", sentence=sentence, **reason)
        self._trouble = sentence
