"""The aliases `champion` and `previous`, and the history of their changes.

MLflow sets one alias or one tag at a time, and a process may be killed between two calls. So each move of the
aliases goes through a write-ahead log, which is a tag of the registered model: the whole move is logged, then
applied, then marked as done. The next process that holds the promotion lock finishes a move that was
interrupted; every step is idempotent. The history is a chain of numbered moves, each a tag of the version
that it made the champion.

`recover` and `apply_move` expect the caller to hold the promotion lock.
"""

import json
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from jabert.tracking import get_or_none

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

_LOG_TAG = "champion.last"
_MOVE_TAG = "champion.move."
Action = Literal["promoted", "rolled back", "set by hand"]


@dataclass(frozen=True)
class Move:
    """A change of the champion.

    Attributes:
        number: in the history, from 1.
        action: `set by hand` if the alias was changed outside of jabert and noticed later.
        version: the new champion.
        over: the champion before it, if there was one.
        previous: the version that a rollback would make the champion again.
        reason: one sentence.
        at: time in ISO 8601, UTC.
    """

    number: int
    action: Action
    version: str
    over: str | None
    previous: str | None
    reason: str
    at: str = ""


@dataclass(frozen=True)
class AliasState:
    """The aliases, the last logged move, and whether it was applied completely, from one read."""

    champion: str | None
    previous: str | None
    last: Move | None
    done: bool

    def next_move(self, action: Action, version: str, previous: str | None, reason: str) -> Move:
        """The next move in the history."""
        number = self.last.number + 1 if self.last else 1
        return Move(number, action, version, self.champion, previous, reason)


def read_state(client: "MlflowClient", name: str) -> AliasState:
    """Read the state of a registered model; if there is no such model, there is no champion."""
    model = get_or_none(lambda: client.get_registered_model(name))
    if model is None:
        return AliasState(None, None, None, done=True)
    last = json.loads(model.tags[_LOG_TAG]) if _LOG_TAG in model.tags else None
    done = last.pop("done") if last else True
    aliases = {alias: str(version) for alias, version in model.aliases.items()}
    return AliasState(aliases.get("champion"), aliases.get("previous"), Move(**last) if last else None, done)


def recover(client: "MlflowClient", name: str) -> AliasState:
    """Finish a move that was interrupted, add one that was made outside of jabert to the history."""
    state = read_state(client, name)
    last = state.last
    if last and not state.done:
        if _exists(client, name, last.version):
            apply_move(client, name, last)
        else:  # the version was deleted in the meantime, so the champion has not changed
            _log_move(client, name, last, done=True)
        return recover(client, name)
    logged = last.version if last else None
    if state.champion and state.champion != logged:
        reason = "the alias was set outside of jabert"
        found = state.next_move("set by hand", state.champion, state.previous, reason)
        apply_move(client, name, replace(found, over=logged))
        return read_state(client, name)
    return state


def apply_move(client: "MlflowClient", name: str, move: Move) -> Move:
    """Log a move and set its aliases and tags; returns the move with the time when it was first logged."""
    move = replace(move, at=move.at or datetime.now(UTC).isoformat(timespec="milliseconds"))
    _log_move(client, name, move, done=False)
    logged = json.dumps(asdict(move), ensure_ascii=False)
    client.set_model_version_tag(name, move.version, f"{_MOVE_TAG}{move.number:05}", logged)
    if move.previous and _exists(client, name, move.previous):
        client.set_registered_model_alias(name, "previous", move.previous)
    else:
        client.delete_registered_model_alias(name, "previous")
    client.set_registered_model_alias(name, "champion", move.version)
    # Tags for people who look at the version in MLflow's UI; a rollback keeps those of its promotion.
    over = {"promoted_over": move.over} if move.over else {}
    tags = {"promoted_at": move.at, **over, "reason": move.reason, "promotion": move.action}
    for tag, value in ({"promotion": "promoted"} if move.action == "rolled back" else tags).items():
        client.set_model_version_tag(name, move.version, tag, value)
    if move.action == "rolled back" and move.over and _exists(client, name, move.over):
        client.set_model_version_tag(name, move.over, "promotion", "rolled back")
    _log_move(client, name, move, done=True)
    return move


def moves_of(tags: dict[str, str]) -> list[Move]:
    """Read from the tags of a version the moves that made it the champion, oldest first."""
    return [Move(**json.loads(tags[key])) for key in sorted(tags) if key.startswith(_MOVE_TAG)]


def _log_move(client: "MlflowClient", name: str, move: Move, *, done: bool) -> None:
    logged = json.dumps({**asdict(move), "done": done}, ensure_ascii=False)
    client.set_registered_model_tag(name, _LOG_TAG, logged)


def _exists(client: "MlflowClient", name: str, version: str) -> bool:
    return get_or_none(lambda: client.get_model_version(name, version)) is not None
