"""Secrets whose values lie in Git for everybody to read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from taut.model.manifests import Body
from taut.policy.builtin.finding import Finding, metadata_of

_TOKEN = "kubernetes.io/service-account-token"  # noqa: S105 (a type of Secrets)
_SEALED = "ENC[AES256_GCM,"


def raw(bodies: Sequence[Body]) -> Iterator[Finding]:
    """Secrets (v1) with values that are neither empty nor encrypted by SOPS. A token's Secret is filled by the cluster."""
    for body in bodies:
        if body.get("kind") != "Secret" or body.get("apiVersion") != "v1" or body.get("type") == _TOKEN:
            continue
        for field in ("data", "stringData"):
            values = body.get(field)
            for key, value in values.items() if isinstance(values, dict) else ():
                if isinstance(value, str) and value and not value.startswith(_SEALED):
                    yield Finding(
                        body, f"the Secret {metadata_of(body).get('name')} holds a value that everybody who reads Git can read",
                        f"{field}.{key}", "••••••", "a file encrypted by SOPS, a SealedSecret or an ExternalSecret",
                    )  # fmt: skip
                    break
