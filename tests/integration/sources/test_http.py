"""The HTTP client: bounded, verified, and quiet about secrets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import pytest_asyncio
from aiohttp import web

from taut.clients.credentials import Credentials
from taut.clients.http import HttpClient, HttpLimits
from taut.model.errors import SourceError

from .certificates import Authority
from .conftest import Server

pytestmark = pytest.mark.integration
type Serve = Callable[..., Awaitable[Server]]
SHORT = HttpLimits(connect=5, total=0.5, idle=0.5, size=1000, redirects=3)


@pytest_asyncio.fixture
async def client() -> AsyncIterator[HttpClient]:
    async with HttpClient(SHORT) as made:
        yield made


def answering(body: bytes = b"ok", **headers: str) -> Callable[..., Awaitable[web.StreamResponse]]:
    async def handle(_: Server, __: web.Request) -> web.StreamResponse:
        return web.Response(body=body, headers=headers)

    return handle


async def test_an_answer(client: HttpClient, serve: Serve) -> None:
    server = await serve(answering(b"hello", ETag='"1"'))
    answer = await client.get(f"{server.url}/x")
    assert (answer.status, answer.body, answer.headers["etag"]) == (200, b"hello", '"1"')


async def test_an_answer_that_is_too_large(client: HttpClient, serve: Serve) -> None:
    server = await serve(answering(bytes(1001)))
    with pytest.raises(SourceError, match="larger than 1000 bytes"):
        await client.get(server.url)
    assert len((await client.get(server.url, limit=2000)).body) == 1001


async def test_an_answer_that_is_too_large_once_unpacked(client: HttpClient, serve: Serve) -> None:
    async def bomb(_: Server, __: web.Request) -> web.StreamResponse:
        answer = web.Response(body=bytes(10**6))
        answer.enable_compression()
        return answer

    with pytest.raises(SourceError, match="larger than 1000 bytes"):
        await client.get((await serve(bomb)).url)


@pytest.mark.parametrize("first", [b"", b"x"])
async def test_an_answer_that_never_comes(client: HttpClient, serve: Serve, first: bytes) -> None:
    async def slow(_: Server, request: web.Request) -> web.StreamResponse:
        if first:
            answer = web.StreamResponse()
            await answer.prepare(request)
            await answer.write(first)
        await asyncio.Event().wait()
        raise AssertionError

    with pytest.raises(SourceError, match="does not answer in time"):
        await client.get((await serve(slow)).url)


async def test_redirects_end(client: HttpClient, serve: Serve) -> None:
    server = await serve(answering())
    server.redirect_to = server.url
    with pytest.raises(SourceError, match="redirects again and again"):
        await client.get(f"{server.url}/x")
    assert len(server.requests) == 4


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://host/x", "", "http://[::1", "gopher://x"])
async def test_redirects_to_what_is_no_web_address(client: HttpClient, serve: Serve, target: str) -> None:
    server = await serve(answering())
    server.redirect_to = target + "#" if target else "file:///x"
    with pytest.raises(SourceError, match=r"is no web address|is not read over HTTP"):
        await client.get(server.url)


async def test_from_https_to_http(client: HttpClient, serve: Serve, tmp_path: Path) -> None:
    authority = Authority("taut test")
    plain = await serve(answering())
    secure = await serve(answering(), authority.server_context("127.0.0.1", tmp_path))
    secure.redirect_to = plain.url
    with pytest.raises(SourceError, match="from https to plain http"):
        await client.get(secure.url, credentials=Credentials(ca=authority.pem, bearer="hunter2"))
    assert plain.requests == []


async def test_trust(client: HttpClient, serve: Serve, tmp_path: Path) -> None:
    """An authority without keyUsage, as many private ones are, is accepted; another authority, or another name, is not."""
    authority = Authority("taut test", key_usage=False)
    server = await serve(answering(), authority.server_context("127.0.0.1", tmp_path))
    assert (await client.get(server.url, credentials=Credentials(ca=authority.pem))).body == b"ok"
    for held in (None, Credentials(ca=Authority("other").pem)):
        with pytest.raises(SourceError, match="certificate is not trusted"):
            await client.get(server.url, credentials=held)
    with pytest.raises(SourceError, match=r"certificate is not trusted.*Hostname mismatch"):
        await client.get(server.url.replace("127.0.0.1", "localhost"), credentials=Credentials(ca=authority.pem))
    with pytest.raises(SourceError, match="TLS certificates in the credentials cannot be used"):
        await client.get(server.url, credentials=Credentials(ca=b"nonsense"))


async def test_a_server_without_tls(client: HttpClient, serve: Serve) -> None:
    server = await serve(answering())
    with pytest.raises(SourceError, match="no TLS connection"):
        await client.get(server.url.replace("http:", "https:"))


async def test_nobody_there(client: HttpClient) -> None:
    with pytest.raises(SourceError, match="cannot be reached"):
        await client.get("http://127.0.0.1:1/x")
    with pytest.raises(SourceError, match=r"host's name is not known|not answer in time"):
        await client.get("http://does-not-exist.invalid/")
    for wrong in ("", "x", "http://", "file:///etc/passwd", "http://host:99999/"):
        with pytest.raises(SourceError, match=r"is no web address|is not read over HTTP"):
            await client.get(wrong)


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (401, "wants credentials"),
        (403, "refuses access"),
        (404, "nothing at this address"),
        (429, "patience"),
        (502, "status 502"),
    ],
)
async def test_statuses(client: HttpClient, serve: Serve, status: int, words: str) -> None:
    server = await serve(answering())
    server.status = status
    with pytest.raises(SourceError, match=words) as caught:
        await client.get(f"{server.url}/x?token=hunter2", credentials=Credentials(password="hunter2"))
    assert "hunter2" not in str(caught.value)
    assert (await client.get(server.url, accept=frozenset({status}))).status == status


async def test_cookies_are_not_kept(client: HttpClient, serve: Serve) -> None:
    seen: list[str | None] = []

    async def handle(_: Server, request: web.Request) -> web.StreamResponse:
        seen.append(request.headers.get("Cookie"))
        return web.Response(headers={"Set-Cookie": "a=b"})

    server = await serve(handle)
    for _ in range(2):
        await client.get(server.url)
    assert seen == [None, None]


async def test_the_environment_names_a_proxy_and_no_passwords(
    client: HttpClient, serve: Serve, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    heads: list[str] = []

    async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\nConnection: close\r\n\r\nby the proxy")
        await writer.drain()
        writer.close()

    server = await serve(answering(b"direct"))
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password hunter2\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    async with await asyncio.start_server(proxy, "127.0.0.1", 0) as listening:
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}")
        # As in CGI, an upper-case HTTP_PROXY may come from a request when REQUEST_METHOD is set.
        monkeypatch.delenv("REQUEST_METHOD", raising=False)
        assert (await client.get(f"{server.url}/x")).body == b"by the proxy"
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    assert (await client.get(server.url)).body == b"direct"
    assert heads[0].startswith(f"GET {server.url}/x ")
    assert "authorization" not in heads[0].lower()
    assert [request.authorization for request in server.requests] == [""]
