"""A thin client of the Kubernetes API: JSON in and out, errors for people, retries of what is safe."""

from __future__ import annotations

import asyncio
import contextlib
import random
import ssl
import time
from collections.abc import AsyncGenerator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import quote, urlencode

import aiohttp
import orjson
from aiohttp_socks import ProxyConnectionError, ProxyError, ProxyTimeoutError

from taut.clients.fair import FairSlots
from taut.clients.kubernetes.config import ClusterConfig, Impersonation
from taut.clients.kubernetes.connection import CONNECT_TIMEOUT, Connection
from taut.clients.kubernetes.errors import is_starting, status_error, unreachable
from taut.clients.kubernetes.gate import Gate
from taut.clients.sessions import TooLargeError, read_bounded
from taut.model.errors import BadInput, TargetError, Where
from taut.model.manifests import canonical

JSON = "application/json"
APPLY = "application/apply-patch+yaml"
JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
PARTIAL = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
PARTIAL_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"

TIMEOUT = 60.0
LONGEST_WISH = 300.0
TRIES = 4
"""How often something that is safe to repeat is tried."""
BUSY_TRIES = 8
"""How often a request that the server refused with 429 is tried: nothing of it was done, whatever it is."""
_TRANSIENT = frozenset({500, 502, 503, 504})
_NO_SOCKS = (ProxyConnectionError, ProxyError, ProxyTimeoutError)
_BROKEN = (aiohttp.ClientError, TimeoutError, OSError, *_NO_SOCKS)

type Query = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Answer:
    """A success: its status, the decoded body (None when empty), the server's warnings, its ETag."""

    status: int
    body: Any
    warnings: tuple[str, ...] = ()
    etag: str = ""


CONFIDENTIAL: ContextVar[bool] = ContextVar("confidential", default=False)
"""Whether what is sent holds secret values although it is no Secret: then errors quote nothing of it."""


