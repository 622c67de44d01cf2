"""Versions on a registry in memory: what is said of them, noted on them, and read from their files."""

import json
import re
import shutil
import sys
from contextlib import contextmanager
from datetime import datetime
from types import SimpleNamespace

import mlflow
import numpy as np
import pandas as pd
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from memory_store import MemoryClient
from mlflow.exceptions import MlflowException

from jabert.config import RegistrySettings, load_settings
from jabert.errors import JabertError
from jabert.registry import versions as module
from jabert.registry.versions import Registry, classify, context_of, cut_of, explain, open_registry, predict
from jabert.tracking import ANCHOR, SIGNATURE, file_digests, trusted_keys

URI = "models:/jabert/1"


@pytest.fixture
def registry(tmp_path):
    """Three versions without files."""
    return Registry(MemoryClient(versions=3), "sqlite:///mlflow.db", "jabert", str(tmp_path / "lock"))


@pytest.fixture
def files(tmp_path, monkeypatch):
    """The files of each version in this folder, which takes the place of what MLflow downloads."""
    folder = tmp_path / "files"
    (folder / "artifacts").mkdir(parents=True)
    (folder / "MLmodel").write_text("one")

    @contextmanager
    def unchecked_files(uri):
        assert uri == URI
        yield folder

    monkeypatch.setattr(module, "unchecked_files", unchecked_files)
    return folder


@pytest.fixture
def keys(tmp_path):
    """A private key, and the public keys that are trusted."""
    key = Ed25519PrivateKey.generate()
    private, public = tmp_path / "private.pem", tmp_path / "team.pem"
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return str(private), trusted_keys(RegistrySettings(trusted_keys=(str(public),)))


def with_keys(registry, keys):
    return Registry(registry.client, registry.store, registry.name, registry.lock, keys[1], keys[0])


def tags(registry, version="1"):
    return registry.get(version).tags


def promote(registry, *versions):
    for version in versions:
        assert registry.apply_verdict(version, registry.champion(), "promoted", f"better {version}")


# Which there are


def test_a_version_that_is_not_there_is_named_with_the_remedy(registry):
    assert registry.get("2").version == 2
    with pytest.raises(
        JabertError, match=r"^there is no version '7' of 'jabert'; `jabert models` lists them$"
    ):
        registry.get("7")


def test_what_is_no_number_is_no_version(registry, monkeypatch):
    def get(name, version):
        raise MlflowException.invalid_parameter_value("not a number")

    monkeypatch.setattr(registry.client, "get_model_version", get)
    with pytest.raises(JabertError, match="there is no version 'x'"):
        registry.get("x")


def test_a_version_has_a_uri(registry):
    assert registry.uri("1") == URI


def test_all_versions_are_listed_the_newest_first_however_many(tmp_path):
    registry = Registry(MemoryClient(versions=120), "", "jabert", str(tmp_path / "lock"))
    assert registry.numbers() == [str(number) for number in range(120, 0, -1)]
    assert [version.version for version in registry.all()] == list(range(120, 0, -1))


def test_the_listing_has_for_each_version_what_is_known_of_it(registry):
    registry.tag("1", {"weighted_f1": 0.5})
    promote(registry, "1", "2")
    registry.client.versions["2"].creation_timestamp = 1_700_000_000_500
    third, second, first = registry.listing()
    assert datetime.fromisoformat(second.pop("created")).timestamp() == 1_700_000_000.5
    assert datetime.fromisoformat(first.pop("created")).tzinfo is not None
    assert second == {
        "version": "2",
        "aliases": ["champion"],
        "weighted_f1": None,
        "run_id": "run-2",
        "promotion": "promoted",
        "promoted_over": "1",
        "reason": "better 2",
    }
    assert first == {
        "version": "1",
        "aliases": ["previous"],
        "weighted_f1": 0.5,
        "run_id": "run-1",
        "promotion": "promoted",
        "promoted_over": None,
        "reason": "better 1",
    }
    assert (third["aliases"], third["promotion"], third["reason"]) == ([], None, None)
    registry.client.model.aliases["previous"] = "2"
    assert registry.listing()[1]["aliases"] == ["champion", "previous"]
    assert Registry(MemoryClient(), "", "jabert", "").listing() == []


