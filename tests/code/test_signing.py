"""Signed versions: with trusted keys only what one of them signed is loaded, promoted and served."""

import base64
import json
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1
from cryptography.hazmat.primitives.asymmetric.ec import generate_private_key as make_ec_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from toy_registry import gate, log_model, new_version, toy_registry

from jabert.cli import main
from jabert.config import RegistrySettings, load_settings, local_path
from jabert.errors import JabertError
from jabert.registry import open_registry
from jabert.serving.models import Version, load
from jabert.tracking import ANCHOR, SIGNATURE, load_model, sign, trusted_keys


def write_keys(folder, name, *, key=None, password=None):
    """A private key and its public one as files."""
    key = key or Ed25519PrivateKey.generate()
    kept = BestAvailableEncryption(password) if password else NoEncryption()
    private, public = folder / f"{name}.pem", folder / f"{name}.pub"
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, kept))
    public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return str(private), str(public)


@pytest.fixture
def keys(tmp_path):
    return {name: write_keys(tmp_path, name) for name in ("release", "other")}


@pytest.fixture
def store(tmp_path):
    return f"tracking.uri=sqlite:///{tmp_path}/mlflow.db"


@pytest.fixture
def signing(store, keys):
    """A registry that signs by the key `release`, and trusts it."""
    plain = toy_registry("toy", store)
    private, public = keys["release"]
    return replace(plain, sign_key=private, trusted=trusted_keys(RegistrySettings(trusted_keys=[public])))


def test_what_is_registered_is_signed_and_loaded(signing, tmp_path):
    version = signing.register(log_model(signing, tmp_path / "model", 80))
    signing.load(version)
    assert gate(signing).judge(version).promoted
    found = signing.verify(version)
    assert (found["ok"], found["signed_by"], found["files"]) == (True, "release", [])
    load_model(signing.uri(version), signing.trusted)


def spoil(tags, **changes):
    return {SIGNATURE: json.dumps({**json.loads(tags[SIGNATURE]), **changes})}


SPOILT = {
    "none": (lambda tags: {SIGNATURE: None}, "has no signature"),
    "no JSON": (lambda tags: {SIGNATURE: "x"}, "has a damaged signature"),
    "no list": (lambda tags: {SIGNATURE: "[]"}, "has a damaged signature"),
    "no base64": (lambda tags: spoil(tags, signature="???"), "has a damaged signature"),
    "no text": (lambda tags: spoil(tags, signature=5), "has a damaged signature"),
    "other bytes": (
        lambda tags: spoil(tags, signature=base64.b64encode(bytes(64)).decode()),
        "has a signature of release that is not of these files",
    ),
    "too short": (lambda tags: spoil(tags, signature=""), "has a signature of release that is not of these"),
    "other key": (lambda tags: spoil(tags, key="SHA256:x"), "that is not trusted \\(trusted are: release\\)"),
    "other files": (
        lambda tags: {ANCHOR: json.dumps({**json.loads(tags[ANCHOR]), "MLmodel": "0" * 64})},
        "has a signature of release that is not of these files",
    ),
}


@pytest.mark.parametrize("kind", SPOILT)
def test_a_version_without_a_good_signature_is_not_run(kind, signing, tmp_path):
    version = signing.register(log_model(signing, tmp_path / "model", 80))
    change, fault = SPOILT[kind]
    for name, value in change(signing.get(version).tags).items():
        if value is None:
            signing.client.delete_model_version_tag("toy", version, name)
        else:
            signing.client.set_model_version_tag("toy", version, name, value)
    for attempt in (
        lambda: signing.load(version),
        lambda: load_model(signing.uri(version), signing.trusted),
        lambda: load(Version(version, signing.uri(version)), 2, signing.trusted),
        lambda: gate(signing).judge(version, force=True),
    ):
        with pytest.raises(JabertError, match=fault) as error:
            attempt()
        assert "jabert models anchor" in str(error.value)
    assert signing.champion() is None
    found = signing.verify(version)
    assert (found["ok"], found["signed_by"]) == (False, None)


def test_a_version_without_an_anchor_is_not_trusted_until_it_is_anchored_and_signed(signing, tmp_path):
    version = new_version(signing, log_model(signing, tmp_path / "model", 80))
    with pytest.raises(JabertError, match=r"has no signature, but registry\.trusted_keys asks for one"):
        signing.load(version)
    assert signing.verify(version)["ok"] is False
    assert signing.anchor(version)
    signing.load(version)


