"""Keyrings for a program that works unattended: each made of one source, with what its operator lets it ask services for."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from taut.documents.yaml import load_one
from taut.model.errors import BadInput
from taut.secrets.sops.allowed import Allowed
from taut.secrets.sops.clouds import Clouds
from taut.secrets.sops.errors import SopsError
from taut.secrets.sops.keys import Keyring

_AWS = ("aws_access_key_id", "aws_secret_access_key", "aws_session_token")
_AZURE = {"tenantId": "AZURE_TENANT_ID", "clientId": "AZURE_CLIENT_ID", "clientSecret": "AZURE_CLIENT_SECRET"}
NOTHING = Keyring(allowed=Allowed())
"""No key at all."""


def of_file(path: Path, kind: str) -> Keyring:
    """The keys of a file (`age`, `ssh`, `pgp`; `auto`: by its content). Raises SopsError for one that cannot be read or holds none."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SopsError(f"the key file {path} cannot be read: {error.strerror}") from None
    if kind == "auto":
        kind = (
            "age"
            if b"AGE-SECRET-KEY-" in data
            else "ssh"
            if b"OPENSSH PRIVATE" in data or b"RSA PRIVATE" in data
            else "pgp"
        )
    text = data.decode(errors="replace")
    match kind:
        case "age":
            ring = Keyring(age=(text,), allowed=Allowed())
        case "ssh":
            ring = Keyring(ssh=(data,), allowed=Allowed())
        case _:
            ring = Keyring(pgp=(data,), allowed=Allowed())
    if not data.strip() or (kind != "pgp" and not ring.age_identities):
        raise SopsError(f"the key file {path} holds no private key of this kind ({kind})")
    return ring


def of_secret(data: Mapping[str, bytes], allowed: Allowed) -> Keyring:
    """The keys in a Kubernetes Secret's decoded data, named as Flux names them. What it holds for services is used for `allowed` alone.

    Entries that cannot be read, and others, are passed over.
    """
    environment: dict[str, str] = {}
    if data.get("sops.gcp-kms"):
        environment["GOOGLE_CREDENTIALS"] = data["sops.gcp-kms"].decode(errors="replace")
    azure = _mapping(data.get("sops.azure-kv"))
    environment |= {name: str(azure[key]) for key, name in _AZURE.items() if azure.get(key)}
    aws = _mapping(data.get("sops.aws-kms"))
    credentials = {name: str(aws[name]) for name in _AWS if aws.get(name)}
    return replace(
        Keyring.of_secret(data),
        allowed=allowed,
        aws=bool(credentials),
        aws_credentials=credentials,
        clouds=Clouds(environment) if environment else None,
    )


def of_environment(allowed: Allowed, *, local: bool, environment: Mapping[str, str] | None = None) -> Keyring:
    """What the process's environment has: with `local` its private keys, and its sign-in to services for what is `allowed`."""
    env = os.environ if environment is None else environment
    found = Keyring.of_environment(env)
    if not local:
        found = replace(found, age=(), ssh=(), pgp=(), gpg=False)
    token = found.vault_token if allowed.vault else ""
    clouds = Clouds(dict(env)) if allowed.gcp or allowed.azure else None
    return replace(found, allowed=allowed, aws=bool(allowed.aws), clouds=clouds, vault_token=token)


def together(rings: Sequence[Keyring]) -> Keyring:
    """One keyring that asks all of them in their order."""
    return replace(rings[0], others=tuple(rings[1:])) if rings else NOTHING


def material(ring: Keyring) -> Iterator[bytes]:
    """All that decides which files a keyring opens, in a stable order. Secret: only a keyed hash of it may go anywhere."""
    for one in (ring, *ring.others):
        keys = [*(t.encode() for t in one.age), *one.ssh, *one.pgp]
        yield from sorted(k.strip() for k in keys)
        services = (
            one.allowed or Allowed()
        )  # tokens are no part of it: they change without any file opening differently
        yield json.dumps(
            [
                [list(p) for p in (services.aws, services.gcp, services.azure, services.vault)],
                [one.gpg, one.aws, one.clouds is not None, bool(one.vault_token), one.allowed is None],
            ]
        ).encode()


def _mapping(data: bytes | None) -> dict[str, Any]:
    try:
        body = load_one(data) if data else None
    except BadInput:
        return {}
    return body if isinstance(body, dict) else {}
