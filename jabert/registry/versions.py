"""The versions of a registered model: find, load, list, promote and roll them back."""

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, redirect_stderr, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy.typing as npt
import pandas as pd

from jabert.config import Settings
from jabert.dataset.context import with_neighbours
from jabert.errors import JabertError, reason_of
from jabert.evaluation.occlusion import Piece, occlude
from jabert.files import digest_of_file
from jabert.registry.leaks import TRAINING_DIGESTS_FILE, TrainingDigests, read_training_digests
from jabert.registry.lock import lock_location, promotion_lock
from jabert.registry.moves import Move, apply_move, moves_of, read_state, recover
from jabert.tracking import (
    ANCHOR,
    SIGNATURE,
    TrustedKey,
    anchor_of,
    connect,
    differences,
    file_digests,
    get_or_none,
    how_to_begin,
    load_model,
    model_files,
    parse_anchor,
    read_artifact,
    sign,
    signer_of,
    trusted_keys,
    unchecked_files,
)

if TYPE_CHECKING:
    import numpy as np
    from mlflow.entities import Run as TrackedRun
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.tracking import MlflowClient

_RESTORE = "restore it, or delete the version"


@dataclass(frozen=True)
class Registry:
    """A registered model.

    Attributes:
        client: client of the MLflow store.
        store: URI of the store.
        name: name of the registered model.
        lock: location of the promotion lock, see `promotion_lock`.
        trusted: one of these keys must have signed what is loaded, if there are any.
        sign_key: file of the private key that signs what is registered or anchored; None: nothing is signed.
    """

    client: "MlflowClient"
    store: str
    name: str
    lock: str
    trusted: tuple[TrustedKey, ...] = ()
    sign_key: str | None = None

    def champion(self) -> str | None:
        """Number of the champion, None without one."""
        return read_state(self.client, self.name).champion

    def uri(self, version: str) -> str:
        """MLflow's URI of a version."""
        return f"models:/{self.name}/{version}"

    def get(self, version: str) -> "ModelVersion":
        """MLflow's entry of a version.

        Raises:
            JabertError: there is no such version.
        """
        entry = get_or_none(lambda: self.client.get_model_version(self.name, version), invalid=True)
        if entry is None:
            raise JabertError(f"there is no version {version!r} of {self.name!r}; `jabert models` lists them")
        return entry

    def load(self, version: str) -> Any:
        """A version as a pyfunc model.

        Raises:
            JabertError: it cannot be loaded.
        """
        try:
            return load_model(self.uri(version), self.trusted)
        except Exception as error:  # a version brings code of its own, which may raise anything
            reason = reason_of(error)
            message = f"version {version} of {self.name!r} cannot be loaded ({reason}); see `jabert doctor`"
            raise JabertError(message) from error

    @contextmanager
    def files(self, version: str) -> Iterator[Path]:
        """All files of the model of a version, its package below `artifacts`, as a copy that is deleted then.

        Raises:
            JabertError: there is no such version, or its files cannot be read, or are not those that were
                registered.
        """
        self.get(version)
        with ExitStack() as held:
            with self._reading(version):
                folder = held.enter_context(model_files(self.uri(version), self.trusted))
            yield folder

    @contextmanager
    def _reading(self, version: str) -> Iterator[None]:
        """Name the version where its files cannot be read."""
        from mlflow.exceptions import MlflowException

        try:
            yield
        except (MlflowException, OSError) as error:
            message = f"the files of version {version} of {self.name!r} cannot be read"
            raise JabertError(f"{message} ({reason_of(error)})") from error

    def anchor(self, version: str) -> bool:
        """Note the digests of all files of a version, by which they are known from then on, and sign them.

        Returns:
            Whether they were not noted before.

        Raises:
            JabertError: there is no such version, or its files cannot be read, or are not those that were
                registered, or the key cannot sign.
        """
        known = self.get(version).tags.get(ANCHOR)
        with self._reading(version), unchecked_files(self.uri(version)) as folder:
            anchor = file_digests(folder)
            if known and (faults := differences(folder, parse_anchor(known, self.uri(version)))):
                raise JabertError(f"{self.uri(version)}: {next(iter(faults.values()))}")
        signature = sign(anchor, self.sign_key) if self.sign_key else None
        self.tag(version, {ANCHOR: None if known else json.dumps(anchor), SIGNATURE: signature})
        return not known

    def verify(self, version: str) -> dict[str, Any]:
        """Compare the files of a version with its anchor, and its signature with the trusted keys.

        Nothing of the version is run.

        Returns:
            `version`; `anchored`; `ok`, None where there is neither an anchor nor a key to ask for one;
            `files`, the names of those that differ; `signed_by`, the name of the trusted key that signed it,
            None without; `fault`, a sentence, None without.

        Raises:
            JabertError: there is no such version.
        """
        tags, uri = self.get(version).tags, self.uri(version)
        faults: dict[str, str] = {}
        fault = signed_by = None
        try:
            anchor = parse_anchor(tags[ANCHOR], uri) if ANCHOR in tags else None
            if anchor is not None:
                with self._reading(version), unchecked_files(uri) as folder:
                    faults = differences(folder, anchor)
                fault = next((f"{uri}: {each}" for each in faults.values()), None)
            if self.trusted and not faults:
                signed_by = signer_of(tags, anchor or {}, self.trusted).name
        except JabertError as error:
            fault = str(error)
        return {
            "version": version,
            "anchored": ANCHOR in tags,
            "ok": None if ANCHOR not in tags and fault is None else fault is None,
            "files": [*faults],
            "signed_by": signed_by,
            "fault": fault,
        }

    def require_champion(self) -> str:
        """Number of the champion.

        Raises:
            JabertError: there is none.
        """
        champion = self.champion()
        if champion is None:
            model = f"the registered model {self.name!r}"
            raise JabertError(f"{model} has no champion yet; {how_to_begin(self.client)}")
        return champion

    def load_champion(self) -> Any:
        """The champion as a pyfunc model.

        Raises:
            JabertError: there is none, or it cannot be loaded.
        """
        return self.load(self.require_champion())

    def training_digests(self, version: str) -> TrainingDigests | None:
        """Digests of what a version was trained on, None if its model has none.

        Raises:
            JabertError: the version's files are not those that were registered, or the digests are damaged.
        """
        from mlflow.artifacts import download_artifacts, list_artifacts

        folder, anchor = f"{self.uri(version)}/artifacts", anchor_of(self.client, self.uri(version)) or {}
        name, what = f"artifacts/{TRAINING_DIGESTS_FILE}", f"version {version} of {self.name!r}"
        # A store that does not answer is an error: the version must not pass for one without digests.
        if TRAINING_DIGESTS_FILE not in {PurePosixPath(file.path).name for file in list_artifacts(folder)}:
            if name in anchor:
                raise JabertError(
                    f"{what}: the file {name} is missing, so nobody knows what it learned from; {_RESTORE}"
                )
            return None
        with TemporaryDirectory() as copy:
            file = Path(download_artifacts(f"{folder}/{TRAINING_DIGESTS_FILE}", dst_path=copy))
            if anchor and digest_of_file(file) != anchor.get(name):
                raise JabertError(
                    f"{what}: the file {name} has changed since the model was registered; {_RESTORE}"
                )
            try:
                return read_training_digests(file)
            except ValueError as error:
                raise JabertError(
                    f"{what}: the file {name} is damaged, so nobody knows what it learned from; {_RESTORE}"
                ) from error

    def run(self, version: str) -> "TrackedRun":
        """The run that judged a version, or else made it: that one may have been killed before the gate.

        Raises:
            JabertError: there is no such version, or its run is gone.
        """
        entry = self.get(version)
        run_id = entry.tags.get("judged_in") or entry.run_id or ""
        run = get_or_none(lambda: self.client.get_run(run_id), invalid=True)
        if run is None:
            raise JabertError(
                f"the run of version {version} of {self.name!r} is gone; restore it in MLflow, or name "
                "another version"
            )
        return run

    def artifact(self, version: str, name: str) -> bytes | None:
        """Contents of an artifact of a version's run, None if the run has none of that name.

        Raises:
            JabertError: there is no such version, or its run is gone.
        """
        return read_artifact(self.client, self.run(version).info.run_id, name)

    def all(self) -> list["ModelVersion"]:
        """All versions, newest first."""
        # MLflow's largest page, 200,000 versions, is all there are.
        found = self.client.search_model_versions(f"name = '{self.name}'", max_results=200_000)
        return sorted(found, key=lambda version: -int(version.version))

    def numbers(self) -> list[str]:
        """Numbers of all versions, newest first."""
        return [str(version.version) for version in self.all()]

    def register(self, model_uri: str) -> str:
        """Register a logged model unless a killed process has done so, and anchor it; returns its number."""
        import mlflow

        known = [version.version for version in self.all() if version.source == model_uri]
        with redirect_stderr(io.StringIO()):  # MLflow prints there that it has done it
            version = str(known[0] if known else mlflow.register_model(model_uri, self.name).version)
        self.anchor(version)
        return version

    def tag(self, version: str, tags: Mapping[str, Any]) -> None:
        """Set tags of a version; those that are None are left out."""
        for key, value in tags.items():
            if value is not None:
                self.client.set_model_version_tag(self.name, version, key, str(value))

    def describe(self, version: str, description: str) -> None:
        """Set the description of a version, Markdown, which MLflow's UI shows."""
        self.client.update_model_version(self.name, version, description)

    def recover(self) -> None:
        """Finish a move of the aliases that was interrupted."""
        with promotion_lock(self.lock, self.name):
            recover(self.client, self.name)

    def apply_verdict(self, version: str, champion: str | None, outcome: str, reason: str) -> bool:
        """Put a decision into effect, unless the champion has changed since; returns whether it was.

        Args:
            version: the version that was judged.
            champion: the champion that it was compared with.
            outcome: `promoted` moves the aliases, any other only sets tags.
            reason: one sentence.
        """
        with promotion_lock(self.lock, self.name):
            state = recover(self.client, self.name)
            if state.champion != champion:
                return False
            if outcome == "promoted":
                apply_move(self.client, self.name, state.next_move("promoted", version, champion, reason))
            else:
                self.tag(version, {"reason": reason, "promotion": outcome})
            return True

    def rollback(self) -> Move:
        """Make the previous version the champion again, without judging it.

        Where the champion's version was deleted, that is the last champion before it that is still there.

        Raises:
            JabertError: there has been no champion, or there is no previous version.
        """
        with promotion_lock(self.lock, self.name):
            state = recover(self.client, self.name)
            champion = state.champion or (state.last and state.last.version)
            if not champion:
                raise JabertError(f"the registered model {self.name!r} has no champion to go back from")
            target = state.previous or ("" if state.champion else self._last_champion())
            if not target:
                version = f"version {champion} of {self.name!r}"
                raise JabertError(f"there is nothing to go back to: {version} has no champion before it")
            with self.files(target):  # which are compared with their anchor
                pass
            promotions = [move for move in moves_of(self.get(target).tags) if move.action != "rolled back"]
            before = promotions[-1].over if promotions else None
            reason = f"rolled back from version {champion}" + (
                "" if state.champion else ", which was deleted"
            )
            return apply_move(self.client, self.name, state.next_move("rolled back", target, before, reason))

    def _last_champion(self) -> str:
        """The version that is there of the last that was champion, "" if none is."""
        return next((move.version for move in reversed(self.history())), "")

    def best_promoted(self) -> list[str]:
        """All versions that are or were champion, by their recorded weighted F1, the highest first."""
        scores = {
            str(version.version): float(version.tags["weighted_f1"])
            for version in self.all()
            if moves_of(version.tags) and "weighted_f1" in version.tags
        }
        return sorted(scores, key=lambda version: -scores[version])

    def history(self) -> list[Move]:
        """Every change of the champion, oldest first, without those of versions deleted since."""
        moves = [move for version in self.all() for move in moves_of(version.tags)]
        return sorted(moves, key=lambda move: move.number)

    def listing(self) -> list[dict[str, Any]]:
        """List all versions, newest first, as `jabert models --json` does.

        `created` is in ISO 8601 with the local offset; what a version has no tag for is None.
        """
        versions = self.all()
        aliases = self.client.get_registered_model(self.name).aliases if versions else {}
        return [
            {
                "version": str(version.version),
                "aliases": sorted(alias for alias, of in aliases.items() if str(of) == str(version.version)),
                "weighted_f1": float(tags["weighted_f1"]) if "weighted_f1" in tags else None,
                "run_id": version.run_id,
                "created": datetime.fromtimestamp(version.creation_timestamp / 1000).astimezone().isoformat(),
                "promotion": tags.get("promotion"),
                "promoted_over": tags.get("promoted_over"),
                "reason": tags.get("reason"),
            }
            for version, tags in ((version, version.tags) for version in versions)
        ]


