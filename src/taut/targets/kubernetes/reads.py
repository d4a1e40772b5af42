"""Reading from a cluster, when somebody asks: one object, its data, its events, its children, everything in a namespace."""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from taut.clients.kubernetes.client import JSON, PARTIAL_LIST, KubernetesClient, segment
from taut.clients.kubernetes.discovery import Discovery, collection_path, object_path
from taut.clients.kubernetes.frames import read_body, read_meta, read_page
from taut.model.errors import TargetError, Where
from taut.model.health import Health, HealthStatus
from taut.model.live import KindInfo, LiveObject
from taut.model.manifests import Body
from taut.model.refs import KindRef, ObjectRef
from taut.model.times import unix_seconds
from taut.targets.kubernetes.collection import Sight
from taut.targets.kubernetes.kinds import no_such_kind
from taut.targets.kubernetes.projection import api_version_of, live, metadata_of, shell

PAGE = 500
LOG_BYTES = 512 * 1024
_NEVER_LISTED = frozenset({KindRef("", "Event"), KindRef("events.k8s.io", "Event"), KindRef("", "ComponentStatus")})
CHILD_KINDS = (
    KindRef("apps", "ReplicaSet"),
    KindRef("apps", "ControllerRevision"),
    KindRef("apps", "StatefulSet"),
    KindRef("apps", "Deployment"),
    KindRef("batch", "Job"),
    KindRef("", "Pod"),
    KindRef("", "PersistentVolumeClaim"),
    KindRef("", "Service"),
    KindRef("", "ConfigMap"),
    KindRef("", "Secret"),
    KindRef("discovery.k8s.io", "EndpointSlice"),
    KindRef("networking.k8s.io", "Ingress"),
    KindRef("policy", "PodDisruptionBudget"),
)
"""Built-in kinds that controllers make; kinds of the parent's own group are looked through as well."""


@dataclass(frozen=True, slots=True)
class TreeNode:
    """An object and what belongs to it, by owner references."""

    live: LiveObject
    children: tuple[TreeNode, ...] = ()


@dataclass(frozen=True, slots=True)
class ObjectEvent:
    """A Kubernetes Event about an object. `last` is Unix seconds."""

    type: str
    reason: str
    message: str
    count: int
    last: float
    source: str


