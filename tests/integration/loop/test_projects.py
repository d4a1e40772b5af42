"""Projects: what an application may use, enforced on every object after rendering, and as whom taut writes."""

from __future__ import annotations

from typing import Any

import pytest

from integration.loop.harness import Taut, annotate, application, config_map, job, yaml
from support.audit import WRITES, AuditLog

pytestmark = pytest.mark.integration


def project(name: str, **spec: Any) -> dict[str, Any]:
    """A Project document."""
    return {"apiVersion": "taut.dev/v1", "kind": "Project", "metadata": {"name": name}, "spec": spec}


def configured(taut: Taut, **spec: Any) -> None:
    """One project of the configuration, `team`."""
    taut.options["projects"] = [{"name": "team", "spec": spec}]


def team(name: str, **spec: Any) -> dict[str, Any]:
    """An application of the project `team`."""
    return application(name, project="team", **spec)


async def test_what_a_project_does_not_list_is_refused(taut: Taut) -> None:
    here = {"cluster": "local", "namespace": taut.namespace}
    configured(
        taut,
        repositories=[taut.git.url + "/*"],
        destinations=[here],
        clusterKinds=[],
        deniedNamespacedKinds=[{"group": "batch", "kind": "Job"}, {"group": "rbac.authorization.k8s.io", "kind": "*"}],
    )
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "r"}, "rules": []}
    cluster_role = {**role, "kind": "ClusterRole", "metadata": {"name": f"{taut.namespace}-r"}}
    hook = annotate(job("migrate"), hook="pre-sync")
    elsewhere = config_map("elsewhere", namespace="default")
    objects = {"ok": config_map("ok"), "role": role, "clusterrole": cluster_role, "hook": hook, "elsewhere": elsewhere}
    files = {f"apps/{name}/x.yaml": yaml(config_map(f"{name}-first"), body) for name, body in objects.items()}
    stranger = team("stranger", source={"git": "https://example.test/other.git", "path": ".", "ref": "main"})
    outside = team("outside", target={"namespace": "kube-system"})
    taut.declare(*(team(name) for name in objects), stranger, outside, files=files)
    async with taut.run():
        await taut.synced("ok")
        await taut.says("role", "does not allow the namespaced kind Role", "apps/role/x.yaml")
        await taut.says("clusterrole", "does not allow", "ClusterRole")
        await taut.says("hook", "does not allow the namespaced kind Job")
        await taut.says("elsewhere", "namespace default", "destinations")
        await taut.says("stranger", "repository", "https://example.test/other")
        assert "https://example.test/other.git" not in taut.controller.watch.tracked  # nothing is fetched from there
        await taut.says("outside", "namespace kube-system")
        # A refusal is one of the whole application: not half of it is there.
        assert [n for n in objects if taut.get("configmaps", f"{n}-first")] == ["ok"]
        assert taut.get("configmaps", "elsewhere", namespace="default") is None


async def test_a_root_widens_no_rights(taut: Taut) -> None:
    configured(taut, namespacedKinds=[{"kind": "ConfigMap"}])
    files = {
        "apps/web/x.yaml": yaml(config_map("web"), job("work")),
        "apps/own/x.yaml": yaml(config_map("own")),
        "taut/project.yaml": yaml(project("team"), project("mine")),
    }
    taut.declare(team("web"), application("own", project="mine"), files=files)
    async with taut.run():
        await taut.says("web", "does not allow the namespaced kind Job")
        await taut.says("own", "there is no project 'mine'")
        problems = " ".join(p.what for p in taut.controller.roots.states[taut.root].problems)
        assert f"root {taut.root} may not declare projects" in problems
        assert taut.get("configmaps", "own") is None
        assert taut.get("jobs", "work", group="batch/v1") is None


async def test_a_generator_looks_only_where_the_project_allows(taut: Taut) -> None:
    other = taut.git.repo("other")
    other.commit({"apps/spy/x.yaml": yaml(config_map("spy"))})
    configured(taut, repositories=[taut.repo.url])
    document = taut.filled(team("{{ folder.name }}", source={"path": "{{ folder.path }}"}))
    document["spec"]["forEach"] = {"folders": "apps/*", "git": other.url}
    taut.repo.commit({"taut/all.yaml": yaml(document)})
    async with taut.run():
        problems = [p.what for p in taut.controller.roots.states[taut.root].problems]
        assert any("project team does not allow" in p and other.url in p for p in problems), problems
        assert not any("/other.git" in path for _, path in taut.git.requests)