def test_a_version_is_registered_once_and_anchored(registry, files, monkeypatch, capsys):
    def register_model(uri, name):
        print("Created version", file=sys.stderr)
        assert name == "jabert"
        return SimpleNamespace(version=int(registry.client.add(source=uri)))

    monkeypatch.setattr(mlflow, "register_model", register_model)
    monkeypatch.setattr(module, "file_digests", lambda folder: {"MLmodel": "digest"})
    anchored = []
    monkeypatch.setattr(Registry, "anchor", lambda self, version: anchored.append(version))
    assert registry.register("models:/m-new") == "4"
    assert registry.register("models:/m-new") == "4"
    assert registry.register("models:/m-2") == "2"
    assert anchored == ["4", "4", "2"]
    assert capsys.readouterr() == ("", "")


def test_tags_are_texts_and_none_is_left_out(registry):
    registry.tag("1", {"a": None, "b": 0, "c": "x", "d": 0.5})
    assert tags(registry) == {"b": "0", "c": "x", "d": "0.5"}
    registry.describe("1", "# Card")
    assert registry.get("1").description == "# Card"


# The champion


def test_without_a_champion_the_remedy_is_told(registry):
    assert registry.champion() is None
    with pytest.raises(JabertError) as told:
        registry.require_champion()
    assert str(told.value) == (
        "the registered model 'jabert' has no champion yet; what there is: --set tracking.model_name=jabert"
    )


def test_the_champion_is_loaded(registry, monkeypatch):
    loaded = []
    monkeypatch.setattr(module, "load_model", lambda uri, trusted: loaded.append((uri, trusted)) or "model")
    promote(registry, "2")
    assert registry.require_champion() == "2"
    assert registry.load_champion() == "model"
    assert loaded == [("models:/jabert/2", ())]


def test_a_version_that_cannot_be_loaded_is_named_with_the_reason(registry, monkeypatch, keys):
    def load_model(uri, trusted):
        assert trusted == keys[1]
        raise ZeroDivisionError("of its own code")

    monkeypatch.setattr(module, "load_model", load_model)
    sentence = r"^version 1 of 'jabert' cannot be loaded \(.*of its own code.*\); see `jabert doctor`$"
    with pytest.raises(JabertError, match=sentence) as told:
        with_keys(registry, keys).load("1")
    assert isinstance(told.value.__cause__, ZeroDivisionError)


def test_a_verdict_takes_effect_only_over_the_champion_that_it_names(registry):
    assert registry.apply_verdict("1", None, "promoted", "first")
    assert registry.champion() == "1"
    assert not registry.apply_verdict("2", None, "promoted", "late")
    assert not registry.apply_verdict("2", "3", "kept", "late")
    assert (registry.champion(), tags(registry, "2")) == ("1", {})
    assert registry.apply_verdict("2", "1", "kept", "a tie")
    assert (registry.champion(), tags(registry, "2")) == ("1", {"reason": "a tie", "promotion": "kept"})
    assert list(tags(registry, "2")) == ["reason", "promotion"], (
        "the outcome last: it makes the verdict final"
    )
    assert registry.apply_verdict("3", "1", "promoted", "better")
    assert registry.client.model.aliases == {"champion": "3", "previous": "1"}
    assert tags(registry, "3")["reason"] == "better"


def test_an_interrupted_move_is_finished_under_the_lock(registry, monkeypatch):
    held = []

    @contextmanager
    def promotion_lock(location, name):
        held.append((location, name))
        yield
        held.append("free")

    monkeypatch.setattr(module, "promotion_lock", promotion_lock)
    monkeypatch.setattr(module, "recover", lambda client, name: held.append((client, name)))
    registry.recover()
    assert held == [(registry.lock, "jabert"), (registry.client, "jabert"), "free"]


@pytest.fixture
def openable(registry, monkeypatch):
    """All versions have files that are as registered, but for those in the list; what was asked is noted."""
    asked, bad = [], []

    @contextmanager
    def model_files(uri, trusted):
        asked.append((uri, trusted))
        if uri in bad:
            raise JabertError(f"{uri}: the file has changed")
        yield "folder"

    monkeypatch.setattr(module, "model_files", model_files)
    return asked, bad


