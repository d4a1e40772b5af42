"""Slots that are shared fairly: whoever asks for many at once waits behind itself, not before everybody else."""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict, deque
from contextvars import ContextVar
from types import TracebackType

FLOW: ContextVar[str] = ContextVar("flow", default="")
"""On whose behalf work is done (an application's key); tasks inherit it."""


class FairSlots:
    """`size` slots. Flows that wait take turns; within a flow it is first come, first served."""

    def __init__(self, size: int) -> None:
        self._free = size
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()
        self._busy: Counter[str] = Counter()
        self._most: dict[str, int] = {}

    def turn(self, flow: str | None = None, *, most: int = 0) -> Turn:
        """A slot for as long as the context is open. `flow` is by default the current one; with `most` it never holds more slots than that."""
        return Turn(self, FLOW.get() if flow is None else flow, most)

    async def acquire(self, flow: str, most: int = 0) -> None:
        """Wait for a slot."""
        if most:
            self._most[flow] = most
        if self._may_have(flow) and flow not in self._waiting:
            self._take(flow)
            return
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(flow, deque()).append(place)
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():
                self.release(flow)  # it was given in the very moment
            raise

    def release(self, flow: str) -> None:
        """Give a slot back; who waits longest in the flow whose turn it is has it next."""
        self._free += 1
        self._busy[flow] -= 1
        if not self._busy[flow]:
            del self._busy[flow]
        while self._free and self._grant():
            pass

    def _grant(self) -> bool:
        for flow, places in self._waiting.items():
            if not self._may_have(flow):
                continue
            place = places.popleft()
            del self._waiting[flow]
            if places:
                self._waiting[flow] = places  # at the end: it is the others' turn
            if not place.done():
                self._take(flow)
                place.set_result(None)
            return True
        return False

    def _may_have(self, flow: str) -> bool:
        most = self._most.get(flow, 0)
        return self._free > 0 and not (most and self._busy[flow] >= most)

    def _take(self, flow: str) -> None:
        self._free -= 1
        self._busy[flow] += 1


class Turn:
    """One slot, as a context."""

    __slots__ = ("_flow", "_most", "_slots")

    def __init__(self, slots: FairSlots, flow: str, most: int) -> None:
        self._slots, self._flow, self._most = slots, flow, most

    async def __aenter__(self) -> None:
        await self._slots.acquire(self._flow, self._most)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._slots.release(self._flow)
