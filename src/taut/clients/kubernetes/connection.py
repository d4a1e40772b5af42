"""The connection to a cluster: sessions, sign-in, TLS, proxies; one HTTP exchange, no policy."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlsplit

import aiohttp
import yarl

from taut import __version__
from taut.clients.guarded import GuardedResolver
from taut.clients.kubernetes.config import ClusterConfig, Impersonation
from taut.clients.kubernetes.credentials import Credential
from taut.clients.kubernetes.tls import Certificate, context

USER_AGENT = f"taut/{__version__}"
CONNECT_TIMEOUT = 10.0
# A connection that died without a word (a NAT that forgot it, a host that is gone) is noticed by the kernel within about a
# minute, without any request to the API server.
_KEEPALIVE = (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3), ("TCP_USER_TIMEOUT", 60_000))


def watched_socket(address: Any) -> socket.socket:
    """A socket that notices when the other side is gone."""
    family, kind, protocol = address[0], address[1], address[2]
    made = socket.socket(family, kind, protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEPALIVE:
        if hasattr(socket, name):
            made.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    return made


class Connection:
    """Opens sessions as needed. When the client certificate changes, the next request uses a new session; open ones go on."""

    def __init__(self, config: ClusterConfig) -> None:
        self.config = config
        self._session: aiohttp.ClientSession | None = None
        self._certificate: Certificate | None = None
        self._old: list[aiohttp.ClientSession] = []
        self._lock = asyncio.Lock()

    async def credential(self) -> Credential:
        """What requests carry now."""
        return await self.config.credentials.current()

    async def exchange(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        impersonate: Impersonation | None,
        data: bytes | None,
        limits: aiohttp.ClientTimeout,
    ) -> aiohttp.ClientResponse:
        """Send one request and return its answer, body unread. Raises aiohttp's errors, and what signing in raises."""
        credential = await self.credential()
        session = await self._opened(credential.certificate)
        sent: list[tuple[str, str]] = [("User-Agent", USER_AGENT), *headers.items()]
        if not self.config.compress:
            sent.append(("Accept-Encoding", "identity"))
        if credential.authorization:
            sent.append(("Authorization", credential.authorization))
        sent += impersonation_headers(impersonate or self.config.impersonate)
        proxy = self.config.proxy
        return await session.request(
            method,
            yarl.URL(url, encoded=True),
            headers=sent,
            data=data,
            timeout=limits,
            allow_redirects=False,
            server_hostname=self.config.tls.server_name or None,
            proxy=proxy if urlsplit(proxy).scheme in ("http", "https") else None,
        )

    async def _opened(self, certificate: Certificate | None) -> aiohttp.ClientSession:
        if self._session is not None and self._certificate == certificate:
            return self._session
        async with self._lock:
            if self._session is None or self._certificate != certificate:
                if self._session is not None:
                    self._old.append(self._session)
                self._session = self._open(certificate)
                self._certificate = certificate
            return self._session

    def _open(self, certificate: Certificate | None) -> aiohttp.ClientSession:
        secure = self.config.server.startswith("https:")
        tls: Any = context(self.config.tls, certificate) if secure else True
        options: dict[str, Any] = {"ssl": tls, "limit": 0, "keepalive_timeout": 55, "socket_factory": watched_socket}
        if self.config.guarded:
            options["resolver"] = GuardedResolver()
        socks = self.config.proxy.startswith("socks5:")
        connector = _through_socks(self.config.proxy, options) if socks else aiohttp.TCPConnector(**options)
        return aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            skip_auto_headers=("Content-Type",),
            raise_for_status=False,
        )

    async def close(self) -> None:
        """Close every connection."""
        for session in (*self._old, *((self._session,) if self._session else ())):
            await session.close()
        self._session, self._old = None, []


def _through_socks(proxy: str, options: Mapping[str, Any]) -> aiohttp.BaseConnector:
    from aiohttp_socks import ProxyConnector  # few need it, and it is not small

    return ProxyConnector.from_url(proxy, **options)


def impersonation_headers(who: Impersonation | None) -> list[tuple[str, str]]:
    """The Impersonate-* headers. Keys of `extra` are escaped as client-go does."""
    if who is None:
        return []
    headers = [("Impersonate-User", who.user)]
    headers += [("Impersonate-Group", group) for group in who.groups]
    if who.uid:
        headers.append(("Impersonate-Uid", who.uid))
    for key, values in who.extra.items():
        headers += [(f"Impersonate-Extra-{quote(key, safe='')}", value) for value in values]
    return headers
