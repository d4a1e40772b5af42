"""The server's life: bind, announce, serve, stop. Loopback only, unless there is TLS."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import os
import socket
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from taut.clients.http import HttpClient
from taut.dialects.access_config import AccessConfig
from taut.model.durations import seconds
from taut.model.errors import BadInput, TautError
from taut.server.access.accounts import Accounts, Rows
from taut.server.access.gate import FileRights, Gate
from taut.server.access.oidc import Provider
from taut.server.announce import Announcement, announce, withdraw
from taut.server.api import make_app
from taut.server.auth import load_token
from taut.server.backend import Backend
from taut.server.hooks import signed_with
from taut.server.tls import Certificate

_STOP_SECONDS = 3


@dataclass(frozen=True, slots=True)
class Serving:
    """Where the API answers, and where its token is."""

    url: str
    token_file: Path


@asynccontextmanager
async def serving(
    backend: Backend,
    *,
    listen: str,
    store: Path,
    webhook_secret: bytes | None = None,
    token_file: Path | None = None,
    access: AccessConfig | None = None,
    rows: Rows | None = None,
) -> AsyncGenerator[Serving]:
    """Serve `backend` for as long as the context is open.

    `listen` is `127.0.0.1:PORT` (or `[::1]:PORT`, `localhost:PORT`); port 0 takes a free one. The token is in `token_file`
    (default: `<store>.token`), made at first use. `access` says who may sign in and do what, `rows` keeps tokens and sessions (None: memory).
    Raises BadInput for an address that is not loopback without TLS and for files that cannot be read, TautError when the address is taken.
    """
    access = access or AccessConfig()
    store = await asyncio.to_thread(store.absolute)
    certificate = Certificate(access.tls) if access.tls is not None else None
    sock = bind(listen, anywhere=certificate is not None)
    host, port = sock.getsockname()[:2]
    scheme = "http" if certificate is None else "https"
    url = f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
    token_file = await asyncio.to_thread(token_file.absolute) if token_file else store.with_name(store.name + ".token")
    http = HttpClient()
    try:
        gate = await _gate(load_token(token_file), access, rows, http)
        verify = signed_with(webhook_secret) if webhook_secret else None
        app = make_app(backend, gate, verify, url=access.url or "", longest=seconds(access.session))
        config = _config(ProxyHeadersMiddleware(app, list(access.trusted_proxies)) if access.trusted_proxies else app)  # pyright: ignore[reportArgumentType] (as below)
        if certificate is not None:
            config.load()
            config.ssl = certificate.context
        server = _Server(config)
        written = announce(Announcement(server=url, token_file=str(token_file), store=str(store), pid=os.getpid()))
    except BaseException:
        sock.close()
        raise
    task = asyncio.create_task(server.serve(sockets=[sock]), name="taut-api")
    renewal = asyncio.create_task(certificate.keep()) if certificate is not None else None
    try:
        yield Serving(url, token_file)
    finally:
        withdraw(written, os.getpid())
        # Watches that are open are cut off now; that is no error to print.
        logging.getLogger("uvicorn.error").disabled = True
        server.stop()
        # A watch never ends by itself: uvicorn cancels what is still open after its grace time.
        await asyncio.wait([task], timeout=_STOP_SECONDS + 2)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        if renewal is not None:
            renewal.cancel()
        await http.close()


async def _gate(token: str, access: AccessConfig, rows: Rows | None, http: HttpClient) -> Gate:
    rights = FileRights(access.policy_file, default=access.default_role, anonymous=access.anonymous_role)
    accounts = Accounts(rows or InMemory(), idle=seconds(access.idle), longest=seconds(access.session))
    await accounts.load()
    return Gate(token, rights, accounts, {one.name: Provider(one, http) for one in access.oidc})


class InMemory:
    """Keeps tokens and sessions as long as the process lives."""

    async def put_account(self, kind: str, name: str, record: bytes, ends: float) -> None:
        """They are in memory already."""

    async def drop_account(self, kind: str, name: str) -> None:
        """They are in memory only."""

    async def accounts(self, kind: str) -> dict[str, bytes]:
        """None from before."""
        return {}


def bind(listen: str, *, anywhere: bool = False) -> socket.socket:
    """A listening socket on a loopback address, or `anywhere` on any."""
    host, colon, port = listen.rpartition(":")
    host = host.strip("[]")
    if not colon or not port.isdigit() or int(port) > 65535:
        raise BadInput(
            f"{listen!r} is no address to listen on", advice="write it like 127.0.0.1:7411; port 0 takes a free one"
        )
    address = "127.0.0.1" if host in ("", "localhost") else host
    try:
        loopback = ipaddress.ip_address(address).is_loopback
    except ValueError:
        loopback = False
    if not loopback and not anywhere:
        raise BadInput(
            f"taut listens on this machine only, and {host!r} is not it",
            advice="give access.tls a certificate, or listen on 127.0.0.1 with a proxy in front where others need the API",
        )
    sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    # asyncio sets it only on sockets that name their protocol. Without it each answer of two packets waits 40 ms for an acknowledgement.
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        sock.bind((address, int(port)))
        sock.listen(128)
    except OSError as error:
        sock.close()
        raise TautError(
            f"taut cannot listen on {listen}: {error.strerror}",
            advice="another program may use the port; choose another one, or 0 for a free one",
        ) from error
    return sock


def _config(app: object) -> uvicorn.Config:
    return uvicorn.Config(
        app,  # pyright: ignore[reportArgumentType] (Starlette's and uvicorn's types of an ASGI application differ in words only)
        log_config=None,
        access_log=False,
        lifespan="off",
        server_header=False,
        date_header=False,
        timeout_graceful_shutdown=_STOP_SECONDS,
        ws="none",
        proxy_headers=False,
    )


class _Server(uvicorn.Server):
    """uvicorn without its own signal handling, and without its clock of ten ticks a second: who runs taut decides when to stop."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Take no more requests, and end when those that are under way have been answered."""
        self.should_exit = True
        self._stopping.set()

    async def main_loop(self) -> None:
        """Wait until it is to stop. What uvicorn does at each tick is for the `Date` header and limits that are not used here."""
        await self._stopping.wait()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        """Leave signals alone."""
        yield
