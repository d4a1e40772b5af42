"""A bound on failed sign-ins from one address. Pure but for the clock."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

_MOST_ADDRESSES = 10_000


class Throttle:
    """Counts failures by address; after `allowed` of them within `seconds` it says how long to wait."""

    def __init__(self, allowed: int = 10, seconds: float = 60.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._allowed, self._seconds, self._clock = allowed, seconds, clock
        self._failures: OrderedDict[str, list[float]] = OrderedDict()

    def wait(self, address: str) -> float:
        """Seconds until this address may try again; 0: now."""
        now = self._clock()
        recent = [at for at in self._failures.get(address, ()) if now - at < self._seconds]
        return self._seconds - (now - recent[0]) if len(recent) >= self._allowed else 0.0

    def failed(self, address: str) -> None:
        """Somebody there could not be signed in."""
        now = self._clock()
        recent = [at for at in self._failures.pop(address, ()) if now - at < self._seconds]
        self._failures[address] = [*recent, now][-self._allowed :]
        if len(self._failures) > _MOST_ADDRESSES:
            self._failures.popitem(last=False)
