"""What watches cost: memory that does not grow with what objects hold, one list a kind, and none after a connection broke."""

from __future__ import annotations

import asyncio
import gc
import secrets
import tracemalloc
from collections import Counter
from typing import Any

import pytest
from aiohttp import web

from support.audit import AuditLog
from support.kubernetes import ApiProxy, api_proxy, eventually, kubectl, quiet
from taut.clients.kubernetes import ClusterConfig, KubernetesClient
from taut.clients.kubernetes.credentials import Fixed
from taut.clients.kubernetes.tls import Tls
from taut.clients.kubernetes.watch import NOT_FOUND_TRIES
from taut.localplane.api import Api
from taut.model.refs import KindRef, ObjectRef

pytestmark = pytest.mark.integration

CONFIG_MAP, SECRET, DEPLOYMENT = KindRef("", "ConfigMap"), KindRef("", "Secret"), KindRef("apps", "Deployment")
COUNT = 20
BIG = "x" * 900_000
"""Nearly as much as an object may hold."""
ANNOTATION = "y" * 200_000


def plain(url: str) -> KubernetesClient:
    """A client of a proxy."""
    return KubernetesClient(ClusterConfig(url, Tls(), Fixed()))


def initial(proxy: ApiProxy, plural: str) -> int:
    """How often the whole of a collection was asked for."""
    looks = (query for _, path, query in proxy.seen if path.endswith(f"/{plural}"))
    return sum("resourceVersion" not in query for query in looks)


def owned(namespace: str, name: str, data: dict[str, str]) -> dict[str, Any]:
    """A ConfigMap that an application of taut has applied."""
    annotations = {"taut.dev/owner": f"root/app|/ConfigMap:{namespace}/{name}"}
    metadata = {"name": name, "namespace": namespace, "annotations": annotations}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


async def test_what_objects_hold_is_not_kept(plane: Any, plane_api: Api, namespace: str, open_cluster: Any) -> None:
    """Twenty ConfigMaps and Secrets of 900 kB, and workloads with 200 kB of annotations in their Pods: a few kB each."""
    for n in range(COUNT):
        name = f"big-{n}"
        plane_api.apply(f"/api/v1/namespaces/{namespace}/configmaps/{name}", owned(namespace, name, {"k": BIG}))
        hidden = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": {"k": BIG}}
        plane_api.apply(f"/api/v1/namespaces/{namespace}/secrets/{name}", hidden)
        template = {
            "metadata": {"labels": {"app": name}, "annotations": {"note": ANNOTATION}},
            "spec": {"containers": [{"name": "c", "image": "example.org/c:1"}]},
        }
        spec = {"replicas": 0, "selector": {"matchLabels": {"app": name}}, "template": template}
        workload = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec}
        plane_api.apply(f"/apis/apps/v1/namespaces/{namespace}/deployments/{name}", workload)
    cluster = await open_cluster()
    await cluster.watch_kinds([KindRef("", "Namespace")])
    gc.collect()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        assert await cluster.watch_kinds([CONFIG_MAP, SECRET, DEPLOYMENT]) == {}
        known = [
            cluster.get(ObjectRef("local", *kind, namespace, f"big-{n}"))
            for kind in (CONFIG_MAP, SECRET, DEPLOYMENT)
            for n in range(COUNT)
        ]
        assert all(known)
        del known
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    kept = after - before
    print(
        f"kept: {kept / 1000:.0f} kB for {3 * COUNT} objects that hold {COUNT * (2 * len(BIG) + len(ANNOTATION)) / 1e6:.0f} MB"
    )
    assert kept < 3 * COUNT * 10_000 + 500_000, "a few kB each, and the connections"


async def test_a_broken_connection_lists_nothing_again(plane: Any, namespace: str, open_cluster: Any) -> None:
    async with api_proxy(plane.server, plane.ca, plane.token) as proxy:
        cluster = await open_cluster(plain(proxy.url))
        await cluster.watch_kinds([CONFIG_MAP])
        for n in range(5):
            proxy.cut()
            await kubectl(plane.kubeconfig, "-n", namespace, "create", "configmap", f"cm-{n}")
        await eventually(lambda: all(cluster.told(f"cm-{n}") for n in range(5)))
        assert initial(proxy, "configmaps") == 1
        assert all(q["allowWatchBookmarks"] == "true" for q in proxy.watches())
        assert [len(cluster.told(f"cm-{n}")) for n in range(5)] == [1] * 5


