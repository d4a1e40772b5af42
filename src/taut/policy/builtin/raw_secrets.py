"""Secrets whose values lie in Git for everybody to read."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

from taut.model.manifests import Body
from taut.policy.builtin.finding import Finding, metadata_of

_TOKEN = "kubernetes.io/service-account-token"  # noqa: S105 (a type of Secrets)
_SEALED = ("ENC[AES256_GCM,", "RU5DW0FFUzI1Nl9HQ00s")  # as it is, and in base64

type Decrypted = Callable[[Body], Collection[tuple[str, ...]]]
"""From an object to the keys on the way to its fields whose values came out of encrypted files."""


def raw(decrypted: Decrypted, bodies: Sequence[Body]) -> Iterator[Finding]:
    """Secrets (v1) with values that are neither empty, nor encrypted by SOPS, nor out of a file that is. A token's Secret is filled by the cluster."""
    for body in bodies:
        if body.get("kind") != "Secret" or body.get("apiVersion") != "v1" or body.get("type") == _TOKEN:
            continue
        for field in ("data", "stringData"):
            values = body.get(field)
            key = next(_raw(field, values, decrypted(body)), None) if isinstance(values, dict) else None
            if key is not None:
                yield Finding(
                    body, f"the Secret {metadata_of(body).get('name')} holds a value that everybody who reads Git can read",
                    f"{field}.{key}", "••••••", "a file encrypted by SOPS, a SealedSecret or an ExternalSecret",
                )  # fmt: skip


def _raw(field: str, values: dict[str, Any], encrypted: Collection[tuple[str, ...]]) -> Iterator[str]:
    of_sops = "sops_mac" in values  # an encrypted dotenv file, left as it is
    for key, value in values.items():
        if not isinstance(value, str) or not value or (field, key) in encrypted:
            continue
        if not value.startswith(_SEALED) and not (of_sops and key.startswith("sops_")):
            yield key