def test_rollbacks_go_back_along_the_chain_and_no_further(registry, openable):
    promote(registry, "1", "2", "3")
    move = registry.rollback()
    assert (move.version, move.over, move.previous) == ("2", "3", "1")
    assert move.reason == "rolled back from version 3"
    assert openable[0] == [("models:/jabert/2", ())]
    move = registry.rollback()
    assert (move.version, move.over, move.previous) == ("1", "2", None)
    with pytest.raises(JabertError) as told:
        registry.rollback()
    assert str(told.value) == (
        "there is nothing to go back to: version 1 of 'jabert' has no champion before it"
    )
    assert [move.version for move in registry.history()] == ["1", "2", "3", "2", "1"]
    assert [move.number for move in registry.history()] == [1, 2, 3, 4, 5]


def test_after_a_rollback_the_chain_is_that_of_the_last_promotion(registry, openable):
    promote(registry, "1", "2", "1", "3")
    registry.rollback()
    assert registry.client.model.aliases == {"champion": "1", "previous": "2"}, "it was last promoted over 2"
    promote(registry, "3")
    registry.rollback()
    assert registry.client.model.aliases == {"champion": "1", "previous": "2"}


def test_a_previous_version_that_was_never_promoted_has_none_before_it(registry, openable):
    promote(registry, "1", "2")
    registry.client.set_registered_model_alias("jabert", "previous", "3")  # by someone, in MLflow
    move = registry.rollback()
    assert (move.version, move.over, move.previous) == ("3", "2", None)


def test_moves_are_made_under_the_lock_of_the_registered_model(registry, openable, monkeypatch):
    @contextmanager
    def lock(*asked):
        held.append(asked)
        yield

    held = []
    monkeypatch.setattr(module, "promotion_lock", lock)
    promote(registry, "1", "2")
    registry.rollback()
    assert held == [(registry.lock, "jabert")] * 3


def test_a_rollback_needs_a_champion(registry):
    with pytest.raises(JabertError, match=r"^the registered model 'jabert' has no champion to go back from$"):
        registry.rollback()


def test_a_deleted_champion_is_rolled_back_to_the_last_that_is_there(registry, openable):
    promote(registry, "1", "2", "3")
    registry.client.delete("3")
    del registry.client.model.aliases["previous"]
    move = registry.rollback()
    assert (move.version, move.reason) == ("2", "rolled back from version 3, which was deleted")
    assert registry.champion() == "2"


def test_where_every_champion_was_deleted_there_is_nothing_to_go_back_to(registry, openable):
    promote(registry, "1")
    registry.client.delete("1")
    with pytest.raises(JabertError, match="nothing to go back to: version 1 of 'jabert'"):
        registry.rollback()


def test_what_a_rollback_would_bring_back_is_compared_first(registry, openable):
    promote(registry, "1", "2")
    openable[1].append(URI)
    with pytest.raises(JabertError, match="the file has changed"):
        registry.rollback()
    assert registry.champion() == "2"


def test_the_best_ever_promoted_come_first(registry):
    promote(registry, "1", "2", "3")
    other = registry.client.add()
    for version, f1 in (("1", 0.7), ("2", 0.9), (other, 1.0)):
        registry.tag(version, {"weighted_f1": f1})
    assert registry.best_promoted() == ["2", "1"], "3 has no score, the other was never champion"


# Files, anchors and signatures


def test_files_of_a_version_that_is_not_there_are_not_asked_for(registry, openable):
    with pytest.raises(JabertError, match="there is no version '7'"), registry.files("7"):
        raise AssertionError
    assert openable[0] == []


def test_files_are_compared_with_the_trusted_keys(registry, openable, keys):
    with with_keys(registry, keys).files("1") as folder:
        assert folder == "folder"
    assert openable[0] == [(URI, keys[1])]


@pytest.mark.parametrize("error", [OSError("gone"), MlflowException("gone")])
def test_files_that_cannot_be_read_are_named_with_the_reason(registry, monkeypatch, error):
    @contextmanager
    def unreadable(*_):
        raise error
        yield

    monkeypatch.setattr(module, "model_files", unreadable)
    monkeypatch.setattr(module, "unchecked_files", unreadable)
    sentence = r"^the files of version 1 of 'jabert' cannot be read \(.*gone.*\)$"
    with pytest.raises(JabertError, match=sentence), registry.files("1"):
        raise AssertionError
    with pytest.raises(JabertError, match=sentence):
        registry.anchor("1")
    registry.client.versions["1"].tags[ANCHOR] = "{}"
    assert re.match(sentence, registry.verify("1")["fault"])


