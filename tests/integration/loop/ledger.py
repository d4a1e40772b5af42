"""Who was looked at, who was written for, and of whom anything was told, application by application."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import suppress
from typing import Any

from integration.loop.harness import Taut
from support.audit import AuditLog
from taut.controller.state import AppState
from taut.model.refs import AppKey


class Ledger:
    """Counts from the moment on when it is opened. Objects are told by the part of their name before the first `-`: it is the application's name."""

    def __init__(self, taut: Taut) -> None:
        self._taut = taut
        self._log = AuditLog(taut.plane.audit_log)
        self.searched: Counter[str] = Counter()
        """Searches for what Git wants: the only place where anything is rendered."""
        self.ran: Counter[str] = Counter()
        self.planned: Counter[str] = Counter()
        self.told: Counter[str] = Counter()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Ledger:
        controller = self._taut.controller
        _count(controller.wanting, "find", self.searched)
        _count(controller.reconciler, "run", self.ran)
        _count(controller.planner, "plan", self.planned)
        self._task = asyncio.create_task(self._listen())
        await asyncio.sleep(0)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _listen(self) -> None:
        async for news in self._taut.controller.fleet.subscribe():
            self.told[news.name] += 1

    def mark(self) -> None:
        """Forget what was counted until now."""
        for counter in (self.searched, self.ran, self.planned, self.told):
            counter.clear()
        self._log.mark()

    def asked(self) -> set[str]:
        """For whom the API server was asked anything, watches that go on not counted."""
        return {a.name.partition("-")[0] or str(a) for a in self._log.requests(lambda a: not a.watches)}

    def written(self) -> set[str]:
        """For whom anything was written."""
        return {a.name.partition("-")[0] for a in self._log.writes()}


def _count(thing: Any, method: str, counter: Counter[str]) -> None:
    original = getattr(thing, method)

    async def counted(state: AppState, *args: Any, **more: Any) -> Any:
        key: AppKey = state.key
        counter[key.name] += 1
        return await original(state, *args, **more)

    setattr(thing, method, counted)
