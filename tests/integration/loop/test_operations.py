"""Operations: how they start, wait, fail, end early, and what holds them back."""

from __future__ import annotations

import json
from typing import Any

import pytest

from integration.loop.harness import Taut, annotate, application, config_map, deployment, job, yaml
from integration.loop.written import Writes
from taut.controller import progress
from taut.model.refs import AppKey, ObjectRef
from taut.model.status import AppStatus

pytestmark = pytest.mark.integration

NO_RETRY = {"retry": {"limit": 0}}
QUICK_RETRY = {"backoff": {"duration": "100ms", "factor": 1}}


@pytest.fixture
def writes(taut: Taut) -> Writes:
    return Writes(taut)


def never_ready(name: str, wave: int = 0) -> dict[str, Any]:
    """A Deployment that stays in progress."""
    return annotate(deployment(name, **{"localplane.taut.dev/pod": "never-ready"}), wave=str(wave))


def slow_job(name: str, after: str = "60s", **words: str) -> dict[str, Any]:
    """A Job that takes its time."""
    body = annotate(job(name), **words)
    body["spec"]["template"]["metadata"] = {"annotations": {"localplane.taut.dev/complete-after": after}}
    return body


def refused(name: str = "bad") -> dict[str, Any]:
    """A Service that the API server refuses."""
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": {"ports": [{"port": 99_999}]}}


async def ended(taut: Taut, name: str, result: str) -> AppStatus:
    """Wait until the last operation has ended like this and nothing runs."""

    def fact() -> AppStatus | None:
        status, state = taut.status(name), taut.state(name)
        over = state is not None and state.run is None and status is not None and status.operation == result
        return status if over else None

    return await taut.until(fact, f"{name}: {result}")


def data(taut: Taut, name: str) -> dict[str, str] | None:
    """What a ConfigMap holds."""
    found = taut.get("configmaps", name)
    return found["data"] if found else None


# Ending early


async def test_a_newer_commit_takes_over_between_waves(taut: Taut) -> None:
    taut.declare(
        application("web"),
        files={
            "apps/web/a.yaml": yaml(never_ready("first")),
            "apps/web/b.yaml": yaml(annotate(config_map("b"), wave="1")),
        },
    )
    async with taut.run():
        await taut.says("web", "waiting", "first")
        commit = await taut.push({"apps/web/a.yaml": yaml(deployment("first"))}, message="mend it")
        await taut.synced("web", at=commit)
        assert data(taut, "b") == {"a": "1"}
        assert [e.result for e in await taut.history("web")] == ["Succeeded", "Superseded"]


async def test_a_newer_commit_does_not_cut_off_a_hook(taut: Taut, writes: Writes) -> None:
    taut.declare(
        application("web"),
        files={
            "apps/web/a.yaml": yaml(config_map("a")),
            "apps/web/h.yaml": yaml(slow_job("migrate", "2s", hook="PreSync")),
        },
    )
    async with taut.run():
        await taut.says("web", "hook is running")
        commit = await taut.push({"apps/web/a.yaml": yaml(config_map("a", {"a": "2"}))})
        await taut.says("web", "a newer revision takes over then", "taut abort web")
        await taut.synced("web", at=commit)
        assert [e.result for e in await taut.history("web")] == ["Succeeded", "Superseded"]
        assert writes.runs() == {"migrate": 2}
        order = writes.order()
        assert order.count("patch configmaps/a") == 1, "only the newer revision was applied"


async def test_abort_and_no_other_try_of_the_same_content(taut: Taut) -> None:
    policy = {"retry": {"limit": -1, **QUICK_RETRY}}
    taut.declare(
        application("web", sync=policy),
        files={
            "apps/web/a.yaml": yaml(never_ready("first")),
            "apps/web/b.yaml": yaml(annotate(config_map("b"), wave="1")),
        },
    )
    async with taut.run():
        await taut.says("web", "waiting", "first")
        assert await taut.controller.abort(taut.key("web"), by="ada")
        status = await taut.says("web", "aborted by ada", "waits for a new commit or: taut sync")
        assert status.operation == "Aborted"
        assert not await taut.controller.abort(taut.key("web"), by="ada")
    async with taut.run():
        status = await taut.says("web", "aborted by ada", "waits for a new commit")
        await taut.push({"README.md": "not this application's"})
        await taut.until(lambda: (s := taut.state("web")) and not s.stale, "it was looked at")
        assert [e.result for e in await taut.history("web")] == ["Aborted"]
        await taut.controller.ask_sync(taut.key("web"), by="ada")
        await taut.until(lambda: (s := taut.state("web")) and s.run is not None, "a person starts it again")
        commit = await taut.push({"apps/web/a.yaml": yaml(deployment("first"))})
        await taut.synced("web", at=commit)