def test_an_error_of_whoever_uses_the_files_is_not_taken_for_one_of_the_files(registry, openable):
    with pytest.raises(OSError, match="mine"), registry.files("1"):
        raise OSError("mine")


def test_an_anchor_is_made_once_and_never_of_other_files(registry, files):
    assert registry.anchor("1") is True
    anchor = tags(registry)[ANCHOR]
    assert json.loads(anchor) == file_digests(files)
    assert SIGNATURE not in tags(registry)
    written = list(registry.client.written)
    assert registry.anchor("1") is False
    assert registry.client.written == written
    (files / "MLmodel").write_text("two")
    with pytest.raises(JabertError) as told:
        registry.anchor("1")
    assert str(told.value) == f"{URI}: the file MLmodel has changed since the model was registered"
    assert tags(registry) == {ANCHOR: anchor}


def test_a_damaged_anchor_is_told_with_its_version(registry, files):
    registry.tag("1", {ANCHOR: "no JSON"})
    sentence = (
        f"{URI}: the tag {ANCHOR!r} of the version in the registry is damaged; restore it from a backup"
    )
    with pytest.raises(JabertError) as told:
        registry.anchor("1")
    assert str(told.value) == sentence
    found = registry.verify("1")
    assert (found["ok"], found["anchored"], found["fault"]) == (False, True, sentence)


def test_what_is_verified_without_keys(registry, files):
    nothing = {"files": [], "signed_by": None, "fault": None}
    assert registry.verify("1") == {"version": "1", "anchored": False, "ok": None, **nothing}
    registry.anchor("1")
    assert registry.verify("1") == {"version": "1", "anchored": True, "ok": True, **nothing}
    (files / "MLmodel").unlink()
    (files / "added").touch()
    fault = f"{URI}: the file MLmodel is missing since the model was registered"
    assert registry.verify("1") == {
        "version": "1",
        "anchored": True,
        "ok": False,
        "files": ["MLmodel", "added"],
        "signed_by": None,
        "fault": fault,
    }


def test_what_is_verified_with_keys(registry, files, keys):
    signing = with_keys(registry, keys)
    found = signing.verify("1")
    assert (found["ok"], found["anchored"], found["signed_by"]) == (False, False, None)
    assert found["fault"].startswith("has no signature")
    registry.anchor("1")
    found = signing.verify("1")
    assert (found["ok"], found["anchored"]) == (False, True)
    assert signing.anchor("1") is False, "it is only signed"
    assert signing.verify("1") == {
        "version": "1",
        "anchored": True,
        "ok": True,
        "files": [],
        "signed_by": "team",
        "fault": None,
    }
    (files / "MLmodel").write_text("two")
    found = signing.verify("1")
    assert (found["ok"], found["signed_by"], found["files"]) == (False, None, ["MLmodel"])
    assert found["fault"] == f"{URI}: the file MLmodel has changed since the model was registered"


# What a version learned from


@pytest.fixture
def learned(registry, tmp_path, monkeypatch):
    """Write these digests among the artifacts of version 1; the digest of the file is in its anchor."""

    def learned(content, *, anchored=True, missing=False):
        folder = tmp_path / "artifacts"
        folder.mkdir(exist_ok=True)
        file = folder / "learned_from.json"
        file.write_text(content)
        digests = {f"artifacts/{name}": digest for name, digest in file_digests(folder).items()}
        if anchored:
            registry.tag("1", {ANCHOR: json.dumps(digests)})
        if missing:
            file.unlink()
        return file

    def list_artifacts(uri):
        assert uri == f"{URI}/artifacts"
        return [SimpleNamespace(path=f"artifacts/{path.name}") for path in (tmp_path / "artifacts").iterdir()]

    def download_artifacts(uri, dst_path):
        assert uri == f"{URI}/artifacts/learned_from.json"
        return shutil.copy(tmp_path / "artifacts/learned_from.json", dst_path)

    monkeypatch.setattr(mlflow.artifacts, "list_artifacts", list_artifacts)
    monkeypatch.setattr(mlflow.artifacts, "download_artifacts", download_artifacts)
    return learned


