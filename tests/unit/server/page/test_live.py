"""The stream of changes: gathered, told to all, resumed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

import msgspec

from support.memory_backend import DB, WEB, MemoryBackend
from taut.model.status import AppStatus
from taut.server.page.live import Changes, Hub
from taut.server.views import Gone


def changed(backend: MemoryBackend, message: str) -> AppStatus:
    return msgspec.structs.replace(backend.apps[WEB], message=message)


async def first(news: AsyncGenerator[tuple[str, Changes | None]]) -> tuple[str, Changes | None]:
    return await asyncio.wait_for(anext(news), 20)


async def test_changes_are_gathered_and_told_to_all() -> None:
    backend = MemoryBackend()
    hub = Hub(backend, gather=0.02)
    async with aclosing(hub.follow("")) as one, aclosing(hub.follow("")) as two:
        waiting = [asyncio.create_task(first(n)) for n in (one, two)]
        while len(backend.listeners) == 0:
            await asyncio.sleep(0)
        assert len(backend.listeners) == 1
        backend.put(changed(backend, "a"))
        backend.put(changed(backend, "b"))
        backend.put(Gone(key=str(DB)))
        (number, told), (other, same) = await asyncio.gather(*waiting)
        assert number == other
        assert told == same
        assert told is not None
        assert set(told) == {str(WEB), str(DB)}
        news = told[str(WEB)]
        assert isinstance(news, AppStatus)
        assert news.message == "b"
    assert not backend.listeners


async def test_who_comes_back_is_told_what_it_missed() -> None:
    backend = MemoryBackend()
    hub = Hub(backend, gather=0.0)
    async with aclosing(hub.follow("")) as stays:
        ids: list[str] = []
        for word in ("a", "b", "c"):
            waiting = asyncio.create_task(first(stays))
            while not backend.listeners:
                await asyncio.sleep(0)
            await asyncio.sleep(0)
            backend.put(changed(backend, word))
            ids.append((await waiting)[0])
        async with aclosing(hub.follow(ids[0])) as back:
            number, told = await first(back)
            assert number == ids[-1] == hub.place
            assert told is not None
            news = told[str(WEB)]
            assert isinstance(news, AppStatus)
            assert news.message == "c"


async def test_who_missed_too_much_is_told_so() -> None:
    backend = MemoryBackend()
    hub = Hub(backend, gather=0.0)
    for since in ("old-3", "nothing", f"{hub.place}9", "-"):
        async with aclosing(hub.follow(since)) as news:
            _, told = await first(news)
            assert told is None


async def test_a_quiet_stream_is_alive() -> None:
    async with aclosing(Hub(MemoryBackend()).follow("", keep_alive=0.01)) as news:
        assert (await first(news))[1] == {}
