"""Server-sent events: every status now, then every change, gathered so that a slow reader gets the newest and never a backlog."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing, suppress

import msgspec

from taut.model.status import AppStatus
from taut.server.backend import Backend
from taut.server.views import Gone, RootView

KEEP_ALIVE = 15.0
"""Seconds between comments on a quiet stream: they tell a reader that it is alive, and taut that a reader is gone."""
_GATHER = 0.05
"""Seconds that changes are gathered before they are sent."""


async def stream(
    backend: Backend,
    wanted: Callable[[AppStatus], bool],
    known_roots: Callable[[], Sequence[RootView]],
    *,
    keep_alive: float = KEEP_ALIVE,
) -> AsyncIterator[bytes]:
    """The body of `/v1/watch`: `status` events, one `ready` when all that exist were sent, then changes and `gone` events.

    `wanted` tells which are asked for and may be shown. A `roots` event comes first, and again when something about the roots changed.
    """
    pending: dict[str, AppStatus | Gone] = {}
    changed = asyncio.Event()
    pump = asyncio.create_task(_pump(backend, pending, changed))
    try:
        # The subscription starts before the snapshot is taken: nothing is lost between the two.
        await asyncio.sleep(0)
        shown = {s.key: s for s in backend.statuses() if wanted(s)}
        roots = known_roots()
        yield _event("roots", msgspec.json.encode(roots))
        for status in shown.values():
            yield _event("status", msgspec.json.encode(status))
        yield _event("ready", b"{}")
        while not pump.done():
            try:
                await asyncio.wait_for(changed.wait(), keep_alive)
                await asyncio.sleep(_GATHER)
            except TimeoutError:
                yield b": alive\n\n"
            if (now := known_roots()) != roots:
                roots = now
                yield _event("roots", msgspec.json.encode(roots))
            batch = dict(pending)
            pending.clear()
            changed.clear()
            for key, news in batch.items():
                if line := _news(key, news, shown, wanted):
                    yield line
    finally:
        pump.cancel()
        with suppress(asyncio.CancelledError):
            await pump


async def _pump(backend: Backend, pending: dict[str, AppStatus | Gone], changed: asyncio.Event) -> None:
    """Move changes into `pending`, where a newer one replaces an older one of the same application."""
    async with aclosing(backend.subscribe()) as news:
        async for item in news:
            pending[item.key] = item
            changed.set()


def _news(
    key: str, news: AppStatus | Gone, shown: dict[str, AppStatus], wanted: Callable[[AppStatus], bool]
) -> bytes | None:
    if isinstance(news, Gone) or not wanted(news):
        return _event("gone", msgspec.json.encode(Gone(key=key))) if shown.pop(key, None) else None
    if shown.get(key) == news:
        return None
    shown[key] = news
    return _event("status", msgspec.json.encode(news))


def _event(name: str, data: bytes) -> bytes:
    return b"event: " + name.encode() + b"\ndata: " + data + b"\n\n"
