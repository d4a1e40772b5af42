"""The stream of statuses: all that exist, then what changes, the newest only."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

import msgspec

from support.memory_backend import DB, WEB, MemoryBackend, status
from taut.model.health import HealthStatus
from taut.server.selector import parse_selector
from taut.server.views import Gone
from taut.server.watch import stream


def parse(chunk: bytes) -> tuple[str, dict[str, object]]:
    event, data = chunk.decode().strip().split("\n")
    return event.removeprefix("event: "), msgspec.json.decode(data.removeprefix("data: "))


async def until_ready(body: AsyncGenerator[bytes]) -> list[str]:
    keys: list[str] = []
    async for chunk in body:
        name, data = parse(chunk)
        if name == "ready":
            return keys
        keys.append(str(data["key"]))
    raise AssertionError("the stream ended")


async def test_snapshot_then_changes_then_gone() -> None:
    backend = MemoryBackend()
    async with aclosing(stream(backend, None, parse_selector(""))) as body:
        assert await until_ready(body) == [s.key for s in backend.statuses()]
        degraded = status(DB, health=HealthStatus.DEGRADED)
        for message in ("one", "two", "three"):
            backend.put(msgspec.structs.replace(degraded, message=message))
        name, data = parse(await anext(body))
        assert (name, data["key"], data["message"]) == ("status", "prod/db", "three")
        backend.put(backend.apps[DB])
        backend.put(Gone(key=str(DB)))
        assert parse(await anext(body)) == ("gone", {"key": "prod/db"})
    assert backend.listeners == set()


async def test_what_leaves_the_selection_is_gone() -> None:
    backend = MemoryBackend()
    async with aclosing(stream(backend, "prod", parse_selector("team=web"))) as body:
        assert await until_ready(body) == [str(WEB)]
        backend.put(status(DB, message="not ours"))
        backend.put(status(WEB, labels={}))
        assert parse(await anext(body)) == ("gone", {"key": str(WEB)})


async def test_a_quiet_stream_stays_alive() -> None:
    backend = MemoryBackend()
    async with aclosing(stream(backend, None, parse_selector(""), keep_alive=0.01)) as body:
        await until_ready(body)
        assert await anext(body) == b": alive\n\n"


async def test_a_change_between_snapshot_and_listening_is_not_lost() -> None:
    backend = MemoryBackend()
    async with aclosing(stream(backend, None, parse_selector(""))) as body:
        await anext(body)
        backend.put(status(DB, message="changed while the snapshot is sent"))
        await until_ready(body)
        name, data = parse(await asyncio.wait_for(anext(body), 20))
        assert (name, data["message"]) == ("status", "changed while the snapshot is sent")
