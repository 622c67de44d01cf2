"""What was registered is what is loaded: the files of a version are compared with their anchor first."""

import json
import os
import re
import shutil

import pytest
from toy_registry import ROWS, gate, log_model, new_version, toy_registry

from jabert.cli import main
from jabert.config import local_path
from jabert.errors import JabertError
from jabert.registry import classify
from jabert.registry.smoke import smoke_check
from jabert.tracking import ANCHOR, load_model

LEARNED = {"rows": [], "groups": []}
ATTACK = "import os\nos.environ['JABERT_ATTACKED'] = '1'\n"


@pytest.fixture
def store(tmp_path):
    return f"tracking.uri=sqlite:///{tmp_path}/mlflow.db"


@pytest.fixture
def registry(store):
    return toy_registry("toy", store)


@pytest.fixture
def logged(registry, tmp_path):
    """URI of a logged model, and the folder of its files."""
    uri = log_model(registry, tmp_path / "model", 80, learned=LEARNED)
    model = registry.client.get_logged_model(uri.removeprefix("models:/"))
    return uri, local_path(model.artifact_location)


def append(path, text):
    path.write_text(path.read_text(encoding="utf-8") + text, encoding="utf-8")


def append_new(path):
    path.parent.mkdir()
    path.write_text(ATTACK, encoding="utf-8")


CHANGES = {
    "code": (lambda folder: append(folder / "toy_classifier.py", ATTACK), "toy_classifier.py has changed"),
    "loader": (lambda folder: append(folder / "MLmodel", "\n# here\n"), "MLmodel has changed"),
    "requirements": (lambda folder: append(folder / "requirements.txt", "evil\n"), "requirements.txt has ch"),
    "artifact": (
        lambda folder: append(folder / "artifacts/about.json", " "),
        "artifacts/about.json has changed",
    ),
    "more": (lambda folder: append_new(folder / "code/evil.py"), "code/evil.py has been added"),
    "less": (lambda folder: (folder / "conda.yaml").unlink(), "conda.yaml is missing"),
    "leak guard": (
        lambda folder: (folder / "artifacts/learned_from.json").unlink(),
        "artifacts/learned_from.json is missing",
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_version_with_other_files_is_not_run(change, registry, logged, store, capsys):
    os.environ.pop("JABERT_ATTACKED", None)
    uri, folder = logged
    version = registry.register(uri)
    assert set(json.loads(registry.get(version).tags[ANCHOR])) >= {"MLmodel", "artifacts/learned_from.json"}
    registry.load(version)
    good = {"version": version, "anchored": True, "ok": True, "files": [], "signed_by": None, "fault": None}
    assert registry.verify(version) == good

    alter, fault = CHANGES[change]
    alter(folder)
    sentence = rf"the file .*{re.escape(fault)}"
    with pytest.raises(JabertError, match=sentence):
        registry.load(version)
    for other in (uri, registry.uri(version)):
        with pytest.raises(JabertError, match=sentence):
            load_model(other)
    with pytest.raises(JabertError, match=sentence):
        registry.anchor(version)
    with pytest.raises(JabertError, match=sentence):
        gate(registry).judge(version)
    with pytest.raises(SystemExit) as ended:
        main(["models", "verify", "--json", "--set", store, "--set", "tracking.model_name=toy"])
    (found,) = json.loads(capsys.readouterr().out)
    assert ended.value.code == 1 and found["ok"] is False and fault in found["fault"]
    assert found["files"] == [fault.split()[0]]
    assert "JABERT_ATTACKED" not in os.environ


def test_a_version_of_before_is_loaded_with_one_warning_until_it_is_anchored(
    registry, logged, store, caplog, capsys
):
    uri, folder = logged
    version = new_version(registry, uri)
    for _ in range(2):
        registry.load(version)
    warned = [record for record in caplog.records if "has no anchor" in record.getMessage()]
    assert len(warned) == 1 and "jabert models anchor" in warned[0].getMessage()
    assert registry.verify(version)["ok"] is None
    with pytest.raises(SystemExit, match="0"):
        main(["models", "anchor", version, "--json", "--set", store, "--set", "tracking.model_name=toy"])
    assert json.loads(capsys.readouterr().out) == [{"version": version, "anchored": True, "new": True}]
    assert registry.verify(version)["ok"] is True and registry.anchor(version) is False
    append(folder / "toy_classifier.py", ATTACK)
    assert registry.verify(version)["ok"] is False


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"rows": 1, "groups": []}', "[" * 20_000])
def test_a_damaged_leak_guard_is_a_refusal(content, registry, logged):
    uri, folder = logged
    version = new_version(registry, uri)  # without an anchor that would find it
    assert registry.training_digests(version) is not None
    (folder / "artifacts/learned_from.json").write_text(content, encoding="utf-8")
    with pytest.raises(JabertError, match=r"version 1 of 'toy': .*learned_from.json is damaged"):
        registry.training_digests(version)


def test_what_a_rollback_would_bring_back_is_compared_first(registry, tmp_path):
    versions, folders = [], []
    for right in (60, 80):
        uri = log_model(registry, tmp_path / str(right), right)
        folders.append(local_path(registry.client.get_logged_model(uri.split("/")[1]).artifact_location))
        versions.append(registry.register(uri))
        assert gate(registry).judge_once(versions[-1]).promoted
    shutil.rmtree(folders[0] / "artifacts")
    with pytest.raises(JabertError, match=r"artifacts/about.json is missing"):
        registry.rollback()
    assert registry.champion() == versions[1]


def test_a_damaged_anchor_is_not_taken_for_none(registry, logged):
    version = registry.register(logged[0])
    for damaged in ("", "[1]", '{"MLmodel": 1}'):
        registry.tag(version, {ANCHOR: damaged})
        with pytest.raises(JabertError, match="the tag 'files' of the version in the registry is damaged"):
            registry.load(version)


@pytest.mark.parametrize("change", ["code", "more", "less"])
def test_the_smoke_check_runs_no_file_but_those_registered(change, registry, logged):
    uri, folder = logged
    version = registry.register(uri)
    files = json.loads(registry.get(version).tags[ANCHOR])
    expected = classify(registry.load(version), ROWS[:2])

    def checked():
        return smoke_check(registry.uri(version), registry.store, ROWS["text"][:2].tolist(), expected, files)

    assert checked() is None
    alter, fault = CHANGES[change]
    alter(folder)
    assert f"the file {fault.partition(' ')[0]} is not what it was when the model was registered" in checked()