class Reader:
    """The reads of one cluster."""

    def __init__(
        self,
        client: KubernetesClient,
        discovery: Discovery,
        kind: Callable[[KindRef], Awaitable[KindInfo | None]],
        needs_body: Callable[[KindRef], bool],
        sight: Sight,
        namespaces: Callable[[], Iterable[str]] = tuple,
    ) -> None:
        self._client = client
        self._discovery = discovery
        self._kind = kind
        self._needs_body = needs_body
        self._sight = sight
        self._namespaces = namespaces

    async def read(self, ref: ObjectRef, api_version: str = "") -> Body | None:
        """One object in this version (default: the preferred one); None when there is none."""
        info = await self._kind(ref.kind_ref)
        if info is None:
            return None
        version = api_version.rpartition("/")[2] or info.preferred
        if version not in info.versions:
            version = info.preferred
        if not ref.name or (info.namespaced and not ref.namespace):
            return None
        try:
            return await self._client.request(
                "GET", object_path(info, version, ref.namespace, ref.name), subject=str(ref)
            )
        except TargetError as e:
            if e.status == 404:
                return None
            raise

    async def read_data(self, kind: str, namespace: str, name: str) -> dict[str, bytes] | None:
        """A ConfigMap's or a Secret's entries, decoded; None when there is no such object."""
        ref = ObjectRef(self._sight.cluster, "", kind, namespace, name)
        if kind not in ("ConfigMap", "Secret"):
            raise TargetError(
                f"values are read from ConfigMaps and Secrets, not from a {kind}",
                where=Where(object=str(ref)),
                advice="correct the kind",
            )
        body = await self.read(ref, "v1")
        if body is None:
            return None
        data: dict[str, Any] = body.get("data") or {}
        encoded: dict[str, Any] = data if kind == "Secret" else body.get("binaryData") or {}
        found = {} if kind == "Secret" else {k: str(v).encode() for k, v in data.items()}
        try:
            found |= {k: base64.b64decode(v) for k, v in encoded.items()}
        except (binascii.Error, ValueError) as e:
            raise TargetError("its data is no base64", where=Where(object=str(ref)), advice="write it again") from e
        return found

    async def log(self, ref: ObjectRef, container: str, lines: int) -> str:
        """The last lines of a container of a Pod, at most LOG_BYTES. Raises TargetError as any read does."""
        query = {"container": container, "tailLines": str(lines), "timestamps": "true", "limitBytes": str(LOG_BYTES)}
        path = f"/api/v1/namespaces/{segment(ref.namespace)}/pods/{segment(ref.name)}/log"
        answer = await self._client.send("GET", path, query=query, accept="*/*", subject=f"log of {ref}", raw=True)
        return bytes(answer.body or b"").decode(errors="replace")

    async def list_kind(self, info: KindInfo, namespace: str, *, metadata_only: bool) -> AsyncIterator[LiveObject]:
        """All objects of a kind, page by page. Raises TargetError when it may not be listed."""
        version = info.preferred
        api_version = api_version_of(info.ref.group, version)
        token = ""
        while True:
            query = {"limit": str(PAGE), **({"continue": token} if token else {})}
            answer = await self._client.send(
                "GET",
                collection_path(info, version, namespace),
                query=query,
                accept=PARTIAL_LIST if metadata_only else JSON,
                subject=f"list of {info.ref}",
                raw=True,
            )
            page = read_page(answer.body)
            for raw in page.items or ():
                meta = read_meta(raw)
                ref = ObjectRef(self._sight.cluster, info.ref.group, info.ref.kind, meta.namespace, meta.name)
                health = self._health(info.ref, api_version, raw, metadata_only=metadata_only)
                yield live(meta, ref, api_version, health, self._sight.protects)
            token = page.metadata.continue_
            if not token:
                return

    def _health(self, kind: KindRef, api_version: str, raw: msgspec.Raw, *, metadata_only: bool) -> Health | None:
        if metadata_only and self._needs_body(kind):
            return None
        try:
            body = shell(kind, api_version, bytes(raw)) if metadata_only else read_body(raw)
        except TargetError as error:
            return Health(HealthStatus.UNKNOWN, error.what)
        return self._sight.health(body | {"apiVersion": api_version, "kind": kind.kind})

    async def list_metadata(
        self,
        kinds: Iterable[KindRef] | None,
        namespace: str | None,
        on_failure: Callable[[KindRef, TargetError], None] | None,
    ) -> AsyncIterator[LiveObject]:
        """See `Cluster.list_metadata`."""
        for info in await self._listable(kinds, namespaced_only=bool(namespace)):
            for place in await self._places(info, namespace):
                try:
                    async for found in self.list_kind(info, place, metadata_only=True):
                        yield found
                except TargetError as e:
                    if e.status in (404, 405):
                        continue
                    if on_failure is None:
                        raise
                    on_failure(info.ref, e)

    async def _places(self, info: KindInfo, namespace: str | None) -> list[str]:
        """Where to list: in the namespace that is asked for, everywhere, or where rights end there, in those that are known."""
        known = sorted(self._namespaces())
        if namespace or not info.namespaced or not known:
            return [namespace or ""]
        try:
            await self._client.request(
                "GET",
                collection_path(info, info.preferred),
                query={"limit": "1"},
                accept=PARTIAL_LIST,
                subject=f"list of {info.ref}",
            )
        except TargetError as e:
            if e.status == 403:
                return known
        return [""]

    async def _listable(self, kinds: Iterable[KindRef] | None, *, namespaced_only: bool) -> list[KindInfo]:
        if kinds is None:
            await self._discovery.capabilities()
            infos = [i for ref, i in self._discovery.known.items() if ref not in _NEVER_LISTED and "delete" in i.verbs]
        else:
            infos = []
            for kind in kinds:
                info = await self._kind(kind)
                if info is None:
                    raise no_such_kind(self._sight.cluster, kind)
                infos.append(info)
        return [i for i in infos if "list" in i.verbs and (i.namespaced or not namespaced_only)]

    async def children(self, ref: ObjectRef, uid: str = "", kinds: Iterable[KindRef] | None = None) -> TreeNode | None:
        """See `Cluster.children`."""
        root = await self._root(ref, uid)
        if root is None:
            return None
        return _tree(root, await self._by_owner(ref.namespace, {ref.group}, kinds), frozenset())

    async def forest(self, roots: Sequence[LiveObject]) -> list[TreeNode]:
        """The trees of several objects of one namespace, in their order: every kind is listed once for all of them."""
        if not roots:
            return []
        by_owner = await self._by_owner(roots[0].ref.namespace, {r.ref.group for r in roots}, None)
        return [_tree(root, by_owner, frozenset()) for root in roots]

    async def _by_owner(
        self, namespace: str, groups: Collection[str], kinds: Iterable[KindRef] | None
    ) -> dict[str, list[LiveObject]]:
        await self._discovery.capabilities()
        known = self._discovery.known
        if kinds is None:
            kinds = (*CHILD_KINDS, *(k for k in known if k.group in groups and k.group and k not in _NEVER_LISTED))
        infos = [known[k] for k in dict.fromkeys(kinds) if k in known and "list" in known[k].verbs]
        infos = [i for i in infos if i.namespaced or not namespace]
        found = await asyncio.gather(*(self._all(info, namespace) for info in infos))
        by_owner: dict[str, list[LiveObject]] = {}
        for child in (c for listed in found for c in listed):
            for owner in child.owner_uids:
                by_owner.setdefault(owner, []).append(child)
        return by_owner

    async def _root(self, ref: ObjectRef, uid: str) -> LiveObject | None:
        body = await self.read(ref)
        if body is None or (uid and body["metadata"]["uid"] != uid):
            return None
        return live(metadata_of(body), ref, str(body["apiVersion"]), self._sight.health(body), self._sight.protects)

    async def _all(self, info: KindInfo, namespace: str) -> list[LiveObject]:
        try:
            wanted = not self._needs_body(info.ref)
            return [o async for o in self.list_kind(info, namespace, metadata_only=wanted) if o.owner_uids]
        except TargetError as e:
            if e.status in (403, 404, 405):
                return []
            raise

    async def events_of(self, ref: ObjectRef) -> list[ObjectEvent]:
        """The Kubernetes Events about an object, the latest last."""
        selector = f"involvedObject.kind={ref.kind},involvedObject.name={ref.name}"
        namespace = ref.namespace or "default"
        info = await self._kind(KindRef("", "Event"))
        if info is None:
            return []
        body = await self._client.request(
            "GET",
            collection_path(info, "v1", namespace),
            query={"fieldSelector": selector, "limit": str(PAGE)},
            subject=f"events of {ref}",
        )
        return sorted((_event(item) for item in body.get("items") or ()), key=lambda e: e.last)


def _event(item: Body) -> ObjectEvent:
    source: dict[str, Any] = item.get("source") or {}
    series: dict[str, Any] = item.get("series") or {}
    times = (
        series.get("lastObservedTime"),
        item.get("lastTimestamp"),
        item.get("eventTime"),
        item.get("firstTimestamp"),
    )
    return ObjectEvent(
        type=str(item.get("type") or ""),
        reason=str(item.get("reason") or ""),
        message=str(item.get("message") or ""),
        count=int(series.get("count") or item.get("count") or 1),
        last=next((unix_seconds(t) for t in times if t), 0.0),
        source=str(item.get("reportingComponent") or source.get("component") or ""),
    )


def _tree(root: LiveObject, by_owner: dict[str, list[LiveObject]], above: frozenset[str]) -> TreeNode:
    """Build the tree. Owner references are anybody's to write: a circle ends where it closes."""
    above |= {root.uid}
    children = sorted(by_owner.get(root.uid, ()), key=lambda c: (c.ref.kind, c.ref.name))
    return TreeNode(root, tuple(_tree(c, by_owner, above) for c in children if c.uid not in above))
