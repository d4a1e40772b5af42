"""Which documents are those of External Secrets, and which servers may be asked for them."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from urllib.parse import urlsplit

from taut.clients.guarded import address_of, forbidden, is_local
from taut.model.manifests import Body

GROUP = "external-secrets.io"
KINDS = frozenset({"ExternalSecret", "ClusterExternalSecret", "SecretStore", "ClusterSecretStore"})
VERSIONS = frozenset({"external-secrets.io/v1", "external-secrets.io/v1beta1"})


def is_external(body: Body) -> bool:
    """Whether a document is one of External Secrets that taut resolves."""
    return body.get("apiVersion") in VERSIONS and body.get("kind") in KINDS


_NEVER = ("metadata.", "instance-data")
"""Names by which clouds tell machines their credentials. What other names lead to is looked at when they are resolved."""


def allowed(hosts: Sequence[str], url: str) -> bool:
    """Whether a URL may be asked: `hosts` are globs on its host. Addresses of clouds' metadata never may, this machine where a glob other than `*` fits."""
    try:
        host = (urlsplit(url).hostname or "").lower().rstrip(".")
    except ValueError:
        return False
    address = address_of(host)
    if not host or host.startswith(_NEVER) or (address is not None and forbidden(address)):
        return False
    named = [p for p in hosts if p != "*"] if is_local(host) else hosts
    return any(fnmatch.fnmatchcase(host, pattern.lower()) for pattern in named)
