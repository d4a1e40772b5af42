"""Writes to a real API server: who lost what, what is taken over, what is deleted, what cannot change."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import orjson
import pytest

from support.kubernetes import eventually, kubectl
from taut.model.errors import BadInput, TargetError
from taut.model.refs import KindRef, ObjectRef
from taut.targets.kubernetes import Deletion, immutable_cause, immutable_fields

pytestmark = pytest.mark.integration

CONFIG_MAP = KindRef("", "ConfigMap")
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


def config_map(namespace: str, name: str = "web", owner: bool = False, **data: str) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": name, "namespace": namespace}
    if owner:
        metadata["annotations"] = {"taut.dev/owner": f"root/shop|/ConfigMap:{namespace}/{name}"}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def managers(body: dict[str, Any]) -> set[tuple[str, str]]:
    return {(e["manager"], e["operation"]) for e in body["metadata"]["managedFields"]}


async def test_what_was_applied_by_kubectl_goes_when_git_no_longer_has_it(
    plane: Any, namespace: str, cluster: Any
) -> None:
    old = orjson.dumps(config_map(namespace, a="1", b="2")).decode()
    await kubectl(plane.kubeconfig, "apply", "-f", "-", stdin=old)
    ref = ObjectRef("local", *CONFIG_MAP, namespace, "web")
    live = await cluster.read(ref)
    assert LAST_APPLIED in live["metadata"]["annotations"]

    after = await cluster.absorb(live)
    assert LAST_APPLIED not in after["metadata"].get("annotations", {})
    assert managers(after) == {("taut", "Apply")}

    _, body = await cluster.apply(config_map(namespace, a="1"))
    assert body["data"] == {"a": "1"}
    assert await cluster.absorb(body) is None


async def test_without_absorbing_the_old_field_would_stay(plane: Any, namespace: str, cluster: Any) -> None:
    old = orjson.dumps(config_map(namespace, a="1", b="2")).decode()
    await kubectl(plane.kubeconfig, "apply", "-f", "-", stdin=old)
    _, body = await cluster.apply(config_map(namespace, a="1"))
    assert body["data"] == {"a": "1", "b": "2"}, "if this fails, the API server migrates by itself and absorb can go"


@pytest.mark.parametrize("manager", ["helm", "argocd-controller", "kustomize-controller", "helm-controller"])
async def test_earlier_tools_are_inherited(plane: Any, namespace: str, cluster: Any, manager: str) -> None:
    old = orjson.dumps(config_map(namespace, a="1", b="2")).decode()
    await kubectl(plane.kubeconfig, "apply", "--server-side", f"--field-manager={manager}", "-f", "-", stdin=old)
    live = await cluster.read(ObjectRef("local", *CONFIG_MAP, namespace, "web"))
    assert await cluster.absorb(live)
    applied, body = await cluster.apply(config_map(namespace, a="1"))
    assert body["data"] == {"a": "1"}
    assert applied.lost == ()


async def test_absorbing_reads_again_when_the_object_changed_meanwhile(
    plane: Any, namespace: str, cluster: Any
) -> None:
    old = orjson.dumps(config_map(namespace, a="1", b="2")).decode()
    await kubectl(plane.kubeconfig, "apply", "-f", "-", stdin=old)
    live = await cluster.read(ObjectRef("local", *CONFIG_MAP, namespace, "web"))
    await kubectl(plane.kubeconfig, "-n", namespace, "label", "cm/web", "meanwhile=yes")
    after = await cluster.absorb(live)
    assert after["metadata"]["labels"] == {"meanwhile": "yes"}
    assert ("kubectl-client-side-apply", "Update") not in managers(after)


async def test_other_controllers_are_not_inherited(plane: Any, namespace: str, cluster: Any) -> None:
    applied, _ = await cluster.apply(config_map(namespace, a="1"))
    await cluster.client.request(
        "PATCH",
        f"/api/v1/namespaces/{namespace}/configmaps/web",
        query={"fieldManager": "injector"},
        content_type="application/merge-patch+json",
        body={"data": {"ca": "x"}},
    )
    live = await cluster.read(applied.live.ref)
    assert await cluster.absorb(live) is None
    _, body = await cluster.apply(config_map(namespace, a="2"))
    assert body["data"] == {"a": "2", "ca": "x"}


@pytest.mark.parametrize("read_before", [False, True])
async def test_a_conflict_names_who_lost_which_field(
    plane: Any, namespace: str, cluster: Any, read_before: bool
) -> None:
    other = orjson.dumps(config_map(namespace, a="1", b="2")).decode()
    await kubectl(plane.kubeconfig, "apply", "--server-side", "--field-manager=mallory", "-f", "-", stdin=other)
    ref = ObjectRef("local", *CONFIG_MAP, namespace, "web")
    before = await cluster.read(ref) if read_before else None
    applied, body = await cluster.apply(config_map(namespace, a="9"), before=before)
    assert [(path, who.manager) for path, who in applied.lost] == [("data.a", "mallory")]
    assert applied.changed
    assert body["data"] == {"a": "9", "b": "2"}


async def test_without_force_a_conflict_is_an_error_with_names(plane: Any, namespace: str, cluster: Any) -> None:
    other = orjson.dumps(config_map(namespace, a="1")).decode()
    await kubectl(plane.kubeconfig, "apply", "--server-side", "--field-manager=mallory", "-f", "-", stdin=other)
    with pytest.raises(TargetError) as caught:
        await cluster.apply(config_map(namespace, a="9"), force=False)
    assert (caught.value.status, caught.value.reason) == (409, "Conflict")
    assert "mallory" in caught.value.advice
    assert f"ConfigMap {namespace}/web" in str(caught.value)


async def test_a_dry_run_shows_and_changes_nothing(namespace: str, cluster: Any) -> None:
    await cluster.watch_kinds([CONFIG_MAP])
    applied, body = await cluster.apply(config_map(namespace, a="1"), dry_run=True)
    assert body["data"] == {"a": "1"}
    assert applied.changed
    assert cluster.get(applied.live.ref) is None
    assert await cluster.read(applied.live.ref) is None

    _, live = await cluster.apply(config_map(namespace, a="1"))
    same, _ = await cluster.apply(config_map(namespace, a="1"), dry_run=True, before=live)
    other, _ = await cluster.apply(config_map(namespace, a="2"), dry_run=True, before=live)
    assert (same.changed, other.changed) == (False, True)


async def test_own_writes_are_in_memory_at_once_and_no_news(plane: Any, namespace: str, cluster: Any) -> None:
    await cluster.watch_kinds([CONFIG_MAP])
    names = [f"cm-{n}" for n in range(20)]
    answers = await asyncio.gather(*(cluster.apply(config_map(namespace, name, owner=True, a="1")) for name in names))
    for applied, _ in answers:
        assert cluster.get(applied.live.ref) == applied.live
    assert {o.ref.name for o in cluster.owned_by("root/shop") if o.ref.namespace == namespace} == set(names)

    # What others write later comes after all of taut's own events, on the same watch.
    await kubectl(plane.kubeconfig, "-n", namespace, "create", "configmap", "last")
    await eventually(lambda: cluster.told("last"))
    assert [e for e in cluster.events if e.ref.name in names] == []


async def test_deletion_is_of_one_uid_and_told_by_the_watch(namespace: str, cluster: Any) -> None:
    await cluster.watch_kinds([CONFIG_MAP])
    first, _ = await cluster.apply(config_map(namespace, owner=True, a="1"))
    ref = first.live.ref
    assert await cluster.delete(ref, "v1", uid="00000000-0000-0000-0000-000000000000") is Deletion.REPLACED
    assert await cluster.read(ref) is not None

    assert await cluster.delete(ref, "v1", uid=first.live.uid) is Deletion.DONE
    await eventually(lambda: any(e.new is None for e in cluster.told("web")), "the watch told of the deletion")
    assert cluster.get(ref) is None
    assert await cluster.delete(ref, "v1", uid=first.live.uid) is Deletion.MISSING

    second, _ = await cluster.apply(config_map(namespace, owner=True, a="1"))
    assert await cluster.delete(ref, "v1", uid=first.live.uid) is Deletion.REPLACED
    assert cluster.get(ref) == second.live


async def test_finalizers_make_a_deletion_wait(namespace: str, cluster: Any) -> None:
    await cluster.watch_kinds([CONFIG_MAP])
    body = config_map(namespace, owner=True, a="1")
    body["metadata"]["finalizers"] = ["example.org/hold"]
    applied, _ = await cluster.apply(body)
    ref = applied.live.ref
    assert await cluster.delete(ref, "v1", uid=applied.live.uid) is Deletion.WAITING
    await eventually(lambda: cluster.get(ref).deleting)
    assert cluster.get(ref).finalizers == ("example.org/hold",)
    await cluster.client.request(
        "PATCH",
        f"/api/v1/namespaces/{namespace}/configmaps/web",
        content_type="application/merge-patch+json",
        body={"metadata": {"finalizers": None}},
    )
    await eventually(lambda: cluster.get(ref) is None)


@pytest.mark.parametrize("propagation", ["background", "foreground", "orphan"])
async def test_propagation(namespace: str, cluster: Any, propagation: str) -> None:
    owner, _ = await cluster.apply(config_map(namespace, "owner", a="1"))
    child = config_map(namespace, "child", a="1")
    child["metadata"]["ownerReferences"] = [
        {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner.live.uid, "blockOwnerDeletion": True}
    ]
    made, _ = await cluster.apply(child)

    async def read(ref: ObjectRef) -> Any:
        return await cluster.read(ref)

    await cluster.delete(owner.live.ref, "v1", uid=owner.live.uid, propagation=propagation)

    async def over() -> bool:
        return await read(owner.live.ref) is None

    await eventually(over, "the owner is gone")
    if propagation == "orphan":
        body = await read(made.live.ref)
        assert not body["metadata"].get("ownerReferences")
    else:

        async def collected() -> bool:
            return await read(made.live.ref) is None

        await eventually(collected, "the child is gone")


async def test_hooks_are_created_with_generated_names(namespace: str, cluster: Any) -> None:
    body = config_map(namespace, a="1")
    body["metadata"] = {
        "generateName": "hook-",
        "namespace": namespace,
        "annotations": {"taut.dev/run-key": "run-7"},
    }
    await cluster.watch_kinds([CONFIG_MAP])
    one, _ = await cluster.create(body)
    two, _ = await cluster.create(body)
    assert one.live.ref.name != two.live.ref.name
    assert one.live.ref.name.startswith("hook-")
    assert one.live.run_key == "run-7"
    await eventually(lambda: cluster.get(two.live.ref))
    named = config_map(namespace, "named", a="1")
    await cluster.create(named)
    with pytest.raises(TargetError) as caught:
        await cluster.create(named)
    assert caught.value.reason == "AlreadyExists"


async def test_a_restart_is_no_drift_and_survives_the_next_apply(namespace: str, cluster: Any) -> None:
    body = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": namespace},
        "spec": {
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "web", "image": "example.org/web:1"}]},
            },
        },
    }
    applied, _ = await cluster.apply(body)
    await cluster.restart(applied.live.ref)
    again, after = await cluster.apply(body)
    assert again.live.owned_hash == applied.live.owned_hash
    assert "kubectl.kubernetes.io/restartedAt" in after["spec"]["template"]["metadata"]["annotations"]
    with pytest.raises(BadInput, match="cannot be restarted"):
        await cluster.restart(ObjectRef("local", *CONFIG_MAP, namespace, "web"))


async def test_unknown_kinds_versions_and_fields_are_said(namespace: str, cluster: Any) -> None:
    nope = {"apiVersion": "nope.example.org/v1", "kind": "Nope", "metadata": {"name": "x", "namespace": namespace}}
    with pytest.raises(TargetError) as caught:
        await cluster.apply(nope)
    assert caught.value.reason == "UnknownKind"
    old = {"apiVersion": "apps/v1beta1", "kind": "Deployment", "metadata": {"name": "x", "namespace": namespace}}
    with pytest.raises(TargetError, match="it serves v1"):
        await cluster.apply(old)
    with pytest.raises(TargetError, match="dta"):
        await cluster.apply(
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x", "namespace": namespace}, "dta": {}}
        )
    with pytest.raises(BadInput, match="no namespace"):
        await cluster.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}})


async def test_a_missing_namespace_is_said_with_advice(cluster: Any) -> None:
    with pytest.raises(TargetError) as caught:
        await cluster.apply(config_map("does-not-exist", a="1"))
    assert caught.value.status == 404
    assert "createNamespace" in caught.value.advice


async def test_a_secrets_value_is_in_no_error(namespace: str, cluster: Any) -> None:
    metadata = {"name": "web", "namespace": namespace}
    hidden = 4242424242
    for wrong in (
        {"data": {"k": hidden}},
        {"data": {"k": {"deep": str(hidden)}}},
        {"data": [str(hidden)]},
        {"stringData": {"k": [f"}} got: {hidden}"]}},
        {"type": "kubernetes.io/dockerconfigjson", "stringData": {".dockerconfigjson": str(hidden)}},
        {"data": {"k": f"!{hidden}"}},
        {"stringData": {"k": hidden}},
        {"type": "kubernetes.io/tls", "data": {"k": base64.b64encode(str(hidden).encode()).decode()}},
    ):
        with pytest.raises(TargetError) as caught:
            await cluster.apply({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, **wrong})
        assert str(hidden) not in str(caught.value)
        assert str(hidden) not in repr(caught.value.causes)


def job(namespace: str, image: str) -> dict[str, Any]:
    pod = {"restartPolicy": "Never", "containers": [{"name": "j", "image": image}]}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "x", "namespace": namespace},
        "spec": {"template": {"spec": pod}},
    }


def workload(kind: str, namespace: str, label: str, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": "x", "namespace": namespace},
        "spec": {
            "selector": {"matchLabels": {"app": label}},
            "template": {
                "metadata": {"labels": {"app": label}},
                "spec": {"containers": [{"name": "c", "image": "example.org/c:1"}]},
            },
            **spec,
        },
    }


def thing(api_version: str, kind: str, namespace: str, **rest: Any) -> dict[str, Any]:
    metadata = {"name": f"x-{namespace}", "namespace": namespace} if namespace else {"name": "x"}
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **rest}


def claim(namespace: str, size: str, mode: str) -> dict[str, Any]:
    spec = {"accessModes": [mode], "resources": {"requests": {"storage": size}}, "storageClassName": "none"}
    return thing("v1", "PersistentVolumeClaim", namespace, spec=spec)


def cluster_wide(body: dict[str, Any]) -> dict[str, Any]:
    body["metadata"].pop("namespace")
    return body


def crd(name: str, scope: str) -> dict[str, Any]:
    group = f"{name}.example.org"
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"things.{group}"},
        "spec": {
            "group": group,
            "scope": scope,
            "names": {"kind": "Thing", "plural": "things"},
            "versions": [
                {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {"type": "object"}}}
            ],
        },
    }


def role_binding(namespace: str, role: str) -> dict[str, Any]:
    ref = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": role}
    return thing("rbac.authorization.k8s.io/v1", "RoleBinding", namespace, roleRef=ref)


def service(namespace: str, **spec: Any) -> dict[str, Any]:
    return thing("v1", "Service", namespace, spec={"ports": [{"port": 80}], **spec})


IMMUTABLE: list[Any] = [
    ("Deployment selector", lambda n: (workload("Deployment", n, "a"), workload("Deployment", n, "b"))),
    ("DaemonSet selector", lambda n: (workload("DaemonSet", n, "a"), workload("DaemonSet", n, "b"))),
    (
        "StatefulSet serviceName",
        lambda n: (
            workload("StatefulSet", n, "a", serviceName="one"),
            workload("StatefulSet", n, "a", serviceName="two"),
        ),
    ),
    ("Job template", lambda n: (job(n, "example.org/j:1"), job(n, "example.org/j:2"))),
    ("Service clusterIP", lambda n: (service(n), service(n, clusterIP="10.0.77.7"))),
    ("RoleBinding roleRef", lambda n: (role_binding(n, "one"), role_binding(n, "two"))),
    ("claim access modes", lambda n: (claim(n, "1Gi", "ReadWriteOnce"), claim(n, "1Gi", "ReadWriteMany"))),
    (
        "ConfigMap marked immutable",
        lambda n: (
            thing("v1", "ConfigMap", n, immutable=True, data={"a": "1"}),
            thing("v1", "ConfigMap", n, immutable=True, data={"a": "2"}),
        ),
    ),
    (
        "Secret marked immutable",
        lambda n: (
            thing("v1", "Secret", n, immutable=True, data={"a": "MQ=="}),
            thing("v1", "Secret", n, immutable=True, data={"a": "Mg=="}),
        ),
    ),
    (
        "Secret type",
        lambda n: (thing("v1", "Secret", n, type="Opaque"), thing("v1", "Secret", n, type="example.org/other")),
    ),
    (
        "StorageClass parameters",
        lambda n: tuple(
            cluster_wide(
                thing("storage.k8s.io/v1", "StorageClass", n, provisioner="example.org/p", parameters={"a": v})
            )
            for v in "12"
        ),
    ),
    (
        "StorageClass provisioner",
        lambda n: tuple(
            cluster_wide(thing("storage.k8s.io/v1", "StorageClass", n, provisioner=f"example.org/{v}")) for v in "12"
        ),
    ),
    (
        "PriorityClass value",
        lambda n: tuple(cluster_wide(thing("scheduling.k8s.io/v1", "PriorityClass", n, value=v)) for v in (1, 2)),
    ),
    (
        "IngressClass controller",
        lambda n: tuple(
            cluster_wide(thing("networking.k8s.io/v1", "IngressClass", n, spec={"controller": f"example.org/{v}"}))
            for v in "12"
        ),
    ),
    (
        "RuntimeClass handler",
        lambda n: tuple(cluster_wide(thing("node.k8s.io/v1", "RuntimeClass", n, handler=v)) for v in ("a", "b")),
    ),
    ("CRD scope", lambda n: (crd(n, "Namespaced"), crd(n, "Cluster"))),
    (
        "Pod image pull policy",
        lambda n: tuple(
            thing("v1", "Pod", n, spec={"containers": [{"name": "c", "image": "example.org/c:1", "command": [v]}]})
            for v in "12"
        ),
    ),
]


@pytest.mark.parametrize("make", [m for _, m in IMMUTABLE], ids=[name for name, _ in IMMUTABLE])
async def test_the_api_servers_word_for_immutable_is_understood(namespace: str, cluster: Any, make: Any) -> None:
    before, after = make(namespace)
    applied, _ = await cluster.apply(before)
    if before["kind"] == "CustomResourceDefinition":
        # Until it is established, the scope may still change.
        await eventually(lambda: cluster.kind(KindRef(before["spec"]["group"], "Thing")), "the CRD is served")
    try:
        with pytest.raises(TargetError) as caught:
            await cluster.apply(after)
        assert immutable_cause(caught.value), (caught.value.reason, caught.value.causes)
        assert immutable_fields(caught.value)
    finally:
        if not applied.live.ref.namespace:
            await cluster.delete(applied.live.ref, applied.live.api_version, uid=applied.live.uid)


async def test_other_refusals_are_not_taken_for_immutable(namespace: str, cluster: Any) -> None:
    for wrong in (
        workload("Deployment", namespace, "a", replicas=-1),
        thing("v1", "Service", namespace, spec={"ports": []}),
        thing("v1", "ConfigMap", namespace, data={"no spaces": "1"}),
    ):
        with pytest.raises(TargetError) as caught:
            await cluster.apply(wrong)
        assert not immutable_cause(caught.value), caught.value.causes
    # Immutable, and wrong besides: deleting it would not make the apply work.
    await cluster.apply(workload("Deployment", namespace, "a"))
    with pytest.raises(TargetError) as caught:
        await cluster.apply(workload("Deployment", namespace, "b", replicas=-1))
    assert not immutable_cause(caught.value)
