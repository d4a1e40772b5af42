from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from taut.sources.fetching import SingleFlight


async def test_callers_before_the_question_share_and_later_ones_get_a_new_answer() -> None:
    """The answer that counts is one that was asked for after the caller came."""
    started, release = threading.Event(), threading.Event()
    count = 0

    def work() -> int:
        nonlocal count
        count += 1
        mine = count
        started.set()
        release.wait(10)
        return mine

    with ThreadPoolExecutor(2) as pool:
        flight: SingleFlight[int] = SingleFlight(pool)
        first = [asyncio.create_task(flight.run("k", work)) for _ in range(3)]
        assert await asyncio.to_thread(started.wait, 10)
        second = [asyncio.create_task(flight.run("k", work)) for _ in range(3)]
        await asyncio.sleep(0)
        release.set()
        assert await asyncio.gather(*first) == [1, 1, 1]
        assert await asyncio.gather(*second) == [2, 2, 2]


async def test_an_error_reaches_everybody_and_the_next_run_is_fresh() -> None:
    def fail() -> int:
        raise OSError("no")

    with ThreadPoolExecutor(1) as pool:
        flight: SingleFlight[int] = SingleFlight(pool)
        found = await asyncio.gather(*(flight.run("k", fail) for _ in range(3)), return_exceptions=True)
        assert [type(error) for error in found] == [OSError] * 3
        assert await flight.run("k", lambda: 7) == 7


async def test_keys_are_not_shared_and_do_not_run_together() -> None:
    busy = threading.Lock()

    def work(value: int) -> int:
        assert busy.acquire(blocking=False), "two runs at once"
        busy.release()
        return value

    with ThreadPoolExecutor(4) as pool:
        flight: SingleFlight[int] = SingleFlight(pool)
        assert await asyncio.gather(*(flight.run(str(n), lambda n=n: work(n)) for n in range(8))) == list(range(8))


async def test_closing_lets_go_of_who_waits() -> None:
    release = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        flight: SingleFlight[bool] = SingleFlight(pool)
        running = asyncio.create_task(flight.run("a", lambda: release.wait(10)))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await flight.close()
        release.set()
        with pytest.raises(asyncio.CancelledError):
            await running
