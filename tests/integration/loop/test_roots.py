"""Roots: where applications are declared, what their generators find, and what it means when something is no longer there."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import urllib.error
import urllib.request
from typing import Any

import pytest

from integration.loop.harness import Taut, application, config_map, yaml
from servers.git import Content
from taut.model.refs import AppKey
from taut.server.controlled import ControllerBackend
from taut.server.serve import serving

pytestmark = pytest.mark.integration


def each(taut: Taut, name: str, for_each: dict[str, Any], path: str, **spec: Any) -> dict[str, Any]:
    """An Application with a forEach."""
    document = taut.filled(application(name, path=path, **spec))
    document["spec"]["forEach"] = for_each
    return document


def folders(*names: str) -> dict[str, Content]:
    return {f"apps/{n}/cm.yaml": yaml(config_map(n)) for n in names}


async def gone(taut: Taut, name: str) -> None:
    await taut.until(lambda: taut.state(name) is None and taut.get("configmaps", name) is None, f"{name} is gone")


async def test_one_document_for_every_folder(taut: Taut) -> None:
    document = each(taut, "{{ folder.name }}", {"folders": "apps/*"}, "{{ folder.path }}")
    taut.repo.commit({"taut/all.yaml": yaml(document), **folders("a", "b", "c", "d", "e")})
    async with taut.run():
        await taut.synced("a", "b", "c", "d", "e")
        renders = taut.controller.wanting.renders
        await taut.push(folders("f"))
        await taut.synced("f")
        taut.repo.delete("apps/b")
        await taut.poke()
        await gone(taut, "b")
        assert taut.controller.wanting.renders == renders
        # A folder that is moved away entirely leaves nothing that matches: nothing is deleted because of that.
        taut.repo.delete("apps")
        await taut.poke()
        await taut.says("a", "no folder matches", "taut/all.yaml")
        assert taut.get("configmaps", "a") is not None
        taut.patch("configmaps", "a", {"data": {"a": "9"}})
        await taut.until(lambda: (taut.get("configmaps", "a") or {}).get("data") == {"a": "1"}, "kept healed")
        await taut.push(folders("a", "c", "d", "e", "f"))
        await taut.synced("a", "c", "d", "e", "f")


async def test_branches_and_lists(taut: Taut) -> None:
    """A preview for each branch, an application for each element."""
    name = "{{ branch.slug }}"
    branches = each(taut, name, {"branches": "feature/*"}, "apps/preview", substitute={"vars": {"name": name}})
    branches["spec"]["source"]["ref"] = "{{ branch.name }}"
    branches["spec"]["forEach"]["git"] = taut.repo.url
    preview = yaml(config_map("${name}"))
    items = [{"name": "one", "value": 1}, {"name": "two", "value": 2}]
    substitute = {"vars": {"name": "{{ element.name }}", "value": "v{{ element.value }}"}}
    listed = each(taut, "{{ element.name }}", {"list": items}, "apps/item", substitute=substitute)
    item = yaml(config_map("${name}", {"a": "${value}"}))
    files = {"taut/branches.yaml": yaml(branches), "taut/list.yaml": yaml(listed)}
    taut.repo.commit({**files, "apps/preview/cm.yaml": preview, "apps/item/cm.yaml": item})
    for branch in ("feature/blue", "feature/red", "feature/green", "feature/grey"):
        taut.repo.branch(branch)
    async with taut.run():
        await taut.synced("feature-blue", "feature-red", "one", "two")
        assert (taut.get("configmaps", "two") or {})["data"] == {"a": "v2"}
        taut.repo.branch("feature/new")
        taut.repo.delete_branch("feature/red")
        await taut.poke()
        await taut.synced("feature-new")
        await gone(taut, "feature-red")
        listed["spec"]["forEach"]["list"] = [*items[1:], {"name": "three", "value": 3}]
        await taut.push({"taut/list.yaml": yaml(listed)})
        await taut.synced("three")
        await gone(taut, "one")


async def test_a_generator_that_fails_deletes_nothing(taut: Taut) -> None:
    other = taut.git.repo("other")
    other.commit(folders("a", "b"))
    document = each(taut, "{{ folder.name }}", {"folders": "apps/*", "git": other.url, "ref": "main"}, "{{ folder.path }}")  # fmt: skip
    document["spec"]["source"]["git"] = other.url
    taut.repo.commit({"taut/all.yaml": yaml(document)})
    async with taut.run():
        await taut.synced("a", "b")
        other.branch("kept")
        other.delete_branch("main")
        await taut.poke()
        await taut.says("a", "could not be listed", "main")
        assert taut.get("configmaps", "b") is not None
        other.branch("main", at="kept")
        await taut.poke()
        await taut.synced("a", "b")


async def test_a_name_that_is_taken_twice(taut: Taut) -> None:
    taut.declare(application("web"), application("api"), files=folders("web", "api"))
    async with taut.run():
        await taut.synced("web", "api")
        again = taut.filled(application("web", path="apps/api"))
        await taut.push({"taut/second.yaml": yaml(again)})
        await taut.says("web", "taken", "taut/second.yaml")
        await taut.synced("api")
        taut.patch("configmaps", "web", {"data": {"a": "9"}})
        await taut.until(lambda: (taut.get("configmaps", "web") or {}).get("data") == {"a": "1"}, "kept healed")
        taut.repo.delete("taut/second.yaml")
        await taut.poke()
        await taut.synced("web", "api")


async def test_a_document_that_moves_keeps_its_application(taut: Taut) -> None:
    taut.declare(application("web"), application("api"), files=folders("web", "api"))
    async with taut.run():
        await taut.synced("web", "api")
        before = [taut.get("configmaps", n) for n in ("web", "api")]
        moved = yaml(taut.filled(application("web")))
        rest = yaml(taut.filled(application("api")))
        commit = await taut.push({"taut/applications.yaml": rest, "taut/team/web.yaml": moved})
        await taut.synced("web", "api", at=commit)
        assert [taut.get("configmaps", n) for n in ("web", "api")] == before
        assert len(await taut.history("web")) == 1


async def test_several_roots_and_one_that_is_away_at_the_start(taut: Taut) -> None:
    second = taut.git.repo("second")
    second.commit({"team/app.yaml": yaml(taut.filled(application("theirs"))), "README": "x"})
    taut.repo.commit(folders("theirs", "ours"))
    taut.declare(application("ours"))
    theirs = AppKey(f"{taut.root}-two", "", "theirs")
    ours = {"name": taut.root, "git": taut.repo.url, "ref": "main", "path": "taut", "poll": "1h"}
    taut.options["roots"] = [ours, {**ours, "name": theirs.root, "git": second.url, "path": "team"}]
    parked = second.path.with_name("parked")
    second.path.rename(parked)
    async with taut.run():
        await taut.synced("ours")
        root = next(r for r in ControllerBackend(taut.controller).roots() if r.name == theirs.root)
        assert second.url in root.problems[0].where
        parked.rename(second.path)
        await taut.until(lambda: (s := taut.controller.fleet.status(theirs)) and s.sync == "Synced", "both roots")
        root = next(r for r in ControllerBackend(taut.controller).roots() if r.name == theirs.root)
        assert (root.problems, root.applications) == ((), 1)
    second.path.rename(parked)
    async with taut.run():  # what the store and the mirror know goes on
        await taut.until(lambda: taut.controller.fleet.states.get(theirs), "it is known")
        taut.patch("configmaps", "theirs", {"data": {"a": "9"}})
        await taut.until(lambda: (taut.get("configmaps", "theirs") or {}).get("data") == {"a": "1"}, "healed")


async def test_a_signed_webhook_makes_taut_look_at_once(taut: Taut) -> None:
    taut.declare(application("web"), files=folders("web"))
    secret = b"between the forge and taut"
    async with (
        taut.run(),
        serving(
            ControllerBackend(taut.controller),
            listen="127.0.0.1:0",
            store=taut.folder / "state" / "taut.db",
            webhook_secret=secret,
        ) as api,
    ):
        await taut.synced("web")
        commit = taut.repo.commit({"apps/web/cm.yaml": yaml(config_map("web", {"a": "2"}))})
        body = json.dumps({"ref": "refs/heads/main", "repository": {"clone_url": taut.repo.url}}).encode()

        async def post(key: bytes) -> int:
            signature = "sha256=" + hmac.new(key, body, hashlib.sha256).hexdigest()
            request = urllib.request.Request(api.url + "/hooks/git", body, {"X-Hub-Signature-256": signature})
            return await asyncio.to_thread(_status, request)

        fetches = taut.controller.watch.fetches
        assert await post(b"another") == 401
        assert taut.controller.watch.fetches == fetches
        assert await post(secret) == 202
        await taut.synced("web", at=commit)


def _status(request: urllib.request.Request) -> int:
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


async def test_a_push_is_found_without_a_webhook_and_after_an_absence(taut: Taut) -> None:
    root = {"name": taut.root, "git": taut.repo.url, "ref": "main", "path": "taut", "poll": "1s"}
    taut.options["roots"] = [root]
    taut.declare(application("web"), files=folders("web"))
    async with taut.run():
        await taut.synced("web")
        commit = taut.repo.commit({"apps/web/cm.yaml": yaml(config_map("web", {"a": "2"}))})
        await taut.synced("web", at=commit)
    commit = taut.repo.commit({"apps/web/cm.yaml": yaml(config_map("web", {"a": "3"}))})
    taut.options["roots"] = [{**root, "poll": "1h"}]
    async with taut.run():
        await taut.synced("web", at=commit)
        assert (taut.get("configmaps", "web") or {})["data"] == {"a": "3"}
