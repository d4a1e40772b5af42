"""Kinds that come and go, rights that end at a namespace, clusters that are away: on a real API server."""

from __future__ import annotations

import asyncio
import gc
import secrets
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import web

from support.kubernetes import api_proxy, eventually, kubectl, quiet
from taut.clients.kubernetes import ClusterConfig, Impersonation, KubernetesClient, load_config
from taut.clients.kubernetes.config import with_impersonation
from taut.clients.kubernetes.credentials import Fixed, TokenFile
from taut.clients.kubernetes.tls import Tls
from taut.model.errors import TargetError
from taut.model.health import Health, HealthStatus
from taut.model.live import LiveObject
from taut.model.refs import KindRef, ObjectRef
from taut.targets.kubernetes import Cluster
from taut.targets.kubernetes.kinds import CRD

pytestmark = pytest.mark.integration

CONFIG_MAP = KindRef("", "ConfigMap")
SECRET = KindRef("", "Secret")


def crd(group: str, *versions: str) -> dict[str, Any]:
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"widgets.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"kind": "Widget", "plural": "widgets"},
            "versions": [{"name": v, "served": True, "storage": v == versions[-1], "schema": schema} for v in versions],
        },
    }


def widget(group: str, namespace: str, version: str = "v1", name: str = "w") -> dict[str, Any]:
    return {
        "apiVersion": f"{group}/{version}",
        "kind": "Widget",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "annotations": {"taut.dev/owner": f"root/app|{group}/Widget:{namespace}/{name}"},
        },
        "size": 1,
    }


def assess(_: dict[str, Any]) -> Health:
    return Health(HealthStatus.HEALTHY)


def plain(url: str) -> KubernetesClient:
    return KubernetesClient(ClusterConfig(url, Tls(), Fixed()))


async def test_a_kind_is_known_and_watched_as_soon_as_its_crd_is(namespace: str, cluster: Any) -> None:
    group = f"{namespace}.example.org"
    kind = KindRef(group, "Widget")
    failures = await cluster.watch_kinds([kind, CONFIG_MAP])
    assert list(failures) == [kind]
    assert failures[kind].reason == "UnknownKind"
    assert await cluster.kind(kind) is None

    applied, _ = await cluster.apply(crd(group, "v1"))
    info = await eventually(lambda: cluster.kind(kind), "the kind is known")
    assert (info.plural, info.namespaced, info.versions) == ("widgets", True, ("v1",))
    await eventually(lambda: cluster.state().kinds[kind].synced, "the wanted kind is watched by itself")
    versions = (await cluster.capabilities()).api_versions
    assert {f"{group}/v1", f"{group}/v1/Widget", "v1", "v1/ConfigMap", "apps/v1/Deployment"} <= set(versions)

    made, _ = await cluster.apply(widget(group, namespace))
    assert [o.ref for o in cluster.owned_by("root/app") if o.ref.group == group] == [made.live.ref]

    await cluster.delete(applied.live.ref, "apiextensions.k8s.io/v1", uid=applied.live.uid)

    async def unknown() -> bool:
        return await cluster.kind(kind) is None

    await eventually(unknown, "the kind is not known any more")
    await eventually(lambda: not cluster.state().kinds[kind].synced)
    assert cluster.get(made.live.ref) is None
    assert any(e.ref == made.live.ref and e.new is None for e in cluster.events)
    assert cluster.state().reachable

    # And once more: the watch of the old CRD, which the API server leaves hanging, must not be mistaken for this one's.
    again, _ = await cluster.apply(crd(group, "v1"))
    await eventually(lambda: cluster.state().kinds[kind].synced, "watched again")
    await cluster.client.request(
        "POST", f"/apis/{group}/v1/namespaces/{namespace}/widgets", body=widget(group, namespace, name="second")
    )
    await eventually(lambda: cluster.told("second"), "the new watch is alive")
    await cluster.delete(again.live.ref, "apiextensions.k8s.io/v1", uid=again.live.uid)


async def test_a_version_that_goes_is_replaced_by_one_that_stays(namespace: str, cluster: Any) -> None:
    group = f"{namespace}.example.org"
    kind = KindRef(group, "Widget")
    applied, _ = await cluster.apply(crd(group, "v2", "v1"))
    await eventually(lambda: cluster.kind(kind))
    assert (await cluster.kind(kind)).preferred == "v2"
    assert await cluster.watch_kinds([kind]) == {}
    made, _ = await cluster.apply(widget(group, namespace, "v2"))
    assert cluster.get(made.live.ref).uid == made.live.uid

    await cluster.apply(crd(group, "v3", "v1"))

    async def served() -> bool:
        info = await cluster.kind(kind)
        return info is not None and "v3" in info.versions and "v2" not in info.versions

    await eventually(served, "v2 is gone and v3 is there")
    await eventually(lambda: cluster.state().kinds[kind].synced)
    await cluster.client.request(
        "POST", f"/apis/{group}/v3/namespaces/{namespace}/widgets", body=widget(group, namespace, "v3", "later")
    )
    await eventually(lambda: cluster.get(ObjectRef("local", group, "Widget", namespace, "later")))
    assert cluster.get(made.live.ref).uid == made.live.uid, "the object never went"
    await cluster.delete(applied.live.ref, "apiextensions.k8s.io/v1", uid=applied.live.uid)


