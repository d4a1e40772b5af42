"""Functions of OPA that the engine has not: deprecated ones, which the old language still has, and a few more."""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Callable
from typing import Any

from taut.policy.gatekeeper.rego_source import SPRINTF
from taut.policy.gatekeeper.sprintf import sprintf


def _values(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | set | frozenset | tuple) else []


def _any(value: Any) -> bool:
    return any(v is True for v in _values(value))


def _all(value: Any) -> bool:
    return all(v is True for v in _values(value))


def _cast_array(value: Any) -> list[Any]:
    if not isinstance(value, list | set | frozenset | tuple):
        raise ValueError("cast_array takes an array or a set")
    return list(value)


def _set_diff(a: Any, b: Any) -> set[Any]:
    return set(_values(a)) - set(_values(b))


def _overlap(network: str, other: str) -> bool:
    outer = ipaddress.ip_network(network, strict=False)
    inner = ipaddress.ip_network(other, strict=False)
    return outer.version == inner.version and outer.overlaps(inner)  # pyright: ignore[reportArgumentType]


def _merged(values: Any) -> set[str]:
    found: set[str] = set()
    for version in (4, 6):
        networks = [n for v in _values(values) if (n := ipaddress.ip_network(v, strict=False)).version == version]
        found |= {str(n) for n in ipaddress.collapse_addresses(networks)}  # pyright: ignore[reportArgumentType]
    return found


def _digest(algorithm: str) -> Callable[[str], str]:
    return lambda text: hashlib.new(algorithm, text.encode(), usedforsecurity=False).hexdigest()


BUILTINS: tuple[tuple[str, int, Callable[..., Any]], ...] = (
    (SPRINTF, 2, sprintf),
    ("any", 1, _any),
    ("all", 1, _all),
    ("cast_array", 1, _cast_array),
    ("set_diff", 2, _set_diff),
    ("net.cidr_overlap", 2, _overlap),
    ("net.cidr_merge", 1, _merged),
    ("crypto.sha256", 1, _digest("sha256")),
    ("crypto.sha1", 1, _digest("sha1")),
    ("crypto.md5", 1, _digest("md5")),
)
"""Name, number of arguments, implementation."""
