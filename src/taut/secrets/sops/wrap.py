"""Wrapping a data key for its recipients."""

from __future__ import annotations

import base64
import re
import shutil
import subprocess
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from taut.secrets.sops.clouds import CloudError, Clouds
from taut.secrets.sops.errors import SopsError
from taut.secrets.sops.keys import CannotUnwrapError, Keyring, kms_client, vault_client
from taut.secrets.sops.shamir import split

_SECONDS = 20
_AZURE = re.compile(r"^(?P<vault>https?://[^/]+)/keys/(?P<name>[^/]+)/(?P<version>[^/]+)$")
_TRANSIT = re.compile(r"^(?P<address>https?://[^/]+)/v1/(?P<engine>.+)/keys/(?P<key>[^/]+)$")


@dataclass(frozen=True, slots=True)
class Wanted:
    """Who is to read a file: public keys of age, fingerprints of PGP, ARNs of AWS KMS, addresses of transit keys, resources of Google's KMS,
    addresses of Azure's keys. One key group.
    """

    age: tuple[str, ...] = ()
    pgp: tuple[str, ...] = ()
    kms: tuple[str, ...] = ()
    vault: tuple[str, ...] = ()
    gcp: tuple[str, ...] = ()
    azure: tuple[str, ...] = ()
    context: tuple[tuple[str, str], ...] = ()

    @property
    def empty(self) -> bool:
        """Whether it names nobody."""
        return not any((self.age, self.pgp, self.kms, self.vault, self.gcp, self.azure))


def wrapped(key: bytes, groups: Sequence[Wanted], threshold: int, keyring: Keyring) -> dict[str, Any]:
    """The part of the metadata that says who can read a file. Raises SopsError for a recipient that the key cannot be wrapped for."""
    if not groups or any(g.empty for g in groups):
        raise SopsError(
            "nobody is named who could read the file",
            advice="name a recipient (--age …), or write a rule into .sops.yaml",
        )
    if len(groups) == 1:
        return _group(key, groups[0], keyring)
    threshold = threshold or len(groups)
    try:
        parts = split(key, len(groups), threshold)
    except ValueError as error:
        raise SopsError(f"the key groups cannot be: {error}") from None
    made = [_group(part, group, keyring) for part, group in zip(parts, groups, strict=True)]
    return {"shamir_threshold": threshold, "key_groups": made}


def _group(key: bytes, wanted: Wanted, keyring: Keyring) -> dict[str, Any]:
    found: dict[str, Any] = {
        "age": [{"recipient": r, "enc": _age(key, r)} for r in wanted.age],
        "pgp": [{"created_at": _now(), "enc": _pgp(key, fp), "fp": fp} for fp in wanted.pgp],
        "kms": [_kms(key, arn, dict(wanted.context)) for arn in wanted.kms],
        "gcp_kms": [_gcp(key, resource, keyring) for resource in wanted.gcp],
        "azure_kv": [_azure(key, address, keyring) for address in wanted.azure],
        "hc_vault": [_vault(key, address, keyring) for address in wanted.vault],
    }
    return {kind: entries for kind, entries in found.items() if entries}


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _age(key: bytes, recipient: str) -> str:
    import pyrage

    library: Any = pyrage
    try:
        kind = library.ssh if recipient.startswith("ssh-") else library.x25519
        data = library.encrypt(key, [kind.Recipient.from_str(recipient)])
    except Exception:  # noqa: BLE001 (the library has one error for everything)
        raise SopsError(f"{recipient[:80]!r} is no public key of age") from None
    body = "\n".join(textwrap.wrap(base64.b64encode(data).decode(), 64))
    return f"-----BEGIN AGE ENCRYPTED FILE-----\n{body}\n-----END AGE ENCRYPTED FILE-----\n"


def _pgp(key: bytes, fingerprint: str) -> str:
    program = shutil.which("gpg")
    if program is None:
        raise SopsError("there is no gpg program, which knows the public keys of PGP")
    command = [program, "--batch", "--no-tty", "--trust-model", "always", "--armor", "--encrypt", "-r", fingerprint]
    done = subprocess.run(command, input=key, capture_output=True, timeout=_SECONDS, check=False)
    if done.returncode:
        raise SopsError(
            f"gpg has no public key {fingerprint[:60]!r} to encrypt for", advice="import it with `gpg --import`"
        )
    return done.stdout.decode()


def _kms(key: bytes, arn: str, context: Mapping[str, str]) -> dict[str, Any]:
    from botocore.exceptions import BotoCoreError, ClientError

    plain, _, role = arn.partition("+")
    fields: dict[str, Any] = {"arn": plain}
    if role:
        fields["role"] = role
    if context:
        fields["context"] = dict(context)
    try:
        answer = kms_client(fields).encrypt(KeyId=plain, Plaintext=key, EncryptionContext=dict(context))
    except (ClientError, BotoCoreError, ValueError) as error:
        raise SopsError(f"KMS does not wrap the key for {plain}: {type(error).__name__}") from None
    return {
        **fields,
        "created_at": _now(),
        "enc": base64.b64encode(answer["CiphertextBlob"]).decode(),
        "aws_profile": "",
    }


def _vault(key: bytes, uri: str, keyring: Keyring) -> dict[str, Any]:
    import requests
    from hvac.exceptions import VaultError

    found = _TRANSIT.match(uri)
    if not found:
        raise SopsError(
            f"{uri!r} is no transit key", advice="write it as https://vault.example.com/v1/transit/keys/name"
        )
    try:
        client = vault_client(found["address"], found["engine"], found["key"], keyring)
        answer: Any = client.secrets.transit.encrypt_data(
            name=found["key"], plaintext=base64.b64encode(key).decode(), mount_point=found["engine"]
        )
        text = str(answer["data"]["ciphertext"])
    except CannotUnwrapError as why:
        raise SopsError(f"Vault does not wrap the key for {uri}: {why}") from None
    except (VaultError, requests.RequestException, KeyError, TypeError) as error:
        raise SopsError(f"Vault does not wrap the key for {uri}: {type(error).__name__}") from None
    return {
        "vault_address": found["address"],
        "engine_path": found["engine"],
        "key_name": found["key"],
        "created_at": _now(),
        "enc": text,
    }


def _gcp(key: bytes, resource: str, keyring: Keyring) -> dict[str, Any]:
    try:
        enc = (keyring.clouds or Clouds()).gcp_encrypt(resource, key)
    except CloudError as why:
        raise SopsError(f"Google's KMS does not wrap the key for {resource[:200]}: {why}") from None
    return {"resource_id": resource, "created_at": _now(), "enc": enc}


def _azure(key: bytes, address: str, keyring: Keyring) -> dict[str, Any]:
    found = _AZURE.match(address)
    if not found:
        raise SopsError(
            f"{address[:200]!r} is no key of Azure", advice="write it as https://name.vault.azure.net/keys/name/version"
        )
    try:
        enc = (keyring.clouds or Clouds()).azure_encrypt(found["vault"], found["name"], found["version"], key)
    except CloudError as why:
        raise SopsError(f"Azure does not wrap the key for {address[:200]}: {why}") from None
    fields = {"vault_url": found["vault"], "name": found["name"], "version": found["version"]}
    return {**fields, "created_at": _now(), "enc": enc}
