"""For tests against a real control plane: waiting for facts, kubectl, an HTTP proxy that can misbehave."""

from __future__ import annotations

import asyncio
import os
import shutil
import ssl
import sysconfig
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
from aiohttp import web

KUBECTL = shutil.which("kubectl", path=f"{sysconfig.get_path('scripts')}{os.pathsep}{os.environ.get('PATH', '')}")


async def eventually[T](fact: Callable[[], T] | Callable[[], Awaitable[T]], what: str = "", seconds: float = 30.0) -> T:
    """Wait until `fact` is true; returns its value. Fails with `what` after the deadline."""
    deadline = time.monotonic() + seconds
    while True:
        value = fact()
        if asyncio.iscoroutine(value):
            value = await value
        if value:
            return value  # pyright: ignore[reportReturnType]
        assert time.monotonic() < deadline, f"it never happened: {what or fact}"
        await asyncio.sleep(0.02)


async def kubectl(kubeconfig: Path, *args: str, stdin: str = "") -> str:
    """Run kubectl; returns what it printed. Fails when it fails."""
    assert KUBECTL is not None
    process = await asyncio.create_subprocess_exec(
        KUBECTL,
        "--kubeconfig",
        str(kubeconfig),
        *args,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate(stdin.encode())
    assert process.returncode == 0, err.decode()
    return out.decode()


type Rule = Callable[[web.Request], Awaitable[web.StreamResponse | None]]


@dataclass
class ApiProxy:
    """An HTTP server in front of a real API server.

    `rule` may answer a request itself (return a response), or change `query` before it goes on. `seen` are the requests that came.
    `silence` makes running streams fall silent without closing; `cut` closes them.
    """

    url: str = ""
    rule: Rule | None = None
    query: Callable[[str, dict[str, str]], dict[str, str]] = field(default=lambda _path, query: query)
    seen: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    streams: set[asyncio.Task[None]] = field(default_factory=set)
    silent: bool = False

    def cut(self) -> None:
        """Close the streams that run."""
        for task in list(self.streams):
            task.cancel()

    def watches(self) -> list[dict[str, str]]:
        """The queries of the watches that came."""
        return [query for _, _, query in self.seen if "watch" in query]


@asynccontextmanager
async def api_proxy(server: str, ca: Path, token: str, port: int = 0) -> AsyncGenerator[ApiProxy]:
    """Serve an ApiProxy on 127.0.0.1, plain HTTP, for the API server at `server`."""
    proxy = ApiProxy()
    tls = ssl.create_default_context(cafile=str(ca))
    tls.verify_flags &= ~ssl.VERIFY_X509_STRICT
    connector = aiohttp.TCPConnector(ssl=tls, limit=0)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=None)) as session:

        async def forward(request: web.Request) -> web.StreamResponse:
            query = dict(request.query)
            proxy.seen.append((request.method, request.path, query))
            if proxy.rule is not None:
                answer = await proxy.rule(request)
                if answer is not None:
                    return answer
            headers = {k: v for k, v in request.headers.items() if k not in ("Host", "Content-Length")}
            headers["Authorization"] = f"Bearer {token}"
            async with session.request(
                request.method,
                server + request.path,
                params=proxy.query(request.path, query),
                headers=headers,
                data=await request.read() or None,
            ) as upstream:
                response = web.StreamResponse(status=upstream.status)
                for name in ("Content-Type", "Retry-After", "ETag"):
                    if name in upstream.headers:
                        response.headers[name] = upstream.headers[name]
                await response.prepare(request)
                if "watch" not in query:
                    await response.write(await upstream.read())
                    return response
                await _relay(proxy, upstream, response, request)
                return response

        app = web.Application(client_max_size=2**26)
        app.router.add_route("*", "/{path:.*}", forward)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", port)
        await site.start()
        proxy.url = "http://{}:{}".format(*runner.addresses[0][:2])
        try:
            yield proxy
        finally:
            proxy.cut()
            await runner.cleanup()


async def _relay(
    proxy: ApiProxy, upstream: aiohttp.ClientResponse, response: web.StreamResponse, request: web.Request
) -> None:
    async def pump() -> None:
        async for chunk in upstream.content.iter_any():
            if proxy.silent:
                await asyncio.Event().wait()
            await response.write(chunk)
        if proxy.silent:
            await asyncio.Event().wait()

    task = asyncio.create_task(pump())
    proxy.streams.add(task)
    try:
        await asyncio.wait({task})
        if task.cancelled() and request.transport is not None:
            request.transport.abort()
    finally:
        task.cancel()
        proxy.streams.discard(task)


async def quiet(proxy: ApiProxy, seconds: float = 0.5) -> None:
    """Wait until what just happened has brought all its requests: none for so many seconds."""
    loop = asyncio.get_running_loop()
    count, since = len(proxy.seen), loop.time()

    def fact() -> bool:
        nonlocal count, since
        if len(proxy.seen) != count:
            count, since = len(proxy.seen), loop.time()
        return loop.time() - since > seconds

    await eventually(fact, "quiet")
