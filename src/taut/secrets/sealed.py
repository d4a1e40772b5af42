"""Sealed Secrets: sealing and unsealing as Bitnami's controller and kubeseal do (bitnami-labs/sealed-secrets, docs/developer/crypto.md)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from taut.model.errors import BadInput, Where
from taut.model.manifests import Body

API_VERSION, KIND = "bitnami.com/v1alpha1", "SealedSecret"
_PREFIX = "sealedsecrets.bitnami.com/"
CLUSTER_WIDE, NAMESPACE_WIDE = f"{_PREFIX}cluster-wide", f"{_PREFIX}namespace-wide"
_KEY_BYTES, _NONCE = 32, bytes(12)
_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


class Scope(StrEnum):
    """Where a sealed value can be opened: as this Secret alone, anywhere in its namespace, anywhere in the cluster."""

    STRICT = "strict"
    NAMESPACE = "namespace-wide"
    CLUSTER = "cluster-wide"


def scope_of(metadata: Mapping[str, Any]) -> Scope:
    """The scope that an object's annotations name."""
    annotations = metadata.get("annotations") or {}
    if annotations.get(CLUSTER_WIDE) == "true":
        return Scope.CLUSTER
    return Scope.NAMESPACE if annotations.get(NAMESPACE_WIDE) == "true" else Scope.STRICT


def label(scope: Scope, namespace: str, name: str) -> bytes:
    """What a value is bound to when it is sealed."""
    match scope:
        case Scope.CLUSTER:
            return b""
        case Scope.NAMESPACE:
            return namespace.encode()
        case Scope.STRICT:
            return f"{namespace}/{name}".encode()


def public_key(certificate: bytes) -> rsa.RSAPublicKey:
    """The key of a controller's certificate (PEM). Raises BadInput when it is none."""
    try:
        key = x509.load_pem_x509_certificate(certificate).public_key()
    except ValueError:
        raise BadInput("the certificate is none in PEM", advice="get it with `kubeseal --fetch-cert`") from None
    if not isinstance(key, rsa.RSAPublicKey):
        raise BadInput("the certificate has no RSA key, which Sealed Secrets needs")
    return key


def seal_value(value: bytes, key: rsa.RSAPublicKey, bound: bytes) -> str:
    """One value, sealed: a one-time key for the controller, and the value under that key."""
    once = os.urandom(_KEY_BYTES)
    wrapped = key.encrypt(once, padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), bound))
    # The one-time key is used once, so the nonce may be all zeros.
    sealed = AESGCM(once).encrypt(_NONCE, value, None)
    return base64.b64encode(len(wrapped).to_bytes(2, "big") + wrapped + sealed).decode()


def seal(secret: Body, certificate: bytes, scope: Scope | None = None) -> Body:
    """A SealedSecret of a Secret. `scope` None: the one that its annotations name. Raises BadInput for what is no Secret, or has no place."""
    metadata: dict[str, Any] = secret.get("metadata") or {}
    if secret.get("kind") != "Secret" or secret.get("apiVersion") != "v1":
        raise BadInput("only a Secret (v1) can be sealed")
    name, namespace = str(metadata.get("name") or ""), str(metadata.get("namespace") or "")
    scope = scope or scope_of(metadata)
    if (not name and scope is Scope.STRICT) or (not namespace and scope is not Scope.CLUSTER):
        raise BadInput(
            f"a value that is sealed {scope} is bound to its place, and the Secret does not say where it lives",
            where=Where(object=f"Secret {name}", field="metadata.namespace"),
        )
    key, bound = public_key(certificate), label(scope, namespace, name)
    encrypted = {k: seal_value(v, key, bound) for k, v in sorted(_plain(secret).items())}
    annotations = {
        k: v
        for k, v in (metadata.get("annotations") or {}).items()
        if k not in {_LAST_APPLIED, CLUSTER_WIDE, NAMESPACE_WIDE}
    }
    if scope is not Scope.STRICT:
        annotations[_PREFIX + scope] = "true"
    place = {k: v for k, v in (("name", name), ("namespace", namespace)) if v}
    template_metadata = {**place, **({"labels": metadata["labels"]} if metadata.get("labels") else {})}
    if annotations:
        template_metadata["annotations"] = annotations
    template: dict[str, Any] = {"metadata": template_metadata}
    template |= {k: secret[k] for k in ("type", "immutable") if k in secret}
    made = {**place, **({"annotations": annotations} if annotations else {})}
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": made,
        "spec": {"encryptedData": encrypted, "template": template},
    }


