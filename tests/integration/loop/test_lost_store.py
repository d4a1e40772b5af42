"""Losing the store loses history, never a workload; and what nobody declares is listed."""

from __future__ import annotations

import json
import shutil
from typing import Any

import pytest

from integration.loop.harness import CLUSTER, Taut, annotate, application, config_map, deployment, job, yaml
from taut.model.refs import ObjectRef
from taut.server.controlled import ControllerBackend

pytestmark = pytest.mark.integration


def writes(taut: Taut) -> list[tuple[str, str]]:
    """What taut wrote in the test's namespace, by the API server's own log: (verb, kind/name). Dry-runs are no writes."""
    log = taut.plane.audit_log
    assert log is not None
    found: list[tuple[str, str]] = []
    for line in log.read_bytes().splitlines():
        event = json.loads(line)
        ref = event.get("objectRef") or {}
        ours = str(event.get("userAgent", "")).startswith("taut/") and ref.get("namespace") == taut.namespace
        if not ours or event["verb"] not in ("create", "patch", "update", "delete", "deletecollection"):
            continue
        if event.get("stage") == "ResponseComplete" and "dryRun" not in event.get("requestURI", ""):
            found.append((event["verb"], f"{ref.get('resource')}/{ref.get('name')}"))
    return found


def lose_the_store(taut: Taut) -> None:
    """Everything that taut keeps: records, renders, keys, mirrors."""
    shutil.rmtree(taut.folder / "state")


def files() -> dict[str, Any]:
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web"},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]},
    }
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "key"}, "stringData": {"password": "x"}}
    hook = annotate(job("migrate"), hook="PreSync")
    return {
        "apps/web/web.yaml": yaml(deployment("web", replicas=2), service, secret, config_map("settings")),
        "apps/web/hook.yaml": yaml(hook),
        "apps/web/old.yaml": yaml(config_map("old")),
    }


async def test_inventories_are_rebuilt_and_the_first_prune_asks(taut: Taut) -> None:
    taut.declare(application("web"), files=files())
    async with taut.run():
        await taut.synced("web")
        state = taut.state("web")
        assert state is not None
        inventory = {r: i.uid for r, i in state.items.items()}
    lose_the_store(taut)
    before = writes(taut)
    assert ("create", "jobs/migrate") in [(v, r) for v, r in before if v == "create"]
    async with taut.run():
        await taut.synced("web")
        state = taut.state("web")
        assert state is not None
        assert {r: i.uid for r, i in state.items.items()} == inventory
        assert await taut.history("web") == []
        assert await taut.drift("web") == []
        # Nothing changed: nothing was written, and no hook ran again.
        assert writes(taut) == before
    # A sync that deletes nothing does not use up the question.
    async with taut.run():
        await taut.synced("web")
        commit = await taut.push({"apps/web/more.yaml": yaml(config_map("more"))})
        await taut.synced("web", at=commit)
        taut.repo.delete("apps/web/old.yaml")
        await taut.poke()
        status = await taut.held("web", "rebuilt-inventory")
        assert "rebuilt from what the objects carry" in status.message
        assert taut.get("configmaps", "old") is not None
        await taut.approve("web")
        await taut.until(lambda: taut.get("configmaps", "old") is None, "pruned")
        await taut.synced("web")
        # It is asked once.
        taut.repo.delete("apps/web/more.yaml")
        await taut.poke()
        await taut.until(lambda: taut.get("configmaps", "more") is None, "pruned without asking")


async def test_what_left_git_while_the_store_was_lost_is_found_and_asked_for(taut: Taut) -> None:
    taut.declare(application("web"), files=files())
    async with taut.run():
        await taut.synced("web")
    lose_the_store(taut)
    taut.repo.delete("apps/web/old.yaml")
    async with taut.run():
        await taut.held("web", "rebuilt-inventory")
        assert taut.get("configmaps", "old") is not None
        await taut.approve("web")
        await taut.until(lambda: taut.get("configmaps", "old") is None, "pruned")
        await taut.synced("web")


async def test_no_hook_runs_again_because_the_store_was_lost(taut: Taut) -> None:
    """Not even when there is something to heal, its object is gone, and Git has moved on elsewhere meanwhile."""
    hook = annotate(job("migrate"), hook="PreSync", hook_delete_policy="HookSucceeded")
    taut.declare(application("web"), files=files() | {"apps/web/hook.yaml": yaml(hook)})
    async with taut.run():
        await taut.synced("web")
        await taut.until(lambda: taut.get("jobs", "migrate", "batch/v1") is None, "the hook's object is gone")
    lose_the_store(taut)
    taut.repo.commit({"README.md": "elsewhere\n"})
    taut.patch("configmaps", "settings", {"data": {"a": "9"}}, manager="somebody")
    async with taut.run():
        await taut.synced("web")
        assert (taut.get("configmaps", "settings") or {})["data"] == {"a": "1"}
        assert [w for w in writes(taut) if w[0] == "create"] == [("create", "jobs/migrate")]
        # A change of Git is a reason.
        commit = await taut.push({"apps/web/more.yaml": yaml(config_map("more"))})
        await taut.synced("web", at=commit)
        assert len([w for w in writes(taut) if w[0] == "create"]) == 2


async def test_a_copy_is_not_taken_into_a_rebuilt_inventory(taut: Taut) -> None:
    taut.declare(application("web"), files=files())
    async with taut.run():
        await taut.synced("web")
    original = taut.get("configmaps", "settings")
    assert original is not None
    copied = {**original, "metadata": {"name": "copy", "annotations": original["metadata"]["annotations"]}}
    status, _ = taut.api.request("POST", f"/api/v1/namespaces/{taut.namespace}/configmaps", copied)
    assert status == 201
    lose_the_store(taut)
    async with taut.run():
        await taut.synced("web")
        state = taut.state("web")
        assert state is not None
        kinds = sorted(r.kind for r in state.items)
        assert kinds == ["ConfigMap", "ConfigMap", "Deployment", "Job", "Secret", "Service"]
        assert ObjectRef(CLUSTER, "", "ConfigMap", taut.namespace, "copy") not in state.items


async def test_what_nobody_declares_is_listed(taut: Taut) -> None:
    """Neither what taut applied, nor what it or the cluster made by itself; copies are orphans."""
    taut.declare(application("web"), files=files())
    async with taut.run():
        await taut.synced("web")
        base = f"/api/v1/namespaces/{taut.namespace}"
        original = taut.get("configmaps", "settings")
        assert original is not None
        copied = {**original, "metadata": {"name": "copy", "annotations": original["metadata"]["annotations"]}}
        for plural, body in (
            ("configmaps", config_map("forgotten")),
            ("configmaps", copied),
            ("serviceaccounts", {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "robot"}}),
        ):
            status, answer = taut.api.request("POST", f"{base}/{plural}", body)
            assert status == 201, answer
        backend = ControllerBackend(taut.controller)
        found = await backend.orphans(None, None)
        assert {(o.kind, o.name) for o in found if o.namespace == taut.namespace} == {
            ("ConfigMap", "forgotten"),
            ("ConfigMap", "copy"),
            ("ServiceAccount", "robot"),
        }
        assert {o.namespace for o in found} == {taut.namespace}
        assert all(o.created for o in found)
