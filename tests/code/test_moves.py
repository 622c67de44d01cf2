"""Moves of the aliases on a registry in memory: what each leaves behind, also where it was interrupted."""

import json
import re
from datetime import UTC, datetime

import pytest
from memory_store import Killed, MemoryClient

from jabert.registry.moves import AliasState, Move, apply_move, moves_of, read_state, recover

NAME = "jabert"


def promote(client, version, previous=None, reason="better: 京都"):
    """Promote a version over the champion."""
    state = recover(client, NAME)
    move = state.next_move("promoted", version, previous or state.champion, reason)
    return apply_move(client, NAME, move)


def go_back(client, version, previous=None):
    state = recover(client, NAME)
    return apply_move(client, NAME, state.next_move("rolled back", version, previous, "rolled back"))


def history(client):
    moves = [move for version in client.versions.values() for move in moves_of(version.tags)]
    return [
        (move.number, move.action, move.version, move.over) for move in sorted(moves, key=lambda m: m.number)
    ]


def logged(client):
    return json.loads(client.model.tags["champion.last"])


def test_without_a_model_there_is_no_champion():
    assert read_state(MemoryClient(), NAME) == AliasState(None, None, None, done=True)
    assert recover(MemoryClient(), NAME) == AliasState(None, None, None, done=True)


def test_without_a_move_there_is_none_to_finish():
    client = MemoryClient(versions=1)
    assert recover(client, NAME) == AliasState(None, None, None, done=True)
    assert client.written == []


def test_the_first_promotion_leaves_an_alias_a_history_and_tags_for_people():
    client = MemoryClient(versions=1)
    before = datetime.now(UTC)
    move = promote(client, "1")
    assert (move.number, move.action, move.version, move.over, move.previous) == (
        1,
        "promoted",
        "1",
        None,
        None,
    )
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", move.at), "milliseconds, UTC"
    assert abs((datetime.fromisoformat(move.at) - before).total_seconds()) < 60
    assert client.model.aliases == {"champion": "1"}
    tags = client.versions["1"].tags
    assert json.loads(tags.pop("champion.move.00001")) == vars(move)
    assert tags == {"promoted_at": move.at, "reason": "better: 京都", "promotion": "promoted"}
    assert logged(client) == {**vars(move), "done": True}
    assert read_state(client, NAME) == AliasState("1", None, move, done=True)


def test_what_people_read_in_the_ui_is_not_escaped():
    client = MemoryClient(versions=1)
    promote(client, "1")
    assert "京都" in client.versions["1"].tags["champion.move.00001"]
    assert "京都" in client.model.tags["champion.last"]


def test_a_promotion_keeps_what_it_replaced():
    client = MemoryClient(versions=2)
    promote(client, "1")
    move = promote(client, "2")
    assert (move.number, move.over, move.previous) == (2, "1", "1")
    assert client.model.aliases == {"champion": "2", "previous": "1"}
    tags = client.versions["2"].tags
    assert (tags["promoted_over"], tags["promotion"]) == ("1", "promoted")
    assert client.versions["1"].tags["promotion"] == "promoted", "it was, and nobody took that back"
    assert read_state(client, NAME) == AliasState("2", "1", move, done=True)


def test_a_rollback_is_told_on_both_versions_and_keeps_how_the_target_was_promoted():
    client = MemoryClient(versions=3)
    for version in "123":
        promote(client, version, reason=f"better {version}")
    kept = {**client.versions["2"].tags}
    go_back(client, "2", previous="1")
    assert client.model.aliases == {"champion": "2", "previous": "1"}
    tags = client.versions["2"].tags
    assert {name: tags[name] for name in kept} == kept
    assert tags.keys() - kept.keys() == {"champion.move.00004"}
    assert client.versions["3"].tags["promotion"] == "rolled back"
    assert history(client)[-1] == (4, "rolled back", "2", "3")
    go_back(client, "3", previous="2")
    assert client.versions["3"].tags["promotion"] == "promoted", "it is the champion again"


def test_a_rollback_to_the_first_champion_leaves_nothing_to_go_back_to():
    client = MemoryClient(versions=2)
    promote(client, "1")
    promote(client, "2")
    go_back(client, "1")
    assert client.model.aliases == {"champion": "1"}


