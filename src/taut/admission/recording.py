"""Who changed which object last, kept in memory for the drift log: a field manager is a program, this is a person."""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass

from taut.model.refs import ObjectRef
from taut.policy.review import Operation

OBJECTS = 10_000
CHANGES = 8
"""How many changes of one object are kept."""
CLOSE = 10.0
"""Seconds between a time in managedFields and a request that may be the same change: clocks differ."""
SECOND = 1.5
"""Times in managedFields are whole seconds, and the question comes a moment after the time was taken."""
RECENT = 600.0
"""How long a change is taken for the cause of a drift that has no time of its own."""


@dataclass(frozen=True, slots=True)
class Change:
    """A request for a change. `manager` is empty when the client named none: the API server makes one up then."""

    user: str
    at: float
    operation: Operation
    uid: str = ""
    manager: str = ""


class Recorder:
    """The last changes of the objects that were changed last. `clock` gives Unix seconds."""

    def __init__(self, *, objects: int = OBJECTS, clock: Callable[[], float] = time.time) -> None:
        self._most = objects
        self._clock = clock
        self._changes: OrderedDict[ObjectRef, deque[Change]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._changes)

    def note(self, ref: ObjectRef, user: str, operation: Operation, *, uid: str = "", manager: str = "") -> None:
        """Remember a change; what was changed longest ago is forgotten."""
        found = self._changes.setdefault(ref, deque(maxlen=CHANGES))
        found.append(Change(user, self._clock(), operation, uid, manager))
        self._changes.move_to_end(ref)
        if len(self._changes) > self._most:
            self._changes.popitem(last=False)

    def changes(self, ref: ObjectRef) -> tuple[Change, ...]:
        """What is known of an object, the oldest first."""
        return tuple(self._changes.get(ref, ()))

    def who(self, ref: ObjectRef, manager: str, around_time: float) -> str | None:
        """The user behind a change by the field manager `manager` at `around_time` (Unix seconds, 0 when unknown); None when that cannot be told.

        Without a manager (a field or an object was removed) it is whoever changed the object last, if that was a moment ago.
        """
        known = self._changes.get(ref, ())
        fitting = [c for c in known if not manager or c.manager in ("", manager)]
        # A request that named its manager says more than one that could have been anybody's.
        named = [c for c in fitting if c.manager == manager] or fitting
        if not around_time:
            recent = [c for c in named if self._clock() - c.at <= RECENT]
            return recent[-1].user if recent else None
        close = [c for c in named if abs(c.at - around_time) <= CLOSE]
        # The time is that of the manager's last change, cut to the second before it: of several in that second it was the last.
        until = [c for c in close if c.at < around_time + SECOND]
        if until:
            return until[-1].user
        return min(close, key=lambda c: c.at).user if close else None
