"""From Git to a healthy object and back."""

from __future__ import annotations

import pytest

from integration.loop.harness import Taut, application, config_map, deployment, yaml

pytestmark = pytest.mark.integration


async def test_plain_yaml_from_git_to_healthy(taut: Taut) -> None:
    commit = taut.declare(
        application("web"), files={"apps/web/web.yaml": yaml(config_map("settings"), deployment("web"))}
    )
    async with taut.run():
        await taut.synced("web", at=commit)
        found = taut.get("configmaps", "settings")
        assert found is not None
        assert found["data"] == {"a": "1"}
        owner = f"{taut.root}/web|/ConfigMap:{taut.namespace}/settings"
        assert found["metadata"]["annotations"]["taut.dev/owner"] == owner
        entry = (await taut.history("web"))[0]
        assert (entry.kind, entry.result, entry.author) == ("sync", "Succeeded", "Ada Tester <ada@example.test>")
        assert len(entry.changes) == 2


async def test_a_push_is_live(taut: Taut) -> None:
    taut.declare(application("web"), files={"apps/web/cm.yaml": yaml(config_map("settings", {"a": "1"}))})
    async with taut.run():
        await taut.synced("web")
        await taut.push({"apps/web/cm.yaml": yaml(config_map("settings", {"a": "2"}))})
        await taut.until(
            lambda: (taut.get("configmaps", "settings") or {})["data"] == {"a": "2"}, "the new value is live"
        )
        await taut.synced("web")
        assert [e.kind for e in await taut.history("web")] == ["sync", "sync"]


async def test_what_left_git_is_pruned(taut: Taut) -> None:
    files = {"apps/web/one.yaml": yaml(config_map("one")), "apps/web/two.yaml": yaml(config_map("two"))}
    taut.declare(application("web"), files=files)
    async with taut.run():
        await taut.synced("web")
        taut.repo.delete("apps/web/two.yaml")
        await taut.poke()
        await taut.until(lambda: taut.get("configmaps", "two") is None, "pruned")
        assert taut.get("configmaps", "one") is not None


async def test_an_application_that_left_git_goes_with_its_objects(taut: Taut) -> None:
    files = {"apps/web/one.yaml": yaml(config_map("one")), "apps/api/two.yaml": yaml(config_map("two"))}
    taut.declare(application("web"), application("api"), files=files)
    async with taut.run():
        await taut.synced("web", "api")
        taut.declare(application("web"))
        await taut.poke()
        await taut.until(lambda: taut.state("api") is None, "the application is gone")
        assert taut.get("configmaps", "two") is None
        assert taut.get("configmaps", "one") is not None


async def test_a_restart_in_sync_writes_nothing(taut: Taut) -> None:
    taut.declare(application("web"), files={"apps/web/web.yaml": yaml(config_map("settings"), deployment("web"))})
    async with taut.run():
        await taut.synced("web")
    before = taut.get("configmaps", "settings")
    async with taut.run():
        await taut.synced("web")
        assert taut.get("configmaps", "settings") == before
        assert len(await taut.history("web")) == 1
        assert taut.controller.wanting.renders == 0


async def test_a_change_by_hand_is_noticed_named_and_healed(taut: Taut) -> None:
    taut.declare(application("web"), files={"apps/web/cm.yaml": yaml(config_map("settings", {"a": "1"}))})
    async with taut.run():
        await taut.synced("web")
        taut.patch("configmaps", "settings", {"data": {"a": "9"}}, manager="somebody")
        await taut.until(lambda: (taut.get("configmaps", "settings") or {})["data"] == {"a": "1"}, "healed")

        async def healed() -> bool:
            return any(r.outcome == "healed" for r in await taut.drift("web"))

        await taut.until(healed, "the record says healed")
        record = (await taut.drift("web"))[0]
        assert (record.path, record.desired, record.found, record.who) == ("data.a", "1", "9", "somebody")
        assert record.operation == "Update"
        assert record.healed_at >= record.noticed_at >= record.changed_at - 1
