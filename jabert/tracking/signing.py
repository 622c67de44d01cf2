"""Signatures of registered models: an Ed25519 key signs a version's anchor, and so every file of the model.

docs/integrity.md describes the form, so that others can check it too.
"""

import base64
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jabert.config import RegistrySettings
from jabert.errors import JabertError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

SIGNATURE = "signature"
"""Tag of a version: JSON with `algorithm`, `key` (fingerprint) and `signature` (base64)."""

PASSWORD = "JABERT_SIGN_PASSWORD"
"""Variable of the environment: the password of the private key, if it has one."""

_ALGORITHM = "ed25519"
_PURPOSE = b"jabert registered model, version 1\n"  # so that no signature of other data passes for one
_REMEDY = "`openssl genpkey -algorithm ed25519` makes one"


@dataclass(frozen=True)
class TrustedKey:
    """A public key whose signatures count.

    Attributes:
        name: of its file, without the ending.
        fingerprint: as of `fingerprint_of`.
        key: verifies.
    """

    name: str
    fingerprint: str
    key: "Ed25519PublicKey"


def trusted_keys(settings: RegistrySettings) -> tuple[TrustedKey, ...]:
    """The public keys of `registry.trusted_keys`; without any, signatures do not matter.

    Raises:
        JabertError: a file is no public Ed25519 key in PEM form.
    """
    return tuple(_read_public(Path(path)) for path in settings.trusted_keys)


def sign(anchor: Mapping[str, str], key_file: str) -> str:
    """The tag that signs an anchor with a private key.

    Raises:
        JabertError: the file is no private Ed25519 key in PEM form, or its password is missing or wrong.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    password = os.environ.get(PASSWORD)
    what = f"registry.sign_key {key_file}"
    try:
        key = load_pem_private_key(Path(key_file).read_bytes(), (password and password.encode()) or None)
    except OSError as error:
        raise JabertError(f"{what} cannot be read: {error.strerror}") from None
    except TypeError:
        raise JabertError(
            f"{what} has a password, or has none: {PASSWORD} must say it, or be unset"
        ) from None
    except ValueError:
        raise JabertError(
            f"{what} is no private key in PEM form, or {PASSWORD} is wrong; {_REMEDY}"
        ) from None
    if not isinstance(key, Ed25519PrivateKey):
        raise JabertError(f"{what} is of another kind than Ed25519; {_REMEDY}")
    signature = base64.b64encode(key.sign(_signed(anchor))).decode()
    made = {"algorithm": _ALGORITHM, "key": fingerprint_of(key.public_key()), "signature": signature}
    return json.dumps(made)


def signer_of(
    tags: Mapping[str, str], anchor: Mapping[str, str], trusted: Sequence[TrustedKey]
) -> TrustedKey:
    """The trusted key that signed an anchor.

    Args:
        tags: of the version.
        anchor: of the version, which its files have been or will be compared with.
        trusted: at least one key.

    Raises:
        JabertError: there is no signature, or it is damaged, of another key, or of other files; the sentence
            begins with what the version "is" or "has".
    """
    from cryptography.exceptions import InvalidSignature

    remedy = "`jabert models anchor` with registry.sign_key signs it, once you trust its files"
    if SIGNATURE not in tags:
        raise JabertError(f"has no signature, but registry.trusted_keys asks for one; {remedy}")
    try:
        told: dict[str, Any] = json.loads(tags[SIGNATURE])
        fingerprint, signature = str(told["key"]), base64.b64decode(told["signature"], validate=True)
    except (ValueError, KeyError, TypeError, RecursionError):
        raise JabertError(f"has a damaged signature; {remedy}") from None
    found = next((key for key in trusted if key.fingerprint == fingerprint), None)
    if found is None:
        named = ", ".join(key.name for key in trusted)
        raise JabertError(
            f"is signed by a key {fingerprint[:80]!r} that is not trusted (trusted are: {named}); {remedy}, "
            "or add that key to registry.trusted_keys"
        )
    try:
        found.key.verify(signature, _signed(anchor))
    except InvalidSignature:
        raise JabertError(f"has a signature of {found.name} that is not of these files; {remedy}") from None
    return found


def fingerprint_of(key: "Ed25519PublicKey") -> str:
    """SHA-256 of a public key in DER form (SubjectPublicKeyInfo), as `SHA256:` and base64."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return f"SHA256:{base64.b64encode(hashlib.sha256(der).digest()).decode()}"


def _read_public(path: Path) -> TrustedKey:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        key = load_pem_public_key(path.read_bytes())
    except OSError as error:
        raise JabertError(f"registry.trusted_keys: {path} cannot be read: {error.strerror}") from None
    except ValueError:
        key = None
    if not isinstance(key, Ed25519PublicKey):
        remedy = "`openssl pkey -in KEY -pubout` writes that of a private key"
        raise JabertError(f"registry.trusted_keys: {path} is no public Ed25519 key in PEM form; {remedy}")
    return TrustedKey(path.stem, fingerprint_of(key), key)


def _signed(anchor: Mapping[str, str]) -> bytes:
    """The bytes that are signed."""
    return _PURPOSE + json.dumps(dict(anchor), sort_keys=True, separators=(",", ":")).encode()
