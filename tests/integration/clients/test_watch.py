"""The watch on a real API server, through a proxy that cuts, silences and forgets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from aiohttp import web

from support.kubernetes import ApiProxy, api_proxy, eventually, kubectl
from taut.clients.kubernetes import ClusterConfig, KubernetesClient
from taut.clients.kubernetes.credentials import Fixed
from taut.clients.kubernetes.frames import read_body
from taut.clients.kubernetes.tls import Tls
from taut.clients.kubernetes.watch import Recovery, Watch
from taut.model.errors import TargetError

pytestmark = pytest.mark.integration


class Seen:
    """A handler that keeps what it was told."""

    def __init__(self) -> None:
        self.begins = 0
        self.syncs = 0
        self.works = 0
        self.failures: list[TargetError] = []
        self.items: list[tuple[str, str]] = []
        self.fields: set[str] = set()
        self.ended = False

    def begin(self) -> None:
        self.begins += 1

    def item(self, change: str, meta: Any, raw: Any) -> None:
        self.items.append((change, meta.name))
        self.fields |= set(read_body(raw))

    def synced(self, resource_version: str) -> None:
        assert resource_version
        self.syncs += 1

    def working(self) -> None:
        self.works += 1

    def failing(self, error: TargetError) -> None:
        self.failures.append(error)

    def gone(self) -> None:
        self.ended = True


class Running:
    """A watch of a namespace's ConfigMaps through a proxy."""

    def __init__(self, plane: Any, namespace: str, proxy: ApiProxy, seen: Seen, task: asyncio.Task[None]) -> None:
        self.plane = plane
        self.namespace = namespace
        self.proxy = proxy
        self.seen = seen
        self.task = task

    async def make(self, name: str) -> None:
        await kubectl(self.plane.kubeconfig, "-n", self.namespace, "create", "configmap", name, "--from-literal=k=v")

    async def make_and_see(self, name: str) -> None:
        await self.make(name)
        await eventually(lambda: ("ADDED", name) in self.seen.items, f"{name} was seen")


@asynccontextmanager
async def watching(
    plane: Any, namespace: str, *, prepare: Any = None, path: str = "", **options: Any
) -> AsyncGenerator[Running]:
    seen = Seen()
    async with api_proxy(plane.server, plane.ca, plane.token) as proxy:
        if prepare is not None:
            prepare(proxy)
        client = KubernetesClient(ClusterConfig(proxy.url, Tls(), Fixed()))
        path = path or f"/api/v1/namespaces/{namespace}/configmaps"
        watch = Watch(
            client,
            path,
            seen,
            **{"metadata_only": True, "recovery": Recovery(), **options},  # pyright: ignore
        )
        task = asyncio.create_task(watch.run())
        try:
            yield Running(plane, namespace, proxy, seen, task)
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            await client.close()


async def test_one_connection_brings_the_state_and_the_changes(plane: Any, namespace: str) -> None:
    async with watching(plane, namespace) as run:
        await eventually(lambda: run.seen.syncs)
        await run.make_and_see("one")
        assert len(run.proxy.seen) == 1
        assert run.proxy.watches()[0]["sendInitialEvents"] == "true"
        assert run.seen.begins == 1
        assert "data" not in run.seen.fields, "metadata only"


async def test_whole_objects_where_health_needs_them(plane: Any, namespace: str) -> None:
    async with watching(plane, namespace, metadata_only=False) as run:
        await run.make_and_see("one")
        assert "data" in run.seen.fields


async def test_a_watch_that_the_server_ends_goes_on_where_it_was(plane: Any, namespace: str) -> None:
    async with watching(plane, namespace, server_timeout=(1, 1)) as run:
        await run.make_and_see("one")
        await eventually(lambda: len(run.proxy.watches()) >= 3, "the server ended it twice")
        await run.make_and_see("two")
        assert run.seen.begins == 1
        assert run.seen.failures == []
        assert all("resourceVersion" in query for query in run.proxy.watches()[1:])
        assert [item for item in run.seen.items if item[0] == "ADDED" and item[1] == "one"] == [("ADDED", "one")]