@pytest.mark.parametrize("anchored", [True, False])
def test_what_a_version_learned_from_is_read(registry, learned, anchored):
    learned('{"rows": ["a"], "groups": ["b"], "by_form": true}', anchored=anchored)
    found = registry.training_digests("1")
    assert (found.rows, found.groups, found.by_form) == ({"a"}, {"b"}, True)


def test_a_version_may_have_no_digests_but_may_not_have_lost_them(registry, learned):
    learned("", anchored=False, missing=True)
    assert registry.training_digests("1") is None
    learned("", missing=True)
    with pytest.raises(JabertError) as told:
        registry.training_digests("1")
    assert str(told.value) == (
        "version 1 of 'jabert': the file artifacts/learned_from.json is missing, so nobody knows what it "
        "learned from; restore it, or delete the version"
    )


def test_digests_that_were_changed_are_not_believed(registry, learned):
    learned('{"rows": ["a"], "groups": []}').write_text('{"rows": [], "groups": []}')
    with pytest.raises(JabertError) as told:
        registry.training_digests("1")
    assert str(told.value) == (
        "version 1 of 'jabert': the file artifacts/learned_from.json has changed since the model was "
        "registered; restore it, or delete the version"
    )


def test_digests_that_are_damaged_are_not_taken_for_none(registry, learned):
    learned("no JSON")
    with pytest.raises(JabertError) as told:
        registry.training_digests("1")
    assert str(told.value) == (
        "version 1 of 'jabert': the file artifacts/learned_from.json is damaged, so nobody knows what it "
        "learned from; restore it, or delete the version"
    )
    assert isinstance(told.value.__cause__, ValueError)


# Runs


def test_the_run_of_a_version_is_the_one_that_judged_it(registry):
    registry.client.runs = {"run-1": "made", "later": "judged"}
    assert registry.run("1") == "made"
    registry.tag("1", {"judged_in": "later"})
    assert registry.run("1") == "judged"


def test_a_run_that_is_gone_is_told(registry, monkeypatch):
    sentence = "the run of version 1 of 'jabert' is gone; restore it in MLflow, or name another version"
    with pytest.raises(JabertError, match=f"^{sentence}$"):
        registry.run("1")
    registry.client.versions["2"].run_id = None

    def get_run(run_id):
        assert run_id == ""
        raise MlflowException.invalid_parameter_value("no id")

    monkeypatch.setattr(registry.client, "get_run", get_run)
    with pytest.raises(JabertError, match=r"^the run of version 2 of 'jabert' is gone; restore it"):
        registry.run("2")


def test_an_artifact_is_of_the_run(registry, monkeypatch):
    registry.client.runs = {"run-1": SimpleNamespace(info=SimpleNamespace(run_id="run-1"))}
    monkeypatch.setattr(module, "read_artifact", lambda *arguments: arguments)
    assert registry.artifact("1", "report.json") == (registry.client, "run-1", "report.json")


def test_a_registry_is_opened_by_its_settings(monkeypatch, tmp_path, keys):
    monkeypatch.setattr(module, "connect", lambda tracking: ("client", tracking.uri))
    store = f"sqlite:///{tmp_path}/mlflow.db"
    found = open_registry(load_settings(None, [f"tracking.uri={store}", "tracking.model_name=mine"]))
    assert (found.client, found.store, found.name) == (("client", store), store, "mine")
    assert (found.lock, found.trusted, found.sign_key) == (str(tmp_path / "promotion.lock"), (), None)
    signing = [f"registry.sign_key={keys[0]}", f"registry.trusted_keys=[{str(tmp_path / 'team.pem')!r}]"]
    found = open_registry(load_settings(None, [f"tracking.uri={store}", *signing]))
    assert (found.sign_key, [key.name for key in found.trusted]) == (keys[0], ["team"])


# What a loaded version is asked


class Model:
    """As MLflow loads it; it answers with the texts that it was given, beside one another."""

    def __init__(self, python_model=None, **metadata):
        self.metadata, self.python_model = SimpleNamespace(metadata=metadata or None), python_model
        self.asked = []

    def unwrap_python_model(self):
        if self.python_model is None:
            raise MlflowException("of another flavor")
        return self.python_model

    def predict(self, table):
        self.asked.append(table.to_dict("list"))
        probabilities = [{"a": int(text), "b": 1 - int(text)} for text in table["text"]]
        return pd.DataFrame({"probabilities": probabilities}, index=table.index)


