import errno
import hashlib
import json
import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jabert.errors import JabertError
from jabert.files import atomic_path, digest_of_file, digest_of_json, write_json, write_text


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_the_file_appears_only_when_it_is_whole(tmp_path):
    path = tmp_path / "deep" / "er" / "table.csv"
    with atomic_path(path) as temporary:
        temporary.write_text("half", encoding="utf-8")
        assert not path.exists()
        temporary.write_text("whole", encoding="utf-8")
    assert path.read_text(encoding="utf-8") == "whole"
    assert names(path.parent) == ["table.csv"]


def test_the_temporary_name_is_hidden_beside_the_file_and_keeps_its_suffix(tmp_path):
    with atomic_path(tmp_path / "best.h5") as temporary:
        temporary.touch()
        assert temporary.parent == tmp_path
        assert temporary.suffix == ".h5"
        assert temporary.name.startswith(".")


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path):
    path = write_text(tmp_path / "note.txt", "old")
    with pytest.raises(ZeroDivisionError), atomic_path(path) as temporary:
        temporary.write_text("half", encoding="utf-8")
        1 / 0  # noqa: B018
    assert path.read_text(encoding="utf-8") == "old"
    assert names(tmp_path) == ["note.txt"]


def test_writing_nothing_is_an_error(tmp_path):
    with pytest.raises(JabertError, match=r"note\.txt cannot be written"), atomic_path(tmp_path / "note.txt"):
        pass


def test_a_folder_that_cannot_be_made_is_said_by_name(tmp_path):
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "deep" / "note.txt"
    with pytest.raises(JabertError, match=f"{path} cannot be written: Not a directory") as error:
        write_text(path, "new")
    assert isinstance(error.value.__cause__, NotADirectoryError)


@pytest.mark.parametrize("name", [".", "..", "/"])
def test_a_folder_is_no_name_for_a_file(name):
    with pytest.raises(JabertError, match=rf"^{name} cannot be written: "):
        write_text(Path(name), "new")


def test_a_folder_without_permission_is_said_by_name(tmp_path, monkeypatch):
    def refuse(self, *_, **__):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))  # root may write anywhere

    monkeypatch.setattr(Path, "write_text", refuse)
    with pytest.raises(JabertError, match=r"note\.txt cannot be written: Permission denied"):
        write_text(tmp_path / "note.txt", "new")


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_said_by_name_and_leaves_nothing(tmp_path, monkeypatch, code):
    def full(descriptor):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", full)
    path = tmp_path / "report.json"
    with pytest.raises(JabertError, match=f"{path}: the disk is full"):
        write_json(path, {"f1": 0.8})
    assert names(tmp_path) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_disk_that_is_full_while_writing_is_said_too(tmp_path):
    path = tmp_path / "report.json"
    with pytest.raises(JabertError, match=f"{path}: the disk is full"), atomic_path(path) as temporary:
        temporary.symlink_to("/dev/full")  # the kernel's own ENOSPC
        temporary.write_text("京都", encoding="utf-8")
    assert names(tmp_path) == []


def test_another_error_of_the_system_is_said_with_its_reason(tmp_path, monkeypatch):
    def broken(descriptor):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(JabertError, match=r"note\.txt cannot be written: Input/output error"):
        write_text(tmp_path / "note.txt", "new")
    assert names(tmp_path) == []


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o027, 0o640), (0o002, 0o664)])
def test_a_file_has_the_mode_that_the_umask_asks_for(tmp_path, umask, mode):
    before = os.umask(umask)
    try:
        path = write_text(tmp_path / "note.txt", "new")
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == mode


def test_json_is_readable_japanese_with_a_last_newline(tmp_path):
    path = write_json(tmp_path / "labels.json", {"labels": ["京都"]})
    text = path.read_text(encoding="utf-8")
    assert json.loads(text) == {"labels": ["京都"]}
    assert "京都" in text
    assert text.endswith("}\n")


def test_the_digest_of_a_file_is_sha256_of_its_contents(tmp_path):
    path = tmp_path / "data"
    path.write_bytes(b"\x00\xff" * 100_000)
    assert digest_of_file(path) == hashlib.sha256(b"\x00\xff" * 100_000).hexdigest()


trees = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=5), trees, max_size=5))
def test_the_digest_of_json_does_not_depend_on_the_order_of_keys(value):
    backwards = dict(reversed(value.items()))
    assert digest_of_json(backwards) == digest_of_json(value)


@given(trees, trees)
def test_the_digest_of_json_tells_values_apart(one, other):
    same = json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
    assert (digest_of_json(one) == digest_of_json(other)) == same
