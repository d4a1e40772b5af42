"""Slots: whoever asks for many waits behind itself."""

from __future__ import annotations

import asyncio

from taut.clients.fair import FLOW, FairSlots


async def use(slots: FairSlots, flow: str, order: list[str], most: int = 0) -> None:
    async with slots.turn(flow, most=most):
        order.append(flow)
        await asyncio.sleep(0)


async def test_a_crowd_waits_behind_itself() -> None:
    slots, order = FairSlots(2), list[str]()
    crowd = [asyncio.create_task(use(slots, "huge", order)) for _ in range(50)]
    await asyncio.sleep(0)
    small = [asyncio.create_task(use(slots, "small", order)) for _ in range(3)]
    await asyncio.gather(*crowd, *small)
    assert len(order) == 53
    places = [n for n, flow in enumerate(order) if flow == "small"]
    assert places[0] <= 5, "its turn is next"
    assert places[-1] <= 12, "one each, in turns"


async def test_never_more_than_there_are() -> None:
    slots, held, most = FairSlots(3), 0, 0

    async def one(flow: str) -> None:
        nonlocal held, most
        async with slots.turn(flow):
            held += 1
            most = max(most, held)
            await asyncio.sleep(0)
            held -= 1

    await asyncio.gather(*(one(f"flow {n % 4}") for n in range(40)))
    assert (held, most) == (0, 3)


async def test_a_flow_with_a_bound_leaves_room() -> None:
    slots, order, going = FairSlots(2), list[str](), asyncio.Event()

    async def slow() -> None:
        async with slots.turn("slow", most=1):
            order.append("slow")
            await going.wait()

    tasks = [asyncio.create_task(slow()) for _ in range(2)]
    await asyncio.sleep(0)
    await asyncio.wait_for(asyncio.gather(*(use(slots, "quick", order) for _ in range(5))), 5)
    assert order == ["slow", *["quick"] * 5]
    going.set()
    await asyncio.gather(*tasks)
    assert order.count("slow") == 2


async def test_who_gives_up_waiting_takes_nothing_along() -> None:
    slots, order = FairSlots(1), list[str]()
    await slots.acquire("a")
    waiting = [asyncio.create_task(use(slots, flow, order)) for flow in ("b", "b", "c")]
    await asyncio.sleep(0)
    waiting[0].cancel()
    slots.release("a")
    await asyncio.gather(*waiting, return_exceptions=True)
    assert sorted(order) == ["b", "c"]
    await slots.acquire("d")
    late = asyncio.create_task(use(slots, "e", order))
    await asyncio.sleep(0)
    slots.release("d")
    late.cancel()  # in the very moment in which it is given
    await asyncio.gather(late, return_exceptions=True)
    await asyncio.wait_for(use(slots, "f", order), 5)


async def test_the_flow_is_the_task_s_own_and_what_it_starts_inherits_it() -> None:
    async def flow() -> str:
        return FLOW.get()

    async def work(name: str) -> tuple[str, ...]:
        FLOW.set(name)
        return tuple(await asyncio.gather(flow(), asyncio.create_task(flow())))

    assert await asyncio.gather(*(asyncio.create_task(work(n)) for n in "ab")) == [("a", "a"), ("b", "b")]
    assert FLOW.get() == ""
