"""Addresses: URLs, IPs and CIDRs (Kubernetes' CEL library, `url`, `ip`, `cidr`)."""

from __future__ import annotations

import ipaddress
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

from taut.policy.cel.errors import CelError
from taut.policy.cel.functions import Function, of_kind, tagged

_MOST = 10_000


def _url(text: str) -> dict[str, Any]:
    try:
        if len(text) > _MOST or any(c <= " " or c == "\x7f" for c in text):
            raise ValueError
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise CelError("the text is no URL") from None
    if not (parts.scheme or text.startswith("/")):
        raise CelError("the text is no URL: it has to be absolute, or a path that begins with /")
    host = parts.netloc.rpartition("@")[2]
    return tagged(
        "url",
        scheme=parts.scheme,
        host=host,
        hostname=_hostname(host),
        port="" if port is None else str(port),
        path=quote(parts.path, safe="/%:@!$&'()*+,;=~-._"),
        query=parse_qs(parts.query, keep_blank_values=True),
    )


def _hostname(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


def _succeeds(parse: Any) -> Any:
    def test(*values: Any) -> bool:
        try:
            parse(*values)
        except CelError:
            return False
        return True

    return test


def _address(text: str) -> Any:
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        raise CelError("the text is no IP address") from None
    if isinstance(found, ipaddress.IPv6Address) and (found.ipv4_mapped or "%" in text):
        raise CelError("IPv4-mapped IPv6 addresses and zones are not allowed")
    return found


def _ip(text: str) -> dict[str, Any]:
    return tagged("ip", value=str(_address(text)))


def _range(text: str) -> Any:
    head, slash, bits = text.partition("/")
    try:
        if not slash or not bits.isdigit() or (len(bits) > 1 and bits.startswith("0")):
            raise ValueError
        _address(head)
        return ipaddress.ip_interface(text)
    except ValueError:
        raise CelError("the text is no CIDR") from None


def _cidr(text: str) -> dict[str, Any]:
    return tagged("cidr", value=str(_range(text)))


def _as_ip(value: Any) -> Any:
    return _address(value if isinstance(value, str) else of_kind(value, "ip")["value"])


def _as_cidr(value: Any) -> Any:
    return _range(value if isinstance(value, str) else of_kind(value, "cidr")["value"])


def _contains_ip(value: Any, other: Any) -> bool:
    return _as_ip(other) in _as_cidr(value).network


def _contains_cidr(value: Any, other: Any) -> bool:
    outer, inner = _as_cidr(value).network, _as_cidr(other).network
    return outer.version == inner.version and inner.subnet_of(outer)


def _global(value: Any) -> bool:
    """Go's IsGlobalUnicast: private ranges count, broadcast and the rest do not."""
    a = _as_ip(value)
    return not (a.is_unspecified or a.is_loopback or a.is_multicast or a.is_link_local or str(a) == "255.255.255.255")


def _link_local_multicast(value: Any) -> bool:
    a = _as_ip(value)
    return a in ipaddress.ip_network("224.0.0.0/24" if a.version == 4 else "ff02::/16")


def _got(name: str, key: str) -> Function:
    return Function(name, ("m",), lambda v: of_kind(v, "url")[key], member=True)


def _asked(name: str, test: Any) -> Function:
    return Function(name, ("m",), test, member=True, result="b")


FUNCTIONS = (
    Function("url", ("s",), _url),
    Function("isURL", ("s",), _succeeds(_url), result="b"),
    _got("getScheme", "scheme"),
    _got("getHost", "host"),
    _got("getHostname", "hostname"),
    _got("getPort", "port"),
    _got("getEscapedPath", "path"),
    _got("getQuery", "query"),
    Function("ip", ("s",), _ip),
    Function("isIP", ("s",), _succeeds(_ip), result="b"),
    Function("ip.isCanonical", ("s",), lambda t: str(_address(t)) == t, result="b"),
    Function("family", ("m",), lambda v: _as_ip(v).version, member=True, result="i"),
    _asked("isUnspecified", lambda v: _as_ip(v).is_unspecified),
    _asked("isLoopback", lambda v: _as_ip(v).is_loopback),
    _asked("isLinkLocalMulticast", _link_local_multicast),
    _asked("isLinkLocalUnicast", lambda v: _as_ip(v).is_link_local),
    _asked("isGlobalUnicast", _global),
    Function("cidr", ("s",), _cidr),
    Function("isCIDR", ("s",), _succeeds(_cidr), result="b"),
    Function("containsIP", ("m", "sm"), _contains_ip, member=True, result="b"),
    Function("containsCIDR", ("m", "sm"), _contains_cidr, member=True, result="b"),
    Function("ip", ("m",), lambda v: _ip(str(_as_cidr(v).ip)), member=True),
    Function("masked", ("m",), lambda v: _cidr(str(_as_cidr(v).network)), member=True),
    Function("prefixLength", ("m",), lambda v: _as_cidr(v).network.prefixlen, member=True, result="i"),
)


def to_text(value: Any) -> str:
    """`string(x)` of an address."""
    return str(of_kind(value, "ip", "cidr")["value"])
