"""Killed at every write of a sync, and started again: everything is as it should be, and nothing ran twice.

The sync has hooks, waves, a CRD with a custom resource, creations, updates and prunings. `killer.py` is the process that is killed;
the taut of the test then takes over what it left.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import secrets
import signal
import sys
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import integration.loop.killer as program
from integration.loop.harness import Taut, annotate, application, config_map, deployment, job, yaml
from integration.loop.killer import Order
from integration.loop.written import Writes
from servers.git import GitHttpServer
from taut.documents.yaml import dump
from taut.localplane import Plane
from taut.localplane.api import Api

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

SHARES = 4
"""The matrix is cut into so many tests for each position, so that several processes share it."""
AT_ONCE = 4
PATIENCE = 120.0
"""Seconds that a restart may take: several go on at once."""
PLURALS = {
    "ConfigMap": "/api/v1/namespaces/{ns}/configmaps",
    "Deployment": "/apis/apps/v1/namespaces/{ns}/deployments",
    "Job": "/apis/batch/v1/namespaces/{ns}/jobs",
    "Widget": "/apis/{group}/v1/namespaces/{ns}/widgets",
}


# What is synced


def first_content() -> dict[str, Any]:
    """The commit before: three objects of its own, and one that does not change."""
    return {
        "apps/web/same.yaml": yaml(config_map("same")),
        "apps/web/changed.yaml": yaml(config_map("changed", {"a": "1", "gone": "1"})),
        "apps/web/old.yaml": yaml(config_map("old-1"), annotate(config_map("old-2"), wave="1")),
    }


def second_content(group: str) -> dict[str, Any]:
    """The commit that is synced under fire."""
    schema = {
        "type": "object",
        "properties": {"spec": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
    }
    crd = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"widgets.{group}"},
        "spec": {
            "group": group,
            "names": {"kind": "Widget", "plural": "widgets"},
            "scope": "Namespaced",
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}],
        },
    }
    widget = {"apiVersion": f"{group}/v1", "kind": "Widget", "metadata": {"name": "w"}, "spec": {"size": 1}}
    return {
        "apps/web/changed.yaml": yaml(config_map("changed", {"a": "2"})),
        "apps/web/old.yaml": None,
        "apps/web/new.yaml": yaml(
            crd,
            widget,
            config_map("new"),
            annotate(deployment("web"), wave="1"),
            annotate(config_map("late"), wave="2"),
        ),
        "apps/web/hooks.yaml": yaml(
            annotate(job("migrate"), hook="PreSync"),
            annotate(job("notify"), hook="PostSync", hook_delete_policy="HookSucceeded"),
            annotate(job("alarm"), hook="SyncFail"),
        ),
    }


EXPECTED = {
    "ConfigMap/same": {"a": "1"},
    "ConfigMap/changed": {"a": "2"},
    "ConfigMap/new": {"a": "1"},
    "ConfigMap/late": {"a": "1"},
    "Deployment/web": "example/web:1",
    "Widget/w": {"size": 1},
    "Job/migrate": "example/job:1",
}


# A place for each kill


@dataclass
class Place:
    """An application of its own, in a namespace of its own."""

    taut: Taut
    group: str
    goal: str = ""
    config: Path = field(default_factory=Path)
    writes: Writes = field(init=False)

    def __post_init__(self) -> None:
        taut = self.taut
        taut.declare(application("web"), files=first_content())
        taut.repo.branch("next")
        self.goal = taut.repo.commit(second_content(self.group), branch="next")
        self.config = taut.folder / "taut.yaml"
        self.config.write_text(dump(taut._config()))
        self.writes = Writes(taut)

    def leave_git(self) -> None:
        """Let the application's removal be the commit under fire, in place of the sync."""
        taut = self.taut
        hooks = [annotate(job(p.lower()), hook=p) for p in ("PreSync", "PreDelete", "PostDelete")]
        taut.declare(
            application("web"),
            application("other"),
            files={"apps/web/hooks.yaml": yaml(*hooks), "apps/other/o.yaml": yaml(config_map("other"))},
        )
        taut.repo.branch("next")
        declared = yaml(taut.filled(application("other")))
        self.goal = taut.repo.commit({"taut/applications.yaml": declared, "apps/web": None}, branch="next")

    async def check_gone(self) -> None:
        """Start again, and prove that the application has left as if nothing had happened."""
        async with self.taut.run():
            await self.taut.synced("other", at=self.goal, seconds=PATIENCE)
            await self.taut.until(lambda: self.taut.state("web") is None, "it is gone", PATIENCE)
            await self.taut.until(lambda: self.taut.controller.queue.idle, "it is quiet")
            store = self.taut.controller.store
            assert [r.key for r in await store.apps()] == [str(self.taut.key("other"))]
            assert self.taut.key("web") not in await store.inventories()
            assert await store.running() == []
        left = {n for kind in ("configmaps", "jobs") for n in self._names(kind)}
        assert left == {"other", "kube-root-ca.crt"}
        assert self.writes.runs() == Counter(["presync", "predelete", "postdelete"]), "each hook ran once"

    def _names(self, plural: str) -> list[str]:
        base = "/apis/batch/v1" if plural == "jobs" else "/api/v1"
        status, body = self.taut.api.request("GET", f"{base}/namespaces/{self.taut.namespace}/{plural}")
        assert status == 200
        metas = [i["metadata"] for i in json.loads(body)["items"]]
        return [m["name"] for m in metas if "deletionTimestamp" not in m]

    def order(self, name: str, **more: Any) -> Order:
        """An order for a process that is killed here."""
        key = str(self.taut.key("web"))
        return Order(name, str(self.config), key, self.goal, str(self.taut.folder / "writes.log"), **more)

    def logged(self) -> list[str]:
        """The writes that were counted here."""
        file = self.taut.folder / "writes.log"
        return file.read_text().splitlines() if file.exists() else []

    def found(self) -> dict[str, Any]:
        """What is in the namespace, as far as people and taut made it."""
        found: dict[str, Any] = {}
        for kind, path in PLURALS.items():
            status, body = self.taut.api.request("GET", path.format(ns=self.taut.namespace, group=self.group))
            assert status == 200, (kind, body)
            for item in json.loads(body)["items"]:
                name = item["metadata"]["name"]
                if name == "kube-root-ca.crt" or "deletionTimestamp" in item["metadata"]:
                    continue
                owner = item["metadata"].get("annotations", {}).get("taut.dev/owner", "")
                assert owner.startswith(f"{self.taut.key('web')}|"), (kind, name, owner)
                found[f"{kind}/{name}"] = _content(kind, item)
        return found

    async def check(self) -> None:
        """Start again, and prove that it is as if nothing had happened."""
        async with self.taut.run():
            await self.taut.synced("web", at=self.goal, seconds=PATIENCE)
            await self.taut.until(lambda: self.taut.controller.queue.idle, "it is quiet")
            state = self.taut.state("web")
            assert state is not None
            assert state.record.content_hash == state.desired.content_hash if state.desired else False
            names = {f"{ref.kind}/{ref.name}" for ref in state.items}
            assert names == {*EXPECTED, f"CustomResourceDefinition/widgets.{self.group}"}
            assert all(i.owned_hash and not i.pending for i in state.items.values() if not i.hook)
            store = self.taut.controller.store
            assert [e.result for e in await self.taut.history("web")] == ["Succeeded", "Succeeded"]
            assert await store.running() == []
            assert await store.verify_audit() is None
        assert self.found() == EXPECTED
        assert self.writes.runs() == Counter(["migrate", "notify"]), "each hook ran once"
        crds = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
        crd = self.taut.api.get(f"{crds}/widgets.{self.group}")
        assert crd is not None
        assert crd["metadata"]["annotations"]["taut.dev/owner"].startswith(f"{self.taut.key('web')}|")

    def remove(self) -> None:
        """Remove what it leaves in the cluster that others would meet."""
        crds = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
        self.taut.api.request("DELETE", f"{crds}/widgets.{self.group}")


