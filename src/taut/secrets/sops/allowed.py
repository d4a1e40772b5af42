"""Which keys of services taut may ask for: a file names the service itself, and a file is a stranger's word."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from urllib.parse import urlsplit

_ANY = r"[^/:?#@\\\s]*"
"""What `*` stands for: it ends at every character that could make another host or path of an address."""


@dataclass(frozen=True)
class Allowed:
    """Patterns, in which `*` is any run within a segment (segments end at `/` and `:`), and `**` at the end is everything below.

    AWS KMS: ARNs of keys, and of roles that a file may have taut take. Vault: `<address>/<engine>/<key>`. Google: resources. Azure:
    `<vault's address>/<key's name>`.
    """

    aws: Sequence[str] = ()
    gcp: Sequence[str] = ()
    azure: Sequence[str] = ()
    vault: Sequence[str] = ()

    def has_kms(self, arn: str) -> bool:
        """Whether a key or a role of AWS may be used."""
        return _fits(self.aws, arn)

    def has_gcp(self, resource: str) -> bool:
        """Whether a key of Google's may be used."""
        return _fits(self.gcp, resource)

    def has_azure(self, vault: str, name: str) -> bool:
        """Whether a key of Azure's may be used."""
        return _is_bare(vault) and _fits(self.azure, f"{vault.rstrip('/')}/{name}")

    def has_vault(self, address: str, engine: str, key: str) -> bool:
        """Whether a key of a Vault may be used: then its token may be sent there."""
        return _is_bare(address) and _fits(self.vault, f"{address.rstrip('/')}/{engine}/{key}")


def _is_bare(address: str) -> bool:
    """Whether an address is a scheme and a host, perhaps a port, and nothing that could hide another host."""
    try:
        parts = urlsplit(address)
        _ = parts.port
    except ValueError:
        return False
    rest = parts.path.strip("/") or parts.query or parts.fragment or parts.username or parts.password
    return parts.scheme in {"https", "http"} and bool(parts.hostname) and not rest and "\\" not in address


def _fits(patterns: Sequence[str], text: str) -> bool:
    return any(_compiled(p).fullmatch(text) is not None for p in patterns)


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    whole = pattern.endswith("**")
    steps = pattern.removesuffix("**").split("*")
    return re.compile(_ANY.join(re.escape(s) for s in steps) + (r"[^?#@\\\s]*" if whole else ""))