async def test_what_is_too_old_is_listed_once_and_what_went_meanwhile_is_noticed(
    plane: Any, plane_api: Api, namespace: str, open_cluster: Any
) -> None:
    """410 Gone: until the new state is complete nothing is told as gone; after it exactly what changed in the gap."""
    base = f"/api/v1/namespaces/{namespace}/configmaps"
    for name in ("stays", "goes", "changes"):
        plane_api.apply(f"{base}/{name}", owned(namespace, name, {"k": "1"}))
    ref = ObjectRef("local", *CONFIG_MAP, namespace, "stays")
    reached, opened = asyncio.Event(), asyncio.Event()
    left = [1]

    async def forgets(request: web.Request) -> web.Response | None:
        if not request.path.endswith("/configmaps"):
            return None
        if "resourceVersion" not in request.query:
            reached.set()
            await opened.wait()
            return None
        if not left[0]:
            return None
        left[0] -= 1
        body = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old resource version"}
        return web.json_response(body, status=410)

    async with api_proxy(plane.server, plane.ca, plane.token) as proxy:
        cluster = await open_cluster(plain(proxy.url))
        await cluster.watch_kinds([CONFIG_MAP])
        proxy.rule = forgets
        proxy.cut()
        async with asyncio.timeout(20):
            await reached.wait()
        plane_api.request("DELETE", f"{base}/goes")
        plane_api.apply(f"{base}/changes", {**owned(namespace, "changes", {"k": "1"}), "data": {"k": "2"}})
        plane_api.request("POST", base, owned(namespace, "comes", {"k": "1"}))
        assert cluster.get(ref) is not None
        assert [e.ref.name for e in cluster.events if e.ref.namespace == namespace] == []
        opened.set()
        await eventually(lambda: cluster.told("goes") and cluster.told("comes"), "the gap is noticed")
        assert cluster.told("goes")[-1].new is None
        assert cluster.told("comes")[-1].old is None
        assert cluster.told("stays") == []
        assert cluster.get(ref) is not None
        assert initial(proxy, "configmaps") == 2, "at the start, and once because of it"
        assert cluster.state().reachable


@pytest.mark.faults
async def test_kinds_that_come_and_go_are_not_asked_for_again_and_again(
    plane: Any, namespace: str, open_cluster: Any
) -> None:
    groups = [f"{secrets.token_hex(4)}.example.org" for _ in range(3)]
    kinds = [KindRef(group, "Widget") for group in groups]
    async with api_proxy(plane.server, plane.ca, plane.token) as proxy:
        cluster = await open_cluster(plain(proxy.url))
        failures = await cluster.watch_kinds([*kinds, CONFIG_MAP])
        assert set(failures) == set(kinds)
        await quiet(proxy, 1.0)
        before = len(proxy.seen)
        await asyncio.sleep(2.0)  # the subject: what is asked for while nothing happens
        assert len(proxy.seen) == before
        log = AuditLog(plane.audit_log)
        made = [await cluster.apply(_crd(group)) for group in groups]
        await eventually(lambda: all(cluster.state().kinds[k].synced for k in kinds), "all are watched")
        await quiet(proxy, 1.0)
        looks = Counter(a.plural for a in log.requests(lambda a: a.initial and a.status == 200))
        assert {g: looks[f"widgets.{g}"] for g in groups} == dict.fromkeys(groups, 1)
        assert initial(proxy, "widgets") <= NOT_FOUND_TRIES * len(groups), (
            "a CRD is served a moment after it is established"
        )
        for applied, _ in made:
            await cluster.delete(applied.live.ref, "apiextensions.k8s.io/v1", uid=applied.live.uid)
        await eventually(lambda: not any(cluster.state().kinds[k].synced for k in kinds), "none is watched")
        await quiet(proxy, 1.0)
        before = len(proxy.seen)
        await asyncio.sleep(2.0)  # the same
        assert len(proxy.seen) == before
        assert initial(proxy, "configmaps") == 1, "other kinds were not touched"


def _crd(group: str) -> dict[str, Any]:
    schema = {"openAPIV3Schema": {"type": "object"}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"widgets.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"kind": "Widget", "plural": "widgets"},
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": schema}],
        },
    }
