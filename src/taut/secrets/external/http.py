"""Requests to stores: TLS is verified, time and size are bounded, redirects are refused, and no error tells what was sent."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from yarl import URL

from taut.clients.credentials import Credentials
from taut.clients.guarded import GuardedResolver
from taut.clients.http import proxy_for, tls_context
from taut.clients.sessions import Sessions, TooLargeError, read_bounded
from taut.model.durations import seconds
from taut.model.errors import SourceError
from taut.secrets.external.errors import ProviderError
from taut.secrets.external.stores import Retries

_SIZE = 8 * 2**20
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_AGAIN = frozenset({429, 500, 502, 503, 504})
_MOST_SESSIONS = 64
_MOST_RETRIES, _LONGEST_WAIT = 5, 10.0


@dataclass(frozen=True, slots=True)
class Tls:
    """Whom to trust (empty: the system's authorities), and a certificate of our own; all PEM."""

    ca: bytes = field(default=b"", repr=False)
    certificate: bytes = field(default=b"", repr=False)
    key: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer that was read whole."""

    status: int
    body: bytes = field(repr=False)

    @property
    def ok(self) -> bool:
        """Whether it is a success."""
        return 200 <= self.status < 300

    def json(self) -> Any:
        """The body as JSON. Raises ProviderError when it is none."""
        try:
            return json.loads(self.body) if self.body else {}
        except (ValueError, RecursionError):
            raise ProviderError("the answer is no JSON", "check the store's address") from None


class Http(Sessions):
    """Asks stores. One for many resolves; close it, or use it as an async context manager."""

    def __init__(self, *, connect: float = 5.0, total: float = 20.0, size: int = _SIZE) -> None:
        super().__init__()
        self._connect, self._total, self._size = connect, total, size

    async def ask(
        self,
        method: str,
        url: str,
        *,
        may_ask: Callable[[str], bool],
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        tls: Tls | None = None,
        total: float = 0.0,
        retries: Retries | None = None,
        again: frozenset[int] = _AGAIN,
        shown: str = "",
    ) -> Answer:
        """One request; `url` is sent as it is written, and `shown` is told in its host's place (it may hold what is secret). `again` are the answers after which `retries` apply. Raises ProviderError: not allowed,
        no web address, no such host, refused, not trusted, too slow, too large, redirected.
        """
        target = _address(url)
        if not may_ask(f"{target.scheme}://{target.authority}"):
            raise ProviderError(
                f"stores may not ask {shown or target.host}", "list the host in externalSecrets.hosts of the cluster"
            )
        left = min(retries.max_retries, _MOST_RETRIES) if retries else 0
        while True:
            try:
                answer = await self._once(
                    method, target, headers or {}, body, tls or Tls(), total or self._total, shown
                )
                if answer.status not in again or left <= 0:
                    return answer
            except ProviderError:
                if left <= 0:
                    raise
            left -= 1
            await asyncio.sleep(_wait(retries))

    async def _once(
        self, method: str, url: URL, headers: Mapping[str, str], body: bytes | None, tls: Tls, total: float, shown: str
    ) -> Answer:
        host = shown or url.host
        try:
            session = await self._session(tls)
            async with (
                asyncio.timeout(total),
                session.request(
                    method,
                    url,
                    headers={"User-Agent": "taut", **headers},
                    data=body,
                    allow_redirects=False,
                    proxy=proxy_for(str(url.origin())),
                ) as response,
            ):
                if response.status in _REDIRECTS:
                    raise ProviderError(f"{host} redirects, which is not followed", "write the final address")
                return Answer(response.status, await self._read(response))
        except SourceError as error:
            raise ProviderError(error.what, error.advice) from None
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            raise _explained(error, host, total) from None

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        try:
            return await read_bounded(response, self._size)
        except TooLargeError:
            raise ProviderError(f"the answer is larger than {self._size} bytes") from None

    async def _session(self, tls: Tls) -> aiohttp.ClientSession:
        if tls not in self._sessions and len(self._sessions) >= _MOST_SESSIONS:
            await self.close()

        def made() -> aiohttp.ClientSession:
            own = Credentials(ca=tls.ca, client_cert=tls.certificate, client_key=tls.key)
            return aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=tls_context(own), limit_per_host=8, resolver=GuardedResolver()),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._connect),
                cookie_jar=aiohttp.DummyCookieJar(),
            )

        return self._opened(tls, made)


def _address(url: str) -> URL:
    try:
        # What is sent is not encoded again, so a line break here would begin a request of its own.
        if not url.isascii() or not url.isprintable() or " " in url:
            raise ValueError
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username:
            raise ValueError
        return URL(url, encoded=True)
    except ValueError:
        raise ProviderError("the store's address is none", "write it like https://host:port") from None


def _wait(retries: Retries | None) -> float:
    try:
        return min(seconds(retries.retry_interval), _LONGEST_WAIT) if retries else 0.0
    except ValueError:
        return 1.0


def _explained(error: Exception, host: str | None, total: float) -> ProviderError:
    """A sentence of our own for each: a library's text may hold what was sent."""
    match error:
        case aiohttp.ClientConnectorCertificateError() | ssl.SSLCertVerificationError():
            return ProviderError(f"the certificate of {host} is not trusted", "give its authority as caBundle")
        case aiohttp.ClientConnectorDNSError():
            return ProviderError(f"there is no host {host}", "check the store's address, and DNS")
        case aiohttp.ClientSSLError() | ssl.SSLError():
            return ProviderError(f"{host} speaks no TLS that can be used", "check the store's address")
        case aiohttp.ClientConnectorError():
            return ProviderError(f"{host} cannot be reached", "check that it runs, and the network")
        case TimeoutError():
            return ProviderError(f"{host} gave no answer within {total:g} s", "check that it runs, and the network")
        case _:
            return ProviderError(f"{host} did not answer ({type(error).__name__})", "check the store's address")
