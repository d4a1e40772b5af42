"""Receivers of alerts that keep what they get: a real SMTP server, and a real HTTP server, both on this machine."""

from __future__ import annotations

import asyncio
import email
import email.policy
import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session


@dataclass
class Mailbox:
    """What a mail server took. `answers` are given instead of taking it, one each, the first first."""

    port: int = 0
    mails: list[EmailMessage] = field(default_factory=list)
    recipients: list[list[str]] = field(default_factory=list)
    encrypted: list[bool] = field(default_factory=list)
    answers: list[str] = field(default_factory=list)

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 (the library's name)
        """A mail has come."""
        if self.answers:
            return self.answers.pop(0)
        found = email.message_from_bytes(envelope.content or b"", policy=email.policy.default)
        assert isinstance(found, EmailMessage)
        self.mails.append(found)
        self.recipients.append(list(envelope.rcpt_tos))
        self.encrypted.append(session.ssl is not None)
        return "250 taken"


@contextmanager
def smtp_server(
    *, tls: ssl.SSLContext | None = None, direct: ssl.SSLContext | None = None, user: tuple[str, str] | None = None
) -> Iterator[Mailbox]:
    """A mail server: `tls` offers STARTTLS, `direct` is TLS from the first byte, `user` has to sign in."""
    box = Mailbox()

    def known(_server: SMTP, _session: Session, _envelope: Envelope, _mechanism: str, data: Any) -> AuthResult:
        right = isinstance(data, LoginPassword) and (data.login.decode(), data.password.decode()) == user
        return AuthResult(success=right, handled=False)

    options: dict[str, Any] = {"hostname": "127.0.0.1", "tls_context": tls, "require_starttls": tls is not None}
    if user is not None:
        options |= {"authenticator": known, "auth_required": True, "auth_require_tls": direct is None}
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    async def listen() -> asyncio.Server:
        return await loop.create_server(lambda: SMTP(box, **options), "127.0.0.1", 0, ssl=direct)

    async def end() -> None:
        server.close()
        server.close_clients()

    server = asyncio.run_coroutine_threadsafe(listen(), loop).result(10)
    box.port = server.sockets[0].getsockname()[1]
    try:
        yield box
    finally:
        asyncio.run_coroutine_threadsafe(end(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


@dataclass(frozen=True)
class Got:
    """A request that came."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body."""
        return json.loads(self.body)


@dataclass
class HttpInbox:
    """What an HTTP server got. `answers` are (status, headers) to give, one each, the first first; then 200."""

    url: str = ""
    got: list[Got] = field(default_factory=list)
    answers: list[tuple[int, dict[str, str]]] = field(default_factory=list)

    @property
    def ids(self) -> list[str]:
        """The identities of the signed messages that came."""
        return [g.headers["webhook-id"] for g in self.got]


@contextmanager
def http_inbox() -> Iterator[HttpInbox]:
    """An HTTP server that takes everything."""
    box = HttpInbox()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            box.got.append(Got(self.path, {k.lower(): v for k, v in self.headers.items()}, body))
            status, headers = box.answers.pop(0) if box.answers else (200, {})
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    box.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield box
    finally:
        server.shutdown()
        server.server_close()