async def test_a_suspension_stops_a_running_operation_and_it_goes_on_when_resumed(taut: Taut) -> None:
    taut.declare(
        application("web"),
        files={
            "apps/web/a.yaml": yaml(never_ready("first")),
            "apps/web/b.yaml": yaml(annotate(config_map("b"), wave="1")),
        },
    )
    async with taut.run():
        await taut.says("web", "waiting", "first")
        await taut.controller.suspend(taut.key("web"), by="ada", reason="fire")
        status = await taut.says("web", "suspended")
        assert status.operation == "Aborted"
        await taut.controller.resume(taut.key("web"), by="ada")
        await taut.says("web", "waiting", "first")


# Failing


async def test_a_timeout_says_what_was_waited_for(taut: Taut, writes: Writes) -> None:
    taut.declare(
        application("web", sync={"timeout": "1s", **NO_RETRY}),
        files={"apps/web/a.yaml": yaml(never_ready("first"), annotate(job("cleanup"), hook="SyncFail"))},
    )
    async with taut.run():
        status = await ended(taut, "web", "Failed")
        for words in ("timed out after 1s", "Deployment", "/first", "Progressing"):
            assert words in status.message
        entry = (await taut.history("web"))[0]
        assert (entry.result, writes.runs()) == ("Failed", {"cleanup": 1})
        assert ("create", f"Deployment.apps {taut.namespace}/first") in entry.changes


async def test_retries_with_backoff_up_to_the_limit(taut: Taut) -> None:
    taut.declare(
        application("web", sync={"retry": {"limit": 2, "backoff": {"duration": "200ms", "factor": 2}}}),
        files={"apps/web/a.yaml": yaml(refused(), config_map("a"))},
    )
    async with taut.run():
        status = await taut.says("web", "tried 3 times", "waits for a new commit or: taut sync")
        assert "99999" in status.message
        history = await taut.history("web")
        assert [e.result for e in history] == ["Failed"] * 3
        starts = sorted(e.started_at for e in history)
        assert starts[1] - starts[0] >= 0.2
        assert starts[2] - starts[1] >= 0.4
        assert data(taut, "a") == {"a": "1"}, "what can be applied is"
        commit = await taut.push({"apps/web/a.yaml": yaml(config_map("a"))})
        await taut.synced("web", at=commit)
        status = taut.status("web")
        assert status is not None
        assert status.message == ""


async def test_what_degrades_fails_the_sync(taut: Taut, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "DEGRADED_GRACE", 0.5)
    bad = job("once")
    bad["spec"]["template"]["metadata"] = {"annotations": {"localplane.taut.dev/pod": "fail"}}
    taut.declare(application("web", sync=NO_RETRY), files={"apps/web/a.yaml": yaml(bad)})
    async with taut.run():
        status = await ended(taut, "web", "Failed")
        assert "/once is Degraded" in status.message
        assert status.health == "Degraded"


async def test_deletions_that_hang_on_finalizers_are_named(taut: Taut) -> None:
    stuck = config_map("stuck", finalizers=["example.com/never"])
    taut.declare(
        application("web", sync={"timeout": "1500ms", **NO_RETRY}),
        files={"apps/web/a.yaml": yaml(config_map("a")), "apps/web/b.yaml": yaml(stuck)},
    )
    async with taut.run():
        await taut.synced("web")
        taut.repo.delete("apps/web/b.yaml")
        await taut.poke()
        await taut.says("web", "waiting", "/stuck", "example.com/never")
        status = await ended(taut, "web", "Failed")
        assert "timed out after 1500ms" in status.message
        assert "example.com/never" in status.message
        taut.patch("configmaps", "stuck", {"metadata": {"finalizers": None}})
        await taut.synced("web")
        state = taut.state("web")
        assert state is not None
        assert {r.name for r in state.items} == {"a"}


