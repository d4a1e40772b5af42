"""One HTTP client for everything that is fetched: verified TLS, bounded size and time, redirects that leak nothing."""

from __future__ import annotations

import asyncio
import base64
import os
import ssl
import tempfile
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import lru_cache
from urllib.request import getproxies, proxy_bypass

import aiohttp

from taut.clients.credentials import Credentials
from taut.clients.sessions import Sessions, TooLargeError, read_bounded
from taut.clients.urls import is_loopback, joined, origin_of, shown, web_origin
from taut.model.errors import SourceError, Where

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_AGENT = "taut"


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """Bounds of one request. `size` counts bytes after decompression; `redirects` how often an answer may point elsewhere."""

    connect: float = 15.0
    total: float = 120.0
    idle: float = 30.0
    size: int = 100 * 2**20
    redirects: int = 5


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """An answer that was read whole. Header names are lower case; `url` is where it came from in the end."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    url: str
    challenges: tuple[str, ...] = ()
    """The values of WWW-Authenticate."""


class HttpClient(Sessions):
    """Requests with a bound on everything. Close it, or use it as an async context manager."""

    def __init__(self, limits: HttpLimits | None = None) -> None:
        super().__init__()
        self._limits = limits or HttpLimits()

    async def get(
        self,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        credentials: Credentials | None = None,
        limit: int | None = None,
        accept: frozenset[int] = frozenset({200}),
        may_follow: Callable[[str], bool] | None = None,
        everywhere: bool = False,
    ) -> HttpResponse:
        """Fetch `url`.

        Credentials, their client certificate and any Authorization header go to the URL's own server (scheme, host, port) and to no other, unless
        `everywhere`. A redirect from https to http, from elsewhere to this machine, or one that `may_follow` refuses, is an error. Raises SourceError
        with a sentence of its own for: no such host, refused, not trusted, too slow, too large, and every status that is not in `accept`.
        """
        home = web_origin(url)
        current = url
        for _ in range(self._limits.redirects + 1):
            at_home = everywhere or origin_of(current) == home
            sent = {"User-Agent": _AGENT, **(headers or {})}
            if not at_home:
                sent = {k: v for k, v in sent.items() if k.lower() not in {"authorization", "cookie"}}
            answer = await self._once(current, sent, _for_server(credentials, at_home), limit or self._limits.size)
            if answer.status not in _REDIRECTS or answer.status in accept:
                return _accepted(answer, accept)
            current = _next_hop(current, answer, may_follow)
        raise SourceError(
            "the server redirects again and again", where=Where(shown(url)), advice="write the final address"
        )

    async def post_form(
        self,
        url: str,
        form: Mapping[str, str],
        *,
        headers: Mapping[str, str] | None = None,
        credentials: Credentials | None = None,
        accept: frozenset[int] = frozenset({200}),
    ) -> HttpResponse:
        """POST a form to `url`; no redirect is followed. Raises SourceError as `get` does, and never tells what was sent."""
        sent = {"User-Agent": _AGENT, **(headers or {})}
        return _accepted(await self._once(url, sent, credentials, self._limits.size, form), accept)

    async def _once(
        self,
        url: str,
        headers: dict[str, str],
        credentials: Credentials | None,
        limit: int,
        form: Mapping[str, str] | None = None,
    ) -> HttpResponse:
        if credentials and "Authorization" not in headers and (header := authorization(credentials)):
            headers = {**headers, "Authorization": header}
        session = self._session(credentials)
        try:
            async with asyncio.timeout(self._limits.total), AsyncExitStack() as stack:
                response = await stack.enter_async_context(
                    session.request(
                        "GET" if form is None else "POST",
                        url,
                        headers=headers,
                        data=form,
                        allow_redirects=False,
                        proxy=proxy_for(url),
                    )
                )
                body = b"" if response.status in _REDIRECTS else await _read(response, limit, url)
                return HttpResponse(
                    response.status,
                    {k.lower(): v for k, v in response.headers.items()},
                    body,
                    url,
                    tuple(response.headers.getall("WWW-Authenticate", [])),
                )
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            raise _explained(error, url) from None

    def _session(self, credentials: Credentials | None) -> aiohttp.ClientSession:
        def made() -> aiohttp.ClientSession:
            limits = self._limits
            return aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=tls_context(credentials), limit_per_host=8),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=limits.connect, sock_read=limits.idle),
                cookie_jar=aiohttp.DummyCookieJar(),
                max_line_size=16384,
                max_field_size=16384,
            )

        return self._opened(credentials.tls_key if credentials else "", made)


def proxy_for(url: str) -> str | None:
    """The proxy that taut's own environment names for a URL (HTTPS_PROXY, HTTP_PROXY, NO_PROXY), None for none.

    aiohttp's own way to read the environment would read passwords from a netrc file as well.
    """
    origin = web_origin(url)
    if proxy_bypass(f"{origin.host}:{origin.port}"):
        return None
    return getproxies().get(origin.scheme)


def authorization(credentials: Credentials) -> str:
    """The Authorization header that credentials make; empty when they hold neither token nor password."""
    if credentials.bearer:
        return f"Bearer {credentials.bearer}"
    if credentials.username or credentials.password:
        pair = f"{credentials.username}:{credentials.password}".encode()
        return "Basic " + base64.b64encode(pair).decode()
    return ""


def tls_context(credentials: Credentials | None) -> ssl.SSLContext:
    """TLS that verifies, against the credentials' CA or else the system's. Raises SourceError when a certificate or key cannot be read.

    VERIFY_X509_STRICT (on by default since Python 3.13) refuses authorities without keyUsage, which many private ones are; it is cleared, as in
    every other Kubernetes client.
    """
    if credentials is None or not (credentials.ca or credentials.client_cert):
        return _system_tls()
    return _own_tls(credentials)


@lru_cache(maxsize=1)
def _system_tls() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


def _own_tls(credentials: Credentials) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cadata=credentials.ca.decode("ascii") if credentials.ca else None)
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        if credentials.client_cert:
            _load_client(context, credentials)
    except (ssl.SSLError, ValueError, OSError) as error:
        raise SourceError(
            f"the TLS certificates in the credentials cannot be used: {getattr(error, 'reason', None) or type(error).__name__}",
            advice="ca, certificate and key are PEM files",
        ) from None
    return context


def _load_client(context: ssl.SSLContext, credentials: Credentials) -> None:
    """OpenSSL reads a client certificate from a file only; the file (mode 0600, in memory where the system has such a place) goes at once."""
    folder = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108 - made by mkstemp below, private and unpredictable
    with tempfile.NamedTemporaryFile(dir=folder) as file:
        file.write(credentials.client_cert + b"\n" + credentials.client_key)
        file.flush()
        context.load_cert_chain(file.name)


def _for_server(credentials: Credentials | None, at_home: bool) -> Credentials | None:
    """Away from home only the CA is left: it gives nothing away."""
    if credentials is None or at_home:
        return credentials
    return Credentials(ca=credentials.ca) if credentials.ca else None


def _next_hop(current: str, answer: HttpResponse, may_follow: Callable[[str], bool] | None) -> str:
    target = joined(current, answer.headers.get("location", ""))
    here, there = web_origin(current), web_origin(target)
    where = Where(shown(current))
    if here[0] == "https" and there[0] == "http":
        raise SourceError(
            f"the server redirects from https to plain http ({shown(target)})",
            where=where,
            advice="nothing was sent there",
        )
    if is_loopback(there[1]) and not is_loopback(here[1]):
        raise SourceError("the server redirects to this machine", where=where, advice="nothing was sent there")
    if may_follow is not None and there != here and not may_follow(target):
        raise SourceError(f"the server redirects to {shown(target)}, which is not allowed", where=where)
    return target


async def _read(response: aiohttp.ClientResponse, limit: int, url: str) -> bytes:
    try:
        return await read_bounded(response, limit)
    except TooLargeError:
        raise SourceError(f"the answer is larger than {limit} bytes", where=Where(shown(url))) from None


def _accepted(answer: HttpResponse, accept: frozenset[int]) -> HttpResponse:
    if answer.status in accept:
        return answer
    where = Where(shown(answer.url))
    match answer.status:
        case 401:
            raise SourceError(
                "the server wants credentials, or does not accept the ones it got (401)", where=where, advice=_LOGIN
            )
        case 403:
            raise SourceError(
                "the server refuses access (403)", where=where, advice="check what these credentials may read"
            )
        case 404:
            raise SourceError("there is nothing at this address (404)", where=where, advice="check the address")
        case 429:
            raise SourceError(
                "the server asks for patience (429, too many requests)", where=where, advice="taut tries again later"
            )
        case status:
            raise SourceError(f"the server answers with status {status}", where=where)


_LOGIN = "check user name, password or token in taut's configuration"


def _explained(error: Exception, url: str) -> SourceError:
    """The sentence for a failed connection."""
    where = Where(shown(url))
    match error:
        case aiohttp.ClientConnectorCertificateError() | ssl.SSLCertVerificationError():
            return SourceError(
                f"the server's certificate is not trusted: {_tls_reason(error)}",
                where=where,
                advice="give its authority as `ca` in the credentials",
            )
        case aiohttp.ClientConnectorSSLError() | ssl.SSLError():
            return SourceError(
                f"no TLS connection comes about: {_tls_reason(error)}",
                where=where,
                advice="check that the server speaks TLS on this port, and wants no client certificate",
            )
        case aiohttp.ClientConnectorDNSError():
            return SourceError(
                "the host's name is not known", where=where, advice="check the address and the name server"
            )
        case aiohttp.ClientConnectorError():
            return SourceError(
                f"the server cannot be reached: {error.strerror or 'no connection'}",
                where=where,
                advice="check that it runs",
            )
        case TimeoutError():
            return SourceError("the server does not answer in time", where=where, advice="taut tries again later")
        case aiohttp.InvalidURL():
            return SourceError("this is no web address", where=where, advice="write it like https://host/path")
        case _:
            return SourceError(
                f"the connection broke: {type(error).__name__}", where=where, advice="taut tries again later"
            )


def _tls_reason(error: Exception) -> str:
    cause = getattr(error, "certificate_error", None) or getattr(error, "os_error", None) or error
    return str(getattr(cause, "verify_message", "") or getattr(cause, "reason", "") or type(cause).__name__)
