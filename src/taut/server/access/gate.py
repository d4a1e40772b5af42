"""Who a request is from: the administrator's token, a token for machines, or the session of a browser."""

from __future__ import annotations

import asyncio
import hmac
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import msgspec

from taut.clients.credentials import Stamp, stamp
from taut.model.errors import BadInput, TautError, Where
from taut.server.access.accounts import Accounts, Session
from taut.server.access.oidc import Person, Provider, RefusedError
from taut.server.access.principal import Principal
from taut.server.access.rules import ADMIN, RuleBook, read_rules

log = logging.getLogger("taut.access")
ADMINISTRATOR = Principal("admin", frozenset({"admin", ADMIN}), "file")
"""Who holds the token of the file."""
_LOOK = 5.0
"""Seconds between two looks at whether the file with the rules was changed."""
_RENEW_AGAIN = 300.0
_RENEW_LEAST = 60.0


class FileRights:
    """Rights of a policy file, read anew when it changes; one that cannot be read changes nothing, and is told in the log."""

    def __init__(self, file: str | None, *, default: str, anonymous: str) -> None:
        """Raises BadInput when the file cannot be read at first."""
        self._file, self._default, self._anonymous = file, default, anonymous
        self._stamp: Stamp = stamp(file) if file else None
        self._looked = time.monotonic()
        self.book = self._read()

    @property
    def current(self) -> RuleBook:
        """The rules that hold now."""
        self._look()
        return self.book

    def _look(self) -> None:
        now = time.monotonic()
        if not self._file or now - self._looked < _LOOK:
            return
        self._looked = now
        seen = stamp(self._file)
        if seen == self._stamp:
            return
        self._stamp = seen
        try:
            self.book = self._read()
        except BadInput as error:
            log.error("%s; the rules from before hold", error)

    def _read(self) -> RuleBook:
        try:
            text = Path(self._file).read_text(encoding="utf-8") if self._file else ""
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is no text"
            raise BadInput(f"the rules cannot be read: {reason}", where=Where(file=str(self._file))) from None
        book = read_rules(text, default=self._default, anonymous=self._anonymous, file=self._file or "")
        for warning in book.warnings:
            log.warning("%s", warning)
        return book


class Gate:
    """Tells who comes with what."""

    def __init__(
        self,
        token: str,
        rights: FileRights,
        accounts: Accounts,
        providers: Mapping[str, Provider],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._token = token.encode()
        self.rights = rights
        self.accounts = accounts
        self.providers = providers
        self._clock = clock
        self._renewing: dict[str, asyncio.Task[Session | None]] = {}

    @property
    def now(self) -> float:
        """Unix seconds."""
        return self._clock()

    async def bearer(self, token: str, said: str = "") -> Principal | None:
        """Who comes with a token; `said` is what the administrator calls themselves: that token is shared, so it is a note, no proof."""
        if self.is_administrator(token):
            name = "".join(c for c in said if c.isprintable())[:100]
            return replace(ADMINISTRATOR, name=name) if name else ADMINISTRATOR
        found = await self.accounts.token(token)
        return found.principal if found is not None else None

    def is_administrator(self, token: str) -> bool:
        """Whether it is the token of the file; compared in constant time."""
        return hmac.compare_digest(token.encode(), self._token)

    async def cookie(self, secret: str) -> Session | None:
        """The session of a browser. What its provider says of the person is renewed when it is due; whom it lets in no more is signed out."""
        session = await self.accounts.session(secret)
        if session is None or not 0 < session.renew_at <= self._clock():
            return session
        task = self._renewing.get(session.id)
        if task is None:
            task = asyncio.create_task(self._renewed(session))
            self._renewing[session.id] = task
            task.add_done_callback(lambda _: self._renewing.pop(session.id, None))
        return await asyncio.shield(task)

    async def _renewed(self, session: Session) -> Session | None:
        provider = self.providers.get(session.provider)
        if provider is None:  # it was taken out of the configuration
            await self.accounts.end(session)
            return None
        try:
            person = await provider.renew(session.refresh)
        except RefusedError as error:
            log.info("%s is signed out: %s", session.name, error.what)
            await self.accounts.end(session)
            return None
        except TautError as error:
            log.warning("%s: %s", session.provider, error)
            again = msgspec.structs.replace(session, renew_at=self._clock() + _RENEW_AGAIN)
            await self.accounts.keep(again)
            return again
        if person.name != session.name:
            await self.accounts.end(session)
            return None
        renewed = msgspec.structs.replace(
            session, groups=person.groups, refresh=person.refresh, renew_at=renew_at(person, self._clock())
        )
        await self.accounts.keep(renewed)
        return renewed


def renew_at(person: Person, now: float) -> float:
    """When the provider is asked again about somebody (Unix seconds); 0 where it gives no way to."""
    if not person.refresh:
        return 0.0
    return max(person.ends, now + _RENEW_LEAST) if person.ends else now + 3600.0
