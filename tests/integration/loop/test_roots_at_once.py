"""Roots that are read at the same time, and what a store that fails in between costs: nothing but time."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest

from integration.loop.harness import CLUSTER, Taut, application, config_map, yaml
from taut.model.errors import StoreError
from taut.model.record import AppRecord

pytestmark = pytest.mark.integration


def app(taut: Taut, name: str, repo: Any) -> dict[str, Any]:
    document = application(name)
    document["spec"]["source"] = {"git": repo.url, "ref": "main", "path": f"apps/{name}"}
    document["spec"]["target"] = {"cluster": CLUSTER, "namespace": taut.namespace}
    return document


async def test_two_roots_that_move_at_once_make_each_application_once(taut: Taut) -> None:
    """Both are brought to the fleet whenever one of them moves: a new application must not get two states."""
    other = taut.git.repo("other")
    other.commit({"taut/apps.yaml": "# nothing\n"}, "begin")
    taut.declare(files={"apps/web/cm.yaml": yaml(config_map("web"))})
    second = {"name": f"{taut.root}-b", "git": other.url, "ref": "main", "path": "taut", "poll": "1h"}
    first = {"name": taut.root, "git": taut.repo.url, "ref": "main", "path": "taut", "poll": "1h"}
    taut.options["roots"] = [first, second]
    async with taut.run():
        controller = taut.controller
        made: Counter[str] = Counter()
        put_app = controller.store.put_app

        async def counted(record: AppRecord) -> None:
            if record.key not in {str(key) for key in controller.fleet.states}:
                made[record.key] += 1
            await put_app(record)

        controller.store.put_app = counted  # pyright: ignore[reportAttributeAccessIssue] (the same, counted)
        other.commit(
            {"taut/apps.yaml": yaml(app(taut, "api", other)), "apps/api/cm.yaml": yaml(config_map("api"))}, "api"
        )
        taut.repo.commit({"taut/applications.yaml": yaml(app(taut, "web", taut.repo))}, "web")
        await asyncio.gather(*(controller.sources.fetch(r.url) for r in (taut.repo, other)))
        await asyncio.gather(*(controller.roots.look(r.url) for r in (taut.repo, other)))
        assert made == {f"{taut.root}/web": 1, f"{taut.root}-b/api": 1}
        await taut.synced("web")


async def test_a_commit_that_the_store_could_not_take_in_is_taken_in_later(taut: Taut) -> None:
    """A full disk in the moment of a push: taut goes on looking at the repository, and owes it the commit."""
    taut.declare(files={"apps/web/cm.yaml": yaml(config_map("web"))})
    async with taut.run():
        controller, refused = taut.controller, asyncio.Event()
        put_app = controller.store.put_app

        async def full(record: AppRecord) -> None:
            refused.set()
            raise StoreError("The disk is full, so taut's store cannot be written")

        controller.store.put_app = full  # pyright: ignore[reportAttributeAccessIssue] (a disk that is full for a while)
        taut.declare(application("web"))
        await taut.poke()
        async with asyncio.timeout(20):
            await refused.wait()
        controller.store.put_app = put_app  # pyright: ignore[reportAttributeAccessIssue]
        await taut.poke()
        await taut.synced("web")
