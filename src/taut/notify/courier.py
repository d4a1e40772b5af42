"""The courier: takes messages out of the outbox and delivers them, each receiver's in order, again and again until they arrive."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping

from taut.model.alerts import AlertReceiver
from taut.model.errors import StoreError
from taut.notify.addressed import decoded
from taut.notify.delivery import LONGEST_PAUSE, LONGEST_RETRY_AFTER, Send, UndeliveredError, pause_after
from taut.store.outbox import Waiting
from taut.store.store import Store

log = logging.getLogger("taut.alerts")

CHANNEL = "alert"
_AT_ONCE = 8
_STORE_PAUSE = 5.0


class Courier:
    """Delivers the messages of the channel. `receivers` tells who there is now; `give_up`: after so many seconds a message is let go of."""

    def __init__(
        self,
        store: Store,
        receivers: Callable[[], Mapping[str, AlertReceiver]],
        send: Send,
        give_up: float,
        clock: Callable[[], float] = time.time,
        spread: Callable[[], float] = random.random,
    ) -> None:
        self._store = store
        self._receivers = receivers
        self._send = send
        self._give_up = give_up
        self._clock = clock
        self._spread = spread
        self._wake = asyncio.Event()
        self._busy: dict[str, asyncio.Task[None]] = {}
        self._room = asyncio.Semaphore(_AT_ONCE)
        self.sent: Counter[str] = Counter()
        """Messages that arrived, by the kind of receiver."""
        self.failed: Counter[str] = Counter()
        """Tries that failed, by the kind of receiver."""
        self.given_up: Counter[str] = Counter()
        """Messages that were let go of, by the kind of receiver."""
        self.queued = 0
        """Messages that waited when the courier looked last: it looks whenever that changes."""

    def wake(self) -> None:
        """There may be something to deliver."""
        self._wake.set()

    async def run(self) -> None:
        """Deliver until cancelled."""
        try:
            while True:
                self._wake.clear()
                pause = await self._round()
                try:
                    async with asyncio.timeout(pause):
                        await self._wake.wait()
                except TimeoutError:
                    continue
        finally:
            for task in self._busy.values():
                task.cancel()
            await asyncio.gather(*self._busy.values(), return_exceptions=True)

    async def _round(self) -> float | None:
        """Begin with all that is due; the seconds until the next is, None when nothing waits."""
        # One that ends while the store is asked may be among what was read, as if it still waited.
        under_way = set(self._busy)
        try:
            heads = await self._store.outbox_heads(CHANNEL)
            self.queued = (await self._store.outbox_counts()).get(CHANNEL, 0)
        except StoreError:
            return _STORE_PAUSE
        now = self._clock()
        pauses: list[float] = []
        for head in heads:
            if head.key in under_way or head.key in self._busy:
                continue
            # A clock that was set back must not keep a message for years.
            left = min(head.due - now, max(LONGEST_PAUSE * 1.2, LONGEST_RETRY_AFTER))
            if left <= 0:
                self._begin(head)
            else:
                pauses.append(left)
        return min(pauses, default=None)

    def _begin(self, head: Waiting) -> None:
        task = asyncio.create_task(self._one(head), name=f"alert to {head.key}")
        self._busy[head.key] = task

        def ended(_: asyncio.Task[None]) -> None:
            del self._busy[head.key]
            self._wake.set()

        task.add_done_callback(ended)

    async def _one(self, head: Waiting) -> None:
        """Try once, and write down what came of it. When that cannot be written the message is sent again: at least once."""
        receiver = self._receivers().get(head.key)
        kind = receiver.spec.way if receiver is not None else "unknown"
        try:
            async with self._room:
                if receiver is None:
                    raise UndeliveredError(f"there is no receiver {head.key!r} now")
                await self._send(decoded(head.payload), receiver)
        except UndeliveredError as error:
            await self._failed(head, kind, error)
            return
        except Exception as error:
            log.exception("alert %s to %s: an error inside taut", head.name, head.key)
            await self._failed(head, kind, UndeliveredError(f"an error inside taut ({type(error).__name__})"))
            return
        self.sent[kind] += 1
        await self._noted(self._store.sent([head.id]))

    async def _failed(self, head: Waiting, kind: str, error: UndeliveredError) -> None:
        self.failed[kind] += 1
        now = self._clock()
        if error.final or now - head.at > self._give_up:
            self.given_up[kind] += 1
            log.error("alert %s to %s is given up after %d tries: %s", head.name, head.key, head.tries + 1, error.why)
            await self._noted(self._store.sent([head.id]))
            return
        pause = pause_after(head.tries, error.after, self._spread())
        if head.tries == 0:
            log.warning("alert %s to %s did not arrive, and is sent again: %s", head.name, head.key, error.why)
        await self._noted(self._store.put_off(head.id, now + pause, error.why))

    async def _noted(self, note: Awaitable[None]) -> None:
        try:
            await note
        except StoreError as error:
            log.warning("the outbox could not be written: %s", error.what)
            await asyncio.sleep(_STORE_PAUSE)
