"""The versions of one registered model: found, loaded, listed, promoted, rolled back."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import pandas as pd

from jabert.config import Settings
from jabert.errors import JabertError, reason_of
from jabert.registry.leaks import LEARNED_FROM, Learned, read_learned
from jabert.registry.lock import lock_location, promotion_lock
from jabert.registry.moves import Move, carry_out, champion_of, moves_of, settle
from jabert.tracking import connect, load_model

if TYPE_CHECKING:
    from mlflow.entities import Run as TrackedRun
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.tracking import MlflowClient

__all__ = ["Registry", "classify", "open_registry", "predict"]


@dataclass(frozen=True)
class Registry:
    """A registered model.

    Attributes:
        client: of the store.
        store: its URI.
        name: of the model.
        lock: location of the promotion lock.
    """

    client: "MlflowClient"
    store: str
    name: str
    lock: str

    def champion(self) -> str | None:
        """The version that serves, None without one."""
        return champion_of(self.client, self.name)

    def uri(self, version: str) -> str:
        """The version as MLflow names it."""
        return f"models:/{self.name}/{version}"

    def get(self, version: str) -> "ModelVersion":
        """A version's entry.

        Raises:
            JabertError: there is no such version.
        """
        from mlflow.exceptions import MlflowException

        try:
            return self.client.get_model_version(self.name, version)
        except MlflowException as error:
            if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                raise
            raise JabertError(
                f"there is no version {version!r} of {self.name!r}; `jabert models` lists them"
            ) from None

    def load(self, version: str) -> Any:
        """A version as a pyfunc model.

        Raises:
            JabertError: it cannot be loaded.
        """
        try:
            return load_model(self.uri(version))
        except Exception as error:  # a version brings code of its own, which may raise anything
            reason = reason_of(error)
            raise JabertError(
                f"version {version} of {self.name!r} cannot be loaded ({reason}); see `jabert doctor`"
            ) from error

    def require_champion(self) -> str:
        """The version that serves.

        Raises:
            JabertError: there is none.
        """
        champion = self.champion()
        if champion is None:
            raise JabertError(
                f"the registered model {self.name!r} has no champion yet; `jabert retrain` makes one"
            )
        return champion

    def load_champion(self) -> Any:
        """The champion as a pyfunc model.

        Raises:
            JabertError: there is none, or it cannot be loaded.
        """
        return self.load(self.require_champion())

    def learned(self, version: str) -> Learned | None:
        """Digests of what a version learned from, None of a model that carries none."""
        from mlflow.artifacts import download_artifacts, list_artifacts

        folder = f"{self.uri(version)}/artifacts"
        # A store that cannot be asked is an error: a version must not pass for one that learned from nothing.
        if LEARNED_FROM not in {PurePosixPath(file.path).name for file in list_artifacts(folder)}:
            return None
        with TemporaryDirectory() as copy:
            return read_learned(Path(download_artifacts(f"{folder}/{LEARNED_FROM}", dst_path=copy)))

    def run(self, version: str) -> "TrackedRun":
        """The run that judged a version; the one that made it may have been killed before it came to that.

        Raises:
            JabertError: there is no such version, or its run is gone.
        """
        from mlflow.exceptions import MlflowException

        entry = self.get(version)
        try:
            return self.client.get_run(entry.tags.get("judged_in") or entry.run_id or "")
        except MlflowException as error:
            if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                raise
            raise JabertError(f"the run of version {version} of {self.name!r} is gone") from None

    def artifact(self, version: str, name: str) -> bytes | None:
        """A file among the artifacts of a version's run, None if there is none of that name.

        Raises:
            JabertError: as `run`.
        """
        run_id = self.run(version).info.run_id
        parent = str(PurePosixPath(name).parent)
        listed = self.client.list_artifacts(run_id, None if parent == "." else parent)
        if name not in {file.path for file in listed}:
            return None
        with TemporaryDirectory() as folder:
            return Path(self.client.download_artifacts(run_id, name, folder)).read_bytes()

    def all(self) -> list["ModelVersion"]:
        """All versions, newest first."""
        found: list[ModelVersion] = []
        page = None
        while page != "":
            some = self.client.search_model_versions(
                f"name = '{self.name}'", max_results=1000, page_token=page
            )
            found += some
            page = some.token or ""
        return sorted(found, key=lambda version: -int(version.version))

    def register(self, model_uri: str) -> str:
        """The version of a logged model; one that a killed process registered is found again."""
        import mlflow

        known = [version.version for version in self.all() if version.source == model_uri]
        return str(known[0] if known else mlflow.register_model(model_uri, self.name).version)

    def tag(self, version: str, tags: Mapping[str, Any]) -> None:
        """Set tags of a version; a None is left out."""
        for key, value in tags.items():
            if value is not None:
                self.client.set_model_version_tag(self.name, version, key, str(value))

    def describe(self, version: str, description: str) -> None:
        """Set the description of a version, Markdown, which the UI shows."""
        self.client.update_model_version(self.name, version, description)

    def settle(self) -> None:
        """Finish what a killed process began to move."""
        with promotion_lock(self.lock, self.name):
            settle(self.client, self.name)

    def conclude(self, version: str, *, over: str | None, outcome: str, reason: str) -> bool:
        """Let a decision take effect if the champion still is `over`; says whether it was.

        Args:
            version: that was decided on.
            over: the champion that the decision was made against.
            outcome: `promoted` moves the aliases, any other is noted only.
            reason: one sentence.
        """
        with promotion_lock(self.lock, self.name):
            standing = settle(self.client, self.name)
            if standing.champion != over:
                return False
            if outcome == "promoted":
                carry_out(self.client, self.name, standing.next("promoted", version, over, reason))
            else:
                self.tag(version, {"reason": reason, "promotion": outcome})
            return True

    def rollback(self) -> Move:
        """Make the version before the champion again, at once.

        Raises:
            JabertError: there is nothing to go back to.
        """
        with promotion_lock(self.lock, self.name):
            standing = settle(self.client, self.name)
            if not standing.champion:
                raise JabertError(f"the registered model {self.name!r} has no champion to go back from")
            if not standing.previous:
                raise JabertError(
                    f"there is nothing to go back to: version {standing.champion} of {self.name!r} "
                    "has no champion before it"
                )
            target = standing.previous
            came = [move for move in moves_of(self.get(target).tags) if move.action != "rolled back"]
            before = came[-1].over if came else None
            reason = f"rolled back from version {standing.champion}"
            return carry_out(self.client, self.name, standing.next("rolled back", target, before, reason))

    def best_promoted(self) -> list[str]:
        """The versions that were champion once, those with the highest recorded weighted F1 first."""
        were = [version for version in self.all() if moves_of(version.tags) and "weighted_f1" in version.tags]
        return [
            str(version.version) for version in sorted(were, key=lambda of: -float(of.tags["weighted_f1"]))
        ]

    def history(self) -> list[Move]:
        """Every change of the champion, the oldest first; those of deleted versions are gone."""
        moves = [move for version in self.all() for move in moves_of(version.tags)]
        return sorted(moves, key=lambda move: move.number)

    def listing(self) -> list[dict[str, Any]]:
        """All versions, newest first, JSON-ready."""
        versions = self.all()
        aliases = self.client.get_registered_model(self.name).aliases if versions else {}
        return [
            _describe(version, [alias for alias, of in aliases.items() if str(of) == str(version.version)])
            for version in versions
        ]


def open_registry(settings: Settings) -> Registry:
    """The registered model of the settings.

    Raises:
        JabertError: the store cannot be reached.
    """
    client, uri = connect(settings.tracking), str(settings.tracking.uri)
    return Registry(client, uri, settings.tracking.model_name, lock_location(settings))


def classify(model: Any, texts: "pd.Series[str]") -> pd.DataFrame:
    """Probabilities of a pyfunc model for texts: a row a text, a column a label, float64."""
    return pd.DataFrame(list(predict(model, texts.to_frame("text"))["probabilities"])).astype(float)


def predict(model: Any, texts: pd.DataFrame) -> pd.DataFrame:
    """What a loaded model says to any number of texts, in parts of as many as it takes at a time.

    Args:
        model: of `load_model`.
        texts: one column, `text`.
    """
    step = (model.metadata.metadata or {}).get("max_texts", max(1, len(texts)))
    starts = range(0, max(1, len(texts)), step)
    parts: list[pd.DataFrame] = [model.predict(texts.iloc[start : start + step]) for start in starts]
    return pd.concat(parts)


def _describe(version: "ModelVersion", aliases: list[str]) -> dict[str, Any]:
    tags = version.tags
    return {
        "version": str(version.version),
        "aliases": sorted(aliases),
        "weighted_f1": float(tags["weighted_f1"]) if "weighted_f1" in tags else None,
        "run_id": version.run_id,
        "created": datetime.fromtimestamp(version.creation_timestamp / 1000).astimezone().isoformat(),
        "promotion": tags.get("promotion"),
        "promoted_over": tags.get("promoted_over"),
        "reason": tags.get("reason"),
    }