def test_a_rollback_from_a_version_that_was_deleted_names_no_version_that_is_not_there():
    client = MemoryClient(versions=2)
    promote(client, "1")
    promote(client, "2")
    client.delete("2")
    go_back(client, "1")
    assert client.model.aliases == {"champion": "1"}
    client = MemoryClient(versions=2)
    move = Move(1, "rolled back", "1", "7", "8", "rolled back")
    apply_move(client, NAME, move)
    assert client.model.aliases == {"champion": "1"}, "neither 7 nor 8 is there"


def test_an_alias_set_by_hand_is_noted_once_over_what_was_logged():
    client = MemoryClient(versions=3)
    promote(client, "1")
    promote(client, "2")
    client.model.aliases["champion"] = "3"
    state = recover(client, NAME)
    assert (state.champion, state.previous, state.done) == ("3", "1", True)
    assert state.last.reason == "the alias was set outside of jabert"
    assert history(client) == [
        (1, "promoted", "1", None),
        (2, "promoted", "2", "1"),
        (3, "set by hand", "3", "2"),
    ]
    assert client.versions["3"].tags["promotion"] == "set by hand"
    written = len(client.written)
    assert recover(client, NAME) == state
    assert len(client.written) == written


def test_the_first_champion_may_be_set_by_hand():
    client = MemoryClient(versions=1)
    client.model.aliases["champion"] = "1"
    assert recover(client, NAME).champion == "1"
    assert history(client) == [(1, "set by hand", "1", None)]


def test_a_champion_that_was_deleted_is_not_put_back():
    client = MemoryClient(versions=2)
    promote(client, "1")
    move = promote(client, "2")
    client.delete("2")
    assert recover(client, NAME) == AliasState(None, "1", move, done=True)
    promote(client, "1")
    assert history(client)[-1] == (3, "promoted", "1", None)


def test_aliases_may_be_numbers_as_some_stores_give_them():
    client = MemoryClient(versions=2)
    promote(client, "1")
    promote(client, "2")
    client.model.aliases = {alias: int(version) for alias, version in client.model.aliases.items()}
    state = recover(client, NAME)
    assert (state.champion, state.previous, len(history(client))) == ("2", "1", 2)


def test_the_move_is_logged_before_anything_else_and_done_after_all_else():
    client = MemoryClient(versions=2)
    promote(client, "1")
    client.written.clear()
    promote(client, "2")
    assert client.written[0] == client.written[-1] == ("log", "champion.last")
    assert ("log", "champion.last") not in client.written[1:-1]
    assert client.written.index(("tag", "2", "champion.move.00002")) < client.written.index(
        ("alias", "champion", "2")
    ), "no champion without a history"


@pytest.mark.parametrize("action", [promote, go_back])
def test_a_kill_before_any_call_changes_nothing_in_the_end(action):
    def begun():
        client = MemoryClient(versions=3)
        promote(client, "1")
        promote(client, "2")
        client.written.clear()
        return client

    whole = begun()
    move = action(whole, "3", "2")
    for call in range(len(whole.written)):
        client = begun()
        client.kill_at = call
        with pytest.raises(Killed):
            action(client, "3", "2")
        client.kill_at = None
        if not client.written:  # it had not begun
            assert recover(client, NAME).champion == "2"
            continue
        at = logged(client)["at"]
        assert logged(client)["done"] is False
        state = recover(client, NAME)
        assert (state.champion, state.previous, state.done) == ("3", "2", True)
        assert client.model.aliases == whole.model.aliases
        assert history(client) == history(whole)
        assert state.last.at == at, "the time when it was decided"
        assert state.last.reason == move.reason
        for version, entry in client.versions.items():
            assert entry.tags.keys() == whole.versions[version].tags.keys()
            assert entry.tags.get("promotion") == whole.versions[version].tags.get("promotion")


def test_an_interrupted_move_to_a_version_deleted_since_is_done_with():
    client = MemoryClient(versions=2)
    promote(client, "1")
    client.written.clear()
    client.kill_at = 1
    with pytest.raises(Killed):
        promote(client, "2")
    client.kill_at = None
    client.delete("2")
    state = recover(client, NAME)
    assert (state.champion, state.last.version, state.done) == ("1", "1", True)
    assert recover(client, NAME) == state
    assert client.model.aliases["champion"] == "1"


def test_more_than_nine_moves_are_in_order():
    client = MemoryClient(versions=1)
    for number in range(1, 12):
        apply_move(client, NAME, Move(number, "promoted", "1", None, None, ""))
    client.versions["1"].tags["another"] = "tag"
    assert [move.number for move in moves_of(client.versions["1"].tags)] == list(range(1, 12))
