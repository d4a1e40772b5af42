"""What taut let go of is nobody's any more, whatever mark it carries: it is listed, and forgotten with its application."""

from __future__ import annotations

import pytest

from integration.loop.harness import Taut, annotate, application, config_map, deployment, yaml
from support.audit import AuditLog
from taut.server.controlled import ControllerBackend

pytestmark = pytest.mark.integration


async def names(taut: Taut) -> set[str]:
    found = await ControllerBackend(taut.controller).orphans(None, taut.namespace)
    return {o.name for o in found}


async def test_what_was_let_go_of_is_an_orphan(taut: Taut) -> None:
    kept = annotate(config_map("kept"), prune="false")
    taut.declare(
        application("web"),
        application("gone", deletion="orphan"),
        files={"apps/web/cm.yaml": yaml(config_map("one"), kept), "apps/gone/cm.yaml": yaml(config_map("left"))},
    )
    async with taut.run():
        await taut.synced("web", "gone")
        assert await names(taut) == set()
        taut.declare(application("web"), files={"apps/web/cm.yaml": yaml(config_map("one"))})
        await taut.poke()
        await taut.until(lambda: taut.state("gone") is None, "the application is gone")
        await taut.until(lambda: (s := taut.status("web")) is not None and s.objects == 1, "let go of")
        assert await names(taut) == {"kept", "left"}


async def test_the_drift_of_an_application_that_is_gone_is_open_no_more(taut: Taut) -> None:
    taut.declare(
        application("web", sync={"heal": False}), application("b"), files={"apps/web/cm.yaml": yaml(config_map("one"))}
    )
    taut.repo.commit({"apps/b/cm.yaml": yaml(config_map("b"))}, "b")
    async with taut.run():
        await taut.synced("web", "b")
        taut.patch("configmaps", "one", {"data": {"a": "9"}})
        await taut.until(lambda: (s := taut.status("web")) is not None and s.drift == 1, "noticed")
        taut.declare(application("b"))
        await taut.poke()
        await taut.until(lambda: taut.state("web") is None, "gone")
        store = taut.controller.store
        left = [r for r in await store.drift(open_only=True, limit=1000) if r.app.root == taut.root]
        assert left == []


async def test_a_tree_costs_one_list_a_kind_however_many_objects_it_has(taut: Taut) -> None:
    files = {
        "apps/web/a.yaml": yaml(*(deployment(f"web-{n}") for n in range(4)), *(config_map(f"cm-{n}") for n in "abc"))
    }
    taut.declare(application("web"), files=dict(files))
    async with taut.run():
        await taut.synced("web")
        log = AuditLog(taut.plane.audit_log)
        nodes = await ControllerBackend(taut.controller).tree(taut.key("web"))
        assert sum(n.kind == "Deployment" for n in nodes) == 4
        assert sum(n.kind == "Pod" for n in nodes) == 4
        pods = [n for n in nodes if n.kind == "Pod"]
        assert {n.parent.partition(":")[0] for n in pods} == {"apps/ReplicaSet"}

        def listed() -> list[str]:
            return [a.plural for a in log.requests(lambda a: a.verb == "list" and a.namespace == taut.namespace)]

        await taut.until(lambda: "pods" in listed(), "the audit log has it")
        assert len(listed()) == len(set(listed()))