async def test_a_connection_that_is_cut_goes_on_without_a_loss(plane: Any, namespace: str) -> None:
    async with watching(plane, namespace) as run:
        await eventually(lambda: run.seen.syncs)
        for n in range(5):
            run.proxy.cut()
            await run.make(f"cm-{n}")
        names = {f"cm-{n}" for n in range(5)}
        await eventually(lambda: names <= {name for _, name in run.seen.items})
        assert run.seen.begins == 1
        assert len([name for _, name in run.seen.items if name in names]) == 5


CRD = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {{name: widgets.{group}}}
spec:
  group: {group}
  scope: Namespaced
  names: {{kind: Widget, plural: widgets}}
  versions:
  - {{name: v1, served: true, storage: true, schema: {{openAPIV3Schema: {{type: object}}}}}}
"""
WIDGET = """
apiVersion: {group}/v1
kind: Widget
metadata: {{name: {name}, namespace: {namespace}}}
"""


async def test_what_is_too_old_is_read_again(plane: Any, namespace: str) -> None:
    """A CRD's history begins when it is made: a watch from before that is really too old."""

    def forget(proxy: ApiProxy) -> None:
        proxy.query = lambda _, query: {**query, "resourceVersion": "1"} if "resourceVersion" in query else query

    group = f"{namespace}.example.org"
    await kubectl(plane.kubeconfig, "create", "-f", "-", stdin=CRD.format(group=group))
    await kubectl(plane.kubeconfig, "wait", "--for=condition=Established", f"crd/widgets.{group}")

    async def make_and_see(run: Running, name: str) -> None:
        text = WIDGET.format(group=group, name=name, namespace=namespace)
        await kubectl(plane.kubeconfig, "create", "-f", "-", stdin=text)
        await eventually(lambda: ("ADDED", name) in run.seen.items, f"{name} was seen")

    path = f"/apis/{group}/v1/namespaces/{namespace}/widgets"
    async with watching(plane, namespace, prepare=forget, path=path) as run:
        await make_and_see(run, "one")
        run.proxy.cut()  # the server answers 410 to what comes now
        await eventually(lambda: run.seen.begins >= 2 and run.seen.syncs >= 2, "everything was read again")
        assert run.seen.items.count(("ADDED", "one")) >= 2
        run.proxy.query = lambda _, query: query
        await make_and_see(run, "two")
        assert not [e for e in run.seen.failures if e.status]
    await kubectl(plane.kubeconfig, "delete", "crd", f"widgets.{group}", "--wait=false")


async def test_a_connection_that_falls_silent_is_left(plane: Any, namespace: str) -> None:
    async with watching(plane, namespace, server_timeout=(1, 1), grace=0.5) as run:
        await eventually(lambda: run.seen.syncs)
        run.proxy.silent = True
        await run.make("one")
        await eventually(
            lambda: any("cannot be reached" in e.what for e in run.seen.failures), "the silence is noticed"
        )
        run.proxy.silent = False
        run.proxy.cut()
        await eventually(lambda: ("ADDED", "one") in run.seen.items)
        assert run.seen.begins == 1


@pytest.mark.parametrize("status", [400, 422])
async def test_older_servers_are_read_in_pages(plane: Any, namespace: str, status: int) -> None:
    def older(proxy: ApiProxy) -> None:
        async def refuse(request: web.Request) -> web.Response | None:
            if "sendInitialEvents" in request.query:
                body = {
                    "kind": "Status",
                    "code": status,
                    "reason": "Invalid",
                    "message": "sendInitialEvents is forbidden",
                }
                return web.json_response(body, status=status)
            return None

        proxy.rule = refuse

    for n in range(5):
        await kubectl(plane.kubeconfig, "-n", namespace, "create", "configmap", f"before-{n}")
    async with watching(plane, namespace, prepare=older, page=2) as run:
        await eventually(lambda: run.seen.syncs)
        assert {f"before-{n}" for n in range(5)} <= {name for _, name in run.seen.items}
        lists = [query for _, _, query in run.proxy.seen if "watch" not in query]
        assert len(lists) >= 3
        assert all("continue" in query for query in lists[1:])
        await run.make_and_see("later")
        assert "data" not in run.seen.fields
        assert run.seen.failures == []


