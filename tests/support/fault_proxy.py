"""A proxy that breaks things: HTTP or HTTPS in front of a real server, steered by a test while taut runs.

Requests go on as they are, the caller's credentials with them. TLS ends here, with a certificate of the tests' own authority, and
begins anew towards the server, whose certificate is verified. Use it in the test's event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import socket
import ssl
import struct
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import aiohttp
import yarl
from aiohttp import web
from multidict import CIMultiDict

from servers.authority import Authority

_HOP = frozenset({"host", "connection", "keep-alive", "transfer-encoding", "upgrade", "proxy-authorization", "te"})
_PIECE = 64


class Kind(StrEnum):
    """What happens to a request."""

    STATUS = "status"
    """It is refused with a status; the server never sees it."""
    LOST_STATUS = "lost-status"
    """The server carries it out, and the caller is told a status all the same."""
    RESET = "reset"
    """The connection is reset before the server sees it."""
    LOST = "lost"
    """The server carries it out; the connection is reset before its answer."""
    SLOW = "slow"
    """The answer comes in small pieces."""
    HALF = "half"
    """The answer is cut off in the middle: shorter than its Content-Length, or its chunks without an end."""
    HANG = "hang"
    """No answer, and the connection stays open."""
    ENDS = "ends"
    """A watch that ends as soon as it began, cleanly."""
    SILENT = "silent"
    """A watch that stays open and brings nothing."""
    GONE = "gone"
    """A watch that says that its resource version is too old."""


@dataclass(frozen=True)
class Asked:
    """One request."""

    method: str
    path: str
    query: dict[str, str]

    @property
    def watch(self) -> bool:
        """Whether it is a watch."""
        return "watch" in self.query

    @property
    def write(self) -> bool:
        """Whether it changes something."""
        return self.method not in ("GET", "HEAD") and "dryRun" not in self.query


@dataclass
class Fault:
    """A rule: this `share` of the requests that fit meets its fate, until it happened `times` times (-1: without end)."""

    kind: Kind
    fits: Callable[[Asked], bool] = lambda _: True
    share: float = 1.0
    times: int = -1
    status: int = 503
    retry_after: str = ""
    hits: int = 0

    @property
    def over(self) -> bool:
        """Whether it will not happen again."""
        return 0 <= self.times <= self.hits


@dataclass
class FaultProxy:
    """`faults` are tried in their order; the first that fits and is not over decides. Empty: everything goes through."""

    target: str
    port: int
    scheme: str
    random: random.Random
    faults: list[Fault] = field(default_factory=list[Fault])
    seen: list[Asked] = field(default_factory=list[Asked])
    hits: Counter[str] = field(default_factory=Counter[str])
    clients: set[tuple[str, int]] = field(default_factory=set[tuple[str, int]])
    """The connections that were made: each has an address of its own."""
    at_once: int = 0
    most_at_once: int = 0
    """How many requests were under way together, watches not counted."""
    when: list[float] = field(default_factory=list[float])
    """When each of `seen` came (the loop's time)."""
    _streams: list[web.Request] = field(default_factory=list[web.Request])
    swallowed: int = 0
    """What watches did not pass on since they are silent, each counted once."""
    silence: bool = False
    """Watches that stand bring nothing from now on, and stay open."""

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"{self.scheme}://127.0.0.1:{self.port}"

    def heal(self) -> None:
        """From now on everything goes through. What hangs or is silent stays so: that is for the caller to notice."""
        self.faults.clear()
        self.silence = False

    def cut(self) -> None:
        """Reset the watches that stand."""
        for request in list(self._streams):
            reset(request)

    def fate(self, asked: Asked) -> Fault | None:
        """What happens to this request."""
        for fault in self.faults:
            if not fault.over and fault.fits(asked) and self.random.random() < fault.share:
                fault.hits += 1
                self.hits[f"{fault.kind} {fault.status}" if "status" in fault.kind else fault.kind] += 1
                return fault
        return None

    async def serve(self, request: web.Request, session: aiohttp.ClientSession) -> web.StreamResponse:
        """Pass a request on, or do to it what a rule says."""
        asked = Asked(request.method, request.path, dict(request.query))
        self.seen.append(asked)
        self.when.append(asyncio.get_running_loop().time())
        if request.transport is not None:
            self.clients.add(request.transport.get_extra_info("peername")[:2])
        if asked.watch:
            return await self._handle(request, session, asked)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            return await self._handle(request, session, asked)
        finally:
            self.at_once -= 1

    async def _handle(self, request: web.Request, session: aiohttp.ClientSession, asked: Asked) -> web.StreamResponse:
        body = await request.read()
        fault = self.fate(asked)
        match fault.kind if fault else None:
            case Kind.STATUS:
                assert fault is not None
                return _status(fault)
            case Kind.RESET:
                return reset(request)
            case Kind.HANG:
                await asyncio.Event().wait()
            case Kind.ENDS:
                return await _stream(request, b"")
            case Kind.GONE:
                return await _stream(request, _GONE)
            case Kind.SILENT:
                response = await _stream(request, b"", end=False)
                await asyncio.Event().wait()
                return response
            case _:
                pass
        headers = [(k, v) for k, v in request.headers.items() if k.lower() not in _HOP]
        url = yarl.URL(self.target + request.raw_path, encoded=True)
        async with session.request(
            request.method, url, headers=headers, data=body or None, allow_redirects=False
        ) as upstream:
            if asked.watch:
                return await self._relay(request, upstream)
            answer = await upstream.read()
        return await _answer(request, upstream, answer, fault)

    async def _relay(self, request: web.Request, upstream: aiohttp.ClientResponse) -> web.StreamResponse:
        response = web.StreamResponse(status=upstream.status, headers=_headers(upstream))
        await response.prepare(request)
        self._streams.append(request)
        try:
            async for chunk in upstream.content.iter_any():
                if self.silence:
                    self.swallowed += 1
                    await asyncio.Event().wait()
                await response.write(chunk)
        finally:
            self._streams.remove(request)
        return response


def reset(request: web.Request) -> web.Response:
    """Reset the request's connection: the caller gets an error, not an end, and no answer."""
    nobody = web.Response()
    transport = request.transport
    if transport is None:
        return nobody
    connection = transport.get_extra_info("socket")
    if connection is not None:
        with contextlib.suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
    return nobody


def _status(fault: Fault) -> web.Response:
    body = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": fault.status, "message": "a fault"}
    body["reason"] = {409: "Conflict", 429: "TooManyRequests", 500: "InternalError", 503: "ServiceUnavailable"}[
        fault.status
    ]
    headers = {"Retry-After": fault.retry_after} if fault.retry_after else {}
    return web.json_response(body, status=fault.status, headers=headers)


_GONE = (
    json.dumps(
        {
            "type": "ERROR",
            "object": {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 410, "reason": "Expired"},
        }
    ).encode()
    + b"\n"
)


def _headers(upstream: aiohttp.ClientResponse) -> CIMultiDict[str]:
    kept = CIMultiDict(upstream.headers)
    for name in [n for n in kept if n.lower() in _HOP or n.lower() == "content-length"]:
        kept.popall(name, None)
    return kept


async def _stream(request: web.Request, data: bytes, *, end: bool = True) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    response.enable_chunked_encoding()
    await response.prepare(request)
    if data:
        await response.write(data)
    if end:
        await response.write_eof()
    return response


async def _answer(
    request: web.Request, upstream: aiohttp.ClientResponse, body: bytes, fault: Fault | None
) -> web.StreamResponse:
    kind = fault.kind if fault else None
    if kind is Kind.LOST:
        return reset(request)
    if fault is not None and kind is Kind.LOST_STATUS:
        return _status(fault)
    response = web.StreamResponse(status=upstream.status, headers=_headers(upstream))
    chunked = "Transfer-Encoding" in upstream.headers
    if chunked and upstream.status != 304:
        response.enable_chunked_encoding()
    else:
        response.content_length = len(body)
    await response.prepare(request)
    if kind is Kind.HALF:
        await response.write(body[: len(body) // 2])
        await asyncio.sleep(0)
        if request.transport is not None:
            request.transport.close()
        return response
    if kind is Kind.SLOW:
        # A few pieces and pauses, whatever the length: slow, and not for ever.
        for at in range(0, 8 * _PIECE, _PIECE):
            if body[at : at + _PIECE]:
                await response.write(body[at : at + _PIECE])
                await asyncio.sleep(0.03)
        await response.write(body[8 * _PIECE :])
    elif body:
        await response.write(body)
    await response.write_eof()
    return response


class Place:
    """A proxy that can be stopped (connections are refused) and started again at the same port, also with another certificate."""

    def __init__(self, proxy: FaultProxy, session: aiohttp.ClientSession) -> None:
        self.proxy = proxy
        self._session = session
        self._runner: web.AppRunner | None = None

    async def start(self, authority: Authority | None) -> None:
        """Listen."""

        async def serve(request: web.Request) -> web.StreamResponse:
            return await self.proxy.serve(request, self._session)

        app = web.Application(client_max_size=2**28)
        app.router.add_route("*", "/{path:.*}", serve)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None, handler_cancellation=True)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.proxy.port, ssl_context=_tls(authority), reuse_address=True)
        await site.start()
        self.proxy.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Refuse connections, and cut those that stand."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None


def _tls(authority: Authority | None) -> ssl.SSLContext | None:
    if authority is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.certificate, authority.key)
    return context


@asynccontextmanager
async def fault_proxy(
    target: str, *, authority: Authority | None = None, ca: Path | None = None, seed: int = 0
) -> AsyncGenerator[tuple[FaultProxy, Place]]:
    """A proxy before `target` (a URL without a path). With `authority` it speaks TLS; `ca` verifies the target."""
    towards = ssl.create_default_context(cafile=str(ca)) if ca else False
    connector = aiohttp.TCPConnector(limit=0, ssl=towards, keepalive_timeout=20)
    timeout = aiohttp.ClientTimeout(total=None)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout, auto_decompress=False) as session:
        scheme = "https" if authority else "http"
        proxy = FaultProxy(target.rstrip("/"), 0, scheme, random.Random(seed))
        place = Place(proxy, session)
        await place.start(authority)
        try:
            yield proxy, place
        finally:
            await place.stop()
