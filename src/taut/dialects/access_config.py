"""Who may sign in to a running taut, and do what, as its configuration says it."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator, Sequence
from typing import Annotated
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from taut.dialects.kinds import PlainName
from taut.dialects.problems import Finding
from taut.model.application import Duration, Spec

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


class OidcConfig(Spec, frozen=True):
    """An OpenID Connect provider: people sign in there (authorization code with PKCE)."""

    name: PlainName
    """What the button says, and part of the address that the provider sends people back to: `<url>/auth/<name>/callback`."""
    issuer: Annotated[str, Meta(min_length=1)]
    """The issuer, as its tokens name it."""
    client_id: Annotated[str, Meta(min_length=1)]
    """As what taut is registered there."""
    client_secret_file: str | None = None
    """A file with the client's secret; without it taut is a public client."""
    scopes: tuple[str, ...] = ("openid", "profile", "email", "groups")
    """What is asked for."""
    username_claim: str = "email"
    """The claim that names a person in rules, the history and the audit. An `email` that the provider calls unverified does not count; `sub` does then."""
    groups_claim: str = "groups"
    """The claim with a person's groups, which rules name as they are."""
    ca_file: str | None = None
    """Whose certificates are trusted, in PEM; default: the system's."""


class TlsConfig(Spec, frozen=True):
    """TLS by files; they are read anew when they change."""

    certificate_file: str
    """The certificate and those between it and its authority, in PEM."""
    key_file: str
    """Its key, in PEM, readable by taut alone."""


class AccessConfig(Spec, frozen=True):
    """Sign-in and rights. Whoever holds the token of `tokenFile` is the administrator."""

    url: str | None = None
    """The address at which people reach taut, when it is not the one that it listens on."""
    policy_file: str | None = None
    """A file with rules in the form of Argo CD's policy.csv. It is read anew when it changes; one that cannot be read changes nothing."""
    default_role: str = ""
    """The role of everybody who signed in, such as `role:readonly`; empty: none."""
    anonymous_role: str = ""
    """The role of those who did not sign in; empty: they see nothing."""
    oidc: tuple[OidcConfig, ...] = ()
    """Where people sign in."""
    session: Duration = "12h"
    """How long a session lasts at most."""
    idle: Duration = "2h"
    """After how long without a request a session ends."""
    tls: TlsConfig | None = None
    """TLS of taut's own. With it taut may listen on addresses that others reach."""
    trusted_proxies: tuple[str, ...] = ()
    """Addresses (or networks) of proxies whose `X-Forwarded-For` and `X-Forwarded-Proto` are believed; nobody else's are."""


def access_paths(access: AccessConfig, at: Callable[[str | None], str | None]) -> AccessConfig:
    """The same with its files as `at` makes them absolute."""
    oidc = tuple(
        msgspec.structs.replace(o, client_secret_file=at(o.client_secret_file), ca_file=at(o.ca_file))
        for o in access.oidc
    )
    tls = access.tls
    if tls is not None:
        tls = msgspec.structs.replace(tls, certificate_file=at(tls.certificate_file), key_file=at(tls.key_file))
    return msgspec.structs.replace(access, policy_file=at(access.policy_file), oidc=oidc, tls=tls)


def access_findings(access: AccessConfig) -> Iterator[Finding]:
    """What is wrong with it."""
    if access.url is not None and (fault := _url_fault(access.url)):
        yield Finding(("url",), fault, "write it like https://taut.example.com")
    yield from _twice([o.name for o in access.oidc])
    for number, one in enumerate(access.oidc):
        if fault := _url_fault(one.issuer):
            yield Finding(("oidc", number, "issuer"), fault, "write it as the provider's discovery document does")
        if "openid" not in one.scopes:
            yield Finding(
                ("oidc", number, "scopes"), "the scope openid is missing", "add it: without it nobody is told"
            )
    for number, text in enumerate(access.trusted_proxies):
        try:
            ipaddress.ip_network(text, strict=False)
        except ValueError:
            yield Finding(("trustedProxies", number), f"{text!r} is no address", "write 10.0.0.1 or 10.0.0.0/8")


def _url_fault(url: str) -> str:
    """https, or plain http on this machine: what is signed in with is not sent in the open."""
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        return f"{url!r} is no address"
    if parts.scheme not in ("http", "https") or not host:
        return f"{url!r} is no web address"
    if parts.scheme == "http" and host not in _LOOPBACK:
        return "it is not https"
    if parts.username is not None or parts.query or parts.fragment:
        return "there is more in it than an address"
    return ""


def _twice(names: Sequence[str]) -> Iterator[Finding]:
    for number, name in enumerate(names):
        if name in names[:number]:
            yield Finding(("oidc", number, "name"), f"there are two called {name!r}", "give one another name")
