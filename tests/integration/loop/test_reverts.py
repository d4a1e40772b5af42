"""Git goes back while, or after, something newer was half applied: that is a sync, and nobody's drift."""

from __future__ import annotations

from typing import Any

import pytest

from integration.loop.harness import Taut, annotate, application, config_map, deployment, yaml
from servers.git import Content

pytestmark = pytest.mark.integration

BAD = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "bad"}, "spec": {"ports": [{"port": 99_999}]}}


def content(value: str, **template: Any) -> dict[str, Content]:
    """A ConfigMap, a workload, and a ConfigMap in a later wave."""
    later = annotate(config_map("later", {"a": value}), wave="1")
    return {
        "apps/web/cm.yaml": yaml(config_map("cm", {"a": value})),
        "apps/web/dep.yaml": yaml(deployment("dep", **template)),
        "apps/web/later.yaml": yaml(later),
    }


NEVER = {"localplane.taut.dev/pod": "never-ready"}


@pytest.mark.parametrize("heal", [True, False])
async def test_back_in_the_midst_of_a_rollout(taut: Taut, heal: bool) -> None:
    taut.declare(application("web", sync={"heal": heal}), files=content("1"))
    async with taut.run():
        await taut.synced("web")
        await taut.push(content("2", **NEVER))
        await taut.says("web", "waiting", "dep")
        assert (taut.get("configmaps", "cm") or {})["data"] == {"a": "2"}
        back = await taut.push(content("1"))
        await taut.synced("web", at=back)
        assert (taut.get("configmaps", "cm") or {})["data"] == {"a": "1"}
        assert [(e.kind, e.result) for e in await taut.history("web")] == [
            ("sync", "Succeeded"),
            ("sync", "Superseded"),
            ("sync", "Succeeded"),
        ]
        assert await taut.drift("web") == []


@pytest.mark.parametrize("restart", [False, True])
async def test_back_after_a_sync_that_failed(taut: Taut, restart: bool) -> None:
    taut.declare(application("web", sync={"heal": False, "retry": {"limit": 0}}), files=content("1"))
    async with taut.run():
        await taut.synced("web")
        await taut.push({**content("2"), "apps/web/bad.yaml": yaml(BAD)})
        await taut.says("web", "tried 1 times")
        assert (taut.get("configmaps", "cm") or {})["data"] == {"a": "2"}
        if not restart:
            back = await taut.push({**content("1"), "apps/web/bad.yaml": None})
            await taut.synced("web", at=back)
    if restart:
        back = taut.repo.commit({**content("1"), "apps/web/bad.yaml": None})
        async with taut.run():
            await taut.synced("web", at=back)
    async with taut.run():
        await taut.synced("web")
        assert (taut.get("configmaps", "cm") or {})["data"] == {"a": "1"}
        assert next((e.kind, e.result) for e in await taut.history("web")) == ("sync", "Succeeded")
        assert await taut.drift("web") == []


async def test_back_after_some_objects_were_synced_by_hand(taut: Taut) -> None:
    taut.declare(application("web", sync={"mode": "manual"}), files=content("1"))
    async with taut.run():
        await taut.says("web", "taut sync")
        await taut.controller.ask_sync(taut.key("web"), by="ada")
        await taut.synced("web")
        await taut.push(content("2"))
        await taut.says("web", "differs from Git")
        ref = next(r for r in taut.controller.state(taut.key("web")).items if r.name == "cm")
        await taut.controller.ask_sync(taut.key("web"), by="ada", objects=frozenset([ref]))
        await taut.until(lambda: (taut.get("configmaps", "cm") or {})["data"] == {"a": "2"}, "one object was synced")
        back = await taut.push(content("1"))

        def seen() -> bool:
            state = taut.controller.state(taut.key("web"))
            at = status.desired_revision if (status := taut.status("web")) is not None else ""
            return (back[:8] in at, len(state.out_of_sync), state.run) == (True, 1, None)

        await taut.until(seen, "one object differs")
        assert await taut.drift("web") == []
        await taut.controller.ask_sync(taut.key("web"), by="ada")
        await taut.synced("web")
        assert await taut.drift("web") == []
