"""Tokens for machines, and sessions of browsers: kept sealed in the store, looked up in memory, found by a hash of what is signed in with."""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable, Iterable
from typing import Protocol

import msgspec

from taut.model.errors import BadInput
from taut.server.access.principal import Principal

PREFIX = "taut_"
"""Ahead of every token, so that scanners of repositories find one that was pushed."""
_TOKEN, _SESSION = "token", "session"
_SEEN_AFTER = 300.0
"""Seconds between two notes of when something was used last."""
_MOST_SESSIONS = 20_000
_OURS = ("role:", "token:")


class Rows(Protocol):
    """Where records are kept."""

    async def put_account(self, kind: str, name: str, record: bytes, ends: float) -> None:
        """Keep a record until `ends`."""
        ...

    async def drop_account(self, kind: str, name: str) -> None:
        """Forget a record."""
        ...

    async def accounts(self, kind: str) -> dict[str, bytes]:
        """All records of a kind."""
        ...


class ApiToken(msgspec.Struct, frozen=True, kw_only=True):
    """A token: what it is called and may be, never itself. Times are Unix seconds; `ends` 0: it does not run out, `used` 0: never."""

    id: str
    name: str
    digest: str
    roles: tuple[str, ...]
    by: str
    created: float
    ends: float = 0.0
    used: float = 0.0

    @property
    def principal(self) -> Principal:
        """Who comes with it: only what its roles allow."""
        return Principal(f"token {self.name}", frozenset({f"token:{self.name}", *self.roles}), "token")


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """A browser that signed in. `refresh` renews what the provider says of the person, at `renew_at` (0: never)."""

    id: str
    name: str
    groups: tuple[str, ...]
    provider: str
    started: float
    ends: float
    seen: float
    roles: tuple[str, ...] = ()
    refresh: str = ""
    renew_at: float = 0.0

    @property
    def principal(self) -> Principal:
        """Who signed in: their name and groups, and roles that they have without any rule. Nobody's provider gives roles of taut."""
        told = {t for t in (self.name, *self.groups) if not t.startswith(_OURS)}
        return Principal(self.name, frozenset({*told, *self.roles}), "session")


class Accounts:
    """All of them. `load` first; everything else is answered from memory."""

    def __init__(self, rows: Rows, *, idle: float, longest: float, clock: Callable[[], float] = time.time) -> None:
        """`idle` and `longest` (seconds) are when a session ends: without a request, and at all."""
        self._rows = rows
        self._idle, self._longest = idle, longest
        self._clock = clock
        self._tokens: dict[str, ApiToken] = {}
        self._by_digest: dict[str, ApiToken] = {}
        self._sessions: dict[str, Session] = {}

    async def load(self) -> None:
        """Read what was kept."""
        tokens = [msgspec.json.decode(r, type=ApiToken) for r in (await self._rows.accounts(_TOKEN)).values()]
        sessions = [msgspec.json.decode(r, type=Session) for r in (await self._rows.accounts(_SESSION)).values()]
        self._tokens = {t.id: t for t in tokens}
        self._by_digest = {t.digest: t for t in tokens}
        self._sessions = {s.id: s for s in sessions}

    # Tokens

    def tokens(self) -> list[ApiToken]:
        """Those that have not run out, the newest first."""
        now = self._clock()
        return sorted((t for t in self._tokens.values() if not 0 < t.ends < now), key=lambda t: -t.created)

    async def make_token(self, name: str, roles: Iterable[str], by: str, ends: float) -> tuple[str, ApiToken]:
        """A new token, which is told this once, and its record. Raises BadInput for a name that another one has."""
        if any(t.name == name for t in self.tokens()):
            raise BadInput(f"there is a token {name!r} already", advice="take another name, or revoke that one first")
        secret = PREFIX + secrets.token_urlsafe(32)
        token = ApiToken(
            id=secrets.token_hex(6),
            name=name,
            digest=digest(secret),
            roles=tuple(roles),
            by=by,
            created=self._clock(),
            ends=ends,
        )
        await self._keep_token(token)
        return secret, token

    async def revoke(self, which: str) -> ApiToken:
        """Forget a token, by id or name. Raises BadInput when there is none."""
        found = next((t for t in self._tokens.values() if which in (t.id, t.name)), None)
        if found is None:
            raise BadInput(f"there is no token {which!r}", advice="`taut auth token list` names them")
        self._tokens.pop(found.id, None)
        self._by_digest.pop(found.digest, None)
        await self._rows.drop_account(_TOKEN, found.id)
        return found

    async def token(self, secret: str) -> ApiToken | None:
        """The token that this is; None for one that is unknown, revoked or has run out."""
        found = self._by_digest.get(digest(secret))
        now = self._clock()
        if found is None or 0 < found.ends < now:
            return None
        if now - found.used > _SEEN_AFTER:
            await self._keep_token(msgspec.structs.replace(found, used=now))
        return found

    async def _keep_token(self, token: ApiToken) -> None:
        self._tokens[token.id] = self._by_digest[token.digest] = token
        await self._rows.put_account(_TOKEN, token.id, msgspec.json.encode(token), token.ends)

    # Sessions

    def sessions(self) -> list[Session]:
        """Those that are open, the newest first."""
        return sorted((s for s in self._sessions.values() if self._is_open(s)), key=lambda s: -s.started)

    async def open(
        self,
        name: str,
        *,
        provider: str,
        groups: Iterable[str] = (),
        roles: Iterable[str] = (),
        refresh: str = "",
        renew_at: float = 0.0,
    ) -> tuple[str, Session]:
        """A new session, and the secret that a browser's cookie holds."""
        now = self._clock()
        secret = secrets.token_urlsafe(32)
        session = Session(
            id=digest(secret),
            name=name,
            groups=tuple(groups),
            roles=tuple(roles),
            provider=provider,
            started=now,
            ends=now + self._longest,
            seen=now,
            refresh=refresh,
            renew_at=renew_at,
        )
        await self._make_room()
        await self.keep(session)
        return secret, session

    async def session(self, secret: str) -> Session | None:
        """The session of a cookie; None for one that is unknown or has ended."""
        found = self._sessions.get(digest(secret))
        if found is None or not self._is_open(found):
            return None
        now = self._clock()
        if now - found.seen > min(_SEEN_AFTER, self._idle / 4):
            found = msgspec.structs.replace(found, seen=now)
            await self.keep(found)
        return found

    async def keep(self, session: Session) -> None:
        """Keep a session as it is now."""
        self._sessions[session.id] = session
        await self._rows.put_account(_SESSION, session.id, msgspec.json.encode(session), session.ends)

    async def end(self, session: Session) -> None:
        """Sign out."""
        self._sessions.pop(session.id, None)
        await self._rows.drop_account(_SESSION, session.id)

    async def end_all(self, name: str) -> int:
        """Sign somebody out everywhere; how many sessions that were comes out."""
        found = [s for s in self._sessions.values() if s.name == name]
        for session in found:
            await self.end(session)
        return len(found)

    def _is_open(self, session: Session) -> bool:
        now = self._clock()
        return now < session.ends and now - session.seen < self._idle

    async def _make_room(self) -> None:
        if len(self._sessions) >= _MOST_SESSIONS:
            gone = [s for s in self._sessions.values() if not self._is_open(s)]
            for session in gone or sorted(self._sessions.values(), key=lambda s: s.seen)[: _MOST_SESSIONS // 10]:
                await self.end(session)


def digest(secret: str) -> str:
    """What stands for a token or cookie. They are 256 random bits: a plain hash of them cannot be turned back."""
    return hashlib.sha256(secret.encode()).hexdigest()
