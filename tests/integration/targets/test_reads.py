"""Reads from a real API server: data, lists, trees."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from support.kubernetes import kubectl
from taut.clients.kubernetes import Impersonation, KubernetesClient, load_config
from taut.clients.kubernetes.config import with_impersonation
from taut.model.errors import TargetError
from taut.model.refs import KindRef, ObjectRef

pytestmark = pytest.mark.integration

CONFIG_MAP = KindRef("", "ConfigMap")


async def test_values_are_read_decoded(plane: Any, namespace: str, cluster: Any) -> None:
    raw = bytes(range(256))
    metadata = {"name": "values", "namespace": namespace}
    await cluster.apply(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": metadata,
            "data": {"text": "grüß"},
            "binaryData": {"raw": base64.b64encode(raw).decode()},
        }
    )
    await cluster.apply(
        {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": {"raw": base64.b64encode(raw).decode()}}
    )
    found = await cluster.read_data("ConfigMap", namespace, "values")
    assert found == {"text": "grüß".encode(), "raw": raw}
    assert await cluster.read_data("Secret", namespace, "values") == {"raw": raw}
    assert await cluster.read_data("Secret", namespace, "none") is None
    with pytest.raises(TargetError, match="not from a Pod"):
        await cluster.read_data("Pod", namespace, "values")


async def test_an_object_is_read_in_the_version_that_git_uses(namespace: str, cluster: Any) -> None:
    spec = {
        "minReplicas": 1,
        "maxReplicas": 2,
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "x"},
    }
    body = {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "x", "namespace": namespace},
        "spec": spec,
    }
    applied, _ = await cluster.apply(body)
    ref = applied.live.ref
    assert (await cluster.read(ref, "autoscaling/v1"))["apiVersion"] == "autoscaling/v1"
    assert (await cluster.read(ref, "autoscaling/v2"))["apiVersion"] == "autoscaling/v2"
    assert (await cluster.read(ref))["apiVersion"] == "autoscaling/v2"
    assert await cluster.read(ref._replace(name="y")) is None
    assert await cluster.read(ObjectRef("local", "none.example.org", "None", namespace, "x")) is None


async def test_a_lost_inventory_can_be_rebuilt_from_the_marks(namespace: str, cluster: Any) -> None:
    for n in range(3):
        annotations = {"taut.dev/owner": f"root/{namespace}|/ConfigMap:{namespace}/cm-{n}"} if n else {}
        metadata = {"name": f"cm-{n}", "namespace": namespace, "annotations": annotations}
        await cluster.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"k": "v"}})
    failed: list[KindRef] = []
    marked = [
        live
        async for live in cluster.list_metadata(on_failure=lambda kind, _: failed.append(kind))
        if live.owner.startswith(f"root/{namespace}|")
    ]
    assert sorted(o.ref.name for o in marked) == ["cm-1", "cm-2"]
    assert all(o.owned_hash and o.uid for o in marked)
    assert failed == []

    here = [live async for live in cluster.list_metadata(namespace=namespace)]
    assert {o.ref.namespace for o in here} == {namespace}
    assert {o.ref.name for o in here if o.ref.kind == "ConfigMap"} >= {"cm-0", "cm-1", "cm-2"}


async def test_lists_come_in_pages(namespace: str, cluster: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("taut.targets.kubernetes.reads.PAGE", 2)
    for n in range(5):
        metadata = {"name": f"cm-{n}", "namespace": namespace}
        await cluster.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata})
    found = [o.ref.name async for o in cluster.list_metadata([CONFIG_MAP], namespace)]
    assert [name for name in found if name.startswith("cm-")] == [f"cm-{n}" for n in range(5)]


async def test_what_may_not_be_listed_is_told_apart(plane: Any, namespace: str, open_cluster: Any) -> None:
    await kubectl(plane.kubeconfig, "-n", namespace, "create", "role", "r", "--verb=*", "--resource=configmaps")
    await kubectl(plane.kubeconfig, "-n", namespace, "create", "rolebinding", "r", "--role=r", f"--user={namespace}")
    config = with_impersonation(load_config(plane.kubeconfig), Impersonation(namespace))
    narrow = await open_cluster(KubernetesClient(config))
    failed: dict[KindRef, TargetError] = {}
    found = [o async for o in narrow.list_metadata(namespace=namespace, on_failure=failed.__setitem__)]
    assert {o.ref.kind for o in found} == {"ConfigMap"}
    assert failed[KindRef("", "Secret")].status == 403
    with pytest.raises(TargetError):
        _ = [o async for o in narrow.list_metadata(namespace=namespace)]


async def test_a_circle_of_owners_ends(namespace: str, cluster: Any) -> None:
    async def make(name: str, owner: Any = None) -> Any:
        metadata: dict[str, Any] = {"name": name, "namespace": namespace}
        if owner is not None:
            metadata["ownerReferences"] = [
                {"apiVersion": "v1", "kind": "ConfigMap", "name": owner.ref.name, "uid": owner.uid}
            ]
        applied, _ = await cluster.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata})
        return applied.live

    one = await make("one")
    two = await make("two", one)
    await make("one", two)
    tree = await cluster.children(one.ref)
    assert [c.live.ref.name for c in tree.children] == ["two"]
    assert tree.children[0].children == ()
    assert await cluster.children(one.ref, uid="another") is None