def test_a_changed_file_is_named_and_never_signed_again(signing, tmp_path):
    uri = log_model(signing, tmp_path / "model", 80)
    version = signing.register(uri)
    folder = local_path(signing.client.get_logged_model(uri.removeprefix("models:/")).artifact_location)
    (folder / "conda.yaml").write_text("changed", encoding="utf-8")
    (folder / "requirements.txt").unlink()
    with pytest.raises(JabertError, match=r"the file conda\.yaml has changed"):
        signing.anchor(version)
    found = signing.verify(version)
    assert (found["ok"], found["files"], found["signed_by"]) == (
        False,
        ["conda.yaml", "requirements.txt"],
        None,
    )


def test_the_command_signs_and_verifies(signing, store, keys, tmp_path, capsys):
    new_version(signing, log_model(signing, tmp_path / "model", 80))
    (private, public), (_, other) = keys.values()

    def models(*words, **settings):
        given = [f"registry.{name}={value}" for name, value in settings.items()]
        options = [word for each in [store, "tracking.model_name=toy", *given] for word in ("--set", each)]
        with pytest.raises(SystemExit) as ended:
            main(["models", *words, "--json", *options])
        return ended.value.code or 0, json.loads(capsys.readouterr().out)

    assert models("anchor", sign_key=private)[0] == 0
    code, (found,) = models("verify", trusted_keys=json.dumps([other, public]))
    assert (code, found["version"], found["ok"], found["signed_by"]) == (0, "1", True, "release")
    code, (found,) = models("verify", trusted_keys=other)
    assert (code, found["ok"], found["signed_by"]) == (1, False, None)
    assert "not trusted (trusted are: other)" in found["fault"]
    assert models("verify")[1][0] | {"fault": None} == {**found, "ok": True, "fault": None}
    settings = load_settings(None, [store, f"registry.trusted_keys={public}", f"registry.sign_key={private}"])
    opened = open_registry(settings)
    assert [key.name for key in opened.trusted] == ["release"] and opened.sign_key == private


def test_a_key_may_have_a_password(tmp_path, monkeypatch):
    private, _ = write_keys(tmp_path, "locked", password=b"open")
    with pytest.raises(JabertError, match="JABERT_SIGN_PASSWORD must say it"):
        sign({}, private)
    monkeypatch.setenv("JABERT_SIGN_PASSWORD", "wrong")
    with pytest.raises(JabertError, match="JABERT_SIGN_PASSWORD is wrong"):
        sign({}, private)
    monkeypatch.setenv("JABERT_SIGN_PASSWORD", "open")
    assert json.loads(sign({}, private))["algorithm"] == "ed25519"


def test_a_file_that_is_no_key_is_named_with_the_remedy(tmp_path):
    (tmp_path / "text.pem").write_text("no key", encoding="utf-8")
    ec = write_keys(tmp_path, "ec", key=make_ec_key(SECP256R1()))
    for file, fault in (
        (tmp_path / "none.pem", "cannot be read: No such file"),
        (tmp_path / "text.pem", "is no private key in PEM form"),
        (ec[0], "is of another kind than Ed25519; `openssl genpkey -algorithm ed25519`"),
    ):
        with pytest.raises(JabertError, match=f"^registry.sign_key .*{fault}"):
            sign({}, str(file))
    for file, fault in (
        (tmp_path / "none.pub", "cannot be read: No such file"),
        (tmp_path / "text.pem", "is no public Ed25519 key in PEM form; `openssl pkey"),
        (ec[1], "is no public Ed25519 key"),
        (write_keys(tmp_path, "private")[0], "is no public Ed25519 key"),
    ):
        with pytest.raises(JabertError, match=f"^registry.trusted_keys: .*{fault}"):
            trusted_keys(RegistrySettings(trusted_keys=[str(file)]))


def test_openssl_can_check_a_signature(tmp_path, keys):
    """As docs/integrity.md says."""
    import shutil
    import subprocess

    if not shutil.which("openssl"):
        pytest.skip("openssl is not installed")
    anchor = {"b": "2", "a": "1"}
    signature = base64.b64decode(json.loads(sign(anchor, keys["release"][0]))["signature"])
    (tmp_path / "signature").write_bytes(signature)
    (tmp_path / "signed").write_bytes(b'jabert registered model, version 1\n{"a":"1","b":"2"}')
    command = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", keys["release"][1], "-rawin"]
    command += ["-in", str(tmp_path / "signed"), "-sigfile", str(tmp_path / "signature")]
    assert subprocess.run(command, check=False, capture_output=True).returncode == 0
