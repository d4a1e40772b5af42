"""The keyed queue: order, fairness, one run a key."""

from __future__ import annotations

import asyncio

from taut.controller.queue import HEAVY, MOST_ASIDE, Reason, WorkQueue
from taut.model.refs import AppKey


def key(name: str) -> AppKey:
    return AppKey("root", "", name)


async def drain(queue: WorkQueue, count: int) -> list[str]:
    found = []
    for _ in range(count):
        taken, _ = await queue.take()
        queue.done(taken)
        found.append(taken.name)
    return found


async def test_people_before_pushes_before_retries_before_periodic() -> None:
    queue = WorkQueue()
    for name, reason in [("t", Reason.TIMER), ("r", Reason.RETRY), ("p", Reason.PUSH), ("a", Reason.ASKED)]:
        queue.add(key(name), reason)
    assert await drain(queue, 4) == ["a", "p", "r", "t"]


async def test_projects_take_turns() -> None:
    queue = WorkQueue()
    for n in range(3):
        queue.add(key(f"big{n}"), Reason.PUSH, project="big")
    queue.add(key("small"), Reason.PUSH, project="small")
    assert await drain(queue, 4) == ["big0", "small", "big1", "big2"]


async def test_a_key_in_work_is_not_taken_again_and_comes_back_after_it() -> None:
    queue = WorkQueue()
    queue.add(key("x"), Reason.PUSH)
    taken, reasons = await queue.take()
    assert reasons == {Reason.PUSH}
    queue.add(key("x"), Reason.LIVE)
    queue.add(key("y"), Reason.LIVE)
    other, _ = await queue.take()
    assert other.name == "y"
    queue.done(taken)
    again, reasons = await queue.take()
    assert (again.name, reasons) == ("x", {Reason.LIVE})


async def test_reasons_of_one_key_are_one_run() -> None:
    queue = WorkQueue()
    for _ in range(50):
        queue.add(key("x"), Reason.PUSH)
    queue.add(key("x"), Reason.LIVE)
    _, reasons = await queue.take()
    assert reasons == {Reason.PUSH, Reason.LIVE}
    queue.done(key("x"))
    assert queue.idle


async def test_a_more_urgent_reason_moves_a_key_forward() -> None:
    queue = WorkQueue()
    queue.add(key("x"), Reason.TIMER)
    queue.add(key("y"), Reason.PUSH)
    queue.add(key("x"), Reason.ASKED)
    assert await drain(queue, 2) == ["x", "y"]
    assert queue.idle


async def test_the_earliest_deadline_counts() -> None:
    now = [0.0]
    queue = WorkQueue(clock=lambda: now[0])
    queue.add_later(key("x"), Reason.RETRY, 50.0)
    queue.add_later(key("x"), Reason.RETRY, 10.0)
    waiting = asyncio.ensure_future(queue.take())
    await asyncio.sleep(0)
    assert not waiting.done()
    now[0] = 11.0
    queue.add(key("other"), Reason.TIMER)
    first, _ = await waiting
    second, _ = await queue.take()
    assert {first.name, second.name} == {"x", "other"}


async def test_forgotten_keys_do_not_come_back() -> None:
    queue = WorkQueue()
    queue.add(key("x"), Reason.PUSH)
    queue.add_later(key("x"), Reason.RETRY, 0.0)
    queue.forget(key("x"))
    queue.add(key("y"), Reason.PUSH)
    taken, _ = await queue.take()
    assert taken.name == "y"


async def test_a_place_that_hangs_takes_no_worker_from_another() -> None:
    queue = WorkQueue(lane_of=lambda k: k.name[0], width=2)
    for name in ("a1", "a2", "a3", "b1"):
        queue.add(key(name), Reason.PUSH)
    taken = [(await queue.take())[0] for _ in range(3)]
    assert sorted(k.name for k in taken) == ["a1", "a2", "b1"]
    waiting = asyncio.ensure_future(queue.take())
    await asyncio.sleep(0)
    assert not waiting.done(), "two of the place are in work: the third waits, although nobody else is there"
    queue.done(key("a1"))
    assert (await waiting)[0].name == "a3"


