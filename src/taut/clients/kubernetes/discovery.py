"""Which kinds a cluster serves: aggregated discovery, cached, asked again only when there is a reason."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from taut.clients.kubernetes.client import KubernetesClient, segment
from taut.model.errors import TargetError, Where
from taut.model.live import Capabilities, KindInfo
from taut.model.refs import KindRef

AGGREGATED = (
    "application/json;v=v2;g=apidiscovery.k8s.io;as=APIGroupDiscoveryList,"
    "application/json;v=v2beta1;g=apidiscovery.k8s.io;as=APIGroupDiscoveryList,application/json"
)
LEAST_INTERVAL = 1.0
"""Seconds between two looks because of an unknown kind."""
CHANGED_INTERVAL = 0.1
"""Seconds between two looks when it is known that something changed."""


class Discovery:
    """The kinds of one cluster.

    A kind that is not there is looked for once, then remembered as missing until `changed` is called (a CRD or an APIService
    came, went or was edited). A group whose server does not answer keeps what was known of it.
    """

    def __init__(self, client: KubernetesClient, *, clock: Callable[[], float] | None = None) -> None:
        self._client = client
        self._clock = clock or (lambda: asyncio.get_running_loop().time())
        self._answers: dict[str, tuple[str, list[Any]]] = {}
        self._kinds: dict[KindRef, KindInfo] = {}
        self._told: dict[KindRef, KindInfo] | None = None
        """The kinds as they were when somebody was told of all changes last."""
        self._unavailable: frozenset[str] = frozenset()
        self._missing: set[KindRef] = set()
        self._version = ""
        self._looked_at: float | None = None
        self._looked = asyncio.Event()
        self._changes = 0
        self._seen_changes = -1
        self._failure: TargetError | None = None
        self._failed_at = 0.0
        self._lock = asyncio.Lock()

    @property
    def known(self) -> Mapping[KindRef, KindInfo]:
        """What the last look found; empty before the first."""
        return self._kinds

    @property
    def unavailable(self) -> frozenset[str]:
        """The groups whose server did not answer: a kind missing there may exist all the same."""
        return self._unavailable

    def changed(self) -> None:
        """Something that serves kinds changed: nothing is missing for sure, and the next question looks again."""
        self._missing.clear()
        self._changes += 1

    @property
    def _stale(self) -> bool:
        return self._seen_changes != self._changes

    async def kind(self, ref: KindRef) -> KindInfo | None:
        """The kind, or None when the cluster does not serve it.

        Raises TargetError when that cannot be told: the cluster, or the server behind the kind's group, does not answer.
        Waits so that the cluster is not asked more than once a second however many unknown kinds there are.
        """
        asked_at = self._clock()
        while not self._answered(ref, asked_at):
            await self._turn()
            async with self._lock:
                if self._answered(ref, asked_at) or self._rest() > 0:
                    continue
                try:
                    await self._look_for(asked_at)
                except TargetError:
                    if ref not in self._kinds:
                        raise
                    break
        found = self._kinds.get(ref)
        if found is None:
            if ref.group in self._unavailable:
                raise _unavailable(ref)
            self._missing.add(ref)
        return found

    async def _look_for(self, asked_at: float) -> None:
        """Look, unless somebody did after this was asked, in vain: a cluster that is away is not tried once for each kind."""
        if self._failure is not None and self._failed_at >= asked_at:
            raise self._failure
        try:
            await self._look()
        except TargetError as e:
            self._failure, self._failed_at = e, self._clock()
            raise
        self._failure = None

    def _answered(self, ref: KindRef, asked_at: float) -> bool:
        """Whether what is known answers the question."""
        if self._stale:
            return False
        looked_since = self._looked_at is not None and self._looked_at >= asked_at
        return ref in self._kinds or ref in self._missing or looked_since

    def _rest(self) -> float:
        """How long it is until the cluster may be asked again."""
        if self._looked_at is None:
            return 0.0
        interval = CHANGED_INTERVAL if self._stale else LEAST_INTERVAL
        return self._looked_at + interval - self._clock()

    async def _turn(self) -> None:
        """Wait until the cluster may be asked again, or somebody else asked it."""
        rest = self._rest()
        if rest <= 0:
            return
        try:
            async with asyncio.timeout(rest):
                await self._looked.wait()
        except TimeoutError:
            return

    async def refresh(self) -> tuple[frozenset[KindRef], frozenset[KindRef]]:
        """Look now; returns the kinds that came and the kinds that went (or that are served otherwise: in both) since this was asked last.

        What a question for a single kind brought to light meanwhile is news all the same: others were told that it does not exist.
        """
        async with self._lock:
            await self._look()
            before, self._told = self._told or {}, self._kinds
            came = frozenset(k for k, info in self._kinds.items() if before.get(k) != info)
            went = frozenset(k for k, info in before.items() if self._kinds.get(k) != info)
            return came, went

    async def capabilities(self) -> Capabilities:
        """The Kubernetes version and the API versions, for renderers. Raises TargetError when the cluster cannot be asked."""
        asked_at = self._clock()
        if self._stale:
            async with self._lock:
                if self._stale:
                    await self._look_for(asked_at)
        versions: set[str] = set()
        for ref, info in self._kinds.items():
            for version in info.versions:
                group_version = f"{ref.group}/{version}" if ref.group else version
                versions |= {group_version, f"{group_version}/{ref.kind}"}
        return Capabilities(self._version, tuple(sorted(versions)))

    async def _look(self) -> None:
        # What changes while the answer is on its way must be looked for again.
        started, changes = self._clock(), self._changes
        core, groups = await asyncio.gather(self._read("/api"), self._read("/apis"))
        if not self._version:
            version = await self._client.request("GET", "/version", subject="the cluster's version")
            self._version = str(version.get("gitVersion") or "")
        self._seen_changes = changes
        self._looked_at = started
        kinds, unavailable = _kinds((*core, *groups))
        for ref, info in self._kinds.items():
            if ref.group in unavailable:
                kinds.setdefault(ref, info)
        self._kinds, self._unavailable = kinds, unavailable
        if self._told is None:
            self._told = kinds
        self._missing.clear()
        self._looked.set()
        self._looked = asyncio.Event()

    async def _read(self, path: str) -> list[Any]:
        etag, last = self._answers.get(path, ("", []))
        answer = await self._client.send("GET", path, accept=AGGREGATED, subject="discovery", etag=etag)
        if answer.status == 304:
            return last
        if answer.body.get("kind") == "APIGroupDiscoveryList":
            items = list(answer.body.get("items") or ())
            self._answers[path] = (answer.etag, items)
            return items
        return await _legacy(self._client, path, answer.body)


def _unavailable(ref: KindRef) -> TargetError:
    return TargetError(
        f"whether the cluster serves {ref} is not known: the server of the API group {ref.group} does not answer",
        where=Where(object=str(ref)),
        advice=f"look at the APIServices of {ref.group} and at what stands behind them",
        status=503,
        reason="ServiceUnavailable",
    )


def _kinds(groups: Iterable[Mapping[str, Any]]) -> tuple[dict[KindRef, KindInfo], frozenset[str]]:
    """Read APIGroupDiscovery items. Kinds of one group in several versions become one KindInfo."""
    kinds: dict[KindRef, KindInfo] = {}
    unavailable: set[str] = set()
    for item in groups:
        group = str((item.get("metadata") or {}).get("name") or "")
        for version in item.get("versions") or ():
            if version.get("freshness") == "Stale":
                unavailable.add(group)
            for resource in version.get("resources") or ():
                _add(kinds, group, str(version["version"]), resource)
    return kinds, frozenset(unavailable)


def _add(kinds: dict[KindRef, KindInfo], group: str, version: str, resource: Mapping[str, Any]) -> None:
    kind = str((resource.get("responseKind") or {}).get("kind") or "")
    if not kind:
        return
    ref = KindRef(group, kind)
    verbs = frozenset(str(v) for v in resource.get("verbs") or ())
    known = kinds.get(ref)
    if known is None:
        kinds[ref] = KindInfo(ref, str(resource["resource"]), resource.get("scope") != "Cluster", (version,), verbs)
    elif version not in known.versions and known.plural == resource["resource"]:
        kinds[ref] = KindInfo(ref, known.plural, known.namespaced, (*known.versions, version), known.verbs | verbs)


async def _legacy(client: KubernetesClient, path: str, body: Mapping[str, Any]) -> list[Any]:
    """Discovery of servers before 1.26, one request a group version, in the aggregated form."""
    if path == "/api":
        return [{"metadata": {"name": ""}, "versions": [await _resources(client, "/api/v1", "v1")]}]
    items: list[Any] = []
    for group in body.get("groups") or ():
        preferred = (group.get("preferredVersion") or {}).get("version")
        versions = sorted(group.get("versions") or (), key=lambda v: v.get("version") != preferred)
        found = [await _resources(client, f"/apis/{v['groupVersion']}", v["version"]) for v in versions]
        items.append({"metadata": {"name": group["name"]}, "versions": found})
    return items


async def _resources(client: KubernetesClient, path: str, version: str) -> dict[str, Any]:
    try:
        body = await client.request("GET", path, subject="discovery")
    except TargetError as e:
        if e.status not in (404, 503):
            raise
        return {"version": version, "freshness": "Stale", "resources": []}
    resources = [
        {
            "resource": r["name"],
            "responseKind": {"kind": r["kind"]},
            "scope": "Namespaced" if r.get("namespaced") else "Cluster",
            "verbs": r.get("verbs") or [],
        }
        for r in body.get("resources") or ()
        if "/" not in r["name"]
    ]
    return {"version": version, "freshness": "Current", "resources": resources}


def collection_path(info: KindInfo, version: str, namespace: str = "") -> str:
    """The path of a kind's collection: all namespaces when `namespace` is empty. Names are the server's own, and escaped."""
    group = info.ref.group
    root = f"/apis/{segment(group)}/{segment(version)}" if group else f"/api/{segment(version)}"
    return (
        f"{root}/namespaces/{segment(namespace)}/{info.plural}"
        if namespace and info.namespaced
        else f"{root}/{info.plural}"
    )


def object_path(info: KindInfo, version: str, namespace: str, name: str) -> str:
    """The path of one object. Raises ValueError for an empty name, or a namespaced kind without a namespace."""
    if not name or (info.namespaced and not namespace):
        raise ValueError("an object is found by its name, and by its namespace where its kind has one")
    return f"{collection_path(info, version, namespace)}/{segment(name)}"
