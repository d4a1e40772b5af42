"""The gate before a busy server."""

from __future__ import annotations

import asyncio

import pytest

from taut.clients.kubernetes.client import LONGEST_WISH, wished_pause
from taut.clients.kubernetes.gate import FIRST_HOLD, LONGEST_HOLD, Gate


async def test_an_open_gate_lets_everybody_through() -> None:
    gate = Gate()
    await gate.wait()
    assert not gate.closed


async def test_the_servers_wish_is_honoured_and_refusals_in_a_row_double_the_least() -> None:
    gate = Gate()
    assert gate.refuse(7.0) == 7.0
    assert gate.closed
    gate = Gate()
    held = []
    for _ in range(10):
        held.append(gate.refuse(0.0))
        gate._open_at = 0.0  # the time passed
    assert held[:3] == [FIRST_HOLD, 2 * FIRST_HOLD, 4 * FIRST_HOLD]
    assert held[-1] == LONGEST_HOLD
    gate.succeed()
    assert gate.refuse(0.0) == FIRST_HOLD


async def test_refusals_that_were_under_way_together_count_once() -> None:
    gate = Gate()
    assert [gate.refuse(0.0) for _ in range(5)] == [FIRST_HOLD] * 5


async def test_who_waits_goes_on_when_it_opens() -> None:
    gate = Gate()
    gate.refuse(0.0)
    started = asyncio.get_running_loop().time()
    await asyncio.gather(*(gate.wait() for _ in range(10)))
    assert asyncio.get_running_loop().time() - started >= FIRST_HOLD
    assert not gate.closed


@pytest.mark.parametrize(
    ("header", "pause"),
    [
        ("", 0.0),
        ("7", 7.0),
        ("86400", LONGEST_WISH),
        ("-3", 0.0),
        ("nan", 0.0),
        ("soon", 0.0),
        ("Thu, 01 Jan 1970 00:16:50 GMT", 10.0),
        ("Thu, 01 Jan 1970 00:00:10 GMT", 0.0),
    ],
)
def test_what_a_server_wishes(header: str, pause: float) -> None:
    assert wished_pause(header, 1000.0) == pause