async def test_watching_is_idempotent(plane: Any, open_cluster: Any) -> None:
    async with api_proxy(plane.server, plane.ca, plane.token) as proxy:
        cluster = await open_cluster(plain(proxy.url))
        await asyncio.gather(*(cluster.watch_kinds([CONFIG_MAP, SECRET]) for _ in range(5)))
        watched = [path for _, path, query in proxy.seen if "watch" in query]
        assert len(watched) == len(set(watched)) == 4  # CRDs, APIServices and the two


async def test_at_rest_there_is_no_request(plane: Any, namespace: str, open_cluster: Any) -> None:
    async with api_proxy(plane.server, plane.ca, plane.token) as proxy:
        cluster = await open_cluster(plain(proxy.url))
        await cluster.watch_kinds([CONFIG_MAP, KindRef("apps", "Deployment")])
        await quiet(proxy)
        before = len(proxy.seen)
        assert await cluster.kind(CONFIG_MAP)
        await cluster.capabilities()
        for name in ("one", "two"):
            await kubectl(plane.kubeconfig, "-n", namespace, "create", "configmap", name)
            await eventually(lambda name=name: cluster.told(name))
        cluster.get(ObjectRef("local", *CONFIG_MAP, namespace, "one"))
        assert len(proxy.seen) == before


async def test_unknown_kinds_are_asked_for_once(plane: Any, open_cluster: Any) -> None:
    async with api_proxy(plane.server, plane.ca, plane.token) as proxy:
        cluster = await open_cluster(plain(proxy.url))

        def looks() -> int:
            return sum(path == "/apis" for _, path, _ in proxy.seen)

        await cluster.kind(KindRef("none.example.org", "First"))
        await quiet(proxy)
        before = looks()
        kinds = [KindRef("none.example.org", f"K{n}") for n in range(50)]
        assert await asyncio.gather(*(cluster.kind(k) for k in kinds)) == [None] * 50
        assert await asyncio.gather(*(cluster.kind(k) for k in kinds)) == [None] * 50
        assert looks() - before <= 1


async def test_a_cluster_that_is_away_is_said_and_comes_back(plane: Any, open_cluster: Any) -> None:
    async with api_proxy(plane.server, plane.ca, plane.token) as proxy:
        address = proxy.url
        server = address.removeprefix("http://")
    cluster = await open_cluster(plain(address))
    failures = await cluster.watch_kinds([CONFIG_MAP])
    assert failures[CONFIG_MAP].status == 0
    state = cluster.state()
    assert not state.reachable
    assert state.failing_since > 0
    assert server in state.message
    with pytest.raises(TargetError, match="cannot be reached"):
        await cluster.capabilities()

    async with api_proxy(plane.server, plane.ca, plane.token, port=int(server.rpartition(":")[2])):
        await eventually(lambda: cluster.state().kinds[CONFIG_MAP].synced, "it came back by itself")
        await eventually(lambda: cluster.state().reachable)
        assert cluster.state().message == ""
        await cluster.close()


async def test_many_kinds_of_a_cluster_that_is_away_cost_one_try(plane: Any, open_cluster: Any) -> None:
    async with api_proxy(plane.server, plane.ca, plane.token) as proxy:

        async def ill(_: web.Request) -> web.Response:
            return web.Response(status=500)

        proxy.rule = ill
        cluster = await open_cluster(plain(proxy.url))
        before = len(proxy.seen)
        kinds = [KindRef("", f"Kind{n}") for n in range(30)]
        failures = await cluster.watch_kinds(kinds)
        assert set(failures) == set(kinds)
        assert len(proxy.seen) - before < 30, "not one try a kind"
        proxy.rule = None
        await eventually(lambda: cluster.state().kinds[CRD].synced)
        await cluster.close()


