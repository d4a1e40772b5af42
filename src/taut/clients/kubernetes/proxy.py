"""Which proxy a server is reached through, when the kubeconfig names none: Go's reading of the environment."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from urllib.parse import urlsplit


def proxy_from_environment(url: str, environ: Mapping[str, str]) -> str:
    """The proxy's URL for `url`, empty for none.

    The rules are those of Go's `net/http.ProxyFromEnvironment`, which kubectl follows: HTTPS_PROXY or HTTP_PROXY (also in
    lower case) unless NO_PROXY has the host, a domain it is in, or a network (CIDR) it is in; never for the machine itself.
    """
    parts = urlsplit(url)
    host = (parts.hostname or "").lower()
    if not host or host == "localhost" or _is_loopback(host):
        return ""
    name = "https_proxy" if parts.scheme == "https" else "http_proxy"
    proxy = environ.get(name.upper()) or environ.get(name) or ""
    if not proxy:
        return ""
    port = parts.port or (443 if parts.scheme == "https" else 80)
    rules = environ.get("NO_PROXY") or environ.get("no_proxy") or ""
    if any(_excluded(rule.strip().lower(), host, port) for rule in rules.split(",")):
        return ""
    return proxy if "://" in proxy else f"http://{proxy}"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _excluded(rule: str, host: str, port: int) -> bool:
    if rule == "*":
        return True
    if not rule:
        return False
    if "/" in rule:
        try:
            return ipaddress.ip_address(host) in ipaddress.ip_network(rule, strict=False)
        except ValueError:
            return False
    name, colon, rule_port = rule.rpartition(":")
    if colon and rule_port.isdigit() and ":" not in name:
        if int(rule_port) != port:
            return False
        rule = name
    domain = rule.removeprefix("*").removeprefix(".")
    if rule.startswith((".", "*.")):
        return host.endswith(f".{domain}")
    return host == domain or host.endswith(f".{domain}")
