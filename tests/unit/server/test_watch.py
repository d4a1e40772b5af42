"""The stream of statuses: all that exist, then what changes, the newest only."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import msgspec

from support.memory_backend import DB, WEB, MemoryBackend, status
from taut.model.health import HealthStatus
from taut.model.status import Problem
from taut.server.views import Gone
from taut.server.watch import stream


def parse(chunk: bytes) -> tuple[str, Any]:
    event, data = chunk.decode().strip().split("\n")
    return event.removeprefix("event: "), msgspec.json.decode(data.removeprefix("data: "))


async def news(body: AsyncGenerator[bytes]) -> tuple[str, Any]:
    """The next event about an application."""
    while (event := parse(await anext(body)))[0] == "roots":
        pass
    return event


async def until_ready(body: AsyncGenerator[bytes]) -> list[str]:
    keys: list[str] = []
    async for chunk in body:
        name, data = parse(chunk)
        if name == "ready":
            return keys
        if name == "roots":
            continue
        keys.append(str(data["key"]))
    raise AssertionError("the stream ended")


async def test_snapshot_then_changes_then_gone() -> None:
    backend = MemoryBackend()
    async with aclosing(stream(backend, lambda _: True, backend.roots)) as body:
        assert await until_ready(body) == [s.key for s in backend.statuses()]
        degraded = status(DB, health=HealthStatus.DEGRADED)
        for message in ("one", "two", "three"):
            backend.put(msgspec.structs.replace(degraded, message=message))
        name, data = await news(body)
        assert (name, data["key"], data["message"]) == ("status", "prod/db", "three")
        backend.put(backend.apps[DB])
        backend.put(Gone(key=str(DB)))
        assert await news(body) == ("gone", {"key": "prod/db"})
    assert backend.listeners == set()


async def test_what_leaves_the_selection_is_gone() -> None:
    backend = MemoryBackend()
    async with aclosing(stream(backend, lambda s: s.labels.get("team") == "web", backend.roots)) as body:
        assert await until_ready(body) == [str(WEB)]
        backend.put(status(DB, message="not ours"))
        backend.put(status(WEB, labels={}))
        assert await news(body) == ("gone", {"key": str(WEB)})


async def test_a_quiet_stream_stays_alive() -> None:
    backend = MemoryBackend()
    async with aclosing(stream(backend, lambda _: True, backend.roots, keep_alive=0.01)) as body:
        await until_ready(body)
        assert await anext(body) == b": alive\n\n"


async def test_trouble_of_a_root_is_told() -> None:
    backend = MemoryBackend()
    async with aclosing(stream(backend, lambda _: True, backend.roots, keep_alive=0.01)) as body:
        name, [root] = parse(await anext(body))
        assert (name, root["name"], root["problems"]) == ("roots", "prod", [])
        await until_ready(body)
        backend.root_problems = (Problem("unknown field `pth`", "app.yaml:3"),)
        chunk = await anext(body)
        while chunk == b": alive\n\n":
            chunk = await anext(body)
        name, [root] = parse(chunk)
        assert (name, root["problems"][0]["where"]) == ("roots", "app.yaml:3")


async def test_a_change_between_snapshot_and_listening_is_not_lost() -> None:
    backend = MemoryBackend()
    async with aclosing(stream(backend, lambda _: True, backend.roots)) as body:
        await anext(body)
        backend.put(status(DB, message="changed while the snapshot is sent"))
        await until_ready(body)
        name, data = await asyncio.wait_for(news(body), 20)
        assert (name, data["message"]) == ("status", "changed while the snapshot is sent")