async def test_a_root_that_is_marked_declares_projects(taut: Taut) -> None:
    root = {"name": taut.root, "git": taut.repo.url, "ref": "main", "path": "taut", "poll": "1h", "projects": True}
    taut.options["roots"] = [root]
    files = {
        "taut/project.yaml": yaml(project("team", deniedNamespacedKinds=[{"kind": "Secret"}])),
        "apps/web/x.yaml": yaml(config_map("web")),
    }
    plain = taut.filled(application("plain"))
    taut.declare(team("web"), plain, files={**files, "apps/plain/x.yaml": yaml(config_map("plain"))})
    async with taut.run():
        await taut.synced("web")
        denied = [{"group": "", "kind": "Secret"}, {"group": "", "kind": "ConfigMap"}]
        await taut.push({"taut/project.yaml": yaml(project("team", deniedNamespacedKinds=denied))})
        await taut.says("web", "does not allow the namespaced kind ConfigMap")
        taut.patch("configmaps", "web", {"data": {"a": "by hand"}})
        await taut.push({"taut/project.yaml": None})  # without its project nobody knows what it may do
        await taut.says("web", "there is no project 'team'")
        await taut.until(lambda: taut.controller.queue.idle, "nothing left to do")
        assert (taut.get("configmaps", "web") or {})["data"] == {"a": "by hand"}
    async with taut.run():
        await taut.says("web", "there is no project 'team'")
        assert (taut.get("configmaps", "web") or {})["data"] == {"a": "by hand"}
        await taut.push({"taut/project.yaml": yaml(project("team"))})
        await taut.synced("web")
        assert (taut.get("configmaps", "web") or {})["data"] == {"a": "1"}
    async with taut.run():  # the project is known before anything is said
        await taut.synced("web")
        taut.repo.commit({"taut/project.yaml": None, "taut/applications.yaml": yaml(plain)})
        await taut.poke()
        await taut.until(lambda: taut.state("web") is None, "both went in one commit")
        assert taut.get("configmaps", "web") is None


async def test_a_root_uses_the_projects_that_it_is_allowed(taut: Taut) -> None:
    configured(taut)
    root = {"name": taut.root, "git": taut.repo.url, "ref": "main", "path": "taut", "allowedProjects": ["default"]}
    taut.options["roots"] = [root]
    files = {f"apps/{n}/x.yaml": yaml(config_map(n)) for n in ("web", "plain")}
    taut.declare(team("web"), application("plain"), files=files)
    async with taut.run():
        await taut.says("web", "may not use project team")
        await taut.synced("plain")
        assert taut.get("configmaps", "web") is None


def _account(taut: Taut, name: str, *kinds: str) -> None:
    """A service account that may do everything to these kinds (plural names) of the core group, and nothing else."""
    space = f"/api/v1/namespaces/{taut.namespace}"
    rbac = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{taut.namespace}"
    taut.api.apply(
        f"{space}/serviceaccounts/{name}",
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}},
    )
    group = "rbac.authorization.k8s.io"
    rules = [{"apiGroups": [""], "resources": list(kinds), "verbs": ["*"]}]
    taut.api.apply(
        f"{rbac}/roles/{name}",
        {"apiVersion": f"{group}/v1", "kind": "Role", "metadata": {"name": name}, "rules": rules},
    )
    subject = {"kind": "ServiceAccount", "name": name, "namespace": taut.namespace}
    taut.api.apply(
        f"{rbac}/rolebindings/{name}",
        {
            "apiVersion": f"{group}/v1",
            "kind": "RoleBinding",
            "metadata": {"name": name},
            "subjects": [subject],
            "roleRef": {"apiGroup": group, "kind": "Role", "name": name},
        },
    )


async def test_writes_are_made_as_the_service_account_of_the_project(taut: Taut) -> None:
    _account(taut, "deployer", "configmaps")
    configured(taut, serviceAccounts=[{"namespace": taut.namespace, "serviceAccount": "deployer"}])
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "keys"}, "stringData": {"a": "b"}}
    hook = annotate(job("migrate"), hook="pre-sync")
    files = {
        "apps/web/x.yaml": yaml(config_map("web")),
        "apps/keys/x.yaml": yaml(config_map("keys"), secret),
        "apps/hook/x.yaml": yaml(config_map("hook"), hook),
        "apps/away/x.yaml": yaml(config_map("away", namespace="default")),
    }
    taut.declare(team("web"), team("keys"), team("hook"), team("away"), files=files)
    user = f"system:serviceaccount:{taut.namespace}:deployer"
    log = AuditLog(taut.plane.audit_log)
    async with taut.run():
        await taut.synced("web")
        await taut.says("keys", "Secret", user, "cannot patch resource")
        await taut.says("hook", "Job", user, "cannot create resource")
        await taut.says("away", "no service account for namespace default")
        assert taut.get("secrets", "keys") is None
        assert taut.get("configmaps", "hook") is None
        assert taut.get("configmaps", "away", namespace="default") is None
        writes = log.requests(lambda a: a.verb in WRITES and a.namespace == taut.namespace)
        assert {a.impersonated for a in writes} == {user}
