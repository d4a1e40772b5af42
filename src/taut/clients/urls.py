"""Addresses as they may be printed, and what a server is: pure functions on URLs."""

from __future__ import annotations

import ipaddress
import re
from typing import NamedTuple
from urllib.parse import urljoin, urlsplit

from taut.model.errors import SourceError

_DEFAULT_PORTS = {"https": 443, "http": 80, "ssh": 22, "oci": 443}


class Origin(NamedTuple):
    """A server: what credentials are bound to."""

    scheme: str
    host: str
    port: int


def origin_of(url: str) -> Origin:
    """The server of a URL. Raises ValueError when the URL has no host or a port that is no number."""
    parts = urlsplit(url)
    if not parts.hostname:
        raise ValueError("no host")
    scheme = parts.scheme.lower()
    return Origin(scheme, parts.hostname.lower(), parts.port or _DEFAULT_PORTS.get(scheme, 0))


def web_origin(url: str) -> Origin:
    """The server of a web address. Raises SourceError when it is none (http and https are)."""
    try:
        origin = origin_of(url)
    except ValueError:
        raise SourceError(f"{shown(url)!r} is no web address", advice="write it like https://host/path") from None
    if origin.scheme not in {"http", "https"}:
        raise SourceError(f"{shown(url)!r} is not read over HTTP", advice="write it like https://host/path")
    return origin


def joined(base: str, link: str) -> str:
    """A link that stands in what came from `base`, as a whole address. Raises SourceError when it cannot be read."""
    try:
        return urljoin(base, link)
    except ValueError:
        raise SourceError(f"{shown(link)!r} is no web address") from None


def is_loopback(host: str) -> bool:
    """Whether a host is this machine, judged by its text alone: `localhost`, 127.0.0.0/8, ::1."""
    name = host.strip("[]").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def without_password(text: str) -> str:
    """The same URL without user and password (unchanged when it has none, or is `git@host:path`)."""
    return re.sub(r"^([A-Za-z][A-Za-z0-9+.:-]*://)[^/\s]*@", r"\1", text)


def shown(text: str) -> str:
    """A URL as it may be printed: without user information, query, fragment and control characters, and not endless."""
    plain = without_password(text)
    if "://" in plain:
        plain = re.split(r"[?#]", plain, maxsplit=1)[0]
    printable = "".join(c if c.isprintable() else "�" for c in plain)
    return printable if len(printable) <= 300 else printable[:300] + "…"
