"""What the hash of taut's own fields tells: the table of what others do, on a real API server."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from support.kubernetes import eventually, kubectl
from taut.model.refs import KindRef, ObjectRef
from taut.planning.fields import managed_fields, owners_of

pytestmark = pytest.mark.integration

KINDS = (KindRef("apps", "Deployment"), KindRef("", "ConfigMap"), KindRef("", "Secret"), KindRef("", "Service"))
REPLICAS = ("f:spec", "f:replicas")
WEB = ("f:spec", "f:template", "f:spec", "f:containers", 'k:{"name":"web"}')
ENV_A = (*WEB, "f:env", 'k:{"name":"A"}', "f:value")
PORT = ("f:spec", "f:ports", 'k:{"port":80,"protocol":"TCP"}', "f:targetPort")


def deployment(namespace: str) -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": namespace, "annotations": {"team": "shop"}},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {
                    "containers": [
                        {
                            "name": "web",
                            "image": "example.org/web:1",
                            "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
                        }
                    ]
                },
            },
        },
    }


def config_map(namespace: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "web", "namespace": namespace},
        "data": {"a": "1", "b": "2"},
    }


def service(namespace: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web", "namespace": namespace},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]},
    }


def secret(namespace: str, **values: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "web", "namespace": namespace}, **values}


MAKE = {"Deployment": deployment, "ConfigMap": config_map, "Service": service}

# kind, what somebody does with kubectl ({ns} and stdin are filled in), the path, and who owns it then (None: nobody)
CHANGES: list[Any] = [
    ("Deployment", ["scale", "deploy/web", "--replicas=3"], "", REPLICAS, "kubectl"),
    ("Deployment", ["set", "env", "deploy/web", "A=9"], "", ENV_A, "kubectl-set"),
    (
        "Deployment",
        ["annotate", "--overwrite", "deploy/web", "team=other"],
        "",
        ("f:metadata", "f:annotations", "f:team"),
        "kubectl-annotate",
    ),
    (
        "Service",
        ["patch", "svc/web", "--type=json", "-p", '[{"op":"replace","path":"/spec/ports/0/targetPort","value":9090}]'],
        "",
        PORT,
        "kubectl-patch",
    ),
    (
        "ConfigMap",
        ["replace", "-f", "-"],
        '{{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"name":"web","namespace":"{ns}"}},"data":{{"a":"9","b":"2"}}}}',
        ("f:data", "f:a"),
        "kubectl-replace",
    ),
    (
        "ConfigMap",
        ["apply", "--server-side", "--force-conflicts", "--field-manager=mallory", "-f", "-"],
        '{{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"name":"web","namespace":"{ns}"}},"data":{{"a":"9"}}}}',
        ("f:data", "f:a"),
        "mallory",
    ),
    (
        "Deployment",
        [
            "patch",
            "deploy/web",
            "--type=json",
            "-p",
            '[{"op":"remove","path":"/spec/template/spec/containers/0/env/1"}]',
        ],
        "",
        (*WEB, "f:env", 'k:{"name":"B"}', "f:value"),
        None,
    ),
    (
        "ConfigMap",
        ["patch", "cm/web", "--type=json", "-p", '[{"op":"remove","path":"/data/b"}]'],
        "",
        ("f:data", "f:b"),
        None,
    ),
]
NAMES = ["scale", "set-env", "annotate", "service-port", "put", "forced-apply", "remove-env", "remove-key"]


@pytest.mark.parametrize(("kind", "command", "stdin", "path", "owner"), CHANGES, ids=NAMES)
async def test_a_change_of_an_owned_field_changes_the_hash_and_names_who(
    plane: Any, namespace: str, cluster: Any, kind: str, command: list[str], stdin: str, path: Any, owner: str | None
) -> None:
    assert await cluster.watch_kinds(KINDS) == {}
    body = MAKE[kind](namespace)
    applied, _ = await cluster.apply(body)
    ref = applied.live.ref
    wanted = applied.live.owned_hash
    assert wanted

    await kubectl(plane.kubeconfig, "-n", namespace, *command, stdin=stdin.format(ns=namespace) if stdin else "")
    await eventually(lambda: cluster.get(ref).owned_hash != wanted, "the hash changed")

    found = await cluster.read(ref)
    owners = [o.manager for o in owners_of(managed_fields(found), path) if o.manager != "taut"]
    assert owners[:1] == ([owner] if owner else [])

    again, _ = await cluster.apply(body)
    assert again.live.owned_hash == wanted
    assert (owner in {who.manager for _, who in again.lost}) == (owner is not None)


async def undeclared(plane: Any, namespace: str) -> None:
    patch = '{"spec":{"template":{"spec":{"containers":[{"name":"web","imagePullPolicy":"Always"},{"name":"side","image":"example.org/s:1"}]}}}}'
    await kubectl(plane.kubeconfig, "-n", namespace, "patch", "deploy/web", "-p", patch)


async def restarted(plane: Any, namespace: str) -> None:
    await kubectl(plane.kubeconfig, "-n", namespace, "rollout", "restart", "deploy/web")


async def written_again(plane: Any, namespace: str) -> None:
    await kubectl(plane.kubeconfig, "-n", namespace, "patch", "deploy/web", "-p", '{"spec":{"replicas":1}}')
    await kubectl(plane.kubeconfig, "-n", namespace, "label", "deploy/web", "seen=yes")


@pytest.mark.parametrize("act", [undeclared, restarted, written_again])
async def test_what_taut_does_not_declare_is_no_drift(plane: Any, namespace: str, cluster: Any, act: Any) -> None:
    await cluster.watch_kinds(KINDS)
    applied, _ = await cluster.apply(deployment(namespace))
    ref = applied.live.ref
    before = applied.live.generation

    await act(plane, namespace)
    if act is not written_again:
        await eventually(lambda: cluster.get(ref).generation > before, "the watch saw the change")
    live_version = (await cluster.read(ref))["metadata"]["resourceVersion"]
    await eventually(
        lambda: int(cluster.get(ref).resource_version) >= int(live_version), "the watch is as far as the server"
    )
    assert cluster.get(ref).owned_hash == applied.live.owned_hash


async def test_the_controllers_status_is_no_drift(namespace: str, cluster: Any) -> None:
    await cluster.watch_kinds(KINDS)
    applied, _ = await cluster.apply(deployment(namespace))
    ref = applied.live.ref

    async def observed() -> bool:
        body = await cluster.read(ref)
        return (body.get("status") or {}).get("observedGeneration") == 1

    await eventually(observed, "the controller manager wrote a status")
    assert cluster.get(ref).owned_hash == applied.live.owned_hash


async def test_a_secret_is_watched_by_its_data_not_by_its_string_data(plane: Any, namespace: str, cluster: Any) -> None:
    await cluster.watch_kinds(KINDS)
    ref = ObjectRef("local", "", "Secret", namespace, "web")
    edit = f'{{"data":{{"k":"{base64.b64encode(b"edited").decode()}"}}}}'

    texts, _ = await cluster.apply(secret(namespace, stringData={"k": "one"}))
    await kubectl(plane.kubeconfig, "-n", namespace, "patch", "secret/web", "-p", edit)
    version = (await cluster.read(ref))["metadata"]["resourceVersion"]
    await eventually(lambda: cluster.get(ref).resource_version == version)
    assert cluster.get(ref).owned_hash == texts.live.owned_hash, "the API server tracks stringData apart: send data"

    data, _ = await cluster.apply(secret(namespace, data={"k": base64.b64encode(b"one").decode()}))
    await kubectl(plane.kubeconfig, "-n", namespace, "patch", "secret/web", "-p", edit)
    await eventually(lambda: cluster.get(ref).owned_hash != data.live.owned_hash, "data is watched")


async def test_an_apply_that_changes_nothing_leaves_the_resource_version(namespace: str, cluster: Any) -> None:
    await cluster.watch_kinds(KINDS)
    first, _ = await cluster.apply(config_map(namespace))
    second, _ = await cluster.apply(config_map(namespace))
    assert first.changed
    assert not second.changed
    assert second.live == first.live