async def test_a_crd_that_taut_wrote_is_known_where_crds_cannot_be_watched(plane: Any, open_cluster: Any) -> None:
    async with api_proxy(plane.server, plane.ca, plane.token) as proxy:

        async def blind(request: web.Request) -> web.Response | None:
            if "watch" in request.query and "customresourcedefinitions" in request.path:
                body = {"kind": "Status", "reason": "Forbidden", "message": "no"}
                return web.json_response(body, status=403)
            return None

        proxy.rule = blind
        cluster = await open_cluster(plain(proxy.url))
        group = f"{secrets.token_hex(4)}.example.org"
        kind = KindRef(group, "Widget")
        assert (await cluster.watch_kinds([kind]))[kind].reason == "UnknownKind"
        applied, _ = await cluster.apply(crd(group, "v1"))
        await eventually(lambda: cluster.state().kinds[kind].synced, "watched by itself", seconds=15)
        await cluster.delete(applied.live.ref, "apiextensions.k8s.io/v1", uid=applied.live.uid)
        await cluster.close()


async def test_who_waits_for_a_kind_that_vanishes_waits_no_longer(plane: Any, open_cluster: Any) -> None:
    group = f"{secrets.token_hex(4)}.example.org"
    kind = KindRef(group, "Widget")
    reached = asyncio.Event()
    async with api_proxy(plane.server, plane.ca, plane.token) as proxy:

        async def stalls(request: web.Request) -> web.Response | None:
            if "watch" in request.query and group in request.path:
                reached.set()
                await asyncio.Event().wait()
            return None

        proxy.rule = stalls
        cluster = await open_cluster(plain(proxy.url))
        applied, _ = await cluster.apply(crd(group, "v1"))
        waiting = asyncio.ensure_future(cluster.watch_kinds([kind]))
        while not reached.is_set() and not waiting.done():
            await asyncio.wait([waiting], timeout=0.05)
            if waiting.done() and not reached.is_set():
                waiting = asyncio.ensure_future(cluster.watch_kinds([kind]))
        await cluster.delete(applied.live.ref, "apiextensions.k8s.io/v1", uid=applied.live.uid)
        failures = await asyncio.wait_for(waiting, 30)
        assert failures[kind].reason == "UnknownKind"
        await cluster.close()


async def rights_in(plane: Any, namespace: str, user: str) -> None:
    """Let `user` do everything in one namespace and nothing elsewhere."""
    for args in (
        ("create", "role", "all", "--verb=*", "--resource=configmaps,secrets"),
        ("create", "rolebinding", "all", "--role=all", f"--user={user}"),
    ):
        await kubectl(plane.kubeconfig, "-n", namespace, *args)


async def test_where_rights_end_at_a_namespace_it_is_watched_alone(
    plane: Any, namespace: str, open_cluster: Any
) -> None:
    await rights_in(plane, namespace, namespace)
    config = with_impersonation(load_config(plane.kubeconfig), Impersonation(namespace))
    cluster = await open_cluster(KubernetesClient(config), namespaces=[namespace])
    failures = await cluster.watch_kinds([CONFIG_MAP, KindRef("", "Service")])
    assert list(failures) == [KindRef("", "Service")]
    assert failures[KindRef("", "Service")].status == 403
    assert namespace in failures[KindRef("", "Service")].what
    assert cluster.state().kinds[CONFIG_MAP].synced
    assert cluster.state().reachable
    assert {e.kind for e in cluster.state().kinds.values() if e.message} >= {CRD}

    await kubectl(plane.kubeconfig, "-n", namespace, "create", "configmap", "seen")
    await eventually(lambda: cluster.told("seen"))
    assert cluster.get(ObjectRef("local", *CONFIG_MAP, "kube-system", "kube-root-ca.crt")) is None
    listed = [o.ref async for o in cluster.list_metadata([CONFIG_MAP])]
    assert {ref.namespace for ref in listed} == {namespace}
    assert "seen" in {ref.name for ref in listed}


async def test_a_namespace_can_be_added_later(plane: Any, namespace: str, open_cluster: Any) -> None:
    await rights_in(plane, namespace, namespace)
    config = with_impersonation(load_config(plane.kubeconfig), Impersonation(namespace))
    cluster = await open_cluster(KubernetesClient(config), namespaces=["default"])
    failures = await cluster.watch_kinds([CONFIG_MAP])
    assert failures[CONFIG_MAP].status == 403
    await cluster.watch_kinds([CONFIG_MAP], namespaces=[namespace])
    await kubectl(plane.kubeconfig, "-n", namespace, "create", "configmap", "seen")
    await eventually(lambda: cluster.told("seen"))


async def test_writes_are_made_as_the_service_account(plane: Any, namespace: str, cluster: Any) -> None:
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x", "namespace": namespace}}
    with pytest.raises(TargetError) as caught:
        await cluster.apply(body, impersonate="deployer")
    assert caught.value.status == 403
    assert f"system:serviceaccount:{namespace}:deployer" in caught.value.what

    await kubectl(plane.kubeconfig, "-n", namespace, "create", "role", "r", "--verb=*", "--resource=configmaps")
    await kubectl(
        plane.kubeconfig,
        "-n",
        namespace,
        "create",
        "rolebinding",
        "r",
        "--role=r",
        f"--group=system:serviceaccounts:{namespace}",
    )
    applied, _ = await cluster.apply(body, impersonate=f"{namespace}:deployer")
    assert applied.changed
    lines = plane.audit_log.read_bytes().splitlines()
    seen = [orjson.loads(line) for line in lines if f"namespaces/{namespace}/configmaps/x".encode() in line]
    names = {e["impersonatedUser"]["username"] for e in seen if e.get("impersonatedUser")}
    assert names == {f"system:serviceaccount:{namespace}:deployer"}


