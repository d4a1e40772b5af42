"""Statuses as people see them, and who is told of changes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import suppress

import msgspec

from taut.controller.state import AppState
from taut.controller.status import status_of
from taut.model.live import LiveObject
from taut.model.refs import AppKey, ObjectRef
from taut.model.status import AppStatus


class Telling:
    """The statuses of the applications of `states`. `head_of`: up to which revision nothing moved for one since it was rendered."""

    def __init__(
        self,
        states: Mapping[AppKey, AppState],
        look: Callable[[ObjectRef], LiveObject | None],
        head_of: Callable[[AppState], str],
    ) -> None:
        self._states = states
        self._look = look
        self._head_of = head_of
        self._statuses: dict[AppKey, AppStatus] = {}
        self._listeners: set[asyncio.Queue[AppStatus | AppKey]] = set()

    def publish(self, state: AppState) -> bool:
        """Derive the status anew and tell who listens, when it changed. True when it is another one than before in health or sync."""
        status = status_of(state, self._look)
        before = self._statuses.get(state.key)
        if status == before:
            return False
        self._statuses[state.key] = status
        self._tell(self._as_of_now(status, state.key))
        return before is not None and (before.health, before.sync) != (status.health, status.sync)

    def forget(self, key: AppKey) -> None:
        """An application is no more."""
        self._statuses.pop(key, None)
        self._tell(key)

    def _tell(self, news: AppStatus | AppKey) -> None:
        for listener in self._listeners:
            with suppress(asyncio.QueueFull):
                listener.put_nowait(news)

    def statuses(self) -> list[AppStatus]:
        """Every application's status, in the order of their keys."""
        return [self._as_of_now(self._statuses[k], k) for k in sorted(self._statuses)]

    def status(self, key: AppKey) -> AppStatus | None:
        """One application's status."""
        status = self._statuses.get(key)
        return None if status is None else self._as_of_now(status, key)

    def _as_of_now(self, status: AppStatus, key: AppKey) -> AppStatus:
        """A commit that changes nothing for an application costs it nothing: how far Git has moved on is told to who asks."""
        state = self._states.get(key)
        head = self._head_of(state) if state is not None else ""
        return msgspec.structs.replace(status, desired_revision=head) if head else status

    async def subscribe(self) -> AsyncGenerator[AppStatus | AppKey]:
        """Every status as it changes, from now on; the key of an application that is no more."""
        listener: asyncio.Queue[AppStatus | AppKey] = asyncio.Queue(maxsize=10_000)
        self._listeners.add(listener)
        try:
            while True:
                yield await listener.get()
        finally:
            self._listeners.discard(listener)
