"""Repositories and servers for the tests of sources: real git behind real HTTP, on loopback, on free ports."""

from __future__ import annotations

import asyncio
import base64
import os
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web

from taut.clients.credentials import CredentialProvider, Credentials
from taut.clients.urls import shown
from taut.model.errors import SourceError
from taut.sources import Sources
from taut.sources.credentials import NoCredentials
from taut.sources.repository_url import within

GIT_ENV = {
    "PATH": os.environ["PATH"],
    "HOME": "/nonexistent",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_NAME": "Ada",
    "GIT_AUTHOR_EMAIL": "ada@example.org",
    "GIT_COMMITTER_NAME": "Ada",
    "GIT_COMMITTER_EMAIL": "ada@example.org",
    "GIT_AUTHOR_DATE": "2026-01-02T03:04:05Z",
    "GIT_COMMITTER_DATE": "2026-01-02T03:04:05Z",
}


def git(folder: Path, *arguments: str, data: bytes | None = None, env: dict[str, str] | None = None) -> str:
    result = subprocess.run(
        ["git", "-c", "protocol.file.allow=always", *arguments],
        cwd=folder,
        env=GIT_ENV | (env or {}),
        input=data,
        capture_output=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr.decode()
    return result.stdout.decode().strip()


class Repo:
    """A bare repository that is written with plumbing: no working copy, no index."""

    def __init__(self, path: Path, branch: str = "main") -> None:
        self.path = path
        path.mkdir(parents=True)
        git(path, "init", "-q", "--bare", f"--initial-branch={branch}", ".")
        for key in ("uploadpack.allowAnySHA1InWant", "uploadpack.allowFilter"):
            git(path, "config", key, "false")

    @property
    def url(self) -> str:
        return f"file://{self.path}"

    def blob(self, content: bytes) -> str:
        return git(self.path, "hash-object", "-w", "--stdin", data=content)

    def tree(self, *entries: tuple[str, str, bytes | str]) -> str:
        """Write a tree of raw entries (mode, hash, name), as a hostile client could: nothing is checked."""
        raw = b"".join(
            mode.encode() + b" " + (name if isinstance(name, bytes) else name.encode()) + b"\0" + bytes.fromhex(oid)
            for mode, oid, name in entries
        )
        return git(self.path, "hash-object", "-t", "tree", "-w", "--literally", "--stdin", data=raw)

    def commit(
        self,
        files: dict[str, bytes | str] | None = None,
        *,
        branch: str = "main",
        tree: str = "",
        parents: tuple[str, ...] | None = None,
        message: str = "change",
        sign: tuple[str, ...] = (),
        env: dict[str, str] | None = None,
    ) -> str:
        """Commit files on top of what the branch has (or `tree`, as the whole)."""
        old = self.refs().get(f"refs/heads/{branch}", "")
        if files is not None:
            tree = self._updated(old, files)
        chosen = parents if parents is not None else ((old,) if old else ())
        flags = [flag for parent in chosen for flag in ("-p", parent)]
        config, key = (sign[:-1], [sign[-1]]) if sign else ((), [])
        commit = git(self.path, *config, "commit-tree", tree, *flags, "-m", message, *key, env=env)
        self.set(f"refs/heads/{branch}", commit)
        return commit

    def _updated(self, old: str, files: dict[str, bytes | str]) -> str:
        index = {"GIT_INDEX_FILE": str(self.path / "test-index")}
        git(self.path, "read-tree", *([old] if old else ["--empty"]), env=index)
        lines = b""
        for path, content in files.items():
            oid = self.blob(content.encode() if isinstance(content, str) else content)
            lines += f"100644 {oid}\t{path}\n".encode()
        git(self.path, "update-index", "--index-info", data=lines, env=index)
        return git(self.path, "write-tree", env=index)

    def set(self, ref: str, oid: str) -> None:
        git(self.path, "update-ref", ref, oid)

    def delete(self, ref: str) -> None:
        git(self.path, "update-ref", "-d", ref)

    def tag(self, name: str, commit: str = "refs/heads/main", *, annotated: bool = False) -> None:
        git(self.path, "tag", "-f", *(["-a", "-m", name] if annotated else []), name, commit)

    def refs(self) -> dict[str, str]:
        lines = git(self.path, "for-each-ref", "--format=%(refname) %(objectname)").splitlines()
        return {name: oid for name, _, oid in (line.partition(" ") for line in lines)}


@pytest.fixture
def new_repo(tmp_path: Path) -> Callable[..., Repo]:
    def make(name: str = "repo", branch: str = "main") -> Repo:
        return Repo(tmp_path / "remote" / f"{name}.git", branch)

    return make


@pytest.fixture
def repo(new_repo: Callable[..., Repo]) -> Repo:
    made = new_repo()
    made.commit({"apps/web/deployment.yaml": "kind: Deployment\n", "README.md": "hello\n"}, message="first\n\nbody")
    return made


class Held(CredentialProvider):
    """Credentials for address prefixes, changeable by a test."""

    def __init__(self, **by_prefix: Credentials) -> None:
        self.entries: dict[str, Credentials] = by_prefix

    def for_url(self, url: str, name: str | None = None) -> Credentials | None:
        if name is not None:
            raise SourceError(f"there are no credentials named {name!r} for {shown(url)}")
        return next((held for prefix, held in self.entries.items() if within(prefix, url)), None)


type MakeSources = Callable[..., Sources]


@pytest_asyncio.fixture
async def make_sources(tmp_path: Path) -> AsyncIterator[MakeSources]:
    made: list[Sources] = []

    def make(credentials: CredentialProvider | None = None, **options: Any) -> Sources:
        sources = Sources(tmp_path / "taut", credentials or NoCredentials(), **options)
        made.append(sources)
        return sources

    yield make
    for sources in made:
        await sources.close()


@pytest.fixture
def sources(make_sources: MakeSources) -> Sources:
    return make_sources()


@dataclass
class Request:
    """What a server was asked."""

    method: str
    path: str
    authorization: str
    status: int = 0
    sent: int = 0


@dataclass
class Server:
    """A server on loopback; `requests` is what it saw."""

    url: str = ""
    port: int = 0
    requests: list[Request] = field(default_factory=list)
    password: str = ""
    """With one, every request needs `Basic me:password` or `Bearer password`."""
    redirect_to: str = ""
    status: int = 0
    """Answer everything with this status."""

    @property
    def bytes_sent(self) -> int:
        return sum(request.sent for request in self.requests)


Handler = Callable[[Server, web.Request], Awaitable[web.StreamResponse]]


@pytest_asyncio.fixture
async def serve() -> AsyncIterator[Callable[..., Awaitable[Server]]]:
    async with AsyncExitStack() as stack:

        async def start(handler: Handler, tls: ssl.SSLContext | None = None) -> Server:
            server = Server()

            async def handle(request: web.Request) -> web.StreamResponse:
                record = Request(request.method, request.path_qs, request.headers.get("Authorization", ""))
                server.requests.append(record)
                answer = _gate(server, request) or await handler(server, request)
                record.status = answer.status
                record.sent = (
                    len(answer.body) if isinstance(answer, web.Response) and isinstance(answer.body, bytes) else 0
                )
                return answer

            runner = web.AppRunner(_application(handle), shutdown_timeout=1)
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
            await site.start()
            server.port = runner.addresses[0][1]
            server.url = f"{'https' if tls else 'http'}://127.0.0.1:{server.port}"
            return server

        yield start


def _application(handle: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> web.Application:
    application = web.Application(client_max_size=2**28)
    application.router.add_route("*", "/{path:.*}", handle)
    return application


def _gate(server: Server, request: web.Request) -> web.Response | None:
    if server.status:
        return web.Response(status=server.status)
    if server.redirect_to:
        return web.Response(status=302, headers={"Location": server.redirect_to + request.path_qs})
    if server.password:
        basic = "Basic " + base64.b64encode(f"me:{server.password}".encode()).decode()
        if request.headers.get("Authorization") not in {basic, f"Bearer {server.password}"}:
            return web.Response(status=401, headers={"WWW-Authenticate": 'Basic realm="test"'})
    return None


def files_of(root: Path) -> Handler:
    """Serves files, with ETags."""

    async def handle(_: Server, request: web.Request) -> web.StreamResponse:
        path = root / request.match_info["path"]
        if not path.is_file():
            return web.Response(status=404)
        data = path.read_bytes()
        etag = f'"{hash(data)}"'
        if request.headers.get("If-None-Match") == etag:
            return web.Response(status=304)
        return web.Response(body=data, headers={"ETag": etag})

    return handle


def git_backend(root: Path) -> Handler:
    """Git's own smart HTTP backend, as CGI."""

    async def handle(_: Server, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        environment = GIT_ENV | {
            "GIT_PROJECT_ROOT": str(root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": "/" + request.match_info["path"],
            "QUERY_STRING": request.query_string,
            "REQUEST_METHOD": request.method,
            "CONTENT_TYPE": request.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": request.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": request.headers.get("Git-Protocol", ""),
        }
        process = await asyncio.create_subprocess_exec(
            "git", "http-backend", env=environment, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )
        output, _errors = await process.communicate(body)
        head, _, rest = output.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n") if ": " in line)
        status = int(headers.pop("Status", "200").split()[0])
        return web.Response(status=status, headers=headers, body=rest)

    return handle


@pytest_asyncio.fixture
async def git_http(tmp_path: Path, serve: Callable[..., Awaitable[Server]]) -> Server:
    """Serves the repositories that `new_repo` makes, at /<name>.git."""
    return await serve(git_backend(tmp_path / "remote"))


@pytest.fixture(autouse=True)
def no_configuration_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