class KubernetesClient:
    """One cluster. Safe to use from many tasks: at most `concurrency` requests are in flight, watches not counted."""

    def __init__(
        self, config: ClusterConfig, *, concurrency: int = 32, timeout: float = TIMEOUT, most_bytes: int = 0
    ) -> None:
        self._most_bytes = most_bytes
        self.config = config
        self.gate = Gate()
        self._connection = Connection(config)
        self._slots = FairSlots(concurrency)
        self._timeout = timeout

    async def __aenter__(self) -> KubernetesClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections."""
        await self._connection.close()

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Query | None = None,
        body: Any = None,
        content_type: str = JSON,
        accept: str = JSON,
        impersonate: Impersonation | None = None,
        subject: str = "",
        seconds: float | None = None,
    ) -> Any:
        """Send a request; returns the decoded body of a success.

        `path` starts with `/` and has its parts escaped (`segment`). `impersonate` replaces the kubeconfig's own impersonation.
        `subject` names the object in errors, `seconds` is how long one try may take. Raises TargetError for every answer that is no success and when there is none
        (`status` 0). Repeated are: everything after a 429 (the whole cluster waits meanwhile) and once after a 401 whose
        credentials can be renewed; GET, server-side apply and deletions by uid after a lost connection or a 5xx; an apply that met others' writes.
        """
        answer = await self.send(
            method,
            path,
            query=query,
            body=body,
            content_type=content_type,
            accept=accept,
            impersonate=impersonate,
            subject=subject,
            seconds=seconds,
        )
        return answer.body

    async def send(
        self,
        method: str,
        path: str,
        *,
        query: Query | None = None,
        body: Any = None,
        content_type: str = JSON,
        accept: str = JSON,
        impersonate: Impersonation | None = None,
        subject: str = "",
        seconds: float | None = None,
        etag: str = "",
        raw: bool = False,
    ) -> Answer:
        """As `request`, with status, warnings and ETag. With `etag` an unchanged answer comes back as status 304, body None.

        With `raw` the body of a success is left as bytes.
        """
        exchange = _Exchange(
            method=method,
            url=self._url(path, query),
            headers=_headers(accept, content_type if body is not None else "", etag),
            data=None if body is None else body if isinstance(body, bytes) else canonical(body),
            impersonate=impersonate,
            subject=subject or f"{method} {path}",
            secret="/secrets" in path or CONFIDENTIAL.get(),
            repeatable=_repeatable(method, content_type, body),
            limits=aiohttp.ClientTimeout(total=seconds or self._timeout, sock_connect=CONNECT_TIMEOUT),
            raw=raw,
        )
        return await self._persist(exchange)

    async def _persist(self, exchange: _Exchange) -> Answer:
        """Try until it works, or it makes no sense to go on."""
        tries = busy = renewals = 0
        while True:
            try:
                async with self._slots.turn():
                    # In this order: who waited for a slot while the gate was closed must not run against it.
                    await self.gate.wait()
                    answer = await self._once(exchange)
            except TargetError as e:
                if e.status == 429 and busy < BUSY_TRIES and not _is_budget(e):
                    busy += 1
                    if is_starting(e):
                        await asyncio.sleep(_pause(busy, 0))
                    else:
                        self.gate.refuse(e.retry_after)
                    continue
                if e.status == 401 and not renewals and self.config.credentials.refused():
                    renewals += 1
                    continue
                tries += 1
                if tries >= TRIES or not _worth_repeating(e, exchange):
                    raise
                await asyncio.sleep(_pause(tries, e.retry_after))
                continue
            self.gate.succeed()
            return answer

    async def _once(self, exchange: _Exchange) -> Answer:
        try:
            response = await self._open(exchange)
            async with response:
                data = await self._body(response, exchange)
        except _BROKEN as e:
            raise _lost(self.config.server, e, exchange.subject) from e
        if response.status >= 300 and response.status != 304:
            raise _refused(response, _decoded(data), exchange)
        payload = data if exchange.raw else _read(data, self.config.server, exchange.subject)
        return Answer(response.status, payload, _warnings(response), response.headers.get("ETag", ""))

    async def _body(self, response: aiohttp.ClientResponse, exchange: _Exchange) -> bytes:
        """The whole body, unless it is larger than this client takes."""
        if not self._most_bytes:
            return await response.read()
        try:
            return await read_bounded(response, self._most_bytes)
        except TooLargeError:
            what = f"the answer is larger than {self._most_bytes >> 20} MiB"
            raise TargetError(what, where=Where(object=exchange.subject)) from None

    async def _open(self, exchange: _Exchange) -> aiohttp.ClientResponse:
        try:
            return await self._connection.exchange(
                exchange.method,
                exchange.url,
                headers=exchange.headers,
                impersonate=exchange.impersonate,
                data=exchange.data,
                limits=exchange.limits,
            )
        except BadInput as e:
            # Without a credential or a certificate nothing can be asked: for whoever asks, the cluster refuses.
            raise TargetError(e.what, where=e.where, advice=e.advice, status=401, reason="Unauthorized") from e

    def _url(self, path: str, query: Query | None) -> str:
        text = f"{self.config.server}{path}"
        return f"{text}?{urlencode(query, quote_via=quote)}" if query else text

    @contextlib.asynccontextmanager
    async def stream(
        self, path: str, *, query: Query, accept: str = JSON, subject: str = ""
    ) -> AsyncGenerator[aiohttp.ClientResponse]:
        """Open a GET whose body is read as it comes (a watch, a log). One try; reading has no time limit of its own.

        Raises TargetError as `request` does when it cannot be opened; what breaks later is aiohttp's error.
        """
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT, sock_read=None)
        exchange = _Exchange(
            "GET",
            self._url(path, query),
            _headers(accept, "", ""),
            None,
            None,
            subject,
            "/secrets" in path,
            True,
            timeout,
        )
        response = await self._open_stream(exchange)
        async with response:
            if response.status != 200:
                error = _refused(response, _decoded(await self._rest_of(response, exchange)), exchange)
                if error.status == 429 and not is_starting(error):
                    self.gate.refuse(error.retry_after)
                raise error
            yield response

    async def _rest_of(self, response: aiohttp.ClientResponse, exchange: _Exchange) -> bytes:
        """The body of a refusal. A stream has no time limit of its own; this has."""
        try:
            async with asyncio.timeout(self._timeout):
                return await response.read()
        except _BROKEN as e:
            raise _lost(self.config.server, e, exchange.subject) from e

    async def _open_stream(self, exchange: _Exchange) -> aiohttp.ClientResponse:
        for last in (False, True):
            await self.gate.wait()
            try:
                async with asyncio.timeout(self._timeout):
                    response = await self._open(exchange)
            except _BROKEN as e:
                raise _lost(self.config.server, e, exchange.subject) from e
            if response.status != 401 or last or not self.config.credentials.refused():
                return response
            response.release()
        raise AssertionError("the second try returns or raises")


@dataclass(frozen=True, slots=True)
class _Exchange:
    method: str
    url: str
    headers: Mapping[str, str]
    data: bytes | None = field(repr=False)
    impersonate: Impersonation | None
    subject: str
    secret: bool
    repeatable: bool
    limits: aiohttp.ClientTimeout
    raw: bool = False


def segment(text: str) -> str:
    """One part of a path, escaped: names of RBAC objects may hold colons, and worse may come from a repository."""
    return quote(text, safe="")


def _headers(accept: str, content_type: str, etag: str) -> dict[str, str]:
    headers = {"Accept": accept}
    if content_type:
        headers["Content-Type"] = content_type
    if etag:
        headers["If-None-Match"] = etag
    return headers


def _repeatable(method: str, content_type: str, body: Any) -> bool:
    """Whether a second time does no harm: it is not known what became of a request whose answer was lost."""
    if method in ("GET", "HEAD"):
        return True
    if method == "PATCH":
        return content_type == APPLY
    if method == "DELETE":
        return isinstance(body, dict) and bool((body.get("preconditions") or {}).get("uid"))
    return False


def _worth_repeating(error: TargetError, exchange: _Exchange) -> bool:
    if error.reason == "NotConnected":
        return True  # nothing was sent
    if error.reason in ("Certificate", "TimedOut"):
        return False
    if not exchange.repeatable:
        return False
    if error.status == 409:
        # Others wrote at the same time. What conflicts by its fields does so again, and is told by its causes.
        return exchange.method == "PATCH" and error.reason == "Conflict" and not error.causes
    if error.status in _TRANSIENT:
        # A webhook's or a storage's error is an answer to a write: asked again, it says the same.
        return exchange.method == "GET" or error.retry_after > 0
    return error.status == 0 and error.reason == "Unreachable"


def _pause(tries: int, retry_after: float) -> float:
    return max(retry_after, 0.1 * 2**tries * random.uniform(0.7, 1.3))  # noqa: S311 -- spreading load, no secret


def _lost(server: str, error: BaseException, subject: str) -> TargetError:
    """What a broken exchange means. Reasons: Certificate, NotConnected (nothing was sent), TimedOut, Unreachable."""
    reason, advice = "Unreachable", "check the address, the network and the proxy"
    if isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.ClientConnectorSSLError | ssl.SSLError):
        reason, advice = "Certificate", "check certificate-authority and tls-server-name, and the client certificate"
    elif isinstance(
        error,
        (aiohttp.ClientConnectorError, aiohttp.ClientProxyConnectionError, aiohttp.ConnectionTimeoutError, *_NO_SOCKS),
    ):
        reason = "NotConnected"
    elif isinstance(error, TimeoutError):
        reason, advice = "TimedOut", "the cluster is slow or overloaded; taut tries again later"
    return unreachable(server, error, subject=subject, reason=reason, advice=advice)


def _refused(response: aiohttp.ClientResponse, payload: Any, exchange: _Exchange) -> TargetError:
    retry_after = wished_pause(response.headers.get("Retry-After", ""), time.time())
    return status_error(
        response.status, payload, subject=exchange.subject, secret=exchange.secret, retry_after=retry_after
    )


def wished_pause(header: str, now: float) -> float:
    """The seconds that a Retry-After header (RFC 9110: a number or a date) asks for, at `now` (Unix seconds); 0 when it says nothing.

    More than five minutes are not waited for: a proxy that names a day would leave the cluster alone for that long.
    """
    text = header.strip()
    if text.isascii() and text.isdigit():
        return min(float(text), LONGEST_WISH)
    try:
        wanted = parsedate_to_datetime(text).timestamp() - now if text else 0.0
    except (ValueError, OverflowError):
        return 0.0
    return min(max(wanted, 0.0), LONGEST_WISH)


def _is_budget(error: TargetError) -> bool:
    """A 429 that speaks of one object (an eviction against a disruption budget), not of the server's load."""
    return any(reason == "DisruptionBudget" for reason, _, _ in error.causes)


def _read(data: bytes, server: str, subject: str) -> Any:
    """The body of a success. What is no JSON does not come from an API server."""
    if not data:
        return None
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError as e:
        raise unreachable(
            server,
            ValueError("its answer is no JSON, or only a part of it"),
            subject=subject,
            advice="look for a proxy in between that answers itself, or cuts connections",
        ) from e


def _decoded(data: bytes) -> Any:
    if not data:
        return None
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        return data.decode(errors="replace")


def _warnings(response: aiohttp.ClientResponse) -> tuple[str, ...]:
    """The texts of `Warning: 299 - "text"` headers."""
    found: list[str] = []
    for value in response.headers.getall("Warning", ()):
        parts = value.split('"')
        if len(parts) >= 3:
            found.append('"'.join(parts[1:-1]).replace('\\"', '"'))
    return tuple(found)
