"""Sealed Secrets: what is sealed is opened only where it belongs; the format is that of the controller's documentation."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.x509.oid import NameOID

from taut.documents.yaml import load_documents
from taut.model.errors import BadInput
from taut.secrets.sealed import Scope, Unsealer, seal

SECRET: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Secret",
    "type": "Opaque",
    "metadata": {"name": "s", "namespace": "shop", "labels": {"a": "b"}},
    "data": {"binary": base64.b64encode(b"\x00\x01canary").decode()},
    "stringData": {"text": "canary"},
}


def pair() -> tuple[bytes, bytes]:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sealed-secrets")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=30))
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return certificate.public_bytes(serialization.Encoding.PEM), private


@pytest.fixture(scope="module")
def keys() -> list[tuple[bytes, bytes]]:
    return [pair(), pair()]


def moved(sealed: dict[str, Any], **place: str) -> dict[str, Any]:
    return {**sealed, "metadata": {**sealed["metadata"], **place}}


def test_it_comes_back(keys: list[tuple[bytes, bytes]]) -> None:
    sealed = seal(SECRET, keys[0][0])
    assert "canary" not in str(sealed)
    opened = Unsealer.of_pem([k for _, k in reversed(keys)]).unseal(sealed)
    assert {k: base64.b64decode(v) for k, v in opened["data"].items()} == {
        "binary": b"\x00\x01canary",
        "text": b"canary",
    }
    assert (opened["type"], opened["metadata"]) == ("Opaque", SECRET["metadata"])


def test_the_format_is_the_documented_one(keys: list[tuple[bytes, bytes]]) -> None:
    """Opened here by hand: two bytes of length, RSA-OAEP with SHA-256 and the label, AES-GCM with a nonce of zeros."""
    data = base64.b64decode(seal(SECRET, keys[0][0])["spec"]["encryptedData"]["text"])
    private: Any = serialization.load_pem_private_key(keys[0][1], None)
    length = int.from_bytes(data[:2], "big")
    once = private.decrypt(
        data[2 : 2 + length], padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), b"shop/s")
    )
    assert AESGCM(once).decrypt(bytes(12), data[2 + length :], None) == b"canary"


@pytest.mark.parametrize(
    ("scope", "place", "opens"),
    [
        (Scope.STRICT, {"name": "other"}, False),
        (Scope.STRICT, {"namespace": "other"}, False),
        (Scope.NAMESPACE, {"name": "other"}, True),
        (Scope.NAMESPACE, {"namespace": "other"}, False),
        (Scope.CLUSTER, {"namespace": "other", "name": "other"}, True),
    ],
)
def test_scopes(keys: list[tuple[bytes, bytes]], scope: Scope, place: dict[str, str], opens: bool) -> None:
    sealed, unsealer = moved(seal(SECRET, keys[0][0], scope), **place), Unsealer.of_pem([keys[0][1]])
    if opens:
        assert unsealer.unseal(sealed)["metadata"]["name"] == "other"
    else:
        with pytest.raises(BadInput, match="for another place"):
            unsealer.unseal(sealed)


@pytest.mark.parametrize(("text", "reason"), [("%%", "no base64"), ("AAAA", "cut off"), ("", "cut off")])
def test_what_is_no_sealed_value(keys: list[tuple[bytes, bytes]], text: str, reason: str) -> None:
    sealed = seal(SECRET, keys[0][0])
    sealed["spec"]["encryptedData"]["text"] = text
    with pytest.raises(BadInput, match=reason) as caught:
        Unsealer.of_pem([keys[0][1]]).unseal(sealed)
    assert "spec.encryptedData.text" in str(caught.value)


@pytest.mark.parametrize(
    ("secret", "reason"),
    [
        ({"kind": "ConfigMap", "apiVersion": "v1"}, "only a Secret"),
        ({**SECRET, "metadata": {"name": "s"}}, "does not say where it lives"),
        ({**SECRET, "data": {"a": "%"}}, "no base64"),
    ],
)
def test_what_cannot_be_sealed(keys: list[tuple[bytes, bytes]], secret: dict[str, Any], reason: str) -> None:
    with pytest.raises(BadInput, match=reason):
        seal(secret, keys[0][0])


def test_the_command(keys: list[tuple[bytes, bytes]], tmp_path: Path) -> None:
    (tmp_path / "cert.pem").write_bytes(keys[0][0])
    (tmp_path / "s.yaml").write_text(
        "apiVersion: v1\nkind: Secret\nmetadata: {name: s, namespace: shop}\nstringData: {a: canary}\n"
    )
    program = Path(sys.executable).with_name("taut")
    command = [str(program), "secrets", "seal", "--cert", "cert.pem", "--scope", "namespace-wide", "s.yaml"]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, check=True, env={"HOME": str(tmp_path), "PATH": os.environ["PATH"]}
    )
    (document,) = load_documents(done.stdout)
    assert base64.b64decode(Unsealer.of_pem([keys[0][1]]).unseal(document.body)["data"]["a"]) == b"canary"
