"""The reports of taut that are in a cluster: known by their marks, written where they say something else, removed when nothing needs them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from taut.clients.kubernetes.client import APPLY, PARTIAL_LIST
from taut.clients.kubernetes.discovery import collection_path, object_path
from taut.controller.scan_reading import Pace
from taut.model.errors import TargetError
from taut.model.live import KindInfo
from taut.model.manifests import Body
from taut.model.refs import ObjectRef
from taut.policy.report import CONTENT, FLAVOURS, MANAGED_BY, ROOT, Flavour, content_of_report
from taut.targets.kubernetes.cluster import Cluster

MANAGER = "taut-reports"
_PAGE = 200

type Place = tuple[str, str]
"""A root, and a namespace (empty: outside of all)."""


@dataclass(frozen=True, slots=True)
class _Known:
    place: Place
    content: str
    version: str
    uid: str


async def served_flavour(cluster: Cluster) -> Flavour | None:
    """The API of reports that the cluster serves; None when it serves none. Raises TargetError."""
    for flavour in FLAVOURS:
        infos = [await cluster.kind(flavour.kind_for(space)) for space in ("any", "")]
        if all(info is not None and flavour.version in info.versions for info in infos):
            return flavour
    return None


class Shelf:
    """The reports of one flavour in one cluster. Everything raises TargetError when the cluster refuses, or cannot be asked."""

    def __init__(self, cluster: Cluster, flavour: Flavour, pace: Pace) -> None:
        self._cluster = cluster
        self.flavour = flavour
        self._pace = pace
        self._known: dict[ObjectRef, _Known] = {}
        self.writes = 0
        """How many reports were written or removed."""

    async def load(self, roots: Iterable[str]) -> None:
        """Learn which reports of these roots are there; what they say is known by their hash."""
        found: dict[ObjectRef, _Known] = {}
        for space in ("any", ""):
            async for ref, known in self._list(space, sorted(roots)):
                found[ref] = known
                self._cluster.attend(ref)
        for ref in self._known:
            self._cluster.neglect(ref)
        self._known = found

    def close(self) -> None:
        """Take no interest in them any more."""
        for ref in self._known:
            self._cluster.neglect(ref)
        self._known.clear()

    @property
    def places(self) -> frozenset[Place]:
        """What there are reports on."""
        return frozenset(known.place for known in self._known.values())

    def disturbed(self, ref: ObjectRef) -> Place | None:
        """What a report is on that somebody else has changed or removed: it is written again when that is kept. None for everything else."""
        known = self._known.get(ref)
        if known is None:
            return None
        live = self._cluster.get(ref)
        if live is not None and live.resource_version in ("", known.version):
            return None
        self._known[ref] = _Known(known.place, "", known.version, known.uid)
        return known.place

    async def keep(self, place: Place, bodies: Sequence[Body]) -> None:
        """Have exactly these reports on a place. What says the same already is not written."""
        wanted = {self._ref(body): body for body in bodies}
        for ref, body in wanted.items():
            known = self._known.get(ref)
            if known is None or known.content != content_of_report(body):
                await self._write(ref, place, body)
        for ref in [r for r, known in self._known.items() if known.place == place and r not in wanted]:
            await self._delete(ref)

    async def remove_all(self) -> None:
        """Remove every report that is known."""
        for ref in list(self._known):
            await self._delete(ref)

    async def _write(self, ref: ObjectRef, place: Place, body: Body) -> None:
        info = await self._info(ref.namespace)
        if info is None:
            return
        await self._pace.turn()
        made = await self._cluster.client.request(
            "PATCH",
            object_path(info, self.flavour.version, ref.namespace, ref.name),
            query={"fieldManager": MANAGER, "force": "true"},
            body=body,
            content_type=APPLY,
            subject=str(ref),
        )
        self.writes += 1
        if ref not in self._known:
            self._cluster.attend(ref)
        metadata: Mapping[str, Any] = made["metadata"]
        version, uid = str(metadata["resourceVersion"]), str(metadata["uid"])
        self._known[ref] = _Known(place, content_of_report(body), version, uid)

    async def _delete(self, ref: ObjectRef) -> None:
        info, known = await self._info(ref.namespace), self._known[ref]
        if info is not None:
            await self._pace.turn()
            path = object_path(info, self.flavour.version, ref.namespace, ref.name)
            options = {"preconditions": {"uid": known.uid}}
            try:
                await self._cluster.client.request("DELETE", path, body=options, subject=str(ref))
            except TargetError as error:
                if error.status not in (404, 409):
                    raise
            else:
                self.writes += 1
        self._cluster.neglect(ref)
        self._known.pop(ref, None)

    async def _info(self, namespace: str) -> KindInfo | None:
        info = await self._cluster.kind(self.flavour.kind_for(namespace))
        return info if info is not None and self.flavour.version in info.versions else None

    async def _list(self, space: str, roots: Sequence[str]) -> AsyncIterator[tuple[ObjectRef, _Known]]:
        info = await self._info(space)
        if info is None or not roots:
            return
        selector = f"{MANAGED_BY[0]}={MANAGED_BY[1]},{ROOT} in ({','.join(roots)})"
        token = ""
        while True:
            await self._pace.turn()
            query = {"limit": str(_PAGE), "labelSelector": selector, **({"continue": token} if token else {})}
            page = await self._cluster.client.request(
                "GET",
                collection_path(info, self.flavour.version),
                query=query,
                accept=PARTIAL_LIST,
                subject=f"list of {info.ref}",
            )
            for item in page.get("items") or ():
                metadata: dict[str, Any] = item["metadata"]
                namespace = str(metadata.get("namespace") or "")
                place = (str((metadata.get("labels") or {}).get(ROOT) or ""), namespace)
                ref = ObjectRef(self._cluster.name, info.ref.group, info.ref.kind, namespace, str(metadata["name"]))
                content = str((metadata.get("annotations") or {}).get(CONTENT) or "")
                yield ref, _Known(place, content, str(metadata["resourceVersion"]), str(metadata["uid"]))
            token = str((page.get("metadata") or {}).get("continue") or "")
            if not token:
                return

    def _ref(self, body: Body) -> ObjectRef:
        metadata: Mapping[str, Any] = body["metadata"]
        kind = str(body["kind"])
        return ObjectRef(
            self._cluster.name, self.flavour.group, kind, str(metadata.get("namespace") or ""), str(metadata["name"])
        )
