"""Inventories from what the objects carry: losing the store loses history, never a workload."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Mapping

import msgspec

from taut.controller.fleet import Fleet
from taut.controller.queue import Reason, WorkQueue
from taut.controller.state import AppState
from taut.model.errors import TargetError
from taut.model.live import LiveObject
from taut.model.plan import InventoryItem
from taut.model.refs import KindRef, parse_app_key
from taut.store.store import Store
from taut.targets.kubernetes.cluster import Cluster

log = logging.getLogger("taut.rebuild")
PATIENCE = 10.0
"""Seconds that the start waits for clusters that answer; for one that is away it does not wait."""
_UNFINISHED = "rebuilding"
PAUSE = 30.0
"""Seconds until a cluster that could not be looked through is tried again."""


class Rebuilder:
    """Finds the objects that carry an application's mark, where the store knows nothing of the application.

    All kinds of every cluster are listed once (metadata only), and only when the store is new: an application that is declared
    later cannot have objects that taut made.
    """

    def __init__(self, store: Store, fleet: Fleet, queue: WorkQueue) -> None:
        self._store = store
        self._fleet = fleet
        self._queue = queue
        self._marked: dict[str, list[LiveObject]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def prepare(self) -> None:
        """Look through the clusters when the store is empty. One that is away is looked through when it answers, and that is said.

        A process that ended before it knew all its applications again leaves the rest of the work to the next one.
        """
        if await self._store.noted(_UNFINISHED) is None:
            if await self._store.apps():
                return
            await self._store.note(_UNFINISHED, "yes")
        looks = {c: asyncio.create_task(self._look(c), name=f"rebuild {c.name}") for c in self._fleet.clusters.values()}
        self._tasks = set(looks.values())
        answering = {task for cluster, task in looks.items() if _answers(cluster)}
        if answering:
            await asyncio.wait(answering, timeout=PATIENCE)

    async def conclude(self, roots: Collection[str]) -> None:
        """The roots were read: when every one of them was, and every cluster looked through, nothing is left to be found."""
        looked = all(t.done() and not t.cancelled() and t.exception() is None for t in self._tasks)
        if looked and set(roots) <= self._fleet.known_roots and await self._store.noted(_UNFINISHED) is not None:
            await self._store.note(_UNFINISHED, None)

    async def close(self) -> None:
        """End what still looks."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _look(self, cluster: Cluster) -> None:
        said = ""
        while True:
            found: dict[str, list[LiveObject]] = {}
            try:
                async for live in cluster.list_metadata(on_failure=_tell_or_end):
                    if live.owner:
                        found.setdefault(live.owner.partition("|")[0], []).append(live)
            except TargetError as error:
                if str(error) != said:
                    said = str(error)
                    log.warning("%s: objects of an earlier taut could not be looked for: %s", cluster.name, error)
                await asyncio.sleep(PAUSE)
                continue
            await self._take(found)
            return

    async def _take(self, found: Mapping[str, list[LiveObject]]) -> None:
        """Keep what was found for applications that are still to come; those that are here already get theirs."""
        for text, objects in found.items():
            key = parse_app_key(text)
            state = self._fleet.states.get(key) if key is not None else None
            if state is None:
                self._marked.setdefault(text, []).extend(objects)
            elif missing := [o for o in objects if self._fleet.owner(o.ref) is None]:
                self._marked[text] = missing
                await self.fill(state)
                for item in state.items.values():
                    self._fleet.put_item(state, item)
                self._queue.add(state.key, Reason.LIVE)

    async def fill(self, state: AppState) -> None:
        """Give a new application the objects that carry its mark. Its first pruning asks."""
        found = self._marked.get(str(state.key), [])
        if not found:
            return
        items = [InventoryItem(ref=o.ref, api_version=o.api_version, uid=o.uid, hook=bool(o.run_key)) for o in found]
        state.items |= {i.ref: i for i in items}
        state.record = msgspec.structs.replace(state.record, rebuilt=True)
        await self._store.put_items(state.key, items)
        self._marked.pop(str(state.key), None)
        log.info("%s: %d objects carry its mark; its inventory was rebuilt from them", state.key, len(items))


def _answers(cluster: Cluster) -> bool:
    """Whether the cluster has said anything yet."""
    state = cluster.state()
    return state.reachable and any(k.synced or k.failing_since for k in state.kinds.values())


def _tell_or_end(kind: KindRef, error: TargetError) -> None:
    """A kind that cannot be listed is left out; a cluster that does not answer is tried again as a whole."""
    if error.status == 0:
        raise error
    log.info("%s: %s", kind, error)
