"""One gate for a cluster: when the API server says "too many requests", everybody waits, not only who was told."""

from __future__ import annotations

import asyncio
import random

FIRST_HOLD = 0.5
LONGEST_HOLD = 30.0


class Gate:
    """Holds back all requests to a cluster for a while.

    Each refusal in a row doubles the least time that the gate stays closed; one success opens it for good. Those who waited
    go on within a tenth of the time that they waited, not all in the same moment.
    """

    def __init__(self) -> None:
        self._open_at = 0.0
        self._refusals = 0
        self._held = 0.0

    def refuse(self, retry_after: float) -> float:
        """Close the gate after a 429; `retry_after` is the server's wish in seconds (0: none). Returns for how long."""
        now = asyncio.get_running_loop().time()
        if now >= self._open_at:
            self._refusals += 1
        least = min(FIRST_HOLD * 2 ** (self._refusals - 1), LONGEST_HOLD) if self._refusals else FIRST_HOLD
        held = max(retry_after, least)
        self._held = held
        self._open_at = max(self._open_at, now + held)
        return held

    def succeed(self) -> None:
        """Tell that a request was let through."""
        self._refusals = 0

    @property
    def closed(self) -> bool:
        """Whether requests have to wait now."""
        return asyncio.get_running_loop().time() < self._open_at

    async def wait(self) -> None:
        """Return when requests may go; at once when the gate is open."""
        loop = asyncio.get_running_loop()
        while (rest := self._open_at - loop.time()) > 0:  # noqa: ASYNC110 -- what is waited for is time itself
            await asyncio.sleep(rest + random.uniform(0, self._held / 10))  # noqa: S311 -- spreading load, no secret
