"""When to look at a source: polling with jitter, a webhook that makes taut look at once, and what a move of a branch means."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import replace

from taut.controller.fleet import Fleet
from taut.controller.queue import Reason, WorkQueue
from taut.controller.state import AppState
from taut.model.application import Source
from taut.model.errors import TautError
from taut.model.snapshot import Snapshot
from taut.sources.service import Sources
from taut.sources.webhook import same_repository

JITTER = 0.1
log = logging.getLogger("taut.sources")


class SourceWatch:
    """One task for each address that applications or roots read from; one fetch serves them all.

    `on_root` is called with the address of a repository that a root reads, after every fetch that moved something.
    """

    def __init__(
        self, sources: Sources, fleet: Fleet, queue: WorkQueue, on_root: Callable[[str], Awaitable[None]]
    ) -> None:
        self._sources = sources
        self._fleet = fleet
        self._queue = queue
        self._on_root = on_root
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._pokes: dict[str, asyncio.Event] = {}
        self._intervals: dict[str, float] = {}
        self._credentials: dict[str, str | None] = {}
        self.fetches = 0
        self.failing: dict[str, str] = {}

    def track(self, wanted: Iterable[tuple[str, float, str | None]]) -> None:
        """Watch exactly these (address, seconds between looks, credentials' name); others are no longer looked at."""
        intervals: dict[str, float] = {}
        for url, seconds, credentials in wanted:
            intervals[url] = min(seconds, intervals.get(url, seconds))
            self._credentials.setdefault(url, credentials)
        for url in [u for u in self._tasks if u not in intervals]:
            self._tasks.pop(url).cancel()
            self._pokes.pop(url, None)
        self._intervals = intervals
        for url in intervals:
            if url not in self._tasks:
                self._pokes[url] = asyncio.Event()
                self._pokes[url].set()  # the first look is at once: what was pushed while taut was down is seen
                self._tasks[url] = asyncio.create_task(self._watch(url), name=f"source {url}")

    def poke(self, urls: Iterable[str] | None = None) -> int:
        """Look at once, at these repositories (in any spelling of their address) or at all. How many is the answer."""
        asked = None if urls is None else list(urls)
        count = 0
        for url, event in self._pokes.items():
            if asked is None or any(same_repository(url, u) for u in asked):
                event.set()
                count += 1
        return count

    async def close(self) -> None:
        """End all tasks."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def _watch(self, url: str) -> None:
        while True:
            event = self._pokes[url]
            pause = self._intervals[url] * (1 + random.uniform(-JITTER, JITTER))  # noqa: S311 (spreads load)
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await event.wait()
            poked = event.is_set()
            event.clear()
            await self._look(url, poked=poked)

    async def _look(self, url: str, *, poked: bool) -> None:
        try:
            self.fetches += 1
            moved = await self._sources.fetch(url, credentials=self._credentials.get(url))
            recovered = self.failing.pop(url, None) is not None
            if moved or recovered:
                changed = await self.changed(url)
                # All are marked before any is looked at: an application must not find one that it depends on in its old state.
                for state in changed:
                    state.mark_stale()
                await self._on_root(url)
                for state in changed:
                    self._queue.add(state.key, Reason.PUSH, project=state.app.spec.project)
        except TautError as error:
            first = url not in self.failing
            self.failing[url] = str(error)
            if first or poked:
                log.warning("%s", error)
                for state in self._readers(url):
                    state.mark_stale()
                    self._queue.add(state.key, Reason.RETRY)

    def _readers(self, url: str) -> list[AppState]:
        return [s for s in self._fleet.states.values() if any(x.url == url for x in s.app.spec.all_sources)]

    async def changed(self, url: str) -> list[AppState]:
        """Something moved at `url`: the applications whose inputs really changed, and only those."""
        resolved: dict[Source, Snapshot | None] = {}
        return [s for s in self._readers(url) if not await self._same(s, resolved)]

    async def _same(self, state: AppState, resolved: dict[Source, Snapshot | None]) -> bool:
        """Whether a render would read exactly the same; then only the revision that people see moves on."""
        desired = state.desired
        if state.removed or desired is None or state.stale:
            return False
        snapshots: list[Snapshot] = []
        for source in state.app.spec.all_sources:
            where = Source(**{f: getattr(source, f) for f in _ADDRESS})
            if where not in resolved:
                try:
                    resolved[where] = await self._sources.resolve(source, fetch=False)
                except TautError:
                    resolved[where] = None
            found = resolved[where]
            if found is None:
                return False
            snapshots.append(found)
        if state.desired is not desired or not desired.closure.same_in([s.tree for s in snapshots]):
            return False
        if self._fleet.project_of(state).spec.signatures.require != "none":
            return False
        state.desired = replace(desired, snapshots=tuple(snapshots))
        return True


_ADDRESS = ("git", "helm", "oci", "ref", "tag_prefix", "chart", "version", "credentials", "submodules")
