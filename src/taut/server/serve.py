"""The server's life: bind, announce, serve, stop. Loopback only."""

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

from taut.model.errors import BadInput, TautError
from taut.server.announce import Announcement, announce, withdraw
from taut.server.api import make_app
from taut.server.auth import load_token
from taut.server.backend import Backend
from taut.server.hooks import signed_with

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
) -> AsyncGenerator[Serving]:
    """Serve `backend` for as long as the context is open.

    `listen` is `127.0.0.1:PORT` (or `[::1]:PORT`, `localhost:PORT`); port 0 takes a free one. The token is in `token_file`
    (default: `<store>.token`), made at first use. Raises BadInput for an address that is not loopback, TautError when it is taken.
    """
    store = await asyncio.to_thread(store.absolute)
    sock = bind(listen)
    host, port = sock.getsockname()[:2]
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    token_file = await asyncio.to_thread(token_file.absolute) if token_file else store.with_name(store.name + ".token")
    try:
        token = load_token(token_file)
        verify = signed_with(webhook_secret) if webhook_secret else None
        server = _Server(_config(make_app(backend, token, verify)))
        written = announce(Announcement(server=url, token_file=str(token_file), store=str(store), pid=os.getpid()))
    except BaseException:
        sock.close()
        raise
    task = asyncio.create_task(server.serve(sockets=[sock]), name="taut-api")
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


def bind(listen: str) -> socket.socket:
    """A listening socket on a loopback address."""
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
    if not loopback:
        raise BadInput(
            f"taut listens on this machine only, and {host!r} is not it",
            advice="listen on 127.0.0.1, and put a proxy with TLS in front where others need the API",
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