def open_registry(settings: Settings) -> Registry:
    """Open the registered model `tracking.model_name`.

    Raises:
        JabertError: the store cannot be reached, or a trusted key cannot be read.
    """
    client = connect(settings.tracking)
    store, name = settings.tracking.uri or "", settings.tracking.model_name
    trusted, sign_key = trusted_keys(settings.registry), settings.registry.sign_key
    return Registry(client, store, name, lock_location(settings), trusted, sign_key)


def classify(model: Any, rows: pd.DataFrame) -> pd.DataFrame:
    """Probabilities of a pyfunc model for texts: float64, one row per text, one column per label.

    Args:
        model: pyfunc model, as of `Registry.load`.
        rows: column text; where the rows have groups, a model with context gets the neighbours too.
    """
    most, given = context_of(model), rows[["text"]]
    if most and "group" in rows:
        given = with_neighbours(rows, most)[["text", "before", "after"]]
    return pd.DataFrame(list(predict(model, given)["probabilities"])).astype(float)


def context_of(model: Any) -> int:
    """How many texts before a text, and as many after, a pyfunc model looks at; 0 if it takes none."""
    return int((model.metadata.metadata or {}).get("context", 0))


def cut_of(model: Any, texts: Sequence[str]) -> list[bool | None]:
    """Whether a pyfunc model sees only some of each text; None if it cannot tell.

    Models of earlier versions cannot, nor those which are not jabert's.
    """
    from mlflow.exceptions import MlflowException

    cut = None
    with suppress(MlflowException):  # it is of another flavor
        cut = getattr(model.unwrap_python_model(), "cut", None)
    return list(cut(list(texts))) if cut else [None] * len(texts)