def _content(kind: str, item: dict[str, Any]) -> Any:
    if kind == "ConfigMap":
        return item["data"]
    return item["spec"] if kind == "Widget" else item["spec"]["template"]["spec"]["containers"][0]["image"]


class Processes:
    """Processes that are killed, and how each ended."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._ends: dict[str, asyncio.Future[int]] = {}
        self._reader = asyncio.create_task(self._read())

    @classmethod
    @asynccontextmanager
    async def started(cls) -> AsyncGenerator[Processes]:
        """The program that forks them; it ends with this context."""
        path = os.pathsep.join(p for p in sys.path if p)
        pipes = {"stdin": asyncio.subprocess.PIPE, "stdout": asyncio.subprocess.PIPE}
        process = await asyncio.create_subprocess_exec(
            sys.executable, program.__file__, env={**os.environ, "PYTHONPATH": path}, **pipes
        )
        made = cls(process)
        try:
            yield made
        finally:
            assert process.stdin is not None
            process.stdin.close()
            await process.wait()
            await made._reader

    async def run(self, order: Order) -> bool:
        """Carry out an order. True: it was killed; False: it reached its goal."""
        assert self._process.stdin is not None
        end = self._ends[order.name] = asyncio.get_running_loop().create_future()
        self._process.stdin.write(order.line())
        status = await end
        assert status in (0, -signal.SIGKILL), f"{order}: the process failed with {status}"
        return status != 0

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            name, status = json.loads(line)
            end = self._ends.pop(name)
            if not end.done():  # nobody waits any more when another one failed
                end.set_result(status)
        for end in self._ends.values():
            end.cancel()


@dataclass
class Places:
    """Makes places on one control plane."""

    plane: Plane
    api: Api
    git: GitHttpServer
    folder: Path
    made: list[Place] = field(default_factory=list[Place])

    def make(self) -> Place:
        """A new one."""
        name = f"k-{secrets.token_hex(4)}"
        self.api.apply(
            f"/api/v1/namespaces/{name}", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        )
        folder = self.folder / name
        folder.mkdir()
        place = Place(Taut(self.plane, self.api, self.git, self.git.repo(name), name, folder), f"{name}.example.com")
        self.made.append(place)
        return place


@pytest.fixture
def places(plane: Plane, plane_api: Api, git_server: GitHttpServer, tmp_path: Path):
    made = Places(plane, plane_api, git_server, tmp_path)
    yield made
    for place in made.made:
        place.remove()


# The tests


async def test_the_writes_that_are_counted(places: Places) -> None:
    """Nobody is killed here: the wrapping sees every request that the API server saw, and every kind of write of the store."""
    place = places.make()
    async with Processes.started() as processes:
        assert not await processes.run(place.order("whole", push=str(place.taut.repo.path), number=10**6))
    logged = place.logged()
    seen = Counter(w.verb for w in place.writes.all()) + Counter(
        w.verb for w in place.writes.all("") if place.group in w.name
    )
    counted = Counter(line.split()[0] for line in logged if line.split()[0] in ("PATCH", "POST", "DELETE"))
    first = len(first_content()) + 1  # four objects of the first commit, before counting began
    assert counted == Counter({"PATCH": seen["patch"] - first, "POST": seen["create"], "DELETE": seen["delete"]})
    assert counted == Counter({"PATCH": 6, "POST": 2, "DELETE": 3})
    stored = " ".join(line for line in logged if line.startswith("store"))
    for work in ("begin", "mark", "record_run", "finish"):
        assert work in stored
    await place.check()


@pytest.mark.faults
@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
async def test_killed_at_every_write_in_turn(places: Places, before: bool) -> None:
    """One operation: each process is killed at the first write that none before it was killed at, until one comes through."""
    place = places.make()
    _, verbs = await killed_in_turn(place, before=before)
    await place.check()
    assert_reached(verbs, before, POST=2, PATCH=6, DELETE=3)
    assert verbs["store"] >= 15


def assert_reached(verbs: Counter[str], before: bool, **expected: int) -> None:
    """Every write to the cluster was a place to die at.

    Requests of one wave are under way together: a process that dies after one of them may have sent another, which is then done and
    never asked for again.
    """
    found = {verb: verbs[verb] for verb in expected}
    if before:
        assert found == expected
    else:
        assert all(expected[verb] / 2 <= found[verb] <= expected[verb] for verb in expected), found


async def killed_in_turn(place: Place, *, before: bool, gone: bool = False) -> tuple[list[str], Counter[str]]:
    """Kill process after process; the writes at which they were killed, and how many of each sort."""
    seen = place.taut.folder / "seen"
    seen.touch()
    async with Processes.started() as processes:
        push = str(place.taut.repo.path)
        for number in itertools.count():
            assert number < 200, place.logged()
            killed = await processes.run(place.order(str(number), push=push, before=before, gone=gone, seen=str(seen)))
            if not killed:
                break
            push = ""
    kills = seen.read_text().splitlines()
    verbs = Counter(line.split()[0] for line in kills)
    assert number == len(kills)
    print(f"killed {len(kills)} times: {dict(verbs)}")
    return kills, verbs


@pytest.mark.faults
@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
async def test_a_removal_killed_at_every_write_in_turn(places: Places, before: bool) -> None:
    """The same for an application that leaves Git, with the hooks of its deletion."""
    place = places.make()
    place.leave_git()
    kills, verbs = await killed_in_turn(place, before=before, gone=True)
    await place.check_gone()
    assert_reached(verbs, before, POST=2, DELETE=7)
    assert {"store begin", "store finish", "store drop_app()"} <= set(kills)


@pytest.mark.parametrize("gone", [False, True], ids=["sync", "removal"])
async def test_a_hook_that_ended_while_taut_was_down(places: Places, gone: bool) -> None:
    """It was made, taut died before it could write down which object it is, and finds it at its end."""
    place = places.make()
    if gone:
        place.leave_git()
    first = "predelete" if gone else "migrate"
    async with Processes.started() as processes:
        order = place.order("one", push=str(place.taut.repo.path), gone=gone, before=True, at="store mark(0=sent+)")
        assert await processes.run(order)

    def complete() -> bool:
        found = place.taut.get("jobs", first, "batch/v1")
        return found is not None and bool(found["status"].get("completionTime"))

    await place.taut.until(complete, "the Job is complete")
    await (place.check_gone() if gone else place.check())


async def test_a_hook_that_goes_by_itself_does_not_come_and_go_unseen(places: Places) -> None:
    """Its time to live is over in the moment it ends; taut dies between making it and writing down which object it is."""
    place = places.make()
    hooks = [annotate(job("migrate"), hook="PreSync"), annotate(job("notify"), hook="PostSync")]
    for hook in hooks:
        hook["spec"]["ttlSecondsAfterFinished"] = 0
    taut = place.taut
    place.goal = taut.repo.commit({"apps/web/hooks.yaml": yaml(*hooks)}, branch="next")
    async with Processes.started() as processes:
        order = place.order("one", push=str(taut.repo.path), before=True, at="store mark(0=sent+)")
        assert await processes.run(order)
    there = taut.get("jobs", "migrate", "batch/v1")
    assert there is not None
    assert "startTime" not in there["status"]
    async with taut.run():
        await taut.synced("web", at=place.goal, seconds=PATIENCE)
        assert [e.result for e in await taut.history("web")] == ["Succeeded", "Succeeded"]
        await taut.until(lambda: place._names("jobs") == [], "they are gone")
        await taut.until(lambda: taut.controller.queue.idle, "quiet")
    assert place.writes.runs() == Counter(["migrate", "notify"]), "each hook ran once"


@pytest.mark.faults
@pytest.mark.parametrize("share", range(SHARES))
@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
async def test_killed_once_at_each_write(places: Places, before: bool, share: int) -> None:
    """For each write a sync of its own, killed there, and continued by a taut that nobody kills."""
    numbers = itertools.count(share + 1, SHARES)
    killed: Counter[str] = Counter()
    through = 0

    async def worker(processes: Processes) -> None:
        nonlocal through
        while not through:
            number = next(numbers)
            place = places.make()
            order = place.order(f"{number}", push=str(place.taut.repo.path), number=number, before=before)
            if await processes.run(order):
                killed[place.logged()[-1].split()[0]] += 1
            else:
                through += 1
            try:
                await place.check()
            except AssertionError as error:
                raise AssertionError(f"killed at write {number}, {place.logged()[-1]}: {error}") from error

    async with Processes.started() as processes, asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(worker(processes))
    print(f"killed {killed.total()} times: {dict(killed)}")
    # Which writes fall into this share depends on their order in this run; that every kind of write is counted is held by
    # `test_the_writes_that_are_counted`.
    assert killed.total() >= 8
    assert killed["store"] >= 5