async def test_pages_that_took_too_long_are_read_from_the_start(plane: Any, namespace: str) -> None:
    left = [2]

    def forgetful(proxy: ApiProxy) -> None:
        async def rule(request: web.Request) -> web.Response | None:
            if "sendInitialEvents" in request.query:
                return web.json_response({"kind": "Status", "code": 400}, status=400)
            if "continue" in request.query and left[0]:
                left[0] -= 1
                body = {"kind": "Status", "code": 410, "reason": "Expired", "message": "the token is too old"}
                return web.json_response(body, status=410)
            return None

        proxy.rule = rule

    for n in range(3):
        await kubectl(plane.kubeconfig, "-n", namespace, "create", "configmap", f"before-{n}")
    async with watching(plane, namespace, prepare=forgetful, page=2) as run:
        await eventually(lambda: run.seen.syncs)
        assert run.seen.begins == 4, "the streamed try, and the pages three times"
        assert {f"before-{n}" for n in range(3)} <= {name for _, name in run.seen.items}
        assert run.seen.failures == []


async def test_servers_that_ignore_the_question_are_read_in_pages(plane: Any, namespace: str) -> None:
    def deaf(proxy: ApiProxy) -> None:
        dropped = {"sendInitialEvents", "resourceVersionMatch"}
        proxy.query = lambda _, query: {k: v for k, v in query.items() if k not in dropped}

    async with watching(plane, namespace, prepare=deaf, first_silence=0.3) as run:
        await eventually(lambda: run.seen.syncs)
        await run.make_and_see("one")


async def test_a_failed_list_is_said_and_tried_again(plane: Any, namespace: str) -> None:
    answers = [503, 500, 429]

    def ill(proxy: ApiProxy) -> None:
        async def refuse(_: web.Request) -> web.Response | None:
            if answers:
                return web.json_response({"kind": "Status", "message": "not now"}, status=answers.pop(0))
            return None

        proxy.rule = refuse

    async with watching(plane, namespace, prepare=ill) as run:
        await run.make_and_see("one")
        assert [e.status for e in run.seen.failures] == [503, 500, 429]
        assert run.seen.works >= 1


async def test_a_kind_that_is_not_there_ends_the_watch(plane: Any, namespace: str) -> None:
    async with watching(plane, namespace, path=f"/api/v1/namespaces/{namespace}/nothings") as run:
        await run.task
        assert run.seen.ended
        assert run.seen.failures == []


async def test_a_watch_that_ends_at_once_is_said_and_not_asked_in_haste(plane: Any, namespace: str) -> None:
    """Each end is a failure with a longer pause after it, also when the connection was opened well each time."""
    async with watching(plane, namespace) as run:
        await eventually(lambda: run.seen.syncs)

        async def ends(request: web.Request) -> web.Response | None:
            return web.Response(content_type="application/json") if "watch" in request.query else None

        run.proxy.rule = ends
        before = len(run.proxy.seen)
        run.proxy.cut()
        await eventually(lambda: len(run.seen.failures) >= 4)
        assert {e.what for e in run.seen.failures} == {"the watch ended as soon as it began"}
        assert len(run.proxy.seen) - before <= len(run.seen.failures) + 1
        run.proxy.rule = None
        await run.make_and_see("one")
        assert run.seen.begins == 1, "it went on where it was"


async def test_a_state_that_is_cut_off_is_no_state(plane: Any, namespace: str) -> None:
    """The first objects came, and the connection ended cleanly before the rest: nothing is taken for complete, or for gone."""
    frame = '{"type":"ADDED","object":{"metadata":{"name":"early","namespace":"n","uid":"u","resourceVersion":"5"}}}\n'

    def half(proxy: ApiProxy) -> None:
        async def rule(request: web.Request) -> web.Response | None:
            return web.Response(text=frame, content_type="application/json") if "watch" in request.query else None

        proxy.rule = rule

    async with watching(plane, namespace, prepare=half) as run:
        await eventually(lambda: len(run.seen.failures) >= 2)
        assert {e.what for e in run.seen.failures} == {"the watch ended before it had brought everything"}
        assert run.seen.syncs == 0
        run.proxy.rule = None
        await run.make_and_see("one")
        assert run.seen.syncs == 1