def _plain(secret: Body) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for key, value in (secret.get("data") or {}).items():
        try:
            found[key] = base64.b64decode(str(value), validate=True)
        except (binascii.Error, ValueError):
            raise BadInput("a value is no base64", where=Where(field=f"data.{key}")) from None
    return found | {k: str(v).encode() for k, v in (secret.get("stringData") or {}).items()}


_PEM = re.compile(rb"-----BEGIN ([A-Z ]*PRIVATE KEY)-----.*?-----END \1-----", re.DOTALL)


def private_keys(data: bytes) -> list[bytes]:
    """The private keys in a file in PEM, each by itself, in their order."""
    return [m.group(0) for m in _PEM.finditer(data)]


@dataclass(frozen=True)
class Unsealer:
    """A controller's private keys. Which one fits is remembered: trying one costs milliseconds."""

    keys: Sequence[rsa.RSAPrivateKey] = field(repr=False)

    @property
    def name(self) -> str:
        """Stands for the keys: a hash of their public halves."""
        numbers = sorted(str(key.public_key().public_numbers().n) for key in self.keys)
        return hashlib.sha256(",".join(numbers).encode()).hexdigest()

    @staticmethod
    def of_pem(keys: Sequence[bytes]) -> Unsealer:
        """From private keys in PEM, the newest first. Raises BadInput for what is none."""
        found: list[rsa.RSAPrivateKey] = []
        for data in keys:
            try:
                key = serialization.load_pem_private_key(data, None)
            except (ValueError, TypeError):
                raise BadInput("a private key of Sealed Secrets is none in PEM") from None
            if not isinstance(key, rsa.RSAPrivateKey):
                raise BadInput("a private key of Sealed Secrets is no RSA key")
            found.append(key)
        return Unsealer(found)

    def unseal(self, sealed: Body) -> Body:
        """The Secret of a SealedSecret. Raises BadInput that names the value, and why it cannot be opened."""
        metadata: dict[str, Any] = sealed.get("metadata") or {}
        spec: dict[str, Any] = sealed.get("spec") or {}
        name, namespace = str(metadata.get("name") or ""), str(metadata.get("namespace") or "")
        scope = scope_of(metadata)
        bound = label(scope, namespace, name)
        order = list(self.keys)
        data: dict[str, str] = {}
        for key, text in (spec.get("encryptedData") or {}).items():
            value, fits = _opened(
                str(text),
                bound,
                order,
                Where(object=f"SealedSecret {namespace}/{name}", field=f"spec.encryptedData.{key}"),
                scope,
            )
            order.sort(key=lambda k: k is not fits)
            data[key] = base64.b64encode(value).decode()
        template: dict[str, Any] = spec.get("template") or {}
        made = {**(template.get("metadata") or {}), "name": name, **({"namespace": namespace} if namespace else {})}
        body: Body = {"apiVersion": "v1", "kind": "Secret", "metadata": made, "data": data}
        body |= {k: template[k] for k in ("type", "immutable") if k in template}
        if isinstance(template.get("data"), dict):
            body["stringData"] = dict(template["data"])
        return body


def _opened(
    text: str, bound: bytes, keys: Sequence[rsa.RSAPrivateKey], where: Where, scope: Scope
) -> tuple[bytes, rsa.RSAPrivateKey]:
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise BadInput("the sealed value is no base64", where=where, advice="seal it again") from None
    length = int.from_bytes(data[:2], "big")
    wrapped, sealed = data[2 : 2 + length], data[2 + length :]
    if len(data) < 2 or len(wrapped) != length or len(sealed) < 16:
        raise BadInput("the sealed value was cut off", where=where, advice="seal it again")
    for key in keys:
        try:
            once = key.decrypt(wrapped, padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), bound))
            return AESGCM(once).decrypt(_NONCE, sealed, None), key
        except (ValueError, InvalidTag):
            continue
    raise BadInput(
        f"no key opens the sealed value: it was sealed for another cluster, or ({scope}) for another place",
        where=where,
        advice="seal it again for this name and namespace, with the certificate of this cluster",
    )
