"""Which documents are those of External Secrets, and which servers may be asked for them."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from urllib.parse import urlsplit

from taut.model.manifests import Body

GROUP = "external-secrets.io"
KINDS = frozenset({"ExternalSecret", "ClusterExternalSecret", "SecretStore", "ClusterSecretStore"})
VERSIONS = frozenset({"external-secrets.io/v1", "external-secrets.io/v1beta1"})


def is_external(body: Body) -> bool:
    """Whether a document is one of External Secrets that taut resolves."""
    return body.get("apiVersion") in VERSIONS and body.get("kind") in KINDS


_NEVER = ("169.254.", "fd00:ec2:", "100.100.100.200", "metadata.google.internal", "metadata.")
"""Where clouds tell machines their credentials: no document of a repository leads there."""


def allowed(hosts: Sequence[str], url: str) -> bool:
    """Whether a URL may be asked: `hosts` are globs on its host. Addresses of clouds' metadata never may."""
    try:
        host = (urlsplit(url).hostname or "").lower().rstrip(".")
    except ValueError:
        return False
    if not host or any(host.startswith(never) for never in _NEVER):
        return False
    return any(fnmatch.fnmatchcase(host, pattern.lower()) for pattern in hosts)
