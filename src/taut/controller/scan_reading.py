"""Reading what runs, at leisure: one request at a time, a few a second, and whole pages where many objects of a kind are wanted."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from typing import Any

from taut.clients.kubernetes.discovery import collection_path
from taut.model.errors import TargetError
from taut.model.live import KindInfo
from taut.model.manifests import Body, content_hash
from taut.model.refs import KindRef, ObjectRef
from taut.targets.kubernetes.cluster import Cluster

PAUSE = 0.25
"""Seconds between two requests at least."""
LISTED_FROM = 10
"""As many objects of a kind are read by lists."""
MOST_NAMESPACES = 5
"""In more namespaces than that, a kind is listed in all of them at once."""
PAGE = 100
_SERVERS_OWN = ("managedFields", "resourceVersion", "generation")

type Wanted = tuple[ObjectRef, str]
"""An object, and the API version that it is read in."""


class Pace:
    """Keeps a pause between turns. For one task."""

    def __init__(self, pause: float = PAUSE) -> None:
        self._pause = pause
        self._next = 0.0

    async def turn(self) -> None:
        """Wait until it is time."""
        now = asyncio.get_running_loop().time()
        if self._next > now:
            await asyncio.sleep(self._next - now)
        self._next = max(self._next, now) + self._pause

    async def rest(self, seconds: float) -> None:
        """Leave the machine to others for as long as it was just used."""
        await asyncio.sleep(min(seconds, 4 * self._pause))


class ScanReader:
    """Reads objects of one cluster."""

    def __init__(self, cluster: Cluster, pace: Pace) -> None:
        self._cluster = cluster
        self._pace = pace

    async def read(self, wanted: Sequence[Wanted]) -> AsyncIterator[dict[ObjectRef, Body]]:
        """The objects that are there, in pages. Raises TargetError."""
        by_kind: dict[tuple[KindRef, str], list[ObjectRef]] = defaultdict(list)
        for ref, version in wanted:
            by_kind[ref.kind_ref, version].append(ref)
        for (kind, version), refs in by_kind.items():
            info = await self._cluster.kind(kind)
            if info is None:
                continue
            async for page in self._of_kind(info, version, refs):
                yield page

    async def _of_kind(
        self, info: KindInfo, api_version: str, refs: list[ObjectRef]
    ) -> AsyncIterator[dict[ObjectRef, Body]]:
        rest = set(refs)
        version = api_version.rpartition("/")[2]
        if len(refs) >= LISTED_FROM and version in info.versions:
            for namespace in _places(refs):
                try:
                    async for page in self._listed(info, api_version, namespace):
                        found = {ref: body for ref, body in page.items() if ref in rest}
                        rest -= found.keys()
                        if found:
                            yield found
                except TargetError as error:
                    if error.status not in (403, 405):
                        raise
                    break  # one by one it may be allowed
            else:
                return
        for ref in refs:
            if ref not in rest:
                continue
            await self._pace.turn()
            body = await self._cluster.read(ref, api_version)
            if body is not None:
                yield {ref: body}

    async def _listed(self, info: KindInfo, api_version: str, namespace: str) -> AsyncIterator[dict[ObjectRef, Body]]:
        path = collection_path(info, api_version.rpartition("/")[2], namespace)
        token = ""
        while True:
            await self._pace.turn()
            query = {"limit": str(PAGE), **({"continue": token} if token else {})}
            page = await self._cluster.client.request("GET", path, query=query, subject=f"list of {info.ref}")
            yield {
                _ref(self._cluster.name, info.ref, item): {**item, "apiVersion": api_version, "kind": info.ref.kind}
                for item in page.get("items") or ()
            }
            token = str((page.get("metadata") or {}).get("continue") or "")
            if not token:
                return


def bare(body: Body) -> Body:
    """An object without what only the server has use for."""
    metadata: dict[str, Any] = body.get("metadata") or {}
    return {**body, "metadata": {k: v for k, v in metadata.items() if k not in _SERVERS_OWN}}


def scan_content(body: Body) -> str:
    """The hash of what counts as a change of an object: not its status, which says how it does."""
    return content_hash({k: v for k, v in bare(body).items() if k != "status"})


def _places(refs: Sequence[ObjectRef]) -> list[str]:
    namespaces = sorted({ref.namespace for ref in refs})
    return namespaces if len(namespaces) <= MOST_NAMESPACES else [""]


def _ref(cluster: str, kind: KindRef, item: Body) -> ObjectRef:
    metadata: dict[str, Any] = item.get("metadata") or {}
    return ObjectRef(
        cluster, kind.group, kind.kind, str(metadata.get("namespace") or ""), str(metadata.get("name") or "")
    )
