"""A clock that nobody sets, also not over a restart; and what is left of deadlines of another one."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from taut.controller.clock import SteadyClock, watch
from taut.store.store import Store


class Machine:
    """A machine's clocks."""

    def __init__(self) -> None:
        self.day = 1_000_000.0
        self.up = 50.0

    def pass_by(self, seconds: float) -> None:
        self.day += seconds
        self.up += seconds

    def clock(self, boot: str = "first") -> SteadyClock:
        return SteadyClock(counted=lambda: self.up, day=lambda: self.day, boot=boot)


@pytest.mark.parametrize("jump", [86_400.0, -3_600.0])
async def test_setting_the_time_does_not_move_it_and_neither_does_a_restart(tmp_path: Path, jump: float) -> None:
    machine = Machine()
    store = Store.open(tmp_path / "taut.db")
    clock = machine.clock()
    await clock.take_up(store)
    assert not clock.continuous
    assert clock() == 1_000_000.0
    machine.pass_by(10)
    machine.day += jump
    assert clock() == 1_000_010.0
    assert clock.ahead() == jump
    again = machine.clock()
    await again.take_up(store)
    assert again.continuous
    assert again() == 1_000_010.0
    assert again.resumed(1_000_015.0, 600.0) == 1_000_015.0
    await store.close()


@pytest.mark.parametrize(("deadline", "left"), [(1_000_300.0, 300.0), (900_000.0, 60.0), (2_000_000.0, 600.0)])
async def test_a_deadline_of_another_boot_is_neither_over_nor_far_away(
    tmp_path: Path, deadline: float, left: float
) -> None:
    store = Store.open(tmp_path / "taut.db")
    machine = Machine()
    await machine.clock().take_up(store)
    clock = machine.clock("second")
    await clock.take_up(store)
    assert not clock.continuous
    assert clock.resumed(deadline, 600.0) - clock() == left
    await store.close()


async def test_whoever_waits_hears_that_the_time_was_set(caplog: pytest.LogCaptureFixture) -> None:
    machine = Machine()
    heard = asyncio.Event()
    task = asyncio.create_task(watch(machine.clock(), heard.set, every=0.001))
    await asyncio.sleep(0)
    machine.pass_by(1000)
    machine.day += 86_400
    async with asyncio.timeout(10):
        await heard.wait()
    task.cancel()
    assert "set forward by 86400 s" in caplog.text