async def test_places_take_turns_and_the_more_urgent_goes_first() -> None:
    queue = WorkQueue(lane_of=lambda k: k.name[0], width=9)
    for n in range(3):
        queue.add(key(f"a{n}"), Reason.PUSH)
    queue.add(key("b0"), Reason.PUSH)
    queue.add(key("b1"), Reason.TIMER)
    queue.add(key("c0"), Reason.ASKED)
    assert await drain(queue, 6) == ["c0", "a0", "b0", "a1", "a2", "b1"]
    assert queue.idle


async def test_other_tries_are_spread() -> None:
    now, spread = [0.0], [0.0]
    queue = WorkQueue(lambda: now[0], spread=lambda: spread[0])
    for n, part in enumerate((0.0, 0.5, 1.0)):
        spread[0] = part
        queue.add_later(key(f"app-{n}"), Reason.RETRY, 100.0)
    queue.add_later(key("timed"), Reason.TIMER, 100.0)
    now[0] = 100.0
    assert {(await queue.take())[0].name for _ in range(2)} == {"app-0", "timed"}
    now[0] = 105.5
    assert (await queue.take())[0].name == "app-1"
    now[0] = 110.5
    assert (await queue.take())[0].name == "app-2"


async def test_a_long_run_that_is_set_aside_gives_its_place_to_others() -> None:
    queue = WorkQueue(width=1)
    for name in ("long", "small"):
        queue.add(key(name), Reason.PUSH)
    long, _ = await queue.take()
    waiting = asyncio.create_task(queue.take())
    await asyncio.sleep(0)
    assert not waiting.done(), "one at a time"
    assert queue.set_aside(long)
    assert not queue.set_aside(long), "once"
    assert (await asyncio.wait_for(waiting, 5))[0].name == "small"
    queue.add(long, Reason.PUSH)
    queue.done(key("small"))
    again = asyncio.create_task(queue.take())
    await asyncio.sleep(0)
    assert not again.done(), "it is still at work: one run an application"
    queue.done(long)
    assert (await asyncio.wait_for(again, 5))[0] == long
    queue.done(long)
    assert queue.idle


async def test_not_endlessly_many_are_set_aside() -> None:
    queue = WorkQueue(width=2)
    aside = 0
    for n in range(12):
        queue.add(key(f"app-{n}"), Reason.PUSH)
        try:
            taken, _ = await asyncio.wait_for(queue.take(), 0.05)
        except TimeoutError:
            break
        aside += queue.set_aside(taken)
    assert aside == MOST_ASIDE * 2


async def test_heavy_ones_wait_behind_each_other() -> None:
    queue = WorkQueue(width=4, lane_of=lambda k: HEAVY if k.name.startswith("heavy") else "")
    for n in range(6):
        queue.add(key(f"heavy-{n}"), Reason.PUSH)
    taken = [(await queue.take())[0].name for _ in range(2)]
    more = asyncio.create_task(queue.take())
    await asyncio.sleep(0)
    assert not more.done(), "half of the places"
    queue.add(key("small"), Reason.PUSH)
    assert (await asyncio.wait_for(more, 5))[0].name == "small"
    queue.done(key(taken[0]))
    assert (await asyncio.wait_for(queue.take(), 5))[0].name.startswith("heavy")


async def test_a_place_that_hangs_sets_aside_its_own_runs_alone() -> None:
    queue = WorkQueue(width=1, lane_of=lambda k: k.name.partition("-")[0])
    for n in range(MOST_ASIDE):
        queue.add(key(f"hangs-{n}"), Reason.PUSH)
        taken, _ = await queue.take()
        assert queue.set_aside(taken)
    queue.add(key("hangs-more"), Reason.PUSH)
    assert not queue.set_aside((await queue.take())[0]), "it has its share"
    queue.add(key("works-long"), Reason.PUSH)
    assert queue.set_aside((await queue.take())[0])
