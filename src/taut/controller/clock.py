"""Time that nobody sets: deadlines, pauses and patience are measured by it; the time of day is for people and for windows."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from pathlib import Path

from taut.store.store import Store

log = logging.getLogger("taut.clock")
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_LOOK = 5.0
_JUMP = 2.0
_LONG = 60.0


class SteadyClock:
    """Unix seconds as they were when this boot of the machine was first seen, counted on by the kernel ever since.

    Setting the time of day does not move it, and neither does a restart of taut: the store keeps the anchor. After another boot, or on
    another machine, it is anchored to the time of day again: times that were stored before are then only about right.
    """

    def __init__(
        self,
        *,
        counted: Callable[[], float] = time.monotonic,
        day: Callable[[], float] = time.time,
        boot: str | None = None,
    ) -> None:
        self._counted = counted
        self._day = day
        self._boot = _boot_id() if boot is None else boot
        self._anchor = day() - counted()
        self.continuous = False
        """Whether times that an earlier process stored are of this very clock."""

    def __call__(self) -> float:
        """Now."""
        return self._anchor + self._counted()

    async def take_up(self, store: Store) -> None:
        """Go on with the clock of an earlier process, if the machine was not started anew since."""
        self._anchor, self.continuous = await store.steady_anchor(self._boot, self._anchor)

    def resumed(self, deadline: float, whole: float) -> float:
        """A deadline that an earlier process stored, `whole` seconds after some moment, as it counts now.

        By another clock it may seem to be over, or far away: then there is a minute left at least, and never more than all of it.
        """
        left = deadline - self()
        if not self.continuous:
            left = max(left, min(whole, _LONG))
        return self() + min(left, whole)

    def ahead(self) -> float:
        """By how much the time of day is ahead of this clock."""
        return self._day() - self()


async def watch(clock: SteadyClock, on_jump: Callable[[], None], *, every: float = _LOOK) -> None:
    """Say when somebody sets the time of day, and call `on_jump`: what waits for a time of day has to look again. Never ends."""
    before = clock.ahead()
    while True:
        await asyncio.sleep(every)
        now = clock.ahead()
        if abs(now - before) > _JUMP:
            way = "forward" if now > before else "back"
            log.warning(
                "the time of day was set %s by %.0f s; what is measured in seconds goes on as before",
                way,
                abs(now - before),
            )
            on_jump()
        before = now


def _boot_id() -> str:
    """Which start of the machine this is; empty where that cannot be told."""
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return ""
