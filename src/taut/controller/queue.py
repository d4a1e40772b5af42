"""The keyed queue: one run a key at a time, urgent reasons first, fair between projects, quiet when there is nothing to do."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import random
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum

from taut.model.refs import AppKey

JITTER = 0.1
HEAVY = " heavy"
"""Ends the name of a lane for keys whose runs take long: half as many of them are in work at once."""
MOST_ASIDE = 4
"""Runs of a place that take long are set aside, at most so many times the width."""


class Reason(StrEnum):
    """Why an application is looked at."""

    ASKED = "asked"
    PUSH = "push"
    LIVE = "live"
    DEPENDENCY = "dependency"
    START = "start"
    RETRY = "retry"
    TIMER = "timer"


class Urgency(IntEnum):
    """Classes of the queue; a lower one is served first."""

    PERSON = 0
    CHANGE = 1
    RETRY = 2
    PERIODIC = 3


_URGENCY = {
    Reason.ASKED: Urgency.PERSON,
    Reason.PUSH: Urgency.CHANGE,
    Reason.LIVE: Urgency.CHANGE,
    Reason.DEPENDENCY: Urgency.CHANGE,
    Reason.RETRY: Urgency.RETRY,
    Reason.START: Urgency.PERIODIC,
    Reason.TIMER: Urgency.PERIODIC,
}


@dataclass(slots=True)
class _Entry:
    reasons: set[Reason] = field(default_factory=set[Reason])
    urgency: Urgency = Urgency.PERIODIC
    project: str = ""


@dataclass(slots=True)
class _Lane:
    """What waits for one place, and how many of its keys are in work."""

    lines: dict[Urgency, OrderedDict[str, deque[AppKey]]] = field(
        default_factory=lambda: {u: OrderedDict() for u in Urgency}
    )
    busy: int = 0


class WorkQueue:
    """Keys that wait for work.

    `add` marks a key with a reason; a key that is in work and is added again comes back when its run is done. Within a class of
    urgency projects take turns, and keys of one project are served first in, first out. `add_later` adds at a deadline; only
    the earliest deadline of a key counts. One task may wait in `take` per worker.

    `lane_of` tells the place that a key's work waits for (its cluster): at most `width` keys of one place are in work at once
    (0: any number), so that a place which hangs leaves workers to the others. Equally urgent keys of several places take turns.
    Runs that take long are in lanes of their own (`HEAVY`), and can be set aside: small ones do not wait behind them.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        *,
        lane_of: Callable[[AppKey], str] = lambda _: "",
        width: int = 0,
        spread: Callable[[], float] = random.random,
    ) -> None:
        self._clock = clock
        self.lane_of = lane_of
        self._width = width
        self._spread = spread
        self._entries: dict[AppKey, _Entry] = {}
        self._lanes: OrderedDict[str, _Lane] = OrderedDict()
        self._working: dict[AppKey, str | None] = {}
        self._aside: dict[AppKey, str] = {}
        """Keys whose runs were set aside, with their lanes."""
        self._timers: list[tuple[float, int, AppKey, Reason]] = []
        self._due: dict[tuple[AppKey, Reason], float] = {}
        self._counter = itertools.count()
        self._wake = asyncio.Event()
        self._projects: dict[AppKey, str] = {}

    def add(self, key: AppKey, reason: Reason, *, project: str | None = None) -> None:
        """Mark `key` for a run because of `reason`."""
        if project is not None:
            self._projects[key] = project
        entry = self._entries.get(key)
        urgency = _URGENCY[reason]
        if entry is None:
            entry = self._entries[key] = _Entry(urgency=urgency, project=self._projects.get(key, ""))
            self._line_up(key, entry)
        elif urgency < entry.urgency:
            entry.urgency = urgency
            self._line_up(key, entry)
        entry.reasons.add(reason)

    def add_later(self, key: AppKey, reason: Reason, delay: float) -> None:
        """Mark `key` after `delay` seconds, unless an earlier deadline for the same reason is set already.

        Another try comes up to a tenth later: what failed together is not tried again in the same moment.
        """
        if reason is Reason.RETRY:
            delay *= 1 + JITTER * self._spread()
        due = self._clock() + max(delay, 0.0)
        known = self._due.get((key, reason))
        if known is not None and known <= due:
            return
        self._due[(key, reason)] = due
        heapq.heappush(self._timers, (due, next(self._counter), key, reason))
        self._wake.set()

    def forget(self, key: AppKey) -> None:
        """Drop everything known of `key`."""
        self._entries.pop(key, None)
        self._projects.pop(key, None)
        for known in [k for k in self._due if k[0] == key]:
            del self._due[known]

    async def take(self) -> tuple[AppKey, frozenset[Reason]]:
        """Wait for the next key; it counts as in work until `done`."""
        while True:
            self._ring()
            found = self._pop()
            if found is not None:
                return found
            self._wake.clear()
            timeout = self._timers[0][0] - self._clock() if self._timers else None
            try:
                async with asyncio.timeout(timeout):
                    await self._wake.wait()
            except TimeoutError:
                continue

    def done(self, key: AppKey) -> None:
        """The run of `key` has ended; marks that came meanwhile line it up again."""
        self._aside.pop(key, None)
        lane = self._working.pop(key, None)
        if lane is not None:
            self._lanes[lane].busy -= 1
            if self._width and self._lanes[lane].busy == self._width_of(lane) - 1:
                self._wake.set()  # it was full: others of the lane may have waited for this end
        entry = self._entries.get(key)
        if entry is not None:
            self._line_up(key, entry)

    def set_aside(self, key: AppKey) -> bool:
        """The run of `key` takes long: from now on it takes no place from others. False when too many of its lane do so already, or it has
        ended. A place that hangs sets aside its own runs alone: others may still take long.
        """
        lane = self._working.get(key)
        beside = sum(each == lane for each in self._aside.values())
        if lane is None or (self._width and beside >= MOST_ASIDE * self._width):
            return False
        self._working[key] = None
        self._aside[key] = lane
        self._lanes[lane].busy -= 1
        self._wake.set()
        return True

    @property
    def idle(self) -> bool:
        """Nothing waits now and nothing is in work (timers do not count)."""
        return not self._entries and not self._working

    def working(self, key: AppKey) -> bool:
        """Whether a run of `key` is going on."""
        return key in self._working

    def _width_of(self, lane: str) -> int:
        return max(self._width // 2, 1) if lane.endswith(HEAVY) else self._width

    def _line_up(self, key: AppKey, entry: _Entry) -> None:
        if key in self._working:
            return
        lane = self._lanes.setdefault(self.lane_of(key), _Lane())
        lane.lines[entry.urgency].setdefault(entry.project, deque()).append(key)
        self._wake.set()

    def _ring(self) -> None:
        now = self._clock()
        while self._timers and self._timers[0][0] <= now:
            due, _, key, reason = heapq.heappop(self._timers)
            if self._due.get((key, reason)) == due:
                del self._due[(key, reason)]
                self.add(key, reason)

    def _pop(self) -> tuple[AppKey, frozenset[Reason]] | None:
        for urgency in Urgency:
            for name, lane in self._lanes.items():
                if self._width and lane.busy >= self._width_of(name):
                    continue
                key = self._first(lane.lines[urgency], urgency)
                if key is not None:
                    entry = self._entries.pop(key)
                    self._working[key] = name
                    lane.busy += 1
                    self._lanes.move_to_end(name)
                    return key, frozenset(entry.reasons)
        return None

    def _first(self, line: OrderedDict[str, deque[AppKey]], urgency: Urgency) -> AppKey | None:
        """The key whose turn it is; what was moved to another line, or forgotten, is left out."""
        while line:
            project, keys = line.popitem(last=False)
            key = keys.popleft()
            if keys:
                line[project] = keys
            entry = self._entries.get(key)
            if entry is not None and entry.urgency == urgency and key not in self._working:
                return key
        return None
