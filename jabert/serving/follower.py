"""The version that serves, kept up with the alias."""

import threading
import time
from typing import TYPE_CHECKING

from jabert.config import ServingSettings
from jabert.errors import JabertError, reason_of
from jabert.serving.log import write_event
from jabert.serving.metrics import Metrics
from jabert.serving.models import Address, Served, Version, find_version, load

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

__all__ = ["Follower"]

_SECONDS_BEFORE_RETRY = 30.0
_SECONDS_TO_END = 5.0


class Follower:
    """Asks the registry at intervals, loads what the alias points to, and only then lets go of the old one.

    Attributes:
        served: the version that serves. One reference: who predicts takes it once and keeps it as long.
        trouble: a sentence for `/health` while the alias cannot be followed, else None.
    """

    def __init__(
        self, client: "MlflowClient", address: Address, settings: ServingSettings, metrics: Metrics
    ) -> None:
        self._client = client
        self._settings = settings
        self._metrics = metrics
        self._failed: Version | None = None
        self._retry_at = 0.0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="follower", daemon=True)
        self.address = address
        self.trouble: str | None = None
        self.served = self._load_first()

    def start(self) -> None:
        """Follow the alias, if the address has one."""
        if self.address.alias:
            self._thread.start()

    def stop(self) -> None:
        """Follow no longer; a version that is being loaded is waited for a few seconds."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join(_SECONDS_TO_END)

    def look(self) -> None:
        """Ask once, and take up a change."""
        serving = f"version {self.served.version.label} goes on serving"
        try:
            found = find_version(self._client, self.address)
        except Exception as error:  # of any kind: what serves goes on
            self._failed = None
            self._tell(f"the registry cannot be asked, {serving}", error)
            return
        if found is not None and found == self._failed and time.monotonic() < self._retry_at:
            return
        self._failed = None
        if found is None:
            self._tell(f"alias {self.address.alias!r} of {self.address.name!r} is gone, {serving}")
        elif found == self.served.version:
            self._tell(None)
        else:
            self._take_up(found, serving)

    def _follow(self) -> None:
        while not self._ended.wait(self._settings.poll_seconds):
            self.look()

    def _load_first(self) -> Served:
        uri, name, alias = self.address.uri, self.address.name, self.address.alias
        version = find_version(self._client, self.address)
        if version is None:
            raise JabertError(
                f"the registered model {name!r} has no {alias} yet; `jabert retrain` makes one, "
                "`jabert models` lists what there is"
            )
        try:
            served = load(version, self._settings.batch_texts)
        except Exception as error:  # of any kind: the model's own code ran
            reason = reason_of(error)
            raise JabertError(f"{uri}: version {version.label} cannot be loaded ({reason})") from error
        self._metrics.set_version(version.label)
        return served

    def _take_up(self, version: Version, serving: str) -> None:
        started = time.perf_counter()
        try:
            served = load(version, self._settings.batch_texts)
        except Exception as error:  # of any kind: the model's own code ran
            self._failed, self._retry_at = version, time.monotonic() + _SECONDS_BEFORE_RETRY
            self._metrics.load_failures.inc()
            self._tell(f"version {version.label} cannot be loaded, {serving}", error)
            return
        self.served = served
        self._metrics.set_version(version.label)
        write_event("version", version=version.label, seconds=round(time.perf_counter() - started, 3))
        self._tell(None)

    def _tell(self, trouble: str | None, error: Exception | None = None) -> None:
        """Keep the sentence for `/health`, which names no path; the log has the reason, once."""
        sentence = f"{trouble} ({type(error).__name__})" if error else trouble
        if sentence and sentence != self.trouble:
            reason = {"reason": reason_of(error, 500)} if error else {}
            write_event("trouble", sentence=sentence, **reason)
        self.trouble = sentence