def explain(model: Any, rows: pd.DataFrame) -> list[list[Piece]]:
    """The pieces of texts, and how much each spoke for the label that a pyfunc model gives the text.

    A model of an earlier version, or one that is not jabert's, cannot tell its pieces: those are characters.

    Args:
        model: as of `Registry.load`.
        rows: column text, not blank, and perhaps `before` and `after`, which stay beside what is left of it.
    """
    from mlflow.exceptions import MlflowException

    parts: Any = None
    with suppress(MlflowException):  # it is of another flavor
        parts = getattr(model.unwrap_python_model(), "parts", None)
    divided = [parts(text) if parts else [(character, True) for character in text] for text in rows["text"]]

    def answer(texts: list[str], origins: list[int]) -> "npt.NDArray[np.float64]":
        variants = rows.iloc[origins].assign(text=texts).reset_index(drop=True)
        return pd.DataFrame(list(predict(model, variants)["probabilities"])).to_numpy(dtype=float)

    return occlude(divided, None, answer)


def predict(model: Any, texts: pd.DataFrame) -> pd.DataFrame:
    """Predict any number of texts, in chunks of at most the `max_texts` of the model's metadata.

    Args:
        model: pyfunc model, as of `Registry.load`.
        texts: table with the column `text`, and perhaps `before` and `after`.

    Returns:
        The model's columns, one row per text.
    """
    step = (model.metadata.metadata or {}).get("max_texts", max(1, len(texts)))
    starts = range(0, max(1, len(texts)), step)
    parts: list[pd.DataFrame] = [model.predict(texts.iloc[start : start + step]) for start in starts]
    return pd.concat(parts)
