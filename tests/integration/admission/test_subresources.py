"""What is done to objects by other doors: ephemeral containers, exec, scale. Policies that name them are asked, and Pods have no side entrance."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from integration.admission.scene import Scene
from integration.admission.test_policies_from_git import policies, served
from integration.loop.harness import deployment, yaml
from servers.git import GitRepo
from support.kubernetes import eventually

pytestmark = pytest.mark.integration
_ = policies  # the fixture of the other module


def _kyverno(name: str, namespace: str, kind: str, validate: dict[str, Any]) -> dict[str, Any]:
    match = {"any": [{"resources": {"kinds": [kind], "namespaces": [namespace]}}]}
    rules = [{"name": "only", "match": match, "validate": {"message": f"{name} says no", **validate}}]
    spec = {"validationFailureAction": "Enforce", "background": False, "failurePolicy": "Fail", "rules": rules}
    return {"apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "metadata": {"name": name}, "spec": spec}


def _documents(namespace: str) -> list[dict[str, Any]]:
    plain = [{"image": "ours/*"}]
    pattern = {"spec": {"containers": plain, "=(ephemeralContainers)": plain}}
    always = {
        "deny": {"conditions": {"all": [{"key": "{{ request.operation }}", "operator": "Equals", "value": "CONNECT"}]}}
    }
    rule = {"apiGroups": ["apps"], "apiVersions": ["*"], "resources": ["deployments/scale"], "operations": ["UPDATE"]}
    spec: dict[str, Any] = {
        "failurePolicy": "Fail",
        "matchConstraints": {
            "resourceRules": [rule],
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
        },
        "validations": [{"expression": "object.spec.replicas <= 5", "message": "five are enough"}],
    }
    head = {"apiVersion": "admissionregistration.k8s.io/v1", "metadata": {"name": "few"}}
    binding = {"policyName": "few", "validationActions": ["Deny"]}
    return [
        _kyverno("our-images", namespace, "Pod", {"pattern": pattern}),
        _kyverno("no-exec", namespace, "Pod/exec", always),
        {**head, "kind": "ValidatingAdmissionPolicy", "spec": spec},
        {**head, "kind": "ValidatingAdmissionPolicyBinding", "spec": binding},
    ]  # fmt: skip


async def test_no_side_entrance(scene: Scene, policies: GitRepo) -> None:
    taut, namespace = scene.taut, scene.taut.namespace
    policies.commit({"all.yaml": yaml(*_documents(namespace))}, "rules")
    base = f"/api/v1/namespaces/{namespace}/pods"

    async def ask(method: str, path: str, body: Any, content: str = "application/json") -> tuple[int, bytes]:
        return await asyncio.to_thread(taut.api.request, method, path, body, content=content)

    async with served(scene):
        await eventually(lambda: "closed" in scene.entries(), "the configuration is there", 40)
        asked = {(r["operations"][0], name) for r in scene.entries()["closed"]["rules"] for name in r["resources"]}
        wanted = {("UPDATE", "pods/ephemeralcontainers"), ("CONNECT", "pods/exec"), ("UPDATE", "deployments/scale")}
        assert wanted <= asked
        assert not {n for _, n in asked} & {"pods/attach", "pods/binding", "pods/eviction", "statefulsets/scale"}
        pod = {"metadata": {"name": "one"}, "spec": {"containers": [{"name": "a", "image": "ours/a:1"}]}}
        status, answer = await ask("POST", base, {"apiVersion": "v1", "kind": "Pod", **pod})
        assert status == 201, answer
        debug = {"name": "debug", "image": "theirs/b:1"}
        merge = "application/strategic-merge-patch+json"
        status, answer = await ask(
            "PATCH", f"{base}/one/ephemeralcontainers", {"spec": {"ephemeralContainers": [debug]}}, merge
        )
        assert status == 403, answer
        assert b"our-images says no" in answer
        debug["image"] = "ours/b:1"
        status, answer = await ask(
            "PATCH", f"{base}/one/ephemeralcontainers", {"spec": {"ephemeralContainers": [debug]}}, merge
        )
        assert status == 200, answer
        status, answer = await ask("POST", f"{base}/one/exec?command=ls&stdout=true", None)
        assert status == 403, answer
        assert b"no-exec" in answer
        workloads = f"/apis/apps/v1/namespaces/{namespace}/deployments"
        status, answer = await ask("POST", workloads, deployment("web", replicas=0, image="ours/web:1"))
        assert status == 201, answer
        for replicas, expected in ((9, 403), (2, 200)):
            change = {"spec": {"replicas": replicas}}
            status, answer = await ask("PATCH", f"{workloads}/web/scale", change, "application/merge-patch+json")
            assert status == expected, answer
            assert expected == 200 or b"five are enough" in answer
