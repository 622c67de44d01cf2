"""What a killed run left and is damaged since is set aside with a warning, and made again."""

import json
import logging

import numpy as np
import pytest
from toy_registry import log_model, new_version, toy_registry

from jabert.config import load_settings
from jabert.errors import DamagedError, JabertError
from jabert.experiments import store
from jabert.experiments.packaging import SUMS, is_whole
from jabert.experiments.retraining import _logged
from jabert.experiments.store import find_or_make
from jabert.files import write_json
from jabert.legacy_keras import import_tensorflow
from jabert.scoring.output import is_whole as is_whole_part
from jabert.tracking import Attempt, connect
from jabert.training.state import TrainingState, read_weights, write_weights

KEY = "0123456789abcdef"


@pytest.fixture(autouse=True)
def heard(caplog):
    caplog.set_level(logging.WARNING, logger="jabert")


def damage(path):
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2] + b"\xff\0\xff" + content[len(content) // 2 + 1 :])


def make(folder):
    np.save(folder / "numbers.npy", np.arange(4))
    return {"rows": 4, "note": "あ"}


@pytest.mark.parametrize("name", ["done.json", "numbers.npy"])
def test_a_damaged_result_is_set_aside_and_made_again(name, tmp_path, caplog):
    folder, record = find_or_make(tmp_path, "read", KEY, make)
    damage(folder / name)
    assert find_or_make(tmp_path, "read", KEY, make) == (folder, record)
    assert np.load(folder / "numbers.npy").tolist() == [0, 1, 2, 3]
    if name == "numbers.npy":
        assert f"{folder} is damaged; it is set aside as {folder}.damaged and made again" in caplog.text


def test_a_result_that_is_damaged_while_it_is_made_is_not_believed(tmp_path, monkeypatch):
    def and_damaged(folder, *given):
        made(folder, *given)
        damage(folder / "numbers.npy")

    made = store._make
    monkeypatch.setattr(store, "_make", and_damaged)
    with pytest.raises(JabertError, match=r"read-.* was changed while it was made; run the command again"):
        find_or_make(tmp_path, "read", KEY, make)


def test_a_record_that_was_changed_is_not_believed(tmp_path):
    folder, record = find_or_make(tmp_path, "read", KEY, make)
    done = json.loads((folder / "done.json").read_text(encoding="utf-8"))
    done["record"]["rows"] = 5
    write_json(folder / "done.json", done)
    assert find_or_make(tmp_path, "read", KEY, make)[1] == record


def test_a_record_of_a_version_that_noted_no_digest_is_read(tmp_path):
    folder, record = find_or_make(tmp_path, "read", KEY, make)
    done = json.loads((folder / "done.json").read_text(encoding="utf-8"))
    del done["digest"]
    write_json(folder / "done.json", done)
    assert find_or_make(tmp_path, "read", KEY, lambda _: pytest.fail("it is there"))[1] == record


def test_what_was_left_and_makes_a_library_fail_is_made_again_and_a_fault_of_the_data_is_not(
    tmp_path, caplog
):
    left = tmp_path / "steps" / f"fit-{KEY}"
    left.mkdir(parents=True)
    (left / "weights.npz").write_bytes(b"no archive")

    def fit(folder):
        if (folder / "weights.npz").exists():
            np.load(folder / "weights.npz", allow_pickle=False)
        return {}

    assert find_or_make(tmp_path, "fit", KEY, fit, resumes=True)[1] == {}
    assert "is damaged" in caplog.text and (left.with_name(f"{left.name}.damaged") / "weights.npz").exists()

    def refuse(_):
        raise JabertError("the training rows have one label only")

    (tmp_path / "steps" / "fit-abc").mkdir()
    (tmp_path / "steps" / "fit-abc" / "history.json").write_text("[]", encoding="utf-8")
    with pytest.raises(JabertError, match="one label"):
        find_or_make(tmp_path, "fit", "abc", refuse, resumes=True)
    assert (tmp_path / "steps" / "fit-abc" / "history.json").exists()


@pytest.mark.parametrize(
    "content", [b"\xff\xfe", b"[[[", b"{}", b'[{"loss": 1}]', b'[{"epoch": "x"}]', b"[1]"]
)
def test_a_damaged_history_is_told_as_damage(content, tmp_path):
    (tmp_path / "history.json").write_bytes(content)
    with pytest.raises(DamagedError, match=r"history\.json is damaged"):
        TrainingState({}, tmp_path, "epoch").history()


def test_other_numbers_in_a_history_are_not_believed(tmp_path):
    import_tensorflow()
    state = TrainingState({}, tmp_path, "epoch")
    state.save([{"epoch": 1, "loss": 0.5}])
    state.save([{"epoch": 1, "loss": 0.5}, {"epoch": 2, "loss": 0.25}])
    assert state.history() == [{"epoch": 1, "loss": 0.5}, {"epoch": 2, "loss": 0.25}]
    path = tmp_path / "history.json"
    path.write_text(path.read_text("utf-8").replace("0.25", "0.24"), encoding="utf-8")
    with pytest.raises(DamagedError, match=r"history\.json is damaged"):
        state.history()


def test_other_weights_are_not_believed(tmp_path):
    weights = {"a": np.arange(1000, dtype=np.float32), "b": np.zeros((2, 3), dtype=np.float32)}
    write_weights(tmp_path / "best.npz", weights)
    found = read_weights(tmp_path / "best.npz")
    assert {name: array.tolist() for name, array in found.items()} == {
        name: array.tolist() for name, array in weights.items()
    }
    damage(tmp_path / "best.npz")
    with pytest.raises(DamagedError, match=r"best\.npz is damaged"):
        read_weights(tmp_path / "best.npz")


@pytest.mark.parametrize("name", ["state.index", "state.data-00000-of-00001"])
def test_a_damaged_state_is_told_as_damage(name, tmp_path):
    variable = import_tensorflow().Variable(np.arange(100.0))
    state = TrainingState({"v": variable}, tmp_path, "epoch")
    state.save([{"epoch": 1, "loss": 0.5}])
    assert state.restore() == [{"epoch": 1, "loss": 0.5}]
    damage(tmp_path / "epoch-1" / name)
    with pytest.raises(DamagedError, match=r"epoch-1/state is damaged"):
        state.restore()


@pytest.mark.parametrize("content", [b"\xff\xfe\0", b"../../etc", b"", b"a" * 1_000_000])
def test_a_damaged_run_id_is_set_aside(content, tmp_path, caplog):
    attempt = Attempt(tmp_path / "abc")
    with attempt.exclusive():
        (attempt.path / "run_id").write_bytes(content)
        assert attempt.resume("run-2") is None
        assert attempt.resume("run-3") == "run-2"
    assert "run_id is damaged; it is set aside" in caplog.text


@pytest.mark.parametrize("content", [b"\xff", b"3", b"[[", b'"file:///etc/passwd"'])
def test_a_damaged_note_of_a_logged_model_is_set_aside(content, tmp_path, caplog):
    note = tmp_path / "logged.json"
    assert _logged(note) == ""
    note.write_bytes(content)
    assert _logged(note) == "" and not note.exists()
    assert "is set aside" in caplog.text
    write_json(note, "models:/m-0123")
    assert _logged(note) == "models:/m-0123"


def test_a_package_is_whole_if_its_files_are_those_of_its_list(tmp_path):
    from jabert.experiments.packaging import _sums

    (tmp_path / "a").write_text("a", encoding="utf-8")
    (tmp_path / SUMS).write_text(_sums(tmp_path), encoding="utf-8")
    assert is_whole(tmp_path)
    (tmp_path / "b").write_text("b", encoding="utf-8")
    assert not is_whole(tmp_path)


def test_a_damaged_part_of_a_scored_table_is_not_whole(tmp_path):
    import damage as damaged

    damaged.parts(tmp_path)
    assert is_whole_part(tmp_path / "p.arrow")
    damage(tmp_path / "p.arrow")
    assert not is_whole_part(tmp_path / "p.arrow")
    (tmp_path / "p.arrow").write_bytes(b"")
    assert not is_whole_part(tmp_path / "p.arrow")


def test_an_emptied_database_beside_its_artifacts_is_not_a_new_one(tmp_path):
    database, artifacts = tmp_path / "mlflow.db", tmp_path / "artifacts"
    settings = load_settings(None, [f"tracking.uri=sqlite:///{database}"])
    connect(settings.tracking)
    database.write_bytes(b"")
    (artifacts / "1").mkdir(parents=True)
    with pytest.raises(JabertError, match=r"mlflow\.db is empty, though .*artifacts holds files.*restore it"):
        connect(settings.tracking)
    assert database.read_bytes() == b""


def test_going_back_from_a_deleted_champion_is_going_to_the_one_before(tmp_path):
    registry = toy_registry("toy", f"tracking.uri=sqlite:///{tmp_path}/mlflow.db")
    uri = log_model(registry, tmp_path / "model", 80)
    versions = [new_version(registry, uri) for _ in range(3)]
    for version in versions:
        registry.anchor(version)
        registry.apply_verdict(version, registry.champion(), "promoted", "better")
    first, second, third = versions
    registry.client.delete_model_version("toy", third)
    assert registry.champion() is None
    move = registry.rollback()
    assert (move.version, registry.champion()) == (second, second)
    assert move.reason == f"rolled back from version {third}, which was deleted"
    registry.client.delete_model_version("toy", second)
    assert registry.rollback().version == first
    registry.client.delete_model_version("toy", first)
    with pytest.raises(JabertError, match="there is nothing to go back to"):
        registry.rollback()
