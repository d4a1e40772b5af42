"""One fetch serves everybody who waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass


@dataclass
class _Flight[T]:
    task: asyncio.Task[T]
    asked: bool = False
    """Whether the remote was asked already: who comes later might miss what was pushed since."""


class SingleFlight[T]:
    """Runs a blocking function in a thread, once for all callers that wait.

    A caller joins the run under way only while that has not begun; otherwise one more run follows it and serves all who came meanwhile. So an answer
    is never older than the question. A caller that goes away stops nothing.
    """

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._flights: dict[str, _Flight[T]] = {}
        self._lock = asyncio.Lock()

    async def run(self, key: str, work: Callable[[], T]) -> T:
        """The result of `work`, or the exception it raised. Work of different keys is not shared, and not done at the same time either."""
        flight = self._flights.get(key)
        if flight is None or flight.asked or flight.task.done():
            flight = _Flight(asyncio.get_running_loop().create_task(self._one(key, work)))
            self._flights[key] = flight
            flight.task.add_done_callback(_seen)
        return await asyncio.shield(flight.task)

    async def _one(self, key: str, work: Callable[[], T]) -> T:
        mine = asyncio.current_task()
        async with self._lock:
            flight = self._flights.get(key)
            if flight is not None and flight.task is mine:
                flight.asked = True
            return await asyncio.get_running_loop().run_in_executor(self._executor, work)

    async def close(self) -> None:
        """Let go of the runs that wait; the one in its thread ends by its own time limit."""
        for flight in self._flights.values():
            flight.task.cancel()
        await asyncio.gather(*(flight.task for flight in self._flights.values()), return_exceptions=True)


def _seen(task: asyncio.Task[object]) -> None:
    """Every waiter gets the exception; when all of them have gone away it is nobody's, and no warning is due."""
    if not task.cancelled():
        task.exception()