async def test_a_namespace_that_is_being_deleted_is_said(taut: Taut) -> None:
    space = f"{taut.namespace}-going"
    holder = config_map("holder", finalizers=["example.com/holds"])
    base = "/api/v1/namespaces"
    taut.api.apply(f"{base}/{space}", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": space}})
    taut.api.apply(f"{base}/{space}/configmaps/holder", holder)
    assert taut.api.request("DELETE", f"{base}/{space}")[0] in (200, 202)
    app = application("web", sync=NO_RETRY, target={"namespace": space})
    taut.declare(app, files={"apps/web/a.yaml": yaml(config_map("a"))})
    try:
        async with taut.run():
            await taut.says("web", f"namespace {space} is being deleted")
            assert (taut.get("namespaces", space, namespace="") or {})["status"]["phase"] == "Terminating"
    finally:
        patch = {"metadata": {"finalizers": None}}
        taut.api.request("PATCH", f"{base}/{space}/configmaps/holder", patch, content="application/merge-patch+json")


# Who starts


async def test_selective_sync_runs_no_hooks_and_leaves_no_history(taut: Taut, writes: Writes) -> None:
    taut.declare(
        application("web", sync={"mode": "manual"}),
        files={"apps/web/all.yaml": yaml(config_map("a"), config_map("b"), annotate(job("migrate"), hook="PreSync"))},
    )
    async with taut.run():
        await taut.says("web", "taut sync")
        ref = ObjectRef("local", "", "ConfigMap", taut.namespace, "b")
        number = await taut.controller.ask_sync(taut.key("web"), by="ada", objects=frozenset({ref}))
        await taut.until(lambda: (s := taut.status("web")) and s.handled >= number, "it was handled")
        status = await taut.says("web", "taut sync")
        assert data(taut, "b") == {"a": "1"}
        assert writes.order() == ["patch configmaps/b"]
        assert (status.sync, await taut.history("web")) == ("OutOfSync", [])
        await taut.controller.ask_sync(taut.key("web"), by="ada")
        await taut.synced("web")
        assert writes.runs() == {"migrate": 1}
        entry = (await taut.history("web"))[0]
        assert (entry.initiated_by, entry.kind, entry.result) == ("ada", "sync", "Succeeded")


async def test_manual_mode_waits_for_a_person(taut: Taut, writes: Writes) -> None:
    taut.declare(application("web", sync={"mode": "manual"}), files={"apps/web/a.yaml": yaml(config_map("a"))})
    async with taut.run():
        status = await taut.says("web", "differs from Git", "taut sync")
        assert (status.sync, writes.all()) == ("OutOfSync", [])
        await taut.controller.ask_sync(taut.key("web"), by="ada")
        await taut.synced("web")
        taut.patch("configmaps", "a", {"data": {"a": "9"}})
        await taut.says("web", "taut sync")
        assert data(taut, "a") == {"a": "9"}
        await taut.controller.ask_sync(taut.key("web"), by="ada")
        await taut.until(lambda: data(taut, "a") == {"a": "1"}, "a person's sync puts it back")


async def test_report_only_writes_nothing(taut: Taut, writes: Writes) -> None:
    taut.declare(application("web", sync={"mode": "report"}), files={"apps/web/a.yaml": yaml(config_map("a"))})
    async with taut.run():
        status = await taut.says("web", "report-only")
        assert (status.sync, status.health) == ("OutOfSync", "Missing")
        await taut.push({"apps/web/a.yaml": yaml(config_map("a"), config_map("b"))})
        await taut.until(lambda: (s := taut.status("web")) and s.out_of_sync == 2, "both are shown")
        assert writes.all() == []


async def test_sync_windows(taut: Taut, writes: Writes) -> None:
    closed = {"kind": "deny", "schedule": "* * * * *", "duration": "2h"}
    manual = {**closed, "manualSync": True}
    taut.declare(
        application("closed", sync={"windows": [closed]}),
        application("manual", sync={"windows": [manual]}),
        files={"apps/closed/a.yaml": yaml(config_map("closed")), "apps/manual/a.yaml": yaml(config_map("manual"))},
    )
    async with taut.run():
        await taut.says("closed", "window")
        await taut.says("manual", "window")
        for name in ("closed", "manual"):
            await taut.controller.ask_sync(taut.key(name), by="ada")
        await taut.synced("manual")
        await taut.says("closed", "window")
        assert writes.order() == ["patch configmaps/manual"]
        taut.declare(application("closed"), application("manual"))
        await taut.poke()
        await taut.synced("closed")


# dependsOn


async def test_a_dependency_must_be_healthy_at_the_revision_being_synced(taut: Taut, writes: Writes) -> None:
    apps = [application("db"), application("web", dependsOn=["db"])]
    slow = deployment("db", **{"localplane.taut.dev/ready-after": "1s"})
    taut.declare(*apps, files={"apps/db/a.yaml": yaml(slow), "apps/web/a.yaml": yaml(config_map("web"))})
    async with taut.run():
        await taut.says("web", "waits for", "/db")
        assert taut.get("configmaps", "web") is None
        await taut.synced("db", "web")
        order = writes.order()
        assert order.index("patch deployments.apps/db") < order.index("patch configmaps/web")
        # The next commit changes both: what was healthy at the revision before does not count.
        slow["spec"]["template"]["spec"]["containers"][0]["image"] = "example/db:2"
        taut.repo.commit({"apps/db/a.yaml": yaml(slow), "apps/web/a.yaml": yaml(config_map("web", {"a": "2"}))})
        await taut.poke()
        await taut.says("web", "waits for", "/db")
        assert data(taut, "web") == {"a": "1"}
        await taut.until(lambda: data(taut, "web") == {"a": "2"}, "it follows")
        found = taut.get("deployments", "db", "apps/v1")
        assert found is not None
        assert found["status"]["updatedReplicas"] == found["status"]["availableReplicas"] == 1


async def test_dependencies_across_roots(taut: Taut) -> None:
    base = f"{taut.namespace}-base"
    root = {"git": taut.repo.url, "ref": "main", "poll": "1h"}
    taut.options["roots"] = [
        {**root, "name": taut.namespace, "path": "taut"},
        {**root, "name": base, "path": "base"},
    ]
    taut.declare(
        application("web", dependsOn=[f"{base}//db"]),
        files={"apps/web/a.yaml": yaml(config_map("web")), "apps/db/a.yaml": yaml(never_ready("db"))},
    )
    other = taut.filled(application("db"))
    taut.repo.commit({"base/apps.yaml": yaml(other)})
    async with taut.run():
        await taut.says("web", "waits for", f"{base}/db")
        assert taut.get("configmaps", "web") is None
        await taut.push({"apps/db/a.yaml": yaml(deployment("db"))})
        await taut.synced("web")
        key = AppKey(base, "", "db")
        status = taut.controller.fleet.status(key)
        assert status is not None
        assert status.health == "Healthy"


async def test_a_circle_of_dependencies_is_named(taut: Taut, writes: Writes) -> None:
    names = ["a", "b", "c"]
    taut.declare(
        application("a", dependsOn=["b"]),
        application("b", dependsOn=["c"]),
        application("c", dependsOn=["a"]),
        application("free"),
        files={f"apps/{n}/x.yaml": yaml(config_map(n)) for n in [*names, "free"]},
    )
    async with taut.run():
        await taut.synced("free")
        for name in names:
            await taut.says(name, "→", *names)
        assert writes.order() == ["patch configmaps/free"]
        taut.declare(
            application("a", dependsOn=["b"]), application("b", dependsOn=["c"]), application("c"), application("free")
        )
        await taut.poke()
        await taut.synced("a", "b", "c")
        assert writes.order()[1:] == ["patch configmaps/c", "patch configmaps/b", "patch configmaps/a"]


async def test_dependants_go_before_what_they_depend_on(taut: Taut, writes: Writes) -> None:
    slow = config_map("web", finalizers=["example.com/slow"])
    taut.declare(
        application("db"),
        application("web", dependsOn=["db"]),
        application("stays"),
        files={
            "apps/db/a.yaml": yaml(config_map("db")),
            "apps/web/a.yaml": yaml(slow),
            "apps/stays/a.yaml": yaml(config_map("stays")),
        },
    )
    async with taut.run():
        await taut.synced("db", "web", "stays")
        taut.declare(application("stays"))
        await taut.poke()
        await taut.says("db", "waits until", "/web is gone")
        await taut.says("web", "example.com/slow")
        assert data(taut, "db") == {"a": "1"}
        taut.patch("configmaps", "web", {"metadata": {"finalizers": None}})
        await taut.until(lambda: taut.state("db") is None and taut.state("web") is None, "both are gone")
        assert [w for w in writes.order() if w.startswith("delete")] == [
            "delete configmaps/web",
            "delete configmaps/db",
        ]


# As whom, and from whom


async def test_writes_are_made_as_the_service_account(taut: Taut, writes: Writes) -> None:
    space = taut.namespace
    rbac = "/apis/rbac.authorization.k8s.io/v1"
    taut.api.apply(
        f"/api/v1/namespaces/{space}/serviceaccounts/deployer",
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "deployer"}},
    )
    verbs = ["get", "create", "patch", "delete"]
    rules = [
        {"apiGroups": [""], "resources": ["configmaps"], "verbs": verbs},
        {"apiGroups": ["batch"], "resources": ["jobs"], "verbs": verbs},
    ]
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "deployer"}}
    taut.api.apply(f"{rbac}/namespaces/{space}/roles/deployer", {**role, "rules": rules})
    binding = {
        **role,
        "kind": "RoleBinding",
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "deployer"},
        "subjects": [{"kind": "ServiceAccount", "name": "deployer", "namespace": space}],
    }
    taut.api.apply(f"{rbac}/namespaces/{space}/rolebindings/deployer", binding)
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "data": {}}
    hook = annotate(job("migrate"), hook="PreSync", hook_delete_policy="HookSucceeded")
    taut.declare(
        application("web", sync=NO_RETRY, target={"serviceAccount": "deployer"}),
        files={"apps/web/a.yaml": yaml(config_map("a"), hook), "apps/web/b.yaml": yaml(config_map("b"))},
    )
    async with taut.run():
        await taut.synced("web")
        taut.repo.delete("apps/web/b.yaml")
        await taut.poke()
        await taut.until(lambda: data(taut, "b") is None, "pruned")
        await taut.synced("web")
        user = f"system:serviceaccount:{space}:deployer"
        assert {w.verb for w in writes.all()} == {"create", "patch", "delete"}
        assert {w.user for w in writes.all()} == {user}
        await taut.push({"apps/web/s.yaml": yaml(secret)})
        status = await ended(taut, "web", "Failed")
        assert user in status.message
        assert "secrets" in status.message


