"""What mutating admission policies make of an object is compared with what the real API server makes of it."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from integration.policy.test_admission import OBJECTS, V1, Server
from support.kubernetes import eventually
from taut.clients.kubernetes import KubernetesClient, load_config
from taut.model.errors import TargetError
from taut.policy.admission import ENGINE
from taut.policy.review import Given, Nothing, Review

POLICIES = f"/apis/{V1}/mutatingadmissionpolicies"
BINDINGS = f"/apis/{V1}/mutatingadmissionpolicybindings"


def applied(expression: str) -> dict[str, Any]:
    return {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": expression}}


def patched(expression: str) -> dict[str, Any]:
    return {"patchType": "JSONPatch", "jsonPatch": {"expression": expression}}


CASES: dict[str, list[dict[str, Any]]] = {
    "labels": [
        applied("Object{metadata: Object.metadata{labels: {'team': 'set', 'more': string(object.metadata.name)}}}")
    ],
    "annotations": [applied("Object{metadata: Object.metadata{annotations: {'a/b': string(object.kind)}}}")],
    "nothing": [applied("Object{}")],
    "replicas": [
        applied(
            "Object{spec: Object.spec{replicas: 2, template: Object.spec.template{spec: Object.spec.template.spec{priority: 0}}}}"
        )
    ],
    "container": [
        applied(
            "Object{spec: Object.spec{template: Object.spec.template{spec: Object.spec.template.spec{"
            "containers: [Object.spec.template.spec.containers{name: 'main', imagePullPolicy: 'Always'},"
            "Object.spec.template.spec.containers{name: 'second', image: 'x:1'}]}}}}"
        )
    ],
    "finalizers": [applied("Object{metadata: Object.metadata{finalizers: ['a.example.com/one']}}")],
    "patch": [patched("[JSONPatch{op: 'add', path: '/metadata/labels', value: {'only': 'this'}}]")],
    "patch-escaped": [
        patched(
            "has(object.metadata.annotations) ? [JSONPatch{op: 'add', path: '/metadata/annotations/' + jsonpatch.escapeKey('x/y.z'), value: 'v'}] : []"
        )
    ],
    "patch-test": [
        patched(
            "has(object.metadata.labels) ? [JSONPatch{op: 'test', path: '/metadata/labels/team', value: 'shop'}, JSONPatch{op: 'remove', path: '/metadata/labels/team'}] : []"
        )
    ],
    "two": [
        applied("Object{metadata: Object.metadata{labels: {'one': '1'}}}"),
        patched("[JSONPatch{op: 'add', path: '/metadata/labels/two', value: object.metadata.labels.one + '2'}]"),
    ],
}
DEPLOYMENTS = frozenset({"replicas", "container"})
_SERVERS = ("creationTimestamp", "uid", "managedFields", "resourceVersion", "generation", "namespace")


def policy(
    name: str, mutations: list[dict[str, Any]], space: str, resources: list[str]
) -> tuple[dict[str, Any], dict[str, Any]]:
    rules = [{"apiGroups": ["", "apps"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": resources}]
    selector = {"matchLabels": {"kubernetes.io/metadata.name": space}}
    spec: dict[str, Any] = {
        "failurePolicy": "Fail",
        "reinvocationPolicy": "Never",
        "matchConstraints": {"resourceRules": rules, "namespaceSelector": selector},
        "mutations": mutations,
    }
    return (
        {"apiVersion": V1, "kind": "MutatingAdmissionPolicy", "metadata": {"name": name}, "spec": spec},
        {
            "apiVersion": V1,
            "kind": "MutatingAdmissionPolicyBinding",
            "metadata": {"name": name},
            "spec": {"policyName": name},
        },
    )


def shown(body: dict[str, Any]) -> dict[str, Any]:
    """What a person wrote and a policy added, without what the server fills in."""
    metadata = {k: v for k, v in body["metadata"].items() if k not in _SERVERS and v}
    found: dict[str, Any] = {"metadata": metadata, "data": body.get("data")}
    if body["kind"] == "Deployment":
        pod = body["spec"]["template"]["spec"]
        found["replicas"] = body["spec"]["replicas"]
        found["priority"] = pod.get("priority")
        found["containers"] = [{k: c.get(k) for k in ("name", "image")} for c in pod["containers"]]
        found["pull"] = [c.get("imagePullPolicy") for c in pod["containers"] if c["name"] == "main"]
    return found


async def created(client: KubernetesClient, space: str, body: dict[str, Any]) -> dict[str, Any]:
    plural = "configmaps" if body["kind"] == "ConfigMap" else "deployments"
    prefix = "/api/v1" if body["apiVersion"] == "v1" else f"/apis/{body['apiVersion']}"
    path = f"{prefix}/namespaces/{space}/{plural}"
    return await client.request("POST", path, query={"dryRun": "All"}, body=copy.deepcopy(body))


@pytest.mark.parametrize("name", CASES)
async def test_the_api_server_and_taut_make_the_same(plane: Any, namespace: str, name: str) -> None:
    resources = ["deployments"] if name in DEPLOYMENTS else ["configmaps", "deployments"]
    document, binding = policy(namespace, CASES[name], namespace, resources)
    bodies = [b for b in OBJECTS.values() if not (name in DEPLOYMENTS and b["kind"] != "Deployment")]
    async with KubernetesClient(load_config(plane.kubeconfig)) as client:
        server = Server(client, namespace)
        plain = [shown(await created(client, namespace, b)) for b in bodies]
        await server.put(POLICIES, document)
        await server.put(BINDINGS, binding)
        try:
            (made,) = ENGINE.build([Given(document), Given(binding)]).policies
            space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
            for body, before in zip(bodies, plain, strict=True):
                placed = {**body, "metadata": {**body["metadata"], "namespace": namespace}}
                own, verdicts = made.mutate(Review(placed, namespace_object=space, namespaced=True), Nothing())
                # What the server itself fills in (the policy of pulling) is added to ours, where nothing was said.
                wanted = shown(own)
                if own["kind"] == "Deployment" and wanted["pull"] == [None]:
                    wanted["pull"] = before["pull"]

                async def same(body: dict[str, Any] = body, wanted: dict[str, Any] = wanted) -> bool:
                    return shown(await created(client, namespace, body)) == wanted

                if verdicts:
                    with pytest.raises(TargetError):
                        await eventually(lambda body=body: created(client, namespace, body), seconds=0.2)
                    continue
                try:
                    await eventually(same, seconds=10)
                except AssertionError:
                    theirs = shown(await created(client, namespace, body))
                    raise AssertionError(
                        f"{name} on {body['metadata']['name']}:\nthe API server {theirs}\ntaut           {wanted}"
                    ) from None
        finally:
            await client.request("DELETE", f"{BINDINGS}/{namespace}")
            await client.request("DELETE", f"{POLICIES}/{namespace}")
