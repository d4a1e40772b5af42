"""The page's stream: what changed, gathered for a quarter of a second and told to all listeners at once. The server renders the rows.

One listener costs the others nothing: there is one subscription, one gathering, and each row is rendered once.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, suppress
from dataclasses import dataclass

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from taut.model.status import AppStatus
from taut.server.access.asking import principal_of
from taut.server.access.principal import Principal
from taut.server.backend import Backend
from taut.server.page.fleet import Wish, board
from taut.server.page.fleet_page import read_wish, whole_counts
from taut.server.page.rows import Rows
from taut.server.page.sentences import fleet_lede
from taut.server.page.shell import Frame, drift_count, held_count
from taut.server.views import Gone

GATHER = 0.25
KEEP_ALIVE = 15.0
_KEPT = 240
"""So many gatherings are kept for who was away: a minute at the highest rate."""

type Changes = Mapping[str, AppStatus | Gone]


@dataclass(frozen=True, slots=True)
class Batch:
    """What changed in one gathering."""

    number: int
    changes: Changes


class Hub:
    """Gathers changes for as long as somebody listens."""

    def __init__(self, backend: Backend, gather: float = GATHER) -> None:
        self._backend = backend
        self._gather = gather
        self._batches: deque[Batch] = deque(maxlen=_KEPT)
        self._number = 0
        self._epoch = ""
        self._news = asyncio.Event()
        self._ready = asyncio.Event()
        self._listeners = 0
        self._pump: asyncio.Task[None] | None = None

    @property
    def place(self) -> str:
        """What a page that is rendered now has seen: the stream goes on from there, or catches up when nobody listened."""
        return self._id(self._number)

    async def follow(self, since: str, keep_alive: float = KEEP_ALIVE) -> AsyncGenerator[tuple[str, Changes | None]]:
        """An id and what changed since the one before, again and again; `{}` when nothing did for a while, None when too much was missed to tell."""
        self._enter()
        try:
            await self._ready.wait()
            number, known = self._place(since)
            if not known:
                yield self._id(number), None
            while True:
                missed = [b for b in self._batches if b.number > number]
                if missed and missed[0].number > number + 1:
                    number = missed[-1].number
                    yield self._id(number), None
                elif missed:
                    # Who was slow gets the newest of each application, and no backlog.
                    number = missed[-1].number
                    yield self._id(number), {key: news for batch in missed for key, news in batch.changes.items()}
                else:
                    news = self._news
                    try:
                        await asyncio.wait_for(news.wait(), keep_alive)
                    except TimeoutError:
                        yield self._id(number), {}
        finally:
            await self._leave()

    def _place(self, since: str) -> tuple[int, bool]:
        """The gathering that a listener saw last, and whether what it asks for can be told. Without an id it begins now."""
        epoch, _, text = since.partition("-")
        if not since:
            return self._number, True
        if epoch != self._epoch or not text.isdigit() or int(text) > self._number:
            return self._number, False
        return int(text), True

    def _id(self, number: int) -> str:
        return f"{self._epoch}-{number}"

    def _enter(self) -> None:
        self._listeners += 1
        if self._pump is None:
            self._epoch, self._number = secrets.token_hex(4), 0
            self._batches.clear()
            self._ready = asyncio.Event()
            self._pump = asyncio.create_task(self._run(), name="taut-page-live")

    async def _leave(self) -> None:
        self._listeners -= 1
        if self._listeners == 0 and self._pump is not None:
            pump, self._pump = self._pump, None
            pump.cancel()
            with suppress(asyncio.CancelledError):
                await pump

    async def _run(self) -> None:
        pending: dict[str, AppStatus | Gone] = {}
        some = asyncio.Event()
        reader = asyncio.create_task(_read(self._backend, pending, some))
        try:
            # The reader comes to its first wait: from here on no change is missed.
            await asyncio.sleep(0)
            self._ready.set()
            while True:
                await some.wait()
                await asyncio.sleep(self._gather)
                some.clear()
                changes = dict(pending)
                pending.clear()
                self._number += 1
                self._batches.append(Batch(self._number, changes))
                self._news.set()
                self._news = asyncio.Event()
        finally:
            reader.cancel()
            with suppress(asyncio.CancelledError):
                await reader


async def _read(backend: Backend, pending: dict[str, AppStatus | Gone], some: asyncio.Event) -> None:
    async with aclosing(backend.subscribe()) as news:
        async for item in news:
            pending[item.key] = item
            some.set()


class Live:
    """The handler of the stream."""

    def __init__(self, frame: Frame, rows: Rows, hub: Hub) -> None:
        self._frame = frame
        self._rows = rows
        self._hub = hub
        self._counted: tuple[str, dict[tuple[Principal, int, str], Mapping[str, object]]] = ("", {})

    async def stream(self, request: Request) -> Response:
        """`fleet` events for the fleet page, `app` events for the page of one application (`app=KEY`). Who missed too much to be told of it is told all."""
        since = request.headers.get("last-event-id") or request.query_params.get("since", "")
        key = request.query_params.get("app", "")
        if key:
            self._frame.sight.key(request, key)
        body = self._one(request, key, since) if key else self._fleet(request, since)
        return StreamingResponse(body, media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})

    async def _one(self, request: Request, key: str, since: str) -> AsyncIterator[bytes]:
        yield b": here\n\n"
        async with aclosing(self._hub.follow(since)) as news:
            async for number, changes in news:
                if changes is None or key in changes:
                    yield _event("app", number, b"{}")
                else:
                    yield b": alive\n\n"

    async def _fleet(self, request: Request, since: str) -> AsyncIterator[bytes]:
        wish = read_wish(request.query_params)
        now = self._frame.now()
        found = board(self._frame.fleet(request), wish, now)
        on_page = {f.status.key for group in found.groups for f in group.rows}
        yield b": here\n\n"
        async with aclosing(self._hub.follow(since)) as news:
            async for number, changes in news:
                if changes is None:
                    yield _event("fleet", number, self._told(request, number, self._all(on_page), on_page))
                elif changes:
                    yield _event("fleet", number, self._told(request, number, changes, on_page))
                else:
                    yield b": alive\n\n"

    def _all(self, on_page: set[str]) -> Changes:
        """Everything that the page shows, as it is now."""
        known = {s.key: s for s in self._frame.backend.statuses() if s.key in on_page}
        return {key: known.get(key) or Gone(key=key) for key in sorted(on_page)}

    def _told(self, request: Request, number: str, changes: Changes, on_page: set[str]) -> bytes:
        """The rows that changed, the counts of all, and how many changed that the page does not show."""
        now = self._frame.now()
        wish = read_wish(request.query_params)
        rows: list[dict[str, str]] = []
        gone: list[str] = []
        others = 0
        for key, news in changes.items():
            if isinstance(news, Gone):
                self._frame.facts.forget([key])
                gone += [f"r:{key}"] if key in on_page else []
                others += key not in on_page
            elif self._frame.sight.sees(request, news):
                facts = self._frame.fact(news)
                if key in on_page:
                    rows.append({"id": f"r:{key}", "html": str(self._rows.html(facts, now))})
                else:
                    others += wish.query.matches(facts, now)
        return msgspec.json.encode(
            {"rows": rows, "gone": gone, "others": others, **self._counts(request, number, wish)}
        )

    def _counts(self, request: Request, number: str, wish: Wish) -> Mapping[str, object]:
        """What a listener's page counts, worked out once for all that look at the same."""
        if self._counted[0] != number:
            self._counted = (number, {})
        place = (principal_of(request), id(request.scope.get("state", {}).get("rights")), wish.query.text)
        known = self._counted[1].get(place)
        if known is None:
            known = self._counted[1][place] = self._count(request, wish)
        return known

    def _count(self, request: Request, wish: Wish) -> Mapping[str, object]:
        now = self._frame.now()
        fleet = self._frame.fleet(request)
        stateless = wish.query.without("state")
        counts = whole_counts([f for f in fleet if stateless.matches(f, now)])
        bold, rest = fleet_lede(whole_counts(fleet))
        return {
            "counts": {state.value: f"{count:,}" for state, count in counts.items()}
            | {"all": f"{sum(counts.values()):,}"},
            "lede": [bold, rest],
            "nav": {"Fleet": f"{len(fleet):,}", "Held": f"{held_count(fleet):,}", "Drift": f"{drift_count(fleet):,}"},
        }


def _event(name: str, number: str, data: bytes) -> bytes:
    return b"id: " + number.encode() + b"\nevent: " + name.encode() + b"\ndata: " + data + b"\n\n"
