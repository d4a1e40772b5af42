"""Inventories from what the objects carry: losing the store loses history, never a workload."""

from __future__ import annotations

import logging

import msgspec

from taut.controller.fleet import Fleet
from taut.controller.state import AppState
from taut.model.errors import TargetError
from taut.model.live import LiveObject
from taut.model.plan import InventoryItem
from taut.store.store import Store

log = logging.getLogger("taut.rebuild")


class Rebuilder:
    """Finds the objects that carry an application's mark, where the store knows nothing of the application.

    All kinds of every cluster are listed once (metadata only), and only when the store is new: an application that is declared
    later cannot have objects that taut made.
    """

    def __init__(self, store: Store, fleet: Fleet) -> None:
        self._store = store
        self._fleet = fleet
        self._marked: dict[str, list[LiveObject]] = {}

    async def prepare(self) -> None:
        """Look through the clusters when the store is empty. A cluster that is away is left out, and said."""
        if await self._store.apps():
            return
        for cluster in self._fleet.clusters.values():
            try:
                async for live in cluster.list_metadata(on_failure=lambda kind, error: log.info("%s: %s", kind, error)):
                    if live.owner:
                        self._marked.setdefault(live.owner.partition("|")[0], []).append(live)
            except TargetError as error:
                log.warning("%s: objects of an earlier taut could not be looked for: %s", cluster.name, error)

    async def fill(self, state: AppState) -> None:
        """Give a new application the objects that carry its mark. Its first pruning asks."""
        found = self._marked.pop(str(state.key), [])
        if not found:
            return
        items = [InventoryItem(ref=o.ref, api_version=o.api_version, uid=o.uid, hook=bool(o.run_key)) for o in found]
        state.items = {i.ref: i for i in items}
        state.record = msgspec.structs.replace(state.record, rebuilt=True)
        await self._store.put_items(state.key, items)
        log.info("%s: %d objects carry its mark; its inventory was rebuilt from them", state.key, len(items))
