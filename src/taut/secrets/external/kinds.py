"""Which documents are those of External Secrets."""

from __future__ import annotations

from taut.model.manifests import Body

GROUP = "external-secrets.io"
KINDS = frozenset({"ExternalSecret", "ClusterExternalSecret", "SecretStore", "ClusterSecretStore"})
VERSIONS = frozenset({"external-secrets.io/v1", "external-secrets.io/v1beta1"})


def is_external(body: Body) -> bool:
    """Whether a document is one of External Secrets that taut resolves."""
    return body.get("apiVersion") in VERSIONS and body.get("kind") in KINDS
