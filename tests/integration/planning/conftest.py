"""Setting the scene on a real API server, by server-side apply as any field manager."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from taut.localplane.api import Api

PLURALS = {
    "ClusterRole": "clusterroles",
    "ConfigMap": "configmaps",
    "CronJob": "cronjobs",
    "CustomResourceDefinition": "customresourcedefinitions",
    "DaemonSet": "daemonsets",
    "Deployment": "deployments",
    "HorizontalPodAutoscaler": "horizontalpodautoscalers",
    "Ingress": "ingresses",
    "Job": "jobs",
    "LimitRange": "limitranges",
    "MutatingAdmissionPolicy": "mutatingadmissionpolicies",
    "MutatingAdmissionPolicyBinding": "mutatingadmissionpolicybindings",
    "Namespace": "namespaces",
    "NetworkPolicy": "networkpolicies",
    "PersistentVolume": "persistentvolumes",
    "PersistentVolumeClaim": "persistentvolumeclaims",
    "PodDisruptionBudget": "poddisruptionbudgets",
    "PriorityClass": "priorityclasses",
    "ResourceQuota": "resourcequotas",
    "Role": "roles",
    "RoleBinding": "rolebindings",
    "Secret": "secrets",
    "Service": "services",
    "ServiceAccount": "serviceaccounts",
    "StatefulSet": "statefulsets",
    "StorageClass": "storageclasses",
    "ValidatingWebhookConfiguration": "validatingwebhookconfigurations",
    "Widget": "widgets",
}


def path_of(body: dict[str, Any]) -> str:
    """The object's address on the API server."""
    version, metadata = body["apiVersion"], body["metadata"]
    root = f"/apis/{version}" if "/" in version else f"/api/{version}"
    scope = f"/namespaces/{metadata['namespace']}" if "namespace" in metadata else ""
    return f"{root}{scope}/{PLURALS[body['kind']]}/{metadata['name']}"


@dataclass
class Scene:
    """What happens to objects: applies, patches, and looks."""

    api: Api

    def send(self, method: str, path: str, body: Any = None, content: str = "application/json") -> dict[str, Any]:
        """One request; it must succeed."""
        status, answer = self.api.request(method, path, body, content=content)
        assert status < 400, answer.decode()
        return json.loads(answer)

    def apply(self, body: dict[str, Any], manager: str = "taut", *, dry_run: bool = False) -> dict[str, Any]:
        """Server-side apply, conflicts taken over."""
        query = f"?fieldManager={manager}&force=true" + ("&dryRun=All" if dry_run else "")
        return self.send("PATCH", path_of(body) + query, body, "application/apply-patch+yaml")

    def patch(self, body: dict[str, Any], change: Any, manager: str = "hand", *, at: str = "") -> dict[str, Any]:
        """A patch by somebody: a list is a JSON patch, a map a merge patch; `at` is a subresource."""
        kind = "json-patch" if isinstance(change, list) else "merge-patch"
        return self.send("PATCH", f"{path_of(body)}{at}?fieldManager={manager}", change, f"application/{kind}+json")

    def get(self, body: dict[str, Any]) -> dict[str, Any]:
        """The object as it is."""
        return self.send("GET", path_of(body))


@pytest.fixture
def scene(plane_api: Api) -> Scene:
    """The control plane as a stage."""
    return Scene(plane_api)


@pytest.fixture
def eventually() -> Callable[[Callable[[], Any], str], Any]:
    """Wait for a fact; fail when it has not come true after half a minute."""

    def wait(fact: Callable[[], Any], what: str) -> Any:
        deadline = time.monotonic() + 30
        while not (value := fact()):
            assert time.monotonic() < deadline, f"it never happened: {what}"
            time.sleep(0.05)
        return value

    return wait
