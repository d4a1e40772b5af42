"""The administrator's token: whoever holds it may do everything that the API offers. It lives in a file of mode 0600 beside the store."""

from __future__ import annotations

import contextlib
import hmac
import os
import secrets
import stat
from dataclasses import replace
from pathlib import Path

from starlette.types import ASGIApp, Receive, Scope, Send

from taut.model.errors import StoreError, Where
from taut.server.access.asking import admit
from taut.server.access.principal import Principal, Rights
from taut.server.access.rules import ADMIN
from taut.server.problems import answer
from taut.server.views import ErrorView

OPEN = frozenset({"/healthz", "/readyz", "/hooks/git"})
"""Addresses without a token: probes say nothing but yes or no, and a webhook carries its own signature."""


def load_token(path: Path) -> str:
    """Read the token, made at first use. Raises StoreError when the file cannot be used or others may read it."""
    try:
        if not path.exists():
            _create(path)
        mode = stat.S_IMODE(path.stat().st_mode)
        token = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise StoreError(
            "The token file cannot be read or made",
            where=Where(file=str(path)),
            advice="let the user that runs taut read and write it; deleting it makes a new token",
        ) from error
    if mode & 0o077:
        raise StoreError(
            f"The token file may be read by others (mode {mode:04o})",
            where=Where(file=str(path)),
            advice=f"run `chmod 600 {path}`; delete it to get a new token",
        )
    if len(token) < 32:
        raise StoreError(
            "The token file holds no token", where=Where(file=str(path)), advice="delete it; taut makes a new one"
        )
    return token


def _create(path: Path) -> None:
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "w") as file:
        file.write(secrets.token_urlsafe(32) + "\n")
    try:
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink(missing_ok=True)


ADMINISTRATOR = Principal("admin", frozenset({"admin", ADMIN}), "file")
"""Who holds the token of the file."""


class TokenRequired:
    """Lets requests through that carry `Authorization: Bearer <token>`; answers 401 to all others."""

    def __init__(self, app: ASGIApp, token: str, rights: Rights) -> None:
        self._app = app
        self._rights = rights
        self._expected = b"bearer " + token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check one request; compared in constant time."""
        if scope["type"] != "http" or scope["path"] in OPEN:
            await self._app(scope, receive, send)
            return
        if self._allowed(scope):
            admit(scope.setdefault("state", {}), self._named(scope), self._rights)
            await self._app(scope, receive, send)
            return
        refused = ErrorView(
            what="The token is missing or wrong",
            advice="the token is in the file that `taut run` names when it starts; pass it with --token-file",
        )
        await answer(refused, 401, {"WWW-Authenticate": "Bearer"})(scope, receive, send)

    def _named(self, scope: Scope) -> Principal:
        """The administrator, by the name that they say: the token is shared, so this is a note for the history, no proof."""
        said = next((value for name, value in scope["headers"] if name == b"x-taut-actor"), b"").decode("latin-1")
        name = "".join(c for c in said if c.isprintable())[:100]
        return replace(ADMINISTRATOR, name=name) if name else ADMINISTRATOR

    def _allowed(self, scope: Scope) -> bool:
        given = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
        scheme, space, token = given.partition(b" ")
        return hmac.compare_digest(scheme.lower() + space + token.strip(), self._expected)
