"""Which version serves: the aliases `champion` and `previous`, and the history of their moves.

MLflow can set one alias or one tag at a time, and a process may be killed between two. So a move is first
written down whole, as a tag of the registered model, then carried out, then marked as done. Whoever holds
the lock next finishes what was begun; each write may be made twice. The history is a chain of numbered moves,
each a tag of the version that became the champion by it.

`settle` and `carry_out` want the caller to hold the promotion lock.
"""

import json
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

__all__ = [
    "CHAMPION",
    "PREVIOUS",
    "Move",
    "Standing",
    "carry_out",
    "champion_of",
    "moves_of",
    "read_standing",
    "settle",
]

CHAMPION = "champion"
PREVIOUS = "previous"
_LAST = "champion.last"
_MOVE = "champion.move."


@dataclass(frozen=True)
class Move:
    """A change of the champion.

    Attributes:
        number: in the history, from 1.
        action: `set by hand` is one that was made outside of jabert and found later.
        version: the champion since.
        over: the champion before.
        previous: where a rollback from here leads.
        at: time in ISO 8601, UTC.
        reason: one sentence.
    """

    number: int
    action: Literal["promoted", "rolled back", "set by hand"]
    version: str
    over: str | None
    previous: str | None
    reason: str
    at: str = ""


@dataclass(frozen=True)
class Standing:
    """The aliases, the last move and whether all of it was carried out; one read of the registry."""

    champion: str | None
    previous: str | None
    last: Move | None
    done: bool

    def next(self, action: Any, version: str, previous: str | None, reason: str) -> Move:
        """The move that would come next in the history."""
        number = self.last.number + 1 if self.last else 1
        return Move(number, action, version, self.champion, previous, reason)


def read_standing(client: "MlflowClient", name: str) -> Standing:
    """Where the aliases of a registered model point; nowhere if there is no such model."""
    from mlflow.exceptions import MlflowException

    try:
        model = client.get_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return Standing(None, None, None, done=True)
    last = json.loads(model.tags[_LAST]) if _LAST in model.tags else None
    done = last.pop("done") if last else True
    aliases = {alias: str(version) for alias, version in model.aliases.items()}
    return Standing(aliases.get(CHAMPION), aliases.get(PREVIOUS), Move(**last) if last else None, done)


def champion_of(client: "MlflowClient", name: str) -> str | None:
    """The version that serves, None if there is no such model or alias."""
    return read_standing(client, name).champion


def settle(client: "MlflowClient", name: str) -> Standing:
    """Finish a move that a killed process began, and note one that was made outside of jabert."""
    standing = read_standing(client, name)
    last = standing.last
    if last and not standing.done:
        if _exists(client, name, last.version):
            carry_out(client, name, last)
        else:  # deleted since, so the champion is still the one before
            _write_down(client, name, last, done=True)
        return settle(client, name)
    known = last.version if last else None
    if standing.champion and standing.champion != known:
        reason = "the alias was set outside of jabert"
        found = standing.next("set by hand", standing.champion, standing.previous, reason)
        carry_out(client, name, replace(found, over=known))
        return read_standing(client, name)
    return standing


def carry_out(client: "MlflowClient", name: str, move: Move) -> Move:
    """Make a move, or what is left of it; returns it with the time at which it was begun."""
    move = replace(move, at=move.at or datetime.now(UTC).isoformat(timespec="milliseconds"))
    _write_down(client, name, move, done=False)
    client.set_model_version_tag(name, move.version, f"{_MOVE}{move.number:05}", _json(asdict(move)))
    if move.previous and _exists(client, name, move.previous):
        client.set_registered_model_alias(name, PREVIOUS, move.previous)
    else:
        client.delete_registered_model_alias(name, PREVIOUS)
    client.set_registered_model_alias(name, CHAMPION, move.version)
    for tag, value in _tags(move).items():
        client.set_model_version_tag(name, move.version, tag, value)
    if move.action == "rolled back" and move.over and _exists(client, name, move.over):
        client.set_model_version_tag(name, move.over, "promotion", "rolled back")
    _write_down(client, name, move, done=True)
    return move


def moves_of(tags: dict[str, str]) -> list[Move]:
    """The moves by which a version became the champion, read from its tags, the oldest first."""
    return [Move(**json.loads(tags[key])) for key in sorted(tags) if key.startswith(_MOVE)]


def _write_down(client: "MlflowClient", name: str, move: Move, *, done: bool) -> None:
    client.set_registered_model_tag(name, _LAST, _json({**asdict(move), "done": done}))


def _tags(move: Move) -> dict[str, str]:
    """What people look for in the UI; of a version that comes back, its promotion stays as it was noted."""
    if move.action == "rolled back":
        return {"promotion": "promoted"}
    over = {"promoted_over": move.over} if move.over else {}
    return {"promoted_at": move.at, **over, "reason": move.reason, "promotion": move.action}


def _exists(client: "MlflowClient", name: str, version: str) -> bool:
    from mlflow.exceptions import MlflowException

    try:
        client.get_model_version(name, version)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return False
    return True


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