async def test_conflicts_are_taken_over_and_the_loser_is_named(taut: Taut) -> None:
    def apply(body: dict[str, Any], manager: str) -> None:
        path = f"/api/v1/namespaces/{taut.namespace}/configmaps/a?fieldManager={manager}"
        status, answer = taut.api.request("PATCH", path, body, content="application/apply-patch+yaml")
        assert status in (200, 201), answer

    apply(config_map("a", {"a": "theirs", "kept": "yes"}), "someone")
    taut.declare(application("web"), files={"apps/web/a.yaml": yaml(config_map("a", {"a": "ours"}))})
    async with taut.run():
        await taut.synced("web")
        assert data(taut, "a") == {"a": "ours", "kept": "yes"}
        events = await taut.controller.store.events(taut.key("web"))
        lost = [e for e in events if e.kind == "takeover"]
        assert any("data.a" in e.message and "someone" in e.message for e in lost)
        assert all("kept" not in e.message for e in lost)
        entry = (await taut.history("web"))[0]
        assert [action for action, _ in entry.changes] == ["adopt"]


async def test_what_kubectl_applied_is_inherited_and_a_key_that_left_git_goes(taut: Taut) -> None:
    body = config_map("a", {"a": "1", "b": "2"})
    last = {"kubectl.kubernetes.io/last-applied-configuration": json.dumps(body)}
    body["metadata"]["annotations"] = last
    path = f"/api/v1/namespaces/{taut.namespace}/configmaps?fieldManager=kubectl-client-side-apply"
    assert taut.api.request("POST", path, body)[0] == 201
    taut.declare(application("web"), files={"apps/web/a.yaml": yaml(config_map("a", {"a": "1"}))})
    async with taut.run():
        await taut.synced("web")
        found = taut.get("configmaps", "a")
        assert found is not None
        assert found["data"] == {"a": "1"}, "the key that kubectl applied and Git does not have is gone"
        assert not last.keys() & found["metadata"]["annotations"].keys()
        managers = {e["manager"] for e in found["metadata"]["managedFields"]}
        assert managers == {"taut"}
        commit = await taut.push({"apps/web/a.yaml": yaml(config_map("a", {"c": "3"}))})
        await taut.synced("web", at=commit)
        assert data(taut, "a") == {"c": "3"}
