"""Requests to a real API server: what is repeated, what is not, who waits when the server is busy."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiohttp import web

from support.kubernetes import ApiProxy, api_proxy
from taut import __version__
from taut.clients.kubernetes import ClusterConfig, KubernetesClient
from taut.clients.kubernetes.client import APPLY
from taut.clients.kubernetes.credentials import Fixed
from taut.clients.kubernetes.tls import Tls
from taut.model.errors import TargetError

pytestmark = pytest.mark.integration


def plain(proxy: ApiProxy, **options: Any) -> KubernetesClient:
    return KubernetesClient(ClusterConfig(proxy.url, Tls(), Fixed()), **options)


def config_map(name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"k": "v"}}


class Times:
    """Lets the first `n` requests that match fail in some way."""

    def __init__(self, n: int, answer: Any, method: str = "") -> None:
        self.left = n
        self.answer = answer
        self.method = method

    async def __call__(self, request: web.Request) -> web.StreamResponse | None:
        if self.left and request.method == (self.method or request.method):
            self.left -= 1
            return self.answer(request)
        return None


def busy(_: web.Request) -> web.Response:
    body = {"kind": "Status", "code": 429, "reason": "TooManyRequests", "message": "too many requests"}
    return web.json_response(body, status=429, headers={"Retry-After": "1"})


def broken(request: web.Request) -> web.Response:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def test_when_the_server_is_busy_everybody_waits(plane: Any, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    async with api_proxy(plane.server, plane.ca, plane.token) as proxy, plain(proxy) as client:
        times: list[float] = []
        loop = asyncio.get_running_loop()
        refuse = Times(1, busy)

        async def rule(request: web.Request) -> web.StreamResponse | None:
            times.append(loop.time())
            return await refuse(request)

        proxy.rule = rule
        # One is refused; the one that comes right after it was told nothing, and waits all the same.
        first = asyncio.create_task(client.request("POST", path, body=config_map("one")))
        while not client.gate.closed:
            await asyncio.sleep(0.005)
        await asyncio.gather(first, *(client.request("GET", "/version") for _ in range(5)))
        assert len(times) == 7
        assert all(t - times[0] >= 1.0 for t in times[1:]), "nobody went before Retry-After was over"
        assert not client.gate.closed


async def test_a_server_that_stays_busy_is_an_error_in_the_end(plane: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("taut.clients.kubernetes.client.BUSY_TRIES", 1)
    async with api_proxy(plane.server, plane.ca, plane.token) as proxy, plain(proxy) as client:
        proxy.rule = Times(99, busy)
        with pytest.raises(TargetError) as caught:
            await client.request("GET", "/version")
        assert (caught.value.status, caught.value.retry_after) == (429, 1.0)
        assert len(proxy.seen) == 2


async def test_reads_and_applies_are_repeated_after_a_lost_connection(plane: Any, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/configmaps/x"
    async with api_proxy(plane.server, plane.ca, plane.token) as proxy, plain(proxy) as client:
        proxy.rule = Times(2, broken)
        assert (await client.request("GET", "/version"))["gitVersion"]
        proxy.rule = Times(2, broken)
        query = {"fieldManager": "taut", "force": "true"}
        body = await client.request("PATCH", path, query=query, body=config_map("x"), content_type=APPLY)
        assert body["data"] == {"k": "v"}
        proxy.rule = Times(1, broken, "DELETE")
        options = {"preconditions": {"uid": body["metadata"]["uid"]}}
        assert (await client.request("DELETE", path, body=options))["status"] == "Success"


async def test_a_creation_is_never_repeated(plane: Any, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    async with api_proxy(plane.server, plane.ca, plane.token) as proxy, plain(proxy) as client:
        proxy.rule = Times(1, broken)
        with pytest.raises(TargetError) as caught:
            await client.request("POST", path, body=config_map("x"), subject="ConfigMap x")
        assert caught.value.status == 0
        assert caught.value.where.object == "ConfigMap x"
        assert len([m for m, _, _ in proxy.seen if m == "POST"]) == 1


async def test_a_server_error_is_repeated_for_reads_only(plane: Any, namespace: str) -> None:
    def ill(_: web.Request) -> web.Response:
        return web.Response(status=503, text="<html>not ready</html>")

    path = f"/api/v1/namespaces/{namespace}/configmaps/x"
    async with api_proxy(plane.server, plane.ca, plane.token) as proxy, plain(proxy) as client:
        proxy.rule = Times(2, ill)
        assert await client.request("GET", "/version")
        proxy.rule = Times(1, ill)
        with pytest.raises(TargetError) as caught:
            await client.request("PATCH", path, body=config_map("x"), content_type=APPLY, query={"fieldManager": "t"})
        assert caught.value.status == 503
        assert "<html>" not in str(caught.value)


async def test_a_slow_server_is_given_up(plane: Any) -> None:
    async def sleep(_: web.Request) -> web.Response:
        await asyncio.sleep(60)
        return web.Response()

    async with api_proxy(plane.server, plane.ca, plane.token) as proxy, plain(proxy, timeout=0.2) as client:
        proxy.rule = sleep
        with pytest.raises(TargetError) as caught:
            await client.request("GET", "/version")
        assert caught.value.reason == "TimedOut"


async def test_no_more_than_so_many_requests_at_once(plane: Any) -> None:
    now = most = 0

    async def count(_: web.Request) -> None:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.01)
        now -= 1

    async with api_proxy(plane.server, plane.ca, plane.token) as proxy, plain(proxy, concurrency=3) as client:
        proxy.rule = count
        await asyncio.gather(*(client.request("GET", "/version") for _ in range(20)))
    assert most == 3


async def test_connections_are_used_again_and_say_who_they_are(plane: Any) -> None:
    ports: set[Any] = set()
    agents: set[str] = set()

    async def note(request: web.Request) -> None:
        assert request.transport is not None
        ports.add(request.transport.get_extra_info("peername"))
        agents.add(request.headers["User-Agent"])

    async with api_proxy(plane.server, plane.ca, plane.token) as proxy, plain(proxy) as client:
        proxy.rule = note
        for _ in range(10):
            await client.request("GET", "/version")
    assert len(ports) == 1
    assert agents == {f"taut/{__version__}"}


async def test_warnings_of_the_server_are_handed_on(plane: Any, namespace: str) -> None:
    from taut.clients.kubernetes import load_config

    async with KubernetesClient(load_config(plane.kubeconfig)) as client:
        body = {**config_map("x"), "bogus": 1}
        answer = await client.send(
            "POST", f"/api/v1/namespaces/{namespace}/configmaps", body=body, query={"fieldValidation": "Warn"}
        )
    assert any("bogus" in warning for warning in answer.warnings)
