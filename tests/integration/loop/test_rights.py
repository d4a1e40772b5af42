"""An account whose rights end at namespaces: what it may see is kept, what it may not is said, and rights change while taut runs."""

from __future__ import annotations

import secrets
from collections import Counter
from typing import Any

import pytest

from integration.loop.harness import CLUSTER, Taut, application, config_map, yaml
from support.audit import AuditLog

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

RBAC = "/apis/rbac.authorization.k8s.io/v1"
SERVICE = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "web"},
    "spec": {"ports": [{"port": 80}], "selector": {"app": "web"}},
}


def grant(taut: Taut, namespace: str, *resources: str) -> None:
    """Let the test's user do everything with these resources of a namespace, and nothing else there."""
    rules = [{"apiGroups": [""], "resources": list(resources), "verbs": ["*"]}]
    group = "rbac.authorization.k8s.io"
    role: dict[str, Any] = {"apiVersion": f"{group}/v1", "kind": "Role", "metadata": {"name": "keeper"}, "rules": rules}
    subjects = [{"kind": "User", "name": f"keeper-{taut.namespace}", "apiGroup": group}]
    reference = {"apiGroup": group, "kind": "Role", "name": "keeper"}
    binding = {**role, "kind": "RoleBinding", "subjects": subjects, "roleRef": reference}
    del binding["rules"]
    taut.api.apply(f"{RBAC}/namespaces/{namespace}/roles/keeper", role)
    taut.api.apply(f"{RBAC}/namespaces/{namespace}/rolebindings/keeper", binding)


def revoke(taut: Taut, namespace: str) -> None:
    """Take all of it away."""
    status, answer = taut.api.request("DELETE", f"{RBAC}/namespaces/{namespace}/rolebindings/keeper")
    assert status == 200, answer


async def test_rights_that_end_at_namespaces(taut: Taut) -> None:
    other = f"t-{secrets.token_hex(4)}"
    taut.api.apply(
        f"/api/v1/namespaces/{other}", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": other}}
    )
    grant(taut, taut.namespace, "configmaps")
    user = f"keeper-{taut.namespace}"
    taut.options = {
        "clusters": [{"name": CLUSTER, "kubeconfig": str(taut.plane.kubeconfig), "impersonate": {"user": user}}]
    }
    away = application("away", target={"cluster": CLUSTER, "namespace": other})
    taut.declare(
        application("here"),
        away,
        application("service"),
        files={
            "apps/here/a.yaml": yaml(config_map("a")),
            "apps/here/b.yaml": yaml(config_map("b")),
            "apps/away/c.yaml": yaml(config_map("c")),
            "apps/service/s.yaml": yaml(SERVICE),
        },
    )
    log = AuditLog(taut.plane.audit_log)
    async with taut.run():
        # Where it has its rights everything works: sync, drift, pruning.
        await taut.synced("here")
        taut.patch("configmaps", "a", {"data": {"a": "by hand"}}, manager="somebody")
        await taut.until(lambda: (taut.get("configmaps", "a") or {})["data"] == {"a": "1"}, "healed")
        await taut.push({"apps/here/b.yaml": None})
        await taut.until(lambda: taut.get("configmaps", "b") is None, "pruned")
        await taut.synced("here")

        # What is missing is named: who, what, where.
        await taut.says("away", f'"{user}" cannot watch resource "configmaps"', f'in the namespace "{other}"')
        await taut.says("service", f'"{user}" cannot watch resource "services"', f'in the namespace "{taut.namespace}"')
        assert taut.get("configmaps", "c", namespace=other) is None
        assert log.requests(lambda a: a.writes and a.namespace == other) == [], "nothing is written blindly"

        # A right that comes while taut runs.
        grant(taut, other, "configmaps")
        await taut.synced("away", seconds=60)
        assert taut.get("configmaps", "c", namespace=other) is not None

        # A right that goes: it is said, the objects stay, and the others are not touched.
        revoke(taut, other)
        await taut.push({"apps/away/c.yaml": yaml(config_map("c", {"a": "2"}))})
        await taut.says("away", f'"{user}" cannot', f'in the namespace "{other}"')
        assert taut.get("configmaps", "c", namespace=other) is not None
        taut.patch("configmaps", "a", {"data": {"a": "by hand again"}}, manager="somebody")
        await taut.until(lambda: (taut.get("configmaps", "a") or {})["data"] == {"a": "1"}, "healed")
        await taut.synced("here")

    # Nobody asks again and again for what is forbidden.
    refused = Counter(a.path for a in log.requests(lambda a: a.watches and a.status == 403))
    assert refused
    assert max(refused.values()) <= 6, refused
