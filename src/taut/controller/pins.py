"""Deployed revisions are pinned in taut's mirror: a force-push loses no rollback (DESIGN.md, Semantics, "Revisions").

Who was deployed from what is kept in the store; a mirror has one ref a revision, however many applications share it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable

from taut.controller.state import AppState
from taut.model.errors import TautError
from taut.sources.service import Sources
from taut.store.pins import Pin
from taut.store.store import Store

log = logging.getLogger("taut.pins")


class Pins:
    """Keeps the commits that an application was deployed from, as many as its history has entries."""

    def __init__(self, sources: Sources, store: Store) -> None:
        self._sources = sources
        self._store = store
        self._last: dict[str, frozenset[Pin]] = {}
        self._made: dict[str, set[str]] = {}
        self._lock = asyncio.Lock()
        """Between a revision that nobody keeps any more and its ref that goes, nobody may begin to keep it."""

    async def load(self) -> None:
        """Read what is pinned already."""
        self._last = await self._store.newest_pins()

    async def keep(self, state: AppState) -> None:
        """Pin what is about to be deployed, or was found deployed. That a pin cannot be made stops nothing: it is said."""
        if state.desired is None:
            return
        wanted = frozenset((s.url, s.revision.id) for s in state.desired.snapshots)
        if self._last.get(str(state.key)) == wanted and all(r in self._made.get(url, ()) for url, r in wanted):
            return
        async with self._lock:
            try:
                for url, revision in wanted:
                    await self._pin(url, revision)
                if self._last.get(str(state.key)) != wanted:
                    limit = max(state.app.spec.history_limit, 1)
                    await self._unpin(await self._store.add_pins(state.key, wanted, limit))
                self._last[str(state.key)] = wanted
            except TautError as error:
                log.warning("%s: its revision could not be pinned: %s", state.key, error)

    async def drop(self, state: AppState) -> None:
        """The application is gone: let go of all its commits."""
        async with self._lock:
            self._last.pop(str(state.key), None)
            await self._unpin(await self._store.drop_pins(state.key))

    async def _pin(self, url: str, revision: str) -> None:
        if url not in self._made:
            there = await asyncio.to_thread(self._sources.pins, url)
            held = {r for u, r in await self._store.all_pins() if u == url}
            self._made[url] = set(there & held)
            # A store that knows of none was lost, or is older than this table: what it does not know may still be gone back to.
            if held:
                await self._unpin((url, pin) for pin in there - held - {revision})
        if revision not in self._made[url]:
            await asyncio.to_thread(self._sources.pin, url, revision)
            self._made[url].add(revision)

    async def _unpin(self, pins: Iterable[Pin]) -> None:
        for url, revision in pins:
            await asyncio.to_thread(self._sources.unpin, url, revision)
            self._made.get(url, set()).discard(revision)
