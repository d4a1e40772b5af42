"""AdmissionReviews for tests, as a kube-apiserver sends them."""

from __future__ import annotations

import json
from typing import Any

POD: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "web", "namespace": "shop"},
    "spec": {"containers": [{"name": "main", "image": "nginx:latest"}]},
}


def request(body: dict[str, Any] | None = None, plural: str = "pods", **more: Any) -> dict[str, Any]:
    """The `request` of a review; `more` replaces fields."""
    found = POD if body is None else body
    group, _, version = found["apiVersion"].rpartition("/")
    metadata = found["metadata"]
    return {
        "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
        "kind": {"group": group, "version": version, "kind": found["kind"]},
        "resource": {"group": group, "version": version, "resource": plural},
        "requestKind": {"group": group, "version": version, "kind": found["kind"]},
        "requestResource": {"group": group, "version": version, "resource": plural},
        "name": metadata["name"],
        "namespace": metadata.get("namespace", ""),
        "operation": "CREATE",
        "userInfo": {
            "username": "ada",
            "uid": "014fbff9a07c",
            "groups": ["system:authenticated", "admins"],
            "extra": {"scopes": ["a", "b"]},
        },
        "object": found,
        "oldObject": None,
        "dryRun": False,
        "options": {"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1", "fieldManager": "kubectl-create"},
        **more,
    }


def review(body: dict[str, Any] | None = None, plural: str = "pods", **more: Any) -> bytes:
    """A whole review as JSON."""
    found = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request(body, plural, **more)}
    return json.dumps(found).encode()
