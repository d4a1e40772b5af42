"""Addresses that no document of a repository may lead to, held against what a name resolves to and not against the name.

Where clouds tell machines their credentials, and this machine itself: whoever may name a host could read there with taut's place in the network.
"""

from __future__ import annotations

import fnmatch
import ipaddress
import socket
from collections.abc import Sequence
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

type Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_METADATA = tuple(
    ipaddress.ip_network(text)
    for text in (
        "169.254.0.0/16",
        "fe80::/10",
        "fd00:ec2::/32",
        "fd20:ce::/32",
        "100.100.100.200/32",
        "168.63.129.16/32",
        "192.0.0.192/32",
        "0.0.0.0/8",
        "::/128",
        "224.0.0.0/4",
        "ff00::/8",
    )
)
"""Link-local and metadata addresses of Amazon, Google, Alibaba, Azure and Oracle, addresses of nobody, and of many at once."""
_LOCAL = ("localhost", "ip6-localhost", "ip6-loopback")


def address_of(text: str) -> Address | None:
    """The address that a host is written as; None for a name. IPv4 that is mapped into IPv6 counts as what it is."""
    try:
        found = ipaddress.ip_address(text.partition("%")[0].strip("[]"))
    except ValueError:
        return None
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return mapped or found


def forbidden(address: Address) -> bool:
    """Whether nobody's document may lead there."""
    return any(address.version == network.version and address in network for network in _METADATA)


def is_local(host: str) -> bool:
    """Whether a host is, by its name or address, this machine."""
    address = address_of(host)
    if address is not None:
        return address.is_loopback
    name = host.lower().rstrip(".")
    return name in _LOCAL or name.endswith(".localhost")


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


class GuardedResolver(AbstractResolver):
    """Resolves names, and leaves out addresses that nobody's document may lead to; this machine's, unless the name says that it is this one."""

    def __init__(self) -> None:
        self._real = aiohttp.ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The addresses. Raises OSError when none may be asked."""
        found = await self._real.resolve(host, port, family)
        good = [f for f in found if (a := address_of(f["host"])) is not None and not self._refused(host, a)]
        if not good:
            raise OSError(None, f"{host} leads to an address that is not asked")
        return good

    async def close(self) -> None:
        """Nothing is open."""
        await self._real.close()

    def _refused(self, host: str, address: Address) -> bool:
        return forbidden(address) or (address.is_loopback and not is_local(host))
