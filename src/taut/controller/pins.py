"""Deployed revisions are pinned in taut's mirror: a force-push loses no rollback (DESIGN.md, Semantics, "Revisions")."""

from __future__ import annotations

import asyncio
import logging

from taut.controller.state import AppState
from taut.model.application import Source
from taut.model.errors import TautError
from taut.model.refs import AppKey
from taut.sources.service import Sources

log = logging.getLogger("taut.pins")


class Pins:
    """Keeps the commits that an application was deployed from, as many as its history has entries."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._last: dict[AppKey, frozenset[tuple[str, str]]] = {}

    async def keep(self, state: AppState) -> None:
        """Pin what is about to be deployed, or was found deployed. That a pin cannot be made stops nothing: it is said."""
        if state.desired is None:
            return
        wanted = frozenset((s.url, s.revision.id) for s in state.desired.snapshots)
        if self._last.get(state.key) == wanted:
            return
        try:
            for url, revision in wanted:
                await asyncio.to_thread(self._sources.pin, url, revision, state.key)
                await self._let_go(url, revision, state)
            self._last[state.key] = wanted
        except TautError as error:
            log.warning("%s: its revision could not be pinned: %s", state.key, error)

    async def drop(self, state: AppState) -> None:
        """The application is gone: let go of all its commits."""
        self._last.pop(state.key, None)
        for source in state.app.spec.all_sources:
            if source.git:
                await self._unpin(source.git, self._sources.pinned(source.git, state.key), state.key)

    async def _let_go(self, url: str, deployed: str, state: AppState) -> None:
        pinned = [r for r in self._sources.pinned(url, state.key) if r != deployed]
        spare = len(pinned) + 1 - max(state.app.spec.history_limit, 1)
        if spare <= 0:
            return
        ages = [((await self._sources.resolve(Source(git=url, ref=r), fetch=False)).revision.time, r) for r in pinned]
        await self._unpin(url, [r for _, r in sorted(ages)[:spare]], state.key)

    async def _unpin(self, url: str, revisions: tuple[str, ...] | list[str], key: AppKey) -> None:
        for revision in revisions:
            await asyncio.to_thread(self._sources.unpin, url, revision, key)