ROWS = pd.DataFrame(
    {"text": ["1", "0", "1", "0", "1"], "group": ["x", "x", "x", "y", "y"], "file": "a", "line": range(5)}
)


def test_a_table_is_predicted_in_parts_that_the_model_takes():
    model = Model(max_texts=2)
    found = predict(model, ROWS[["text"]])
    assert model.asked == [{"text": ["1", "0"]}, {"text": ["1", "0"]}, {"text": ["1"]}]
    assert list(found.index) == [0, 1, 2, 3, 4]
    assert [row["a"] for row in found["probabilities"]] == [1, 0, 1, 0, 1]


@pytest.mark.parametrize("metadata", [{}, {"other": 1}])
def test_a_model_that_names_no_limit_gets_all_at_once(metadata):
    predict(model := Model(**metadata), ROWS[["text"]])
    assert len(model.asked) == 1
    predict(model := Model(**metadata), ROWS[["text"]][:0])
    assert model.asked == [{"text": []}]
    predict(model := Model(max_texts=2), ROWS[["text"]][:0])
    assert model.asked == [{"text": []}]


def test_a_model_gets_texts_alone_unless_it_looks_at_neighbours():
    found = classify(model := Model(), ROWS)
    assert model.asked == [{"text": ["1", "0", "1", "0", "1"]}]
    assert found.to_dict("list") == {"a": [1.0, 0.0, 1.0, 0.0, 1.0], "b": [0.0, 1.0, 0.0, 1.0, 0.0]}
    assert set(found.dtypes) == {np.dtype("float64")}
    classify(model := Model(context=1), ROWS.drop(columns="group"))
    assert [*model.asked[0]] == ["text"]


def test_a_model_that_looks_at_neighbours_gets_those_of_the_same_group():
    classify(model := Model(context=1), ROWS)
    [asked] = model.asked
    assert [*asked] == ["text", "before", "after"]
    assert [list(each) for each in asked["before"]] == [[], ["1"], ["0"], [], ["0"]]
    assert [list(each) for each in asked["after"]] == [["0"], ["1"], [], ["1"], []]


@pytest.mark.parametrize(("metadata", "context"), [({}, 0), ({"other": 1}, 0), ({"context": 2}, 2)])
def test_the_context_is_in_the_metadata(metadata, context):
    assert context_of(Model(**metadata)) == context


def test_only_some_models_can_tell_what_they_cut():
    can = SimpleNamespace(cut=lambda texts: [len(text) > 1 for text in texts])
    assert cut_of(Model(can), ("a", "bc")) == [False, True]
    assert cut_of(Model(SimpleNamespace()), ("a", "bc")) == [None, None]
    assert cut_of(Model(), ["a"]) == [None]


@pytest.fixture
def occluded(monkeypatch):
    """What is asked of the explanation, and what it gets for two variants of the second text."""
    seen = {}

    def occlude(divided, labels, answer):
        seen.update(divided=divided, labels=labels, answers=answer(["0", "1"], [1, 1]))
        return "pieces"

    monkeypatch.setattr(module, "occlude", occlude)
    return seen


def test_an_explanation_asks_the_model_with_the_neighbours_of_the_text(occluded):
    rows = pd.DataFrame({"text": ["ab", "cd"], "before": [["x"], ["y"]]}, index=[7, 8])
    model = Model(SimpleNamespace(parts=lambda text: [(text, True)]))
    assert explain(model, rows) == "pieces"
    assert (occluded["divided"], occluded["labels"]) == ([[("ab", True)], [("cd", True)]], None)
    assert model.asked == [{"text": ["0", "1"], "before": [["y"], ["y"]]}]
    assert occluded["answers"].tolist() == [[0.0, 1.0], [1.0, 0.0]]
    assert occluded["answers"].dtype == np.float64


@pytest.mark.parametrize("python_model", [None, SimpleNamespace()])
def test_a_model_that_cannot_tell_its_pieces_is_explained_by_characters(occluded, python_model):
    explain(Model(python_model), pd.DataFrame({"text": ["ab", "c"]}))
    assert occluded["divided"] == [[("a", True), ("b", True)], [("c", True)]]
