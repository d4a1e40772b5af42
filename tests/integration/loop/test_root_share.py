"""Many applications of a root go at once: what is held stays held, and a broken file takes nothing away."""

from __future__ import annotations

import pytest

from integration.loop.harness import Taut, application, config_map, yaml
from servers.git import Content

pytestmark = pytest.mark.integration

NAMES = [f"app-{n}" for n in range(8)]


def files() -> dict[str, Content]:
    return {f"apps/{name}/cm.yaml": yaml(config_map(name)) for name in NAMES}


async def test_approving_some_removals_lets_no_other_go(taut: Taut) -> None:
    """Five of eight are held. When two of them were approved and are gone, three of six would pass the guard."""
    taut.declare(*(application(name) for name in NAMES), files=files())
    async with taut.run():
        await taut.synced(*NAMES)
        taut.declare(*(application(name) for name in NAMES[5:]))
        await taut.poke()
        for name in NAMES[:5]:
            await taut.held(name, "root-delete-share")
        for name in NAMES[:2]:
            await taut.approve(name)
            await taut.until(lambda name=name: taut.state(name) is None, f"{name} is gone")
        taut.declare(*(application(name, info={"a": "b"}) for name in NAMES[5:]))
        await taut.poke()
        await taut.until(lambda: (s := taut.status(NAMES[7])) is not None and s.info == {"a": "b"}, "the root was read")
        assert [taut.status(name).held_for[0].kind for name in NAMES[2:5]] == ["root-delete-share"] * 3  # pyright: ignore[reportOptionalMemberAccess]
    async with taut.run():
        for name in NAMES[2:5]:
            await taut.held(name, "root-delete-share")
            assert taut.get("configmaps", name) is not None
        # One comes back: the two that are left are no large share.
        taut.declare(*(application(name) for name in (NAMES[2], *NAMES[5:])))
        await taut.poke()
        await taut.until(lambda: taut.state(NAMES[3]) is None and taut.state(NAMES[4]) is None, "the others go")
        await taut.synced(NAMES[2])


async def test_a_file_that_was_renamed_and_broken_takes_nothing_away(taut: Taut) -> None:
    taut.declare(application("app-0"), files=files())
    async with taut.run():
        await taut.synced("app-0")
        taut.repo.delete("taut/applications.yaml")
        await taut.push({"taut/renamed.yaml": "kind: Application\nmetadata: [\n"})
        await taut.says("app-0", "renamed.yaml")
        state = taut.state("app-0")
        assert state is not None
        assert not state.removed
        taut.repo.delete("taut/renamed.yaml")
        await taut.push({"taut/other.yaml": yaml(taut.filled(application("app-0")))})
        await taut.synced("app-0")


async def test_an_application_goes_whose_project_left_with_it_also_after_a_restart(taut: Taut) -> None:
    """A suspended application stays until it is resumed; by then taut was started anew, and Git knows its project no more."""
    team = {"apiVersion": "taut.dev/v1", "kind": "Project", "metadata": {"name": "team"}, "spec": {}}
    root = {"name": taut.root, "git": taut.repo.url, "ref": "main", "path": "taut", "poll": "1h", "projects": True}
    taut.options["roots"] = [root]
    taut.declare(team, application("app-0", project="team"), application("app-1"), files=files())
    async with taut.run():
        await taut.synced("app-0", "app-1")
        await taut.controller.suspend(taut.key("app-0"), by="ada", reason="")
        taut.declare(application("app-1"))
        await taut.poke()
        await taut.until(lambda: (s := taut.state("app-0")) is not None and s.removed, "to be removed")
    async with taut.run():
        await taut.says("app-0", "suspended")
        await taut.controller.resume(taut.key("app-0"), by="ada")
        await taut.until(lambda: taut.state("app-0") is None, "gone")
        assert taut.get("configmaps", "app-0") is None


async def test_an_application_of_which_nothing_was_made_just_goes(taut: Taut) -> None:
    strange = application("strange", target={"cluster": "nosuch", "namespace": taut.namespace})
    ring = [application("one", dependsOn=["two"]), application("two", dependsOn=["one"])]
    files = {f"apps/{n}/cm.yaml": yaml(config_map(n)) for n in ("web", "strange", "one", "two", "more")}
    taut.declare(application("web"), application("more"), strange, *ring, files=files)
    async with taut.run():
        await taut.synced("web", "more")
        await taut.says("strange", "nosuch")
        await taut.says("one", "wait for each other")
        taut.declare(application("web"), application("more"), *ring)
        await taut.poke()
        await taut.until(lambda: taut.state("strange") is None, "gone")
        taut.declare(application("web"), application("more"))
        await taut.poke()
        await taut.until(lambda: taut.state("one") is None and taut.state("two") is None, "gone")
        assert taut.get("configmaps", "web") is not None