async def test_of_secrets_nothing_but_metadata_is_kept(plane: Any, namespace: str, cluster: Any) -> None:
    await cluster.watch_kinds([SECRET, CONFIG_MAP])
    mark = "sesame-" + namespace
    for kind in ("secret", "configmap"):
        generic = ["generic"] if kind == "secret" else []
        await kubectl(plane.kubeconfig, "-n", namespace, "create", kind, *generic, "hidden", f"--from-literal=k={mark}")
    await eventually(lambda: len(cluster.told("hidden")) == 2)
    del generic
    gc.collect()
    held = [
        o
        for o in gc.get_objects()
        if (isinstance(o, dict) and any(isinstance(v, str) and mark in v for v in list(o.values()) if v is not mark))
        and o is not locals()
    ]
    assert held == []


async def test_foreign_objects_are_a_few_words_and_copies_are_foreign(namespace: str, cluster: Any) -> None:
    await cluster.watch_kinds([CONFIG_MAP])
    annotations = {"taut.dev/owner": f"root/app|/ConfigMap:{namespace}/original"}
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    for name in ("original", "copy"):
        metadata = {"name": name, "annotations": annotations}
        await cluster.client.request("POST", path, body={"metadata": metadata, "data": {"k": "v"}})
    await eventually(lambda: cluster.told("original") and cluster.told("copy"))
    assert [o.ref.name for o in cluster.owned_by("root/app") if o.ref.namespace == namespace] == ["original"]
    foreign = {o.ref.name: o for o in cluster.foreign(namespace)}
    assert "copy" in foreign
    assert "original" not in foreign
    assert isinstance(foreign["copy"], LiveObject)
    assert foreign["copy"].owner == ""
    assert foreign["copy"].uid


async def test_health_comes_from_the_watch(namespace: str, cluster: Any) -> None:
    kind = KindRef("apps", "Deployment")
    await cluster.watch_kinds([kind])
    body = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": namespace},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "c", "image": "example.org/c:1"}]},
            },
        },
    }
    applied, _ = await cluster.apply(body)
    assert applied.live.health.status == "Progressing"
    await eventually(lambda: cluster.get(applied.live.ref).health.status == "Healthy", "the Deployment is rolled out")
    assert cluster.told("web")[-1].new.health.status == "Healthy"

    tree = await cluster.children(applied.live.ref)
    assert [c.live.ref.kind for c in tree.children] == ["ReplicaSet"]
    assert [c.live.ref.kind for c in tree.children[0].children] == ["Pod", "Pod"]
    events = await cluster.events_of(applied.live.ref)
    assert any(e.reason == "ScalingReplicaSet" for e in events)


async def test_a_rule_that_fails_is_about_its_object_alone(namespace: str, plane: Any) -> None:
    def rule(body: dict[str, Any]) -> Any:
        raise KeyError(body["metadata"]["name"])

    client = KubernetesClient(load_config(plane.kubeconfig))
    broken = Cluster("local", client, assess=rule, needs_body=lambda _: True)
    await broken.start()
    assert await broken.watch_kinds([CONFIG_MAP]) == {}
    for name in ("one", "two"):
        metadata = {
            "name": name,
            "namespace": namespace,
            "annotations": {"taut.dev/owner": f"r/a|/ConfigMap:{namespace}/{name}"},
        }
        await client.request("POST", f"/api/v1/namespaces/{namespace}/configmaps", body={"metadata": metadata})
        ref = ObjectRef("local", *CONFIG_MAP, namespace, name)
        live = await eventually(lambda ref=ref: broken.get(ref))
        assert live.health.status == "Unknown"
    await broken.close()


async def test_a_credential_that_fails_later_is_said_by_the_watch(plane: Any, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text(plane.token)
    config = load_config(plane.kubeconfig)
    async with api_proxy(plane.server, plane.ca, plane.token) as proxy:
        config = ClusterConfig(proxy.url, Tls(), TokenFile(token))
        seen = Cluster("local", KubernetesClient(config), assess=assess, needs_body=lambda _: False)
        await seen.start()
        await seen.watch_kinds([CONFIG_MAP])
        config.credentials.refused()
        config.credentials._credential = None
        token.unlink()
        proxy.cut()
        await eventually(lambda: "token file" in seen.state().message)
        assert seen.state().failing_since
        await seen.close()
